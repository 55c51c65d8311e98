"""Small random pipelines of the models that take an image's vector; no bias of theirs is zero."""

from pathlib import Path
from typing import Any

import pytest
import torch
from adapter_files import projection
from diffusers import (
    AutoencoderKL,
    DDPMScheduler,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    KandinskyV22Pipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    StableUnCLIPImg2ImgPipeline,
    UNet2DConditionModel,
    VQModel,
)
from diffusers.pipelines.stable_diffusion.stable_unclip_image_normalizer import StableUnCLIPImageNormalizer
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

WIDTH = 48  # of the joint space
SMALL: dict[str, Any] = {
    "sample_size": 8,
    "block_out_channels": (32, 64),
    "layers_per_block": 1,
    "attention_head_dim": 8,
}


def randomised(module: Any) -> Any:
    """The module with every value drawn, so that no bias is zero and no norm is plain."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape))
    return module.eval()


def text_encoder(kind: Any, width: int, words: int) -> Any:
    config = CLIPTextConfig(
        vocab_size=words, hidden_size=width, intermediate_size=64, num_hidden_layers=3,
        num_attention_heads=4, projection_dim=WIDTH, bos_token_id=words - 2, eos_token_id=words - 1,
    )  # fmt: skip
    return randomised(kind(config))


def autoencoder(**more: Any) -> Any:
    blocks = {"down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2}
    return randomised(
        AutoencoderKL(block_out_channels=(32, 32), layers_per_block=1, sample_size=16, **blocks, **more)
    )


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> CLIPTokenizer:
    from visunex.demo.tokens import write_tokenizer

    folder = tmp_path_factory.mktemp("words")
    write_tokenizer(folder, ["a castle at night, a ship, a fox"], 530)
    return CLIPTokenizer.from_pretrained(folder, model_max_length=77)


@pytest.fixture
def sd(model_folder: Path, tokenizer: CLIPTokenizer) -> Any:
    torch.manual_seed(2)
    parts = {"tokenizer": tokenizer, "safety_checker": None}
    pipe = StableDiffusionPipeline(
        vae=AutoencoderKL.from_pretrained(model_folder / "vae"),
        text_encoder=text_encoder(CLIPTextModel, 64, len(tokenizer)),
        unet=UNet2DConditionModel.from_pretrained(model_folder / "unet"),
        scheduler=DDPMScheduler(steps_offset=1, clip_sample=False),
        feature_extractor=None,
        image_encoder=None,
        requires_safety_checker=False,
        **parts,
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.fixture
def sdxl(tokenizer: CLIPTokenizer) -> Any:
    torch.manual_seed(3)
    unet = UNet2DConditionModel(
        **SMALL | {"attention_head_dim": (2, 4), "layers_per_block": 2},
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        transformer_layers_per_block=(1, 2),
        projection_class_embeddings_input_dim=6 * 8 + WIDTH,
        cross_attention_dim=64,
    )
    pipe = StableDiffusionXLPipeline(
        vae=autoencoder(),
        text_encoder=text_encoder(CLIPTextModel, 32, len(tokenizer)),
        text_encoder_2=text_encoder(CLIPTextModelWithProjection, 32, len(tokenizer)),
        tokenizer=tokenizer,
        tokenizer_2=tokenizer,
        unet=randomised(unet),
        scheduler=DDPMScheduler(),
        add_watermarker=False,
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.fixture
def kandinsky() -> Any:
    torch.manual_seed(4)
    unet = UNet2DConditionModel(
        **SMALL,
        in_channels=4,
        out_channels=8,
        addition_embed_type="image",
        down_block_types=("ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"),
        mid_block_type="UNetMidBlock2DSimpleCrossAttn",
        up_block_types=("SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"),
        encoder_hid_dim=WIDTH,
        encoder_hid_dim_type="image_proj",
        cross_attention_dim=64,
        resnet_time_scale_shift="scale_shift",
        class_embed_type=None,
    )
    movq = VQModel(
        block_out_channels=(32, 64),
        down_block_types=("DownEncoderBlock2D", "AttnDownEncoderBlock2D"),
        up_block_types=("AttnUpDecoderBlock2D", "UpDecoderBlock2D"),
        layers_per_block=1, latent_channels=4, norm_num_groups=8, norm_type="spatial",
        num_vq_embeddings=12, vq_embed_dim=4,
    )  # fmt: skip
    pipe = KandinskyV22Pipeline(randomised(unet), DDPMScheduler(), randomised(movq))
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.fixture
def stable_unclip(tokenizer: CLIPTokenizer) -> Any:
    torch.manual_seed(5)
    normalizer = StableUnCLIPImageNormalizer(embedding_dim=WIDTH)
    with torch.no_grad():
        normalizer.mean.copy_(torch.randn(1, WIDTH))
        normalizer.std.copy_(torch.rand(1, WIDTH) + 0.5)
    unet = UNet2DConditionModel(
        **SMALL | {"attention_head_dim": (2, 4)},
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        class_embed_type="projection",
        projection_class_embeddings_input_dim=2 * WIDTH,
        cross_attention_dim=32,
        use_linear_projection=True,
    )
    pipe = StableUnCLIPImg2ImgPipeline(
        feature_extractor=None,
        image_encoder=None,
        image_normalizer=normalizer,
        image_noising_scheduler=DDPMScheduler(beta_schedule="squaredcos_cap_v2"),
        tokenizer=tokenizer,
        text_encoder=text_encoder(CLIPTextModel, 32, len(tokenizer)),
        unet=randomised(unet),
        scheduler=DDPMScheduler(),
        vae=autoencoder(),
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.fixture
def flux() -> Any:
    """A FLUX pipeline without its text encoders, with a plain IP-Adapter."""
    torch.manual_seed(6)
    transformer = FluxTransformer2DModel(
        patch_size=1, in_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=16,
        num_attention_heads=2, joint_attention_dim=32, pooled_projection_dim=WIDTH, axes_dims_rope=(4, 4, 8),
    )  # fmt: skip
    values = {
        f"0.{part}.{kind}": torch.randn((32, 32) if kind == "weight" else (32,))
        for part in ("to_k_ip", "to_v_ip")
        for kind in ("weight", "bias")
    }
    randomised(transformer)._load_ip_adapter_weights(
        {"image_proj": projection(WIDTH, 32), "ip_adapter": values}
    )
    pipe = FluxPipeline(
        FlowMatchEulerDiscreteScheduler(),
        autoencoder(shift_factor=0.1),
        None,
        None,
        None,
        None,
        transformer,
        None,
        None,
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe

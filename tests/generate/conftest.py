"""Text encoders and whole models with random weights."""

import os
import resource
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from original_layout import unet_and_vae
from sdxl_models import random_xl

# Tiny models on a shared machine: threads would cost more than they bring, here and in every process started.
os.environ["OMP_NUM_THREADS"] = "1"
import torch
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel

torch.set_num_threads(1)


def random_text_encoder(width: int, layers: int, **changes: object) -> CLIPTextModel:
    """A CLIP text encoder of Stable Diffusion 1's shape, `width` wide and `layers` deep."""
    torch.manual_seed(0)
    settings = {
        "vocab_size": 49408 if width == 768 else 500,
        "hidden_size": width,
        "intermediate_size": 4 * width,
        "num_hidden_layers": layers,
        "num_attention_heads": width // 16 if width < 768 else width // 64,
        "projection_dim": width,
        "bos_token_id": 0,
        "eos_token_id": 2,  # the legacy value that SD 1.x's own config carries
    }
    return CLIPTextModel(CLIPTextConfig(**(settings | changes))).eval()


def a_prompt(text_encoder: CLIPTextModel, tokens: int) -> Tensor:
    """Ids `[1, 77]` of a prompt of so many random tokens, cut and padded as SD 1's tokenizer does."""
    config = text_encoder.config
    length, end = config.max_position_embeddings, config.vocab_size - 1
    words = torch.randint(0, end - 1, (tokens,), generator=torch.Generator().manual_seed(tokens))
    words = words[: length - 2]
    ids = torch.full((1, length), end)
    ids[0, 0] = end - 1
    ids[0, 1 : 1 + len(words)] = words
    return ids


@pytest.fixture(scope="session")
def prompt() -> Callable[..., Tensor]:
    return a_prompt


@pytest.fixture(scope="session")
def text_encoder() -> Callable[..., CLIPTextModel]:
    return random_text_encoder


@pytest.fixture(scope="session")
def small_text_encoder() -> CLIPTextModel:
    return random_text_encoder(64, 3)


@pytest.fixture(scope="session")
def full_text_encoder() -> CLIPTextModel:
    return random_text_encoder(768, 12)


def random_model(folder: Path, levels: int = 4, *, projected: bool = True, clip_words: bool = False) -> Path:
    """A whole Stable Diffusion of the original's shape, tiny and untrained, as a diffusers folder of files.

    `projected` gives its text encoder a projection, `clip_words` CLIP's own vocabulary.
    """
    from diffusers import AutoencoderKL, PNDMScheduler, UNet2DConditionModel
    from transformers import CLIPTextModelWithProjection, CLIPTokenizer

    from visunex.demo.tokens import write_tokenizer
    from visunex.generate.tokens import clip_tokenizer

    torch.manual_seed(1)
    UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(32, 64),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=64,
        attention_head_dim=8,
    ).save_pretrained(folder / "unet")
    AutoencoderKL(
        block_out_channels=(32,) * levels,
        layers_per_block=1,
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        sample_size=8 * 2 ** (levels - 1),
    ).save_pretrained(folder / "vae")
    PNDMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        skip_prk_steps=True,
        set_alpha_to_one=False,
        steps_offset=1,
    ).save_pretrained(folder / "scheduler")
    if clip_words:
        clip_tokenizer().save_pretrained(folder / "tokenizer")
    else:
        write_tokenizer(folder / "tokenizer", ["a castle at night, a ship, a fox"], 530)
    words = CLIPTokenizer.from_pretrained(folder / "tokenizer")
    config = random_text_encoder(64, 2, vocab_size=len(words), num_attention_heads=1).config
    kind = CLIPTextModelWithProjection if projected else CLIPTextModel
    kind(config).save_pretrained(folder / "text_encoder")
    return folder


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_model(tmp_path_factory.mktemp("models") / "clip", clip_words=True)


@pytest.fixture(scope="session")
def xl_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_xl(tmp_path_factory.mktemp("models") / "xl")


@pytest.fixture(scope="session")
def unprojected_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_model(tmp_path_factory.mktemp("models") / "plain", levels=3, projected=False)


@pytest.fixture(scope="session")
def embedding_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("embeddings") / "gardens.pt"
    torch.save(torch.randn(1, 64, generator=torch.Generator().manual_seed(3)), path)
    return path


def original_weights(folder: Path) -> dict[str, Tensor]:
    """The weights of a diffusers folder under the names that CompVis's checkpoints have."""
    text_encoder = CLIPTextModel.from_pretrained(folder / "text_encoder")
    found = unet_and_vae(folder)
    for name, value in text_encoder.state_dict().items():
        prefix = "" if name.startswith("text_model.") else "text_model."
        found["cond_stage_model.transformer." + prefix + name] = value
    found["cond_stage_model.transformer.text_model.embeddings.position_ids"] = torch.arange(77)[None]
    found["model_ema.decay"] = torch.tensor(0.9999)
    return {name: value.contiguous() for name, value in found.items()}


@pytest.fixture(scope="session")
def checkpoint_weights(clip_folder: Path) -> dict[str, Tensor]:
    return original_weights(clip_folder)


@pytest.fixture
def small_files_only() -> Iterator[Callable[[int], None]]:
    """Call it with a number of bytes: from then on no file can be written beyond it, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)

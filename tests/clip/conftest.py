"""A small model in a folder, and OpenAI's with random weights, for the tests of the encoders."""

from typing import Any

import odd
import pytest
import torch

from visunex.clip.image_encoder import ImageEncoder
from visunex.clip.preprocess import Preprocessing


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> str:
    return odd.small_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module", params=["ViT-B-32", pytest.param("ViT-L-14", marks=pytest.mark.slow)])
def published(request: pytest.FixtureRequest) -> tuple[ImageEncoder, Any]:
    """A model of OpenAI's with QuickGELU and random weights: as our encoder, and as transformers' model."""
    import open_clip
    from open_clip.model import _build_vision_tower
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    from visunex.demo.tiny import block_names

    torch.manual_seed(0)
    settings = open_clip.get_model_config(request.param)
    dimension, built = settings["embed_dim"], settings["vision_cfg"]
    tower = _build_vision_tower(dimension, built, quick_gelu=True).eval()
    config = CLIPVisionConfig(
        hidden_size=built["width"],
        intermediate_size=4 * built["width"],
        num_hidden_layers=built["layers"],
        num_attention_heads=built["width"] // 64,
        patch_size=built["patch_size"],
        image_size=built["image_size"],
        projection_dim=dimension,
        hidden_act="quick_gelu",
    )
    theirs = CLIPVisionModelWithProjection(config).eval()
    ours = tower.state_dict()
    inner = "vision_model."
    named = {
        f"{inner}embeddings.class_embedding": ours["class_embedding"],
        f"{inner}embeddings.patch_embedding.weight": ours["conv1.weight"],
        f"{inner}embeddings.position_embedding.weight": ours["positional_embedding"],
        "visual_projection.weight": ours["proj"].T.contiguous(),
    }
    for theirs_name, ours_name in (("pre_layrnorm", "ln_pre"), ("post_layernorm", "ln_post")):
        for kind in ("weight", "bias"):
            named[f"{inner}{theirs_name}.{kind}"] = ours[f"{ours_name}.{kind}"]
    for name, tensor in ours.items():
        if name.startswith("transformer.resblocks."):
            named |= {f"{inner}encoder.layers.{key}": part for key, part in block_names(name, tensor)}
    theirs.load_state_dict(named)
    encoder = ImageEncoder(
        model=request.param,
        pretrained="random",
        weights="",
        activation="QuickGELU",
        dimension=dimension,
        device="cpu",
        precision="fp32",
        preprocessing=Preprocessing(exact=True),
        network=tower,
    )
    return encoder, theirs

"""A taste where a model takes an image's vector: bit for bit what diffusers makes of the vector by hand."""

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from adapter_files import adapter
from torch import Tensor

from visunex.aesthetic_embeddings import Embedding, save
from visunex.base.errors import UsageError
from visunex.generate.adapters import ip_adapter, pooled, style_only, unclip
from visunex.generate.errors import EmbeddingSizeError

from .conftest import WIDTH

SHORT: dict[str, Any] = {"num_inference_steps": 2, "output_type": "pt"}


def made(folder: Path, size: int = WIDTH, **provenance: Any) -> Embedding:
    """An embedding whose provenance says that its images' vectors are 7 long."""
    vector = np.random.default_rng(1).normal(size=(1, size))
    return save(folder / "taste.pt", vector, {"checks": {"image_norm": 7.0}} | provenance)


def seven(embedding: Embedding) -> Tensor:
    """The embedding at an image's length, by hand."""
    unit = embedding.tensor().double()
    return (7 * (unit / unit.norm()).float()).float()


def drawn(pipe: Any, **how: Any) -> Tensor:
    return pipe(generator=torch.Generator().manual_seed(0), **SHORT | how).images


def test_pooled_at_weight_0_is_the_prompts_own_and_at_1_the_image_vector(sdxl: Any, tmp_path: Path) -> None:
    taste = made(tmp_path)
    size = {"height": 16, "width": 16}
    names = (
        "prompt_embeds",
        "negative_prompt_embeds",
        "pooled_prompt_embeds",
        "negative_pooled_prompt_embeds",
    )
    own = dict(zip(names, sdxl.encode_prompt("a castle", negative_prompt="a fox"), strict=True))
    plain = drawn(sdxl, prompt="a castle", negative_prompt="a fox", **size)
    nothing = pooled(sdxl, "a castle", taste, weight=0, negative_prompt="a fox")
    assert torch.equal(drawn(sdxl, **nothing, **size), plain)
    by_hand = drawn(sdxl, **own | {"pooled_prompt_embeds": seven(taste)}, **size)
    whole = drawn(sdxl, **pooled(sdxl, "a castle", taste, weight=1, negative_prompt="a fox"), **size)
    assert torch.equal(whole, by_hand)
    assert not torch.equal(whole, plain)
    half = pooled(sdxl, "a castle", taste, weight=0.5)["pooled_prompt_embeds"]
    assert torch.allclose(half, (own["pooled_prompt_embeds"] + seven(taste)) / 2, atol=1e-6)


def test_pooled_takes_conditioning_that_is_there_and_prompts_by_the_batch(sdxl: Any, tmp_path: Path) -> None:
    taste = made(tmp_path)
    given = pooled(sdxl, ["a castle", "a fox"], taste, weight=1)
    assert torch.equal(given["pooled_prompt_embeds"], seven(taste).expand(2, WIDTH))
    again = pooled(sdxl, None, taste, weight=0, conditioning=given)
    assert all(torch.equal(again[name], given[name]) for name in given)


def test_a_tensor_without_a_length_gets_the_prompts_own(sdxl: Any) -> None:
    own = sdxl.encode_prompt("a castle")[2]
    found = pooled(sdxl, "a castle", torch.ones(WIDTH), weight=1)["pooled_prompt_embeds"]
    assert found.norm().item() == pytest.approx(own.norm().item(), rel=1e-5)
    found = pooled(sdxl, "a castle", torch.ones(WIDTH), weight=1, length=3)["pooled_prompt_embeds"]
    assert found.norm().item() == pytest.approx(3, rel=1e-5)


def test_a_contrast_is_added_to_the_prompts_own_vector(sdxl: Any, tmp_path: Path) -> None:
    taste = made(tmp_path, reduction="contrast")
    own = sdxl.encode_prompt("a castle")[2]
    found = pooled(sdxl, "a castle", taste, weight=0.5)["pooled_prompt_embeds"]
    turned = own + 0.5 * own.norm() * seven(taste) / 7
    assert torch.allclose(found, turned / turned.norm() * own.norm(), atol=1e-5)


def test_a_vector_of_another_clip_is_refused_by_name(sdxl: Any, tmp_path: Path) -> None:
    sdxl.text_encoder_2.text_projection = torch.nn.Linear(32, 1280, bias=False)
    small = made(tmp_path, 768, model={"name": "ViT-L-14", "pretrained": "openai"})
    with pytest.raises(EmbeddingSizeError, match=r"taste is 1x768 of ViT-L-14 openai, SDXL's .*ViT-bigG-14"):
        pooled(sdxl, "a castle", small)
    other = made(tmp_path, 1280, model={"name": "ViT-bigG-14-CLIPA", "pretrained": "datacomp1b"})
    with pytest.raises(EmbeddingSizeError, match=r"of ViT-bigG-14-CLIPA datacomp1b, .* takes 1x1280"):
        pooled(sdxl, "a castle", other)


@pytest.mark.parametrize("weight", [-0.1, 1.5, float("nan"), "half"])
def test_a_weight_is_a_share(sdxl: Any, weight: Any) -> None:
    with pytest.raises(UsageError, match=r"from 0 \(the prompt alone\) to 1"):
        pooled(sdxl, "a castle", torch.ones(WIDTH), weight=weight)


def test_a_pipeline_without_a_pooled_vector_is_refused(sd: Any) -> None:
    with pytest.raises(UsageError, match="StableDiffusionPipeline takes no pooled vector"):
        pooled(sd, "a castle", torch.ones(WIDTH))


@pytest.mark.parametrize("guidance", [1.0, 5.0])
@pytest.mark.parametrize("family", ["sd", "sdxl"])
def test_an_ip_adapter_gets_what_it_would_be_given_by_hand(
    family: str, guidance: float, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    pipe = request.getfixturevalue(family)
    pipe.load_ip_adapter(
        adapter(pipe.unet, of=WIDTH), subfolder="", weight_name="", image_encoder_folder=None
    )
    taste = made(tmp_path)
    size = {"height": 64, "width": 64} if family == "sd" else {"height": 16, "width": 16}
    how: dict[str, Any] = {"prompt": "a castle", "guidance_scale": guidance, **size}
    vector = seven(taste)[None]
    by_hand = torch.cat([torch.zeros_like(vector), vector]) if guidance > 1 else vector
    ours = drawn(pipe, **how, **ip_adapter(pipe, taste, guidance=guidance > 1))
    assert torch.equal(ours, drawn(pipe, **how, ip_adapter_image_embeds=[by_hand]))
    unscaled = drawn(pipe, **how, ip_adapter_image_embeds=[by_hand / 7])
    assert not torch.equal(ours, unscaled)


def test_flux_gets_a_negative_of_its_own(flux: Any, tmp_path: Path) -> None:
    taste = made(tmp_path)
    vector = seven(taste)[None]
    how: dict[str, Any] = {
        "prompt_embeds": torch.randn(1, 8, 32),
        "pooled_prompt_embeds": torch.randn(1, WIDTH),
        "height": 16,
        "width": 16,
    }
    by_hand = {"ip_adapter_image_embeds": [vector], "negative_ip_adapter_image_embeds": [vector * 0]}
    assert torch.equal(drawn(flux, **how, **ip_adapter(flux, taste)), drawn(flux, **how, **by_hand))


def test_other_adapters_none_and_too_few_tastes_are_refused(sd: Any) -> None:
    from diffusers.models.embeddings import IPAdapterPlusImageProjection

    with pytest.raises(UsageError, match=r"has no IP-Adapter: call pipe\.load_ip_adapter"):
        ip_adapter(sd, torch.ones(WIDTH), length=7)
    loaded = adapter(sd.unet, of=WIDTH)
    sd.load_ip_adapter([loaded, loaded], subfolder="", weight_name=["", ""], image_encoder_folder=None)
    with pytest.raises(UsageError, match="2 IP-Adapters are loaded, 1 tastes given"):
        ip_adapter(sd, torch.ones(WIDTH), length=7)
    with pytest.raises(UsageError, match="nothing says how long"):
        ip_adapter(sd, torch.ones(WIDTH), torch.ones(WIDTH))
    plus = IPAdapterPlusImageProjection(embed_dims=64, output_dims=64, hidden_dims=64, depth=1, heads=2)
    sd.unet.encoder_hid_proj.image_projection_layers[0] = plus
    with pytest.raises(UsageError, match="is an IP-Adapter Plus"):
        ip_adapter(sd, torch.ones(WIDTH), torch.ones(WIDTH), length=7)


def test_a_contrast_is_no_image_for_an_adapter(sd: Any, tmp_path: Path) -> None:
    sd.load_ip_adapter(adapter(sd.unet, of=WIDTH), subfolder="", weight_name="", image_encoder_folder=None)
    with pytest.raises(UsageError, match="is a contrast"):
        ip_adapter(sd, made(tmp_path, reduction="contrast"))


def test_style_alone_is_refused_where_it_would_switch_the_adapter_off(sd: Any) -> None:
    sd.load_ip_adapter(adapter(sd.unet, of=WIDTH), subfolder="", weight_name="", image_encoder_folder=None)
    with pytest.raises(UsageError, match="only SDXL"):
        style_only(sd)


def test_style_alone_acts_on_one_layer_of_sdxl(sdxl: Any) -> None:
    sdxl.load_ip_adapter(
        adapter(sdxl.unet, of=WIDTH), subfolder="", weight_name="", image_encoder_folder=None
    )
    style_only(sdxl, 0.8)
    scales = {
        name: processor.scale[0]
        for name, processor in sdxl.unet.attn_processors.items()
        if hasattr(processor, "scale")
    }
    on = {name for name, scale in scales.items() if scale}
    assert on
    assert all(name.startswith("up_blocks.0.attentions.1") for name in on)
    assert {scales[name] for name in on} == {0.8}


def test_kandinsky_blends_with_the_priors_own_vector(kandinsky: Any, tmp_path: Path) -> None:
    taste = made(tmp_path)
    size = {"height": 16, "width": 16}
    prior = SimpleNamespace(image_embeds=torch.randn(1, WIDTH), negative_image_embeds=torch.randn(1, WIDTH))
    plain = drawn(kandinsky, **vars(prior), **size)
    assert torch.equal(drawn(kandinsky, **unclip(kandinsky, taste, prior=prior, weight=0), **size), plain)
    by_hand = vars(prior) | {"image_embeds": seven(taste)}
    whole = drawn(kandinsky, **unclip(kandinsky, taste, prior=prior), **size)
    assert torch.equal(whole, drawn(kandinsky, **by_hand, **size))
    assert not torch.equal(whole, plain)
    tensor = unclip(kandinsky, torch.ones(WIDTH), prior=prior)["image_embeds"]
    assert tensor.norm().item() == pytest.approx(prior.image_embeds.norm().item(), rel=1e-5)
    with pytest.raises(UsageError, match="give prior="):
        unclip(kandinsky, taste)


def test_stable_unclip_needs_no_image_encoder(stable_unclip: Any, tmp_path: Path) -> None:
    taste = made(tmp_path)
    given = unclip(stable_unclip, taste)
    assert torch.equal(given["image_embeds"], seven(taste))
    ours = drawn(stable_unclip, prompt="a castle", **given)
    assert torch.equal(ours, drawn(stable_unclip, prompt="a castle", image_embeds=seven(taste)))
    normalizer = stable_unclip.image_normalizer
    usual = (normalizer.mean.square() + normalizer.std.square()).sum().sqrt().item()
    assert unclip(stable_unclip, torch.ones(WIDTH))["image_embeds"].norm().item() == pytest.approx(
        usual, rel=1e-5
    )
    with pytest.raises(UsageError, match="no prior to blend with"):
        unclip(stable_unclip, taste, weight=0.5)


def test_a_published_mean_has_a_length_and_a_published_contrast_is_one(reference: Path) -> None:
    from visunex.generate.adapters.vector import PUBLISHED_LENGTH, image_vector

    folder = reference / "aesthetic_embeddings"
    mean = image_vector(folder / "fantasy.pt", 768, wanted_by="a model")
    assert not mean.is_contrast
    assert mean.raw().norm().item() == pytest.approx(PUBLISHED_LENGTH, rel=1e-5)
    assert image_vector(folder / "laion_7plus.pt", 768, wanted_by="a model").is_contrast


def test_the_pages_examples_name_what_there_is() -> None:
    page = (Path(__file__).parents[3] / "docs" / "image-vectors.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    assert len(blocks) == 3
    for block in blocks:
        imports = [line for line in block.splitlines() if line.startswith("from ")]
        exec("\n".join(imports), {})
        compile(block, "image-vectors.md", "exec")

"""A LoRA and a token for SDXL: each encoder towards the taste of its own CLIP, loaded by diffusers."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from sd2_models import in_one_file, random_sd2
from sdxl_models import G, L, random_xl

from visunex.aesthetic_embeddings import save
from visunex.export import encoder, kohya, lora, tokens
from visunex.export.cli import main
from visunex.export.errors import ExportError
from visunex.generate import Sampler, Taste
from visunex.generate.additions import Additions, added
from visunex.generate.additions.inversion import read_inversion
from visunex.generate.tokens import clip_tokenizer

# ComfyUI, comfy/lora.py: `model_lora_keys_clip`, of SDXL's clip_l and clip_g.
COMFYUI = r"lora_te[12]_text_model_encoder_layers_\d+_(mlp_fc[12]|self_attn_(k|q|v|out)_proj)"
# The web UI, extensions-builtin/Lora/networks.py: modules of its `conditioner.embedders`, 0 and 1, by
# `load_network` and `convert_diffusers_name_to_compvis`, the second one's as OpenCLIP names them.
WEB_UI = (
    ("lora_te1_text_model", "0_transformer_text_model"),
    (r"lora_te2_text_model_encoder_layers_(\d+)_(.+)", r"1_model_transformer_resblocks_\1_\2"),
    (r"^(1_.*)mlp_fc1", r"\1mlp_c_fc"),
    (r"^(1_.*)mlp_fc2", r"\1mlp_c_proj"),
    (r"^(1_.*)self_attn", r"\1attn"),
)
OPEN_CLIP = {"attn_q_proj", "attn_k_proj", "attn_v_proj", "attn_out_proj", "mlp_c_fc", "mlp_c_proj"}


PROMPT = "a castle at night"
PADDED = {"padding": "max_length", "max_length": 77, "truncation": True, "return_tensors": "pt"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny SDXL, a taste in the first encoder's space, and beside it what `encode --also` makes by the
    second's."""
    place, draw = tmp_path_factory.mktemp("sdxl"), np.random.default_rng(5)
    random_xl(place / "xl")
    save(place / "garden.pt", draw.normal(size=L), {"model": {"name": "small", "pretrained": "a"}})
    second = {"model": {"name": "large", "pretrained": "b"}}
    save(place / "garden-large-b.pt", draw.normal(size=G), second)
    return place


def export(folder: Path, scenes: Path, out: str, *options: object, kind: str = "lora") -> Any:
    """Run the command; its result."""
    given = (folder / "garden.pt", "--to", kind, "--model", folder / "xl", "--device", "cpu")
    whole = (*given, "--prompts", scenes, "--imitate", 3, "--out", folder / out, *options)
    return CliRunner().invoke(main, [*map(str, whole), "--json"])


@pytest.fixture(scope="module")
def made(folder: Path, scenes: Path) -> dict[str, Any]:
    """The report on a LoRA of few steps, learnt with a few of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lora, "STEPS", {"imitate": 30, "cosine": 20})
        done = export(folder, scenes, "x.safetensors")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)["report"]


def test_each_encoder_learns_the_taste_of_its_own_clip(made: dict[str, Any], folder: Path) -> None:
    for part in ("text_encoder", "text_encoder_2"):
        assert made[part]["cosine_steered"] > made[part]["cosine_plain"] + 0.05
        assert made[part]["cosine"] > made[part]["cosine_plain"] + 0.05
        assert made[part]["error"] < 0.6
    keys = {key.partition(".")[0] for key in load_file(folder / "x.safetensors")}
    assert len(keys) == (2 + 3) * len(kohya.LAYERS)
    assert all(re.fullmatch(COMFYUI, key) for key in keys)
    with safe_open(folder / "x.safetensors", "pt") as file:
        assert file.metadata()["ss_base_model_version"] == "sdxl_base_v1-0"
    modules = keys
    for pattern, with_ in WEB_UI:
        modules = {re.sub(pattern, with_, name) for name in modules}
    firsts = {name for name in modules if name.startswith("0_transformer_text_model_encoder_layers_")}
    seconds = {re.sub(r"^1_model_transformer_resblocks_\d+_", "", name) for name in modules - firsts}
    assert len(firsts) == 2 * len(kohya.LAYERS)
    assert seconds == OPEN_CLIP


def test_diffusers_conditions_as_was_learnt(made: dict[str, Any], folder: Path) -> None:
    """The pipeline's own `load_lora_weights` and `encode_prompt`, against our arithmetic at strength 0.5."""
    from diffusers import StableDiffusionXLPipeline

    pipe = StableDiffusionXLPipeline.from_pretrained(folder / "xl")
    plain, *_ = pipe.encode_prompt(PROMPT, do_classifier_free_guidance=False)
    pipe.load_lora_weights(folder, weight_name="x.safetensors", adapter_name="garden", local_files_only=True)
    pipe.set_adapters("garden", 0.5)
    embeds, *_ = pipe.encode_prompt(PROMPT, do_classifier_free_guidance=False)
    ours = conditioned(folder, PROMPT, loras=[f"{folder / 'x.safetensors'}:0.5"])
    assert torch.allclose(ours, embeds, atol=1e-5)
    assert not torch.allclose(plain, embeds, atol=1e-3)


def conditioned(folder: Path, prompt: str, **additions: Any) -> torch.Tensor:
    """What the model with these files makes of a prompt, as `visunex-generate` adds them."""
    model = added(Sampler.load(folder / "xl", device="cpu").model, Additions.of(**additions))
    found = []
    with torch.no_grad():
        for tokenizer, encoder_of in model.readers:
            found.append(encoder_of(tokenizer(prompt, **PADDED).input_ids, output_hidden_states=True))
    return torch.cat([each.hidden_states[-2] for each in found], dim=-1)


def test_diffusers_loads_a_token_into_both_encoders(
    folder: Path, scenes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As its guide does for SDXL; and `visunex-generate` reads the same of the file."""
    from diffusers import StableDiffusionXLPipeline

    monkeypatch.setattr(tokens, "STEPS", 8)
    done = export(folder, scenes, "mygarden.safetensors", kind="token")
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)["report"]
    path = folder / "mygarden.safetensors"
    held = load_file(path)
    # The keys by which the web UI (modules/textual_inversion/textual_inversion.py,
    # `create_embedding_from_data`) and ComfyUI (comfy/sdxl_clip.py, `embedding_key`) find them.
    assert {name: each.shape for name, each in held.items()} == {"clip_l": (2, L), "clip_g": (2, G)}
    pipe = StableDiffusionXLPipeline.from_pretrained(folder / "xl")
    for key, number in (("clip_l", ""), ("clip_g", "_2")):
        part = getattr(pipe, f"text_encoder{number}")
        pipe.load_textual_inversion(
            held[key], token="mygarden", text_encoder=part, tokenizer=getattr(pipe, f"tokenizer{number}")
        )
        assert report[f"text_encoder{number}"]["cosine"] > report[f"text_encoder{number}"]["cosine_plain"]
    prompt = f"{PROMPT} mygarden"
    embeds, *_ = pipe.encode_prompt(prompt, do_classifier_free_guidance=False)
    ours = conditioned(folder, prompt, textual_inversions=[path])
    assert torch.allclose(ours, embeds, atol=1e-5)
    plain = conditioned(folder, PROMPT)
    assert not torch.allclose(plain, embeds, atol=1e-3)


def test_either_file_of_a_token_says_the_same_of_both_encoders(tmp_path: Path) -> None:
    vectors = {"text_encoder": torch.randn(2, L), "text_encoder_2": torch.randn(2, G)}
    found = []
    for suffix in (".safetensors", ".pt"):
        (tmp_path / f"it{suffix}").write_bytes(tokens.token_bytes("it", vectors, suffix))
        found.append(read_inversion(tmp_path / f"it{suffix}"))
    for each in found:
        assert each.word == "it"
        assert [torch.equal(each.vectors[place], own) for place, own in enumerate(vectors.values())] == [
            True
        ] * 2


def test_a_taste_of_one_clip_moves_its_encoder_alone(
    folder: Path, scenes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lora, "STEPS", {"imitate": 2, "cosine": 2})
    (folder / "garden-large-b.pt").rename(folder / "elsewhere.pt")
    done = export(folder, scenes, "y.safetensors")
    assert done.exit_code == 0, done.output
    assert {key[:9] for key in load_file(folder / "y.safetensors")} == {"lora_te1_"}
    assert "encode --also ViT-bigG-14:laion2b_s39b_b160k" in json.loads(done.stdout)["report"]["said"][-1]
    refused = export(folder, scenes, "z.safetensors", kind="token")
    assert refused.exit_code == 1
    assert "has none for text_encoder_2: `visunex-data encode --also ViT-bigG-14" in refused.output


def test_a_family_that_nothing_is_learnt_for_is_called_by_its_name(tmp_path: Path) -> None:
    whole = random_sd2(tmp_path / "sd2", clip_tokenizer(pad="!"), L)
    save_file(in_one_file(tmp_path / "sd2", whole), tmp_path / "sd2.safetensors")
    taste = Taste("garden", torch.ones(1, L))
    with pytest.raises(ExportError, match="is of the family Stable Diffusion 2"):
        encoder.load(str(tmp_path / "sd2.safetensors"), taste, device="cpu")

"""A LoRA of the text encoder: learnt on the tiny model, written as kohya does, read by others' own code."""

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from transformers import CLIPTextConfig, CLIPTextModel

from visunex.export import kohya, lora, training
from visunex.export.kohya import LAYERS, Lora
from visunex.generate.additions.layers import encoder_layers
from visunex.generate.additions.lora import Change, fitted, merge, read_lora

Export = Callable[..., dict[str, Any]]

# Which keys others look for in a LoRA of Stable Diffusion 1.x's text encoder, `{}` the block's number.
# ComfyUI, comfy/lora.py: LORA_CLIP_MAP and `text_model_lora_key`, with `.lora_up.weight` and the like behind.
COMFYUI = "lora_te_text_model_encoder_layers_{}_{}"
COMFYUI_LAYERS = {
    *("mlp_fc1", "mlp_fc2", "self_attn_k_proj", "self_attn_q_proj", "self_attn_v_proj", "self_attn_out_proj")
}
COMFYUI_PARTS = {"lora_up.weight", "lora_down.weight", "alpha"}
# The web UI, extensions-builtin/Lora/networks.py: `convert_diffusers_name_to_compvis` makes of a key the name
# of a module of its text encoder, dots written as underscores.
WEB_UI = (r"lora_te_text_model_encoder_layers_(\d+)_(.+)", r"transformer_text_model_encoder_layers_\1_\2")
# What it, and kohya's own tools, take from the metadata.
METADATA = {"ss_network_module": "networks.lora", "ss_base_model_version": "sd_v1", "ss_v2": "False"}


@pytest.fixture(scope="session")
def clip_l() -> CLIPTextModel:
    """A text encoder of CLIP-L's config with random weights and two blocks."""
    torch.manual_seed(0)
    config = CLIPTextConfig(
        vocab_size=500,
        hidden_size=768,
        intermediate_size=3072,
        num_hidden_layers=2,
        num_attention_heads=12,
        projection_dim=768,
    )
    return CLIPTextModel(config).eval().requires_grad_(False)


def drawn(encoder: CLIPTextModel, seed: int) -> Lora:
    """A LoRA whose B is drawn by lot, too."""
    fresh = Lora.fresh(encoder, 4, seed)
    generator = torch.Generator().manual_seed(seed)
    return Lora(
        {name: value.detach() for name, value in fresh.down.items()},
        {name: torch.randn(value.shape, generator=generator) / 100 for name, value in fresh.up.items()},
    )


def with_loras(encoder: CLIPTextModel, paths: Sequence[Path], strength: float) -> CLIPTextModel:
    """A copy into which files are merged as `visunex-generate --lora` does."""
    merged = CLIPTextModel(encoder.config).eval()
    merged.load_state_dict(encoder.state_dict())
    sums: dict[Any, list[Change]] = {}
    for path in paths:
        found, left_out = fitted(read_lora(path), strength, {"text_encoder": encoder_layers(merged)}, "it")
        assert not left_out
        for layer, change in found:
            sums.setdefault(layer, []).append(change)
    for layer, changes in sums.items():
        merge(layer, changes, "them")
    return merged


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few steps of learning, so that a test takes seconds."""
    monkeypatch.setattr(lora, "STEPS", {"imitate": 40, "cosine": 30})


@pytest.mark.parametrize("objective", ["imitate", "cosine"])
def test_strength_one_equals_the_steps_on_prompts_not_seen(
    export: Export, flowers: Path, scenes: Path, quick: None, objective: str
) -> None:
    tiny = ("--model", "visunex-tiny", "--device", "cpu", "--prompts", scenes)
    said = export(flowers, "--to", "lora", *tiny, f"--{objective}", 6, "--out", "x")["report"]
    way = said["cosine_steered"] - said["cosine_plain"]
    assert way > 0.05
    assert said["cosine"] - said["cosine_plain"] == pytest.approx(way, rel=0.35)
    assert said["cosine_to_steered"] > (0.99 if objective == "imitate" else 0.9)
    if objective == "imitate":
        assert said["error"] < 0.15
    with safe_open("x.safetensors", "pt") as file:
        metadata = file.metadata()
    assert METADATA.items() <= metadata.items()
    assert metadata["ss_network_dim"] == "4"
    assert sorted(path.name for path in Path().iterdir()) == ["x.safetensors", "x.safetensors.json"]
    assert json.loads(Path("x.safetensors.json").read_text())["objective"] == objective


def test_an_interrupted_start_goes_on_and_ends_with_the_same_bytes(
    export: Export, flowers: Path, scenes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lora, "STEPS", {"imitate": 8, "cosine": 8})
    monkeypatch.setattr(training, "KEPT_EVERY", -1.0)
    given = (flowers, "--to", "lora", "--model", "visunex-tiny", "--device", "cpu", "--prompts", scenes)
    export(*given, "--imitate", 2, "--out", "whole/x")
    batches: list[int] = []

    def interrupted(step: int, count: int, seed: int) -> torch.Tensor:
        batches.append(step)
        if batches == [0, 1, 2, 3, 4, 5]:
            raise KeyboardInterrupt
        return training.batch_of(step, count, seed)

    monkeypatch.setattr(lora, "batch_of", interrupted)
    with pytest.raises(AssertionError, match="goes on from here"):
        export(*given, "--imitate", 2, "--out", "x")
    assert not Path("x.safetensors").exists()
    export(*given, "--imitate", 2, "--out", "x")
    assert batches == [0, 1, 2, 3, 4, 5, 5, 6, 7]
    assert Path("x.safetensors").read_bytes() == Path("whole/x.safetensors").read_bytes()


def test_comfyui_and_the_web_ui_find_every_key(clip_l: CLIPTextModel, tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").write_bytes(
        kohya.safetensors_bytes({"text_encoder": drawn(clip_l, 1)}, "sd1", {})
    )
    keys = set(load_file(tmp_path / "x.safetensors"))
    modules = {COMFYUI.format(block, layer) for block in range(2) for layer in COMFYUI_LAYERS}
    assert keys == {f"{module}.{part}" for module in modules for part in COMFYUI_PARTS}
    # FrozenCLIPEmbedder's `transformer` is the text model; transformers had `text_model` in it until 5.
    named = {f"transformer_text_model_{name}".replace(".", "_") for name, _ in clip_l.named_modules()}
    assert {re.sub(*WEB_UI, module) for module in modules} <= named


def test_diffusers_own_conversion_reads_it_and_merged_weights_are_w_plus_s_b_a(
    clip_l: CLIPTextModel, tmp_path: Path
) -> None:
    """peft, which diffusers hands the result to, is not needed: what it does with it is one product."""
    from diffusers.loaders import StableDiffusionLoraLoaderMixin
    from diffusers.utils import convert_state_dict_to_diffusers, convert_state_dict_to_peft

    ours = drawn(clip_l, 2)
    (tmp_path / "x.safetensors").write_bytes(kohya.safetensors_bytes({"text_encoder": ours}, "sd1", {}))
    state, alphas = StableDiffusionLoraLoaderMixin.lora_state_dict(
        tmp_path, weight_name="x.safetensors", local_files_only=True
    )
    text = {name.removeprefix("text_encoder."): value for name, value in state.items()}
    assert len(text) == len(state) == 2 * 2 * len(LAYERS)
    theirs = convert_state_dict_to_peft(convert_state_dict_to_diffusers(text))
    assert set(alphas.values()) == {4.0}
    merged = with_loras(clip_l, [tmp_path / "x.safetensors"], 0.7)
    for name, layer in kohya.layers_of(clip_l).items():
        down, up = (theirs[f"text_model.{name}.lora_{part}.weight"] for part in "AB")
        expected = layer.weight + 0.7 * (4.0 / 4) * up @ down
        assert torch.allclose(merged.get_submodule(name).weight, expected, atol=1e-6)
        assert not torch.allclose(layer.weight, expected, atol=1e-4)


def test_two_at_half_strength_stack_whichever_comes_first(clip_l: CLIPTextModel, tmp_path: Path) -> None:
    both = [drawn(clip_l, seed) for seed in (3, 4)]
    ids = torch.arange(1, 13)[None]
    with both[0].on(clip_l, 0.5), both[1].on(clip_l, 0.5):
        hooked = clip_l(input_ids=ids).last_hidden_state
    paths = [tmp_path / "1.safetensors", tmp_path / "2.safetensors"]
    for path, each in zip(paths, both, strict=True):
        path.write_bytes(kohya.safetensors_bytes({"text_encoder": each}, "sd1", {}))
    for order in (paths, paths[::-1]):
        merged = with_loras(clip_l, order, 0.5)
        assert torch.allclose(merged(input_ids=ids).last_hidden_state, hooked, atol=1e-5)
    assert not torch.allclose(clip_l(input_ids=ids).last_hidden_state, hooked, atol=1e-3)


def test_what_cannot_be_learnt_is_said_before_the_model_is_loaded(
    refuse: Callable[..., str], flowers: Path, tmp_path: Path
) -> None:
    given = (flowers, "--to", "lora", "--model", "visunex-tiny", "--out", "x")
    assert "give one of them" in refuse(*given, "--imitate", 3, "--cosine", 3, code=2)
    (tmp_path / "few.txt").write_text("a castle\n\n# a remark\na castle\n")
    assert "there are 1 different prompts" in refuse(*given, "--prompts", tmp_path / "few.txt")
    assert "cannot be read" in refuse(*given, "--prompts", tmp_path / "none.txt")


def test_an_embedding_of_another_clip_is_refused(
    refuse: Callable[..., str], taste: Callable[..., Path]
) -> None:
    tiny = ("--to", "lora", "--model", "visunex-tiny", "--out", "x")
    assert "different models" in refuse(taste(768), *tiny)

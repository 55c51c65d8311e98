"""The node that moves ComfyUI's CLIP says what the plain method says of the same weights."""

import copy
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from comfyui_clips import CONFIGS, G, L
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel

from visunex.generate import Taste
from visunex.generate.errors import EmbeddingSizeError, SteeringError, UsageError
from visunex.generate.steering import climb

STEPS, LR = 3, 1e-3
WORDS = "a castle at night"
LONG = "a (red:1.3) castle " * 30  # more than one chunk of 77 tokens

Clips = Callable[..., Any]


def a_taste(width: int, seed: int = 1) -> Taste:
    return Taste(f"taste of {width}", torch.randn(1, width, generator=torch.Generator().manual_seed(seed)))


def encoded(steering: ModuleType, clip: Any, text: str, taste: Taste, **how: Any) -> tuple[Tensor, Tensor]:
    with torch.inference_mode():
        ((cond, rest),) = steering.encode(clip, text, taste, **{"steps": STEPS, "lr": LR} | how)
    return cond, rest["pooled_output"]


def off(found: Tensor, wanted: Tensor) -> float:
    """How far one is from the other, of its length; Adam's first steps are signs, so that rounding shows."""
    return float((found - wanted).norm() / wanted.norm())


def plain(clip: Any, text: str) -> tuple[Tensor, Tensor]:
    with torch.inference_mode():
        ((cond, rest),) = clip.encode_from_tokens_scheduled(clip.tokenize(text))
    return cond, rest["pooled_output"]


def state(clip: Any) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in clip.cond_stage_model.state_dict().items()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def of_transformers(encoder: Any, name: str) -> CLIPTextModel:
    """transformers' text model with the weights of one of ComfyUI's."""
    config = CLIPTextConfig(**CONFIGS[name] | {"vocab_size": 49408, "bos_token_id": 49406})
    model = CLIPTextModel(config).eval()
    values = {
        key.removeprefix("transformer."): value.detach().clone().float()
        for key, value in encoder.state_dict().items()
        if key.startswith("transformer.text_model.")
    }
    prefix = "" if any(key.startswith("text_model.") for key in model.state_dict()) else "text_model."
    missing = model.load_state_dict(
        {key.removeprefix(prefix): each for key, each in values.items()}, strict=False
    )
    assert not missing.unexpected_keys
    assert all("position_ids" in key for key in missing.missing_keys)
    return model


def expected(clip: Any, name: str, text: str, taste: Taste, skipped: int = 0, normed: bool = True) -> Any:
    """States and pooled of each chunk by transformers' model, moved by the plain method, words weighed."""
    encoder = clip.cond_stage_model._modules[name]
    projection = encoder.transformer.text_projection.weight.detach().clone()
    pads = encoder.special_tokens
    nothing = [pads["start"], pads["end"], *[pads["pad"]] * 75]
    states, pooleds = [], []
    for chunk in clip.tokenize(text)[name[-1]]:
        f = copy.deepcopy(of_transformers(encoder, name))
        ids = torch.tensor([[token for token, _ in chunk]])
        end = [token for token, _ in chunk].index(pads["end"])
        climb(f, projection, ids, taste.embedding, end=end, steps=STEPS, lr=LR)
        with torch.no_grad():
            y = f(torch.cat([ids, torch.tensor([nothing])]), output_hidden_states=True)
        inner = getattr(f, "text_model", f)
        z = y.hidden_states[-1 - skipped] if skipped or not normed else y.last_hidden_state
        z = inner.final_layer_norm(z) if skipped and normed else z
        weights = torch.tensor([weight for _, weight in chunk])[:, None]
        states.append(((z[0] - z[1]) * weights + z[1]).detach())
        pooleds.append(y.last_hidden_state[:1, end] if end else None)
    return torch.cat(states)[None], pooleds[0].detach(), projection


@pytest.mark.parametrize("layer", [None, -2])
@pytest.mark.parametrize("text", [WORDS, LONG])
def test_a_prompt_is_moved_as_the_plain_method_moves_it(
    steering: ModuleType, clip: Clips, text: str, layer: int | None
) -> None:
    given = clip()
    if layer is not None:
        given.clip_layer(layer)
    before, unsteered = state(given), plain(given, text)
    cond, pooled = encoded(steering, given, text, a_taste(L))
    states, feature, _ = expected(given, "clip_l", text, a_taste(L), skipped=-1 - (layer or -1))
    assert cond.shape == unsteered[0].shape
    assert off(cond, states) < 1e-3
    assert off(pooled, feature) < 1e-3
    assert off(cond, unsteered[0]) > 0.03
    assert same(state(given), before)
    assert all(torch.equal(*each) for each in zip(plain(given, text), unsteered, strict=True))


def test_of_sdxls_encoders_the_one_of_the_tastes_size_moves(steering: ModuleType, clip: Clips) -> None:
    given = clip("sdxl")
    before, (states, pooled) = state(given), plain(given, WORDS)
    cond, feature = encoded(steering, given, WORDS, a_taste(G))
    wanted, unprojected, projection = expected(given, "clip_g", WORDS, a_taste(G), skipped=1, normed=False)
    assert torch.equal(cond[..., :L], states[..., :L])
    assert off(cond[..., L:], wanted) < 1e-3
    assert off(feature, unprojected @ projection.T) < 1e-3
    left, same_pooled = encoded(steering, given, WORDS, a_taste(L))
    assert torch.equal(left[..., L:], states[..., L:])
    assert torch.equal(same_pooled, pooled)
    both = Taste("both", a_taste(L).embedding, others=(a_taste(G),))
    whole, _ = encoded(steering, given, WORDS, both)
    assert torch.equal(whole, torch.cat([left[..., :L], cond[..., L:]], dim=-1))
    assert same(state(given), before)


def test_patches_count_and_stay_in_their_own_clone(steering: ModuleType, clip: Clips) -> None:
    given, written = clip(), clip()
    key = "clip_l.transformer.text_model.encoder.layers.1.mlp.fc1.weight"
    with torch.inference_mode():
        difference = torch.randn(96, L) * 0.2
        patched = given.clone()
        patched.add_patches({key: ("diff", (difference,))}, 0.5)
        dict(written.cond_stage_model.named_parameters())[key].add_(difference, alpha=0.5)
    wanted, _ = encoded(steering, written, WORDS, a_taste(L))
    bare, _ = encoded(steering, given, WORDS, a_taste(L))
    found, _ = encoded(steering, patched, WORDS, a_taste(L))
    assert off(found, wanted) < 1e-3
    assert not torch.allclose(found, bare, atol=1e-2)
    assert torch.equal(encoded(steering, given, WORDS, a_taste(L))[0], bare)


def test_weights_that_change_as_they_are_used_count_so(steering: ModuleType, clip: Clips) -> None:
    given, written = clip(), clip()
    name = "clip_l.transformer.text_model.encoder.layers.0.self_attn.v_proj"
    given.cond_stage_model.get_submodule(name).weight_function = [lambda weight: weight * 1.5]
    with torch.inference_mode():
        written.cond_stage_model.get_submodule(name).weight.mul_(1.5)
    found, wanted = (encoded(steering, each, WORDS, a_taste(L))[0] for each in (given, written))
    assert off(found, wanted) < 1e-3


def test_textual_inversions_are_words_too(steering: ModuleType, clip: Clips, monkeypatch: Any) -> None:
    given = clip()
    with torch.inference_mode():
        vector = torch.randn(L)
    tokens = given.tokenize(WORDS)
    tokens["l"][0][2] = (vector, 1.0)
    monkeypatch.setattr(given.tokenizer, "tokenize_with_weights", lambda *_, **__: tokens)
    cond, _ = encoded(steering, given, WORDS, a_taste(L))
    assert not torch.allclose(cond, plain(given, WORDS)[0], atol=1e-2)


@pytest.mark.parametrize(("how", "text"), [({"steps": 0}, WORDS), ({"weight": 0.0}, WORDS), ({}, "")])
def test_what_is_not_moved_is_comfyuis_own_bit_for_bit(
    steering: ModuleType, clip: Clips, how: dict[str, Any], text: str
) -> None:
    given = clip("sdxl")
    found = encoded(steering, given, text, a_taste(G), **how)
    assert all(torch.equal(*each) for each in zip(found, plain(given, text), strict=True))


def test_a_weight_lies_between(steering: ModuleType, clip: Clips) -> None:
    given = clip()
    ends = [plain(given, WORDS), encoded(steering, given, WORDS, a_taste(L))]
    half = encoded(steering, given, WORDS, a_taste(L), weight=0.5)
    assert all(torch.allclose(half[n], (ends[0][n] + ends[1][n]) / 2, atol=1e-5) for n in (0, 1))


def test_a_clip_in_half_precision_moves_in_fp32(steering: ModuleType, clip: Clips) -> None:
    given = clip(dtype=torch.float16)
    cond, _ = encoded(steering, given, WORDS, a_taste(L))
    states, _, _ = expected(given, "clip_l", WORDS, a_taste(L))
    assert cond.dtype == torch.float32
    assert torch.allclose(cond, states, atol=2e-2)


def test_what_cannot_be_moved_is_refused_by_name(steering: ModuleType, clip: Clips) -> None:
    with pytest.raises(EmbeddingSizeError, match=r"1x40.*this CLIP's clip_l takes 1x32"):
        encoded(steering, clip(), WORDS, a_taste(40))
    with pytest.raises(UsageError, match="no CLIP is connected"):
        encoded(steering, None, WORDS, a_taste(L))
    name = "clip_l.transformer.text_model.encoder.layers.0.mlp.fc1"
    bypassed = clip()
    layer = bypassed.cond_stage_model.get_submodule(name)
    layer.forward = lambda x, own=layer.forward: own(x) * 1.01
    with pytest.raises(SteeringError, match="bypass"):
        encoded(steering, bypassed, WORDS, a_taste(L))
    quantised = clip()
    quantised.cond_stage_model.get_submodule(name).scale_weight = torch.nn.Parameter(torch.ones(1))
    with pytest.raises(SteeringError, match="quantised"):
        encoded(steering, quantised, WORDS, a_taste(L))
    odd = clip()
    layer = odd.cond_stage_model.get_submodule(name)
    its_own = type(layer).forward
    layer.__class__ = type("Odd", (type(layer),), {"forward": lambda self, x: its_own(self, x) * 3})
    with pytest.raises(SteeringError, match="does not say what it says"):
        encoded(steering, odd, WORDS, a_taste(L))


def test_cancel_stops_between_steps(steering: ModuleType, clip: Clips, monkeypatch: Any) -> None:
    class CancelledError(Exception):
        pass

    def cancelled() -> None:
        raise CancelledError

    given = clip()
    before = state(given)
    monkeypatch.setattr(
        steering.comfy.model_management, "throw_exception_if_processing_interrupted", cancelled
    )
    with pytest.raises(CancelledError):
        encoded(steering, given, WORDS, a_taste(L))
    assert same(state(given), before)


def test_clip_l_is_read_by_openais_projection(steering: ModuleType, monkeypatch: Any) -> None:
    openai = torch.randn(768, 768)
    monkeypatch.setattr(steering, "text_projection", {768: openai}.__getitem__)

    def of(weight: Tensor) -> Tensor:
        layer = SimpleNamespace(weight=weight)
        return steering._projection(SimpleNamespace(transformer=SimpleNamespace(text_projection=layer)))

    assert of(torch.full((768, 768), float("nan"))) is openai
    own = torch.randn(1280, 1280)
    assert torch.equal(of(own), own)
    with pytest.raises(SteeringError, match="no text projection"):
        of(torch.zeros(1280, 1280))

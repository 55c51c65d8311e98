"""Aesthetic gradients over ComfyUI's own CLIP object: the same object is asked, with text encoders that move.

`encode` gives ComfyUI's `CLIP` a text model whose CLIP text encoders are replaced by ones that move for each
chunk of the prompt. All else is ComfyUI's: tokens and weights of words, layers left out, how several encoders
are put together, patches, hooks and their schedules, devices. The CLIP that came in is not written to.
"""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from numbers import Integral
from types import SimpleNamespace
from typing import Any

import comfy.model_management
import comfy.utils
import torch
from torch import Tensor, nn

from visunex.generate import Taste
from visunex.generate.adapters import image_vector
from visunex.generate.errors import SteeringError, UsageError
from visunex.generate.families.sd1 import text_projection
from visunex.generate.steering import climb

from .own_copy import NEAR, own_copy, shallow

__all__ = ["encode"]

CLIP_L = 768  # wide; the only CLIP whose projection ComfyUI's checkpoints leave out
COPIES = 4  # of the weights in fp32: they, their gradients, Adam's two moments

# Of one encoder: chunks of (token, weight), as ComfyUI's tokenizers give them.
Pairs = list[list[tuple[Any, float]]]


def encode(clip: Any, text: str, taste: Taste, *, steps: int, lr: float, weight: float = 1.0) -> Any:
    """ComfyUI's CONDITIONING of a text, moved towards a taste; without steps what its own node gives.

    `weight` mixes: 1 is the moved conditioning, 0 the plain one. Raises EmbeddingSizeError for a taste of
    none of this CLIP's encoders, SteeringError for a CLIP whose weights cannot be moved.
    """
    if clip is None:
        raise UsageError("no CLIP is connected, or the checkpoint has none: load one with Load CLIP")
    tokens = clip.tokenize(text)
    twin = clip.clone()
    if steps > 0 and weight > 0:
        chosen = dict(_chosen(clip.cond_stage_model, taste))
        size = max(sum(each.numel() for each in _parameters(clip, name)) for name in chosen)
        comfy.model_management.load_models_gpu([twin.patcher], memory_required=size * 4 * COPIES)
        twin.cond_stage_model = model = shallow(clip.cond_stage_model)
        for name, target in chosen.items():
            how = _Moving(name, clip.patcher.load_device, target, steps, lr, weight)
            model._modules[name] = _steered(model._modules[name], how)
    return twin.encode_from_tokens_scheduled(tokens)


def _parameters(clip: Any, name: str) -> Iterator[Tensor]:
    return (each for each in clip.cond_stage_model._modules[name].parameters() if each is not None)


def _chosen(model: Any, taste: Taste) -> Iterator[tuple[str, Tensor]]:
    """CLIP text encoders by name, each with the direction that is for it. Raises EmbeddingSizeError."""
    encoders = [(name, each) for name, each in model._modules.items() if _is_clip(each)]
    if not encoders:
        raise SteeringError(f"a {type(model).__name__} has no CLIP text encoder: there is none to move")
    sizes = {each.embedding.shape[-1] for each in (taste, *taste.others)}
    fitting = [(name, each) for name, each in encoders if _size(each) in sizes]
    for name, encoder in fitting or encoders[:1]:
        yield name, image_vector(taste, _size(encoder), wanted_by=f"this CLIP's {name}").unit


def _is_clip(module: Any) -> bool:
    inner = getattr(module, "transformer", None)
    return all(hasattr(inner, part) for part in ("text_model", "text_projection"))


def _size(encoder: Any) -> int:
    return int(encoder.transformer.text_projection.out_features)


@dataclass(frozen=True)
class _Moving:
    """Which encoder is moved, on which device, whereto `[1, D]` and how far."""

    name: str
    device: torch.device
    target: Tensor
    steps: int
    lr: float
    weight: float


def _steered(encoder: Any, how: _Moving) -> Any:
    """The encoder, to be asked in its place: one that moves for each chunk that has words."""
    twin = shallow(encoder)
    plain = partial(type(encoder).encode_token_weights, twin)
    twin.__dict__["encode_token_weights"] = partial(_encoded, twin, plain, how)
    return twin


def _encoded(encoder: Any, plain: Callable[[Pairs], Any], how: _Moving, pairs: Pairs) -> Any:
    """What `encode_token_weights` of the encoder gives: states, pooled vector, perhaps more."""
    own = plain(pairs)
    states, pooled = own[0].clone(), None if own[1] is None else own[1].clone()
    length = states.shape[1] // max(len(pairs), 1)
    for number, chunk in enumerate(pairs):
        if not _has_words(chunk, encoder):
            continue
        place = slice(number * length, (number + 1) * length)
        made = _on_some_device(encoder, chunk, how, states[:, place])
        states[:, place] = torch.lerp(states[:, place], made[0].to(states), how.weight)
        if number == 0 and pooled is not None:
            pooled = torch.lerp(pooled, made[1].to(pooled), how.weight)
    return (states, pooled, *own[2:])


def _has_words(chunk: list[tuple[Any, float]], encoder: Any) -> bool:
    """Whether there is more than the beginning and the end; as in the original, empty texts never move."""
    return len(chunk) > 1 and not (
        isinstance(chunk[1][0], Integral) and chunk[1][0] == encoder.special_tokens.get("end")
    )


def _on_some_device(encoder: Any, chunk: Any, how: _Moving, plain: Tensor) -> Any:
    """Move on ComfyUI's device, or on the CPU where it has no room for a copy with its moments."""
    try:
        return _moved(encoder, chunk, how, how.device, plain)
    except comfy.model_management.OOM_EXCEPTION as error:
        if torch.device(how.device).type == "cpu" or isinstance(error, SteeringError):
            raise
    comfy.model_management.soft_empty_cache()
    logging.warning("VisuNex: %s has no room for a moving %s: moved on the CPU", how.device, how.name)
    return _moved(encoder, chunk, how, torch.device("cpu"), plain)


def _moved(encoder: Any, chunk: Any, how: _Moving, device: torch.device, plain: Tensor) -> Any:
    """States and pooled vector of one chunk by a copy of the encoder that went towards the target."""
    own, pairs = own_copy(encoder, device), _fresh(chunk)
    own.execution_device = None  # where its weights are
    ask = partial(type(encoder).encode_token_weights, own, [pairs])
    with torch.inference_mode(False), torch.autocast(torch.device(device).type, enabled=False):
        with torch.no_grad():
            _require_near(ask()[0], plain, how.name)
        # ComfyUI's layers add in place to what gradients still need: torch keeps copies of that
        with torch.enable_grad(), torch.autograd.graph.allow_mutation_on_saved_tensors():
            _climb(_Feature(own, pairs), how, device)
        with torch.no_grad():
            made = ask()
    if not made[0].isfinite().all():
        raise SteeringError(f"{how.steps} steps of {how.lr:g} ran away: lower lr")
    return made


def _climb(f: "_Feature", how: _Moving, device: torch.device) -> None:
    bar = comfy.utils.ProgressBar(how.steps)

    def on_step(*_: float) -> None:
        comfy.model_management.throw_exception_if_processing_interrupted()
        bar.update(1)

    there, target = torch.empty(0, device=device), how.target.to(device)
    climb(f, _projection(f.encoder), there, target, end=None, steps=how.steps, lr=how.lr, on_step=on_step)


class _Feature(nn.Module):
    """An encoder and a chunk as `climb` reads them: the pooled vector, not yet projected."""

    def __init__(self, encoder: Any, pairs: Any) -> None:
        super().__init__()
        self.encoder = shallow(encoder)
        self.encoder.return_projected_pooled = False
        self.tokens = [[token for token, _ in pairs]]

    def forward(self, input_ids: Tensor) -> Any:
        """`input_ids` says on which device; the tokens, among them vectors, are the chunk's."""
        return SimpleNamespace(pooler_output=self.encoder.encode(self.tokens)[1])


def _projection(encoder: Any) -> Tensor:
    """The projection of the text feature `[size, D]`: the model's own, for CLIP-L OpenAI's.

    ComfyUI leaves CLIP-L's as memory happened to be, where the checkpoint has none.
    """
    own = encoder.transformer.text_projection.weight.detach().clone()
    if own.shape[0] == CLIP_L:
        return text_projection(CLIP_L)
    if not own.isfinite().all() or not own.any():
        raise SteeringError(
            "this CLIP's file has no text projection, on which its taste is: load one that has"
        )
    return own


def _fresh(chunk: Any) -> Any:
    """A chunk whose textual inversions are no inference tensors, which gradients cannot go through."""
    return [(token.clone() if isinstance(token, Tensor) else token, weight) for token, weight in chunk]


def _require_near(copied: Tensor, plain: Tensor, name: str) -> None:
    """Raise SteeringError where the copy, before any step, does not say what ComfyUI's own encoder says."""
    far = float((copied.to(plain) - plain).norm() / plain.norm())
    if not far <= NEAR:
        raise SteeringError(
            f"a copy of {name} does not say what it says ({far:.0%} off): its weights are not all there as "
            "plain numbers (quantised, or changed by another node)"
        )

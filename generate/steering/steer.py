"""Aesthetic gradients: tokens + an aesthetic embedding -> personalised conditioning.

The method is V. Gallego's (arXiv 2209.12330); `reference.py` has it as the paper does. On a CPU three savings
are made, which change nothing but rounding; `clip_text_encoder.py` has those that are the machine's:

- attention is causal and the feature is read at the end-of-text token, so steps run on the prompt cut there;
- token rows that the prompt does not use get a zero gradient and Adam leaves them still: only used rows move;
- a moving copy stands in for the text encoder during a call: no reload, and the model is never written to.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ..errors import SteeringError, UsageError
from . import reference
from .arguments import as_ids, as_projection, check_steps, text_model_of
from .clip_text_encoder import MovingTextEncoder
from .goal import Goal, goal_of, one_vector
from .weights import bare_copy

__all__ = ["Moved", "conditioning", "end_of_text", "method_on", "move", "personalise"]

OnStep = Callable[[int, float], None]
Enough = Callable[[float, float], bool]


@dataclass(frozen=True)
class Moved:
    """What a moved text encoder makes of one prompt, in fp32, and how near to the target it came.

    `states` `[1, L, D]` is the hidden state that was asked for, `pooled` `[1, D]` the last one under the
    final norm where the text ends, not projected; `cosines` of the projected one before the steps and after,
    or their weighted sum where there are several tastes; `steps` is how many were taken.
    """

    states: Tensor
    pooled: Tensor
    cosines: tuple[float, float]
    steps: int


def personalise(
    text_encoder: nn.Module,
    text_projection: Tensor,
    input_ids: Tensor,
    embedding: Tensor,
    *,
    steps: int,
    lr: float = 1e-4,
    eos_token_id: int | None = None,
    on_step: OnStep | None = None,
) -> Tensor:
    """Return the conditioning `[1, L, D]` of one prompt, moved `steps` Adam steps towards `embedding`.

    `text_encoder` is a transformers CLIP text model (any size, any dtype) or a wrapper of one,
    `text_projection` its `[D_proj, D]` projection weight or layer, `input_ids` one padded prompt `[1, L]` or
    what a tokenizer returns, `embedding` `[1, D_proj]` or `[D_proj]` as a tensor, an array, a list or an
    `Embedding`, of which only the direction counts. `eos_token_id` is the tokenizer's own end of text, where
    CLIP reads the text feature; without it the text encoder's config has to know. The maths is fp32 whatever
    the model's dtype; the result has the model's dtype. The model is left bit-identical; active adapters
    (LoRA) count, offloaded weights are found. `on_step(step, cosine)` gets the cosine before each step. The
    method is V. Gallego's (arXiv 2209.12330).

    Raises `EmbeddingSizeError` for a vector of another size, `UsageError` for negative `steps`, a learning
    rate that is not a positive number, or a prompt without an end of text, `SteeringError` for weights that
    cannot be had, or if the steps ran away to values that are not numbers.
    """
    check_steps(steps, lr)
    text_encoder = text_model_of(text_encoder)
    embedding = one_vector(embedding)
    if steps == 0:
        input_ids = as_ids(input_ids, text_encoder)
        text_projection = as_projection(text_projection)
        _check(text_encoder, text_projection)
        goal_of(embedding, len(text_projection), input_ids.device)
        return conditioning(text_encoder, input_ids)
    moved = move(
        text_encoder,
        text_projection,
        input_ids,
        embedding,
        steps=steps,
        lr=lr,
        eos_token_id=eos_token_id,
        on_step=on_step,
    )
    return moved.states.to(next(text_encoder.parameters()).dtype)


def move(
    text_encoder: nn.Module,
    text_projection: Tensor,
    input_ids: Tensor,
    embedding: Any,
    *,
    steps: int,
    lr: float = 1e-4,
    enough: Enough | None = None,
    skipped: int = 0,
    normed: bool = True,
    lora_scale: float = 1.0,
    added: Mapping[str, Tensor] | None = None,
    device: torch.device | None = None,
    eos_token_id: int | None = None,
    on_step: OnStep | None = None,
) -> Moved:
    """Move a copy of a text encoder towards `embedding` for one prompt, and return what it makes of it.

    The arguments are `personalise`'s; `embedding` may also be several vectors `[K, D_proj]`, of which the
    nearest counts, a list of pairs of such and their weights, or a `Goal`. `enough(cosine, first)` ends the
    steps early. `skipped` last layers are left out of the states, which the final norm
    is laid on where `normed`. `lora_scale` is a factor of active adapters' strength, `added` the weights of
    one more layer that the copy has; `device` is where the copy computes, without it where the text encoder
    does. Raises what `personalise` raises, and UsageError for more layers to skip than there are.
    """
    check_steps(steps, lr)
    model = text_model_of(text_encoder)
    text_projection = as_projection(text_projection)
    input_ids = as_ids(input_ids, model, device)
    _check(model, text_projection)
    _check_skipped(skipped, len(model.encoder.layers) + bool(added))
    seen = _Seen(enough, on_step)
    end = end_of_text(model, input_ids, eos_token_id)
    method = _fast if method_on(input_ids.device.type) == "fast" else _plain
    with _fp32_maths(input_ids.device):
        projection = text_projection.to(input_ids.device).float().clone()
        goal = goal_of(embedding, len(projection), input_ids.device)
        climb = _Climb(input_ids, end, projection, goal, steps, lr, skipped, normed, seen)
        states, pooled = method(
            climb, partial(bare_copy, model, input_ids.device, lora_scale=lora_scale, added=added)
        )
        last = float(climb.cosine(pooled[0]))
    if not (states.isfinite().all() and pooled.isfinite().all()):
        raise SteeringError(
            f"{steps} steps of {lr:g} ran away to values that are not numbers: lower --aesthetic_lr"
        )
    return Moved(states, pooled, ([*seen.cosines, last][0], last), seen.taken)


@dataclass
class _Seen:
    """The cosines before each step, and whether they are high enough for no further one."""

    enough: Enough | None
    on_step: OnStep | None
    cosines: list[float] = field(default_factory=list)
    taken: int = 0

    def __call__(self, step: int, cosine: float) -> bool:
        self.cosines.append(cosine)
        if self.enough and self.enough(cosine, self.cosines[0]):
            return True
        if self.on_step:
            self.on_step(step, cosine)
        self.taken += 1
        return False


def method_on(device_type: str) -> Literal["fast", "reference"]:
    """Which method runs on a kind of device: the fast one only where it was measured faster, on a CPU."""
    return "fast" if device_type == "cpu" else "reference"


@torch.no_grad()
def conditioning(text_encoder: nn.Module, input_ids: Tensor) -> Tensor:
    """Return the untouched model's last hidden state `[N, L, D]` for `input_ids` `[N, L]`."""
    hidden: Tensor = text_encoder(input_ids=input_ids).last_hidden_state
    return hidden


def end_of_text(text_encoder: Any, input_ids: Tensor, eos_token_id: int | None = None) -> int:
    """Position of the end-of-text token in one prompt `[1, L]`: where CLIP reads the text feature.

    It is the first `eos_token_id`. Without one it is as transformers has it: the config's, or the highest id
    where the config has the legacy value 2; tokens that were added behind the end of text then count as it.
    Raises UsageError for a prompt in which it is not.
    """
    eos = text_encoder.config.eos_token_id if eos_token_id is None else eos_token_id
    ids = input_ids[0]
    found = (ids == (ids.max() if eos_token_id is None and eos == 2 else eos)).nonzero()
    if not len(found):
        raise UsageError(f"the prompt has no end of text: its tokens hold no {eos}")
    return int(found[0])


@dataclass(frozen=True)
class _Climb:
    """One prompt's ids `[1, L]` and where it ends, which way is up, how far, and what is wanted then."""

    ids: Tensor
    end: int
    projection: Tensor
    goal: Goal
    steps: int
    lr: float
    skipped: int
    normed: bool
    done: Callable[[int, float], bool]

    def cosine(self, feature: Tensor) -> Tensor:
        """How near a text feature `[D]` is that is not yet projected."""
        return self.goal(_unit(self.projection @ feature))


def _fast(climb: _Climb, bare: Callable[..., Any]) -> tuple[Tensor, Tensor]:
    """The states `[1, L, D]` and the pooled row `[1, D]` of a copy that does as `_plain` with less."""
    token_ids, ids = climb.ids[0].unique(return_inverse=True)
    encoder = MovingTextEncoder(bare(), token_ids, climb.lr)
    for step in range(climb.steps):
        cosine = climb.cosine(encoder.feature(ids, climb.end))
        if climb.done(step, cosine.item()):
            break
        encoder.step(-cosine)
    states = encoder.hidden(ids, climb.skipped)
    with torch.no_grad():
        pooled = encoder.feature(ids, climb.end)
    return (encoder.normed(states) if climb.normed else states)[None], pooled[None]


def _plain(climb: _Climb, bare: Callable[..., Any]) -> tuple[Tensor, Tensor]:
    """The states `[1, L, D]` and the pooled row `[1, D]` of a copy moved as the paper has it."""
    f = bare(own=True)
    reference.climb(
        f,
        climb.projection,
        climb.ids,
        climb.goal,
        end=climb.end,
        steps=climb.steps,
        lr=climb.lr,
        on_step=climb.done,
    )
    with torch.no_grad():
        y = f(input_ids=climb.ids, output_hidden_states=True)
        states = y.hidden_states[-1 - climb.skipped]
        states = f.final_layer_norm(states) if climb.normed and climb.skipped else states
        states = y.last_hidden_state if climb.normed and not climb.skipped else states
        return states, y.last_hidden_state[:, climb.end]


def _unit(vector: Tensor) -> Tensor:
    return vector / vector.norm()


@contextlib.contextmanager
def _fp32_maths(device: torch.device) -> Iterator[None]:
    """Gradients on and reduced precision off, whatever the caller samples with."""
    with torch.inference_mode(False), torch.enable_grad(), torch.autocast(device.type, enabled=False):
        yield


def _check(text_encoder: Any, text_projection: Tensor) -> None:
    width = text_encoder.final_layer_norm.weight.shape[0]
    if text_projection.shape[1] != width:
        raise UsageError(
            f"text_projection is {list(text_projection.shape)}: give [D_proj, {width}] for this text encoder"
            + (", its transpose" if text_projection.shape[0] == width else "")
        )


def _check_skipped(skipped: int, layers: int) -> None:
    if not 0 <= skipped <= layers:
        raise UsageError(f"clip_skip leaves out {skipped} layers, this text encoder has {layers}")

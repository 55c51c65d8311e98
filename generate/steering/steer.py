"""Aesthetic gradients: tokens + an aesthetic embedding -> personalised conditioning.

The method is V. Gallego's (arXiv 2209.12330); `reference.py` has it as the paper does. On a CPU three savings
are made, which change nothing but rounding; `clip_text_encoder.py` has those that are the machine's:

- attention is causal and the feature is read at the end-of-text token, so steps run on the prompt cut there;
- token rows that the prompt does not use get a zero gradient and Adam leaves them still: only used rows move;
- a moving copy stands in for the text encoder during a call: no reload, and the model is never written to.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ..errors import EmbeddingSizeError, SteeringError, UsageError
from .arguments import as_ids, as_projection, as_vector, check_steps, text_model_of
from .clip_text_encoder import MovingTextEncoder
from .reference import aesthetic_gradients

__all__ = ["conditioning", "method_on", "personalise"]

# What OpenAI's and OpenCLIP's encoders are called, by the size of their joint space: for messages only.
ENCODERS_BY_SIZE = {512: "ViT-B-32", 640: "RN50x4", 768: "ViT-L-14", 1024: "ViT-H-14", 1280: "ViT-bigG-14"}

OnStep = Callable[[int, float], None]


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
    the model's dtype; the result has the model's dtype. The model is left bit-identical.
    `on_step(step, cosine)` gets the cosine before each step. The method is V. Gallego's (arXiv 2209.12330).

    Raises `EmbeddingSizeError` for a vector of another size, `UsageError` for negative `steps`, a learning
    rate that is not a positive number, or a prompt without an end of text, `SteeringError` if the steps ran
    away to values that are not numbers.
    """
    check_steps(steps, lr)
    text_encoder = text_model_of(text_encoder)
    text_projection, embedding = as_projection(text_projection), as_vector(embedding)
    input_ids = as_ids(input_ids, text_encoder)
    _check(text_encoder, text_projection, embedding)
    if steps == 0:
        return conditioning(text_encoder, input_ids)
    method = _fast if method_on(input_ids.device.type) == "fast" else aesthetic_gradients
    end = end_of_text(text_encoder, input_ids, eos_token_id)
    with _fp32_maths(input_ids.device):
        hidden = method(
            text_encoder, text_projection, input_ids, embedding, end=end, steps=steps, lr=lr, on_step=on_step
        )
    if not hidden.isfinite().all():
        raise SteeringError(
            f"{steps} steps of {lr:g} ran away to values that are not numbers: lower --aesthetic_lr"
        )
    return hidden.to(next(text_encoder.parameters()).dtype)


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


def _fast(
    text_encoder: nn.Module,
    text_projection: Tensor,
    input_ids: Tensor,
    embedding: Tensor,
    *,
    end: int,
    steps: int,
    lr: float,
    on_step: OnStep | None,
) -> Tensor:
    """What `aesthetic_gradients` returns, by a copy of the text encoder that does the same with less."""
    token_ids, ids = input_ids[0].unique(return_inverse=True)
    encoder = MovingTextEncoder(text_encoder, token_ids, lr)
    target = _unit(embedding.detach().to(input_ids.device).float().reshape(-1))
    projection = text_projection.detach().to(input_ids.device).float().clone()
    for step in range(steps):
        cosine = _unit(projection @ encoder.feature(ids, end)) @ target
        if on_step:
            on_step(step, cosine.item())
        encoder.step(-cosine)
    return encoder.hidden(ids)[None]


def _unit(vector: Tensor) -> Tensor:
    return vector / vector.norm()


@contextlib.contextmanager
def _fp32_maths(device: torch.device) -> Iterator[None]:
    """Gradients on and reduced precision off, whatever the caller samples with."""
    with torch.inference_mode(False), torch.enable_grad(), torch.autocast(device.type, enabled=False):
        yield


def _check(text_encoder: Any, text_projection: Tensor, embedding: Tensor) -> None:
    width = text_encoder.final_layer_norm.weight.shape[0]
    if text_projection.shape[1] != width:
        raise UsageError(
            f"text_projection is {list(text_projection.shape)}: give [D_proj, {width}] for this text encoder"
            + (", its transpose" if text_projection.shape[0] == width else "")
        )
    if embedding.shape not in {(text_projection.shape[0],), (1, text_projection.shape[0])}:
        raise EmbeddingSizeError(
            f"this embedding is {_size(embedding)}, the model needs 1x{text_projection.shape[0]}"
        )
    if not (embedding.isfinite().all() and embedding.any()):
        raise SteeringError(
            "this embedding has no direction: it is all zeros or holds values that are not numbers"
        )


def _size(embedding: Tensor) -> str:
    shape = "x".join(map(str, embedding.shape if embedding.ndim > 1 else (1, *embedding.shape)))
    encoder = ENCODERS_BY_SIZE.get(embedding.shape[-1]) if embedding.ndim else None
    return f"{shape} ({encoder})" if encoder else shape

"""Aesthetic gradients as the paper has them: the plain method that every faster one must agree with.

V. Gallego, "Personalizing Text-to-Image Generation via Aesthetic Gradients", arXiv 2209.12330. For a prompt
y, the text encoder f with parameters theta gives the text feature c = f(y). T steps of Adam (Kingma & Ba,
arXiv 1412.6980) at the rate epsilon move theta up the cosine between c and the aesthetic embedding e; what
the moved encoder makes of y conditions the sampler. The encoder itself is left as it was.

Nothing is saved here: all tokens of the padded prompt, every parameter, a deep copy of the encoder.
"""

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

__all__ = ["aesthetic_gradients", "climb"]


def aesthetic_gradients(
    text_encoder: Any,
    text_projection: Tensor,
    input_ids: Tensor,
    embedding: Tensor,
    *,
    end: int | None = None,
    steps: int,
    lr: float = 1e-4,
    on_step: Callable[[int, float], None] | None = None,
) -> Tensor:
    """The conditioning `[1, L, D]` of one prompt, moved `steps` Adam steps towards `embedding`; in fp32.

    `text_encoder` (f) is transformers' CLIPTextModel, `text_projection` its `[D_proj, D]`, `input_ids` (y)
    the padded prompt `[1, L]`, `embedding` (e) `[1, D_proj]` or `[D_proj]`, of which only the direction
    counts; `end` is the end-of-text token's position, without it transformers finds it by the config; `steps`
    is the paper's T and `lr` its epsilon. Gradients must be on. `on_step(step, cosine)` gets the cosine
    before each step.
    """
    f = copy.deepcopy(text_encoder).float()
    climb(f, text_projection, input_ids, embedding, end=end, steps=steps, lr=lr, on_step=on_step)
    with torch.no_grad():
        return f(input_ids=input_ids).last_hidden_state


def climb(
    f: Any,
    text_projection: Tensor,
    input_ids: Tensor,
    embedding: Tensor | Callable[[Tensor], Tensor],
    *,
    end: int | None,
    steps: int,
    lr: float,
    on_step: Callable[[int, float], object] | None = None,
) -> None:
    """Move the parameters of `f`, fp32, themselves; what is given is as for `aesthetic_gradients`.

    In the place of the embedding there may be a function of the text feature `[D_proj]` at length 1, which
    rises in the place of their cosine. Where `on_step` returns True no step follows.
    """
    f.requires_grad_()
    projection = text_projection.detach().to(input_ids.device).float()
    similarity = embedding if callable(embedding) else _cosine_to(embedding, input_ids.device)
    adam = torch.optim.Adam(f.parameters(), lr=lr)
    for t in range(steps):
        y = f(input_ids=input_ids)
        c = (y.pooler_output if end is None else y.last_hidden_state[:, end]) @ projection.T
        cosine = similarity(_unit(c)[0])
        if on_step and on_step(t, cosine.item()) is True:
            break
        adam.zero_grad()
        (-cosine).backward()
        adam.step()


def _cosine_to(embedding: Tensor, device: torch.device) -> Callable[[Tensor], Tensor]:
    e = _unit(embedding.detach().to(device).float().reshape(-1))
    return lambda c: c @ e


def _unit(vectors: Tensor) -> Tensor:
    return vectors / vectors.norm(dim=-1, keepdim=True)

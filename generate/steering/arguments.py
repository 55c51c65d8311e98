"""What `personalise` is given -> tensors of the right shape, or a sentence on what is wanted."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from visunex.base.errors import described, require_number

from ..errors import SteeringError, UsageError
from .weights import device_of

__all__ = ["as_ids", "as_projection", "as_vector", "text_model_of"]

PARTS = ("embeddings", "encoder", "final_layer_norm")  # of transformers' CLIP text model


def text_model_of(given: Any) -> Any:
    """The CLIP text model in `given`: itself, or what a wrapper (compiled, a whole CLIP) has."""
    given = getattr(given, "_orig_mod", given)  # of what torch.compile returns
    for each in (given, getattr(given, "text_model", None)):
        if isinstance(each, nn.Module) and all(hasattr(each, part) for part in PARTS):
            return each
    raise SteeringError(
        f"text_encoder is {described(given)}, no CLIP text model of transformers: give one, such as "
        "pipe.text_encoder"
    )


def as_vector(given: Any, name: str = "embedding") -> Tensor:
    """An embedding as a tensor of floats: of a tensor, an array, a list, or an `Embedding`."""
    given = given.tensor() if hasattr(given, "tensor") and hasattr(given, "provenance") else given
    vector = _tensor(
        given, name, "a tensor, an array or a list of floats, 1xD or D, or Taste.load(...).embedding"
    )
    return vector if vector.is_floating_point() else vector.float()


def as_projection(given: Any) -> Tensor:
    """The text projection `[D_proj, D]` as a tensor: of a tensor, an array or a linear layer."""
    given = given.weight if isinstance(given, nn.Linear) else given
    projection = _tensor(
        given, "text_projection", "the weight [D_proj, D] of the text projection, a 2-D tensor"
    )
    if projection.ndim != 2 or not projection.is_floating_point():
        raise UsageError(
            f"text_projection is {described(projection)}: give the weight [D_proj, D] of the text projection"
        )
    return projection


def as_ids(given: Any, text_model: Any, wanted_on: torch.device | None = None) -> Tensor:
    """One prompt's token ids `[1, L]` on the text model's device, or the one `wanted_on`: of a tensor, an
    array, a list, or what a tokenizer returns."""
    given = given["input_ids"] if isinstance(given, Mapping) and "input_ids" in given else given
    wanted = "one padded prompt's token ids, whole numbers [1, L], as a tokenizer returns them"
    ids = _tensor(given, "input_ids", wanted)
    if ids.is_floating_point() or ids.is_complex() or ids.dtype == torch.bool:
        raise UsageError(f"input_ids is {described(ids)}: give {wanted}")
    if ids.ndim != 2 or ids.shape[0] != 1:
        raise UsageError(f"prompts are personalised one by one: input_ids is {list(ids.shape)}, not [1, L]")
    tables = (text_model.embeddings.token_embedding, text_model.embeddings.position_embedding)
    rows, longest = (table.weight.shape[0] for table in tables)
    if ids.shape[1] > longest:
        raise UsageError(
            f"input_ids has {ids.shape[1]} tokens, this text encoder takes {longest}: cut the prompt"
        )
    if ids.numel() and (int(ids.min()) < 0 or int(ids.max()) >= rows):
        raise UsageError(
            f"input_ids holds {int(ids.max())}, this text encoder has {rows} tokens: take its own tokenizer"
        )
    device = device_of(text_model)
    if wanted_on is not None:
        return ids.to(wanted_on).long()
    if isinstance(given, Tensor) and ids.device != device:
        raise UsageError(
            f"input_ids is on {ids.device}, the text encoder on {device}: give input_ids.to({device.type!r})"
        )
    return ids.to(device).long()


def check_steps(steps: Any, lr: Any) -> None:
    """Raise UsageError for steps that cannot be taken."""
    require_number(steps, "steps", "a whole number, 0 or more", whole=True)
    require_number(lr, "lr", "a positive number such as 0.0001")
    if steps < 0:
        raise UsageError(f"--aesthetic_steps is {steps}: give 0 (no personalisation) or more")
    if not 0 < lr < float("inf"):
        raise UsageError(f"--aesthetic_lr is {lr:g}: give a positive number (the paper's is 0.0001)")


def _tensor(given: Any, name: str, wanted: str) -> Tensor:
    try:
        if isinstance(given, str | bytes | bool | None):
            raise TypeError
        found = torch.as_tensor(given)
    except (TypeError, ValueError, RuntimeError):
        raise UsageError(f"{name} is {described(given)}: give {wanted}") from None
    if found.layout != torch.strided or found.is_meta or found.is_complex():
        raise UsageError(f"{name} is {described(found)}: give {wanted}")
    return found.detach()

"""What steps climb: how near a text feature is to one taste, or to several at once."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..errors import EmbeddingSizeError, SteeringError
from .arguments import as_vector

__all__ = ["ENCODERS_BY_SIZE", "Goal", "goal_of", "one_vector", "slerp", "turned"]

# What OpenAI's and OpenCLIP's encoders are called, by the size of their joint space: for messages only.
ENCODERS_BY_SIZE = {512: "ViT-B-32", 640: "RN50x4", 768: "ViT-L-14", 1024: "ViT-H-14", 1280: "ViT-bigG-14"}


@dataclass(frozen=True, eq=False)
class Goal:
    """The weighted sum of the cosines to several tastes, of a text feature at length 1.

    `vector` `[D]` is the weighted sum of the tastes of one vector each, at length 1: the feature's product
    with it is the sum of theirs. `groups` are the others, each a weight and its vectors `[K, D]`, of which
    the nearest counts.
    """

    vector: Tensor
    groups: tuple[tuple[float, Tensor], ...] = ()

    def __call__(self, feature: Tensor) -> Tensor:
        """How near a feature `[D]` of length 1 is."""
        near = feature @ self.vector
        for weight, vectors in self.groups:
            near = near + weight * (vectors @ feature).max()
        return near

    def on(self, device: torch.device) -> "Goal":
        """The same with its vectors on a device."""
        groups = tuple((weight, vectors.to(device)) for weight, vectors in self.groups)
        return Goal(self.vector.to(device), groups)


def goal_of(given: Any, size: int, device: torch.device) -> Goal:
    """What leads to `given`: a vector `[1, D]` or `[D]`, several `[K, D]`, pairs of these and weights.

    Raises EmbeddingSizeError for vectors of another size than `size`, SteeringError for those that have no
    direction, or whose weighted sum has none.
    """
    if isinstance(given, Goal):
        return given.on(device)
    pairs = given if isinstance(given, Sequence) and given and isinstance(given[0], tuple) else [(given, 1.0)]
    total, groups = torch.zeros(size, device=device), list[tuple[float, Tensor]]()
    for each, weight in pairs:
        vectors = _rows(each, size).to(device).float()
        if len(vectors) > 1:
            groups.append((weight, torch.stack([_unit(row) for row in vectors])))
        else:
            total = total + weight * _unit(vectors[0])
    if not groups and float(total.norm()) < 1e-6:
        raise SteeringError("these tastes cancel one another out: give them other weights")
    return Goal(total, tuple(groups))


def one_vector(given: Any) -> Tensor:
    """A vector `[1, D]` or `[D]` as a tensor. Raises EmbeddingSizeError for several."""
    vector = as_vector(given)
    if vector.ndim and vector.numel() != vector.shape[-1]:
        raise EmbeddingSizeError(f"this embedding is {_size(vector)}: give one vector, 1xD or D")
    return vector


def _rows(given: Any, size: int) -> Tensor:
    """Vectors as `[K, D]`. Raises EmbeddingSizeError, SteeringError."""
    vectors = as_vector(given)
    rows = vectors if vectors.ndim == 2 else vectors[None]
    if rows.ndim != 2 or not len(rows) or rows.shape[1] != size:
        raise EmbeddingSizeError(f"this embedding is {_size(vectors)}, the model needs 1x{size}")
    if not (rows.isfinite().all() and rows.any(dim=1).all()):
        raise SteeringError(
            "this embedding has no direction: it is all zeros or holds values that are not numbers"
        )
    return rows


def turned(vector: Tensor, text: Tensor, angle: float, *, away: bool = False) -> Tensor:
    """A taste `[..., D]` turned towards a text's feature `[D]`, or away from it, by a share of their angle.

    Both count at length 1, and so is the result. Away is towards what is left of the taste without the text:
    the direction of their difference.
    """
    taste, text = _units(vector.float()), _units(text.float())
    aim = _units(taste - text) if away else text
    return slerp(taste, aim.expand_as(taste), angle)


def slerp(start: Tensor, end: Tensor, share: float) -> Tensor:
    """Rows `[..., D]` on the arc from `start` to `end` (Shoemake, SIGGRAPH 1985), `share` of the way.

    Directions go along the arc and lengths along the line between the two. Where there is no arc, between
    rows of one direction, of opposite ones or of no length, it is the line.
    """
    lengths = torch.lerp(start.norm(dim=-1, keepdim=True), end.norm(dim=-1, keepdim=True), share)
    first, last = _units(start), _units(end)
    cosine = (first * last).sum(-1, keepdim=True).clamp(-1, 1)
    angle = torch.arccos(cosine)
    sine = torch.sin(angle)
    arc = (torch.sin((1 - share) * angle) * first + torch.sin(share * angle) * last) / sine
    curved = (sine > 1e-4) & (start.norm(dim=-1, keepdim=True) > 0) & (end.norm(dim=-1, keepdim=True) > 0)
    return torch.where(curved, lengths * arc, torch.lerp(start, end, share))


def _units(rows: Tensor) -> Tensor:
    return rows / rows.norm(dim=-1, keepdim=True).clamp_min(1e-12)


def _unit(vector: Tensor) -> Tensor:
    return vector / vector.norm()


def _size(embedding: Tensor) -> str:
    shape = "x".join(map(str, embedding.shape if embedding.ndim > 1 else (1, *embedding.shape)))
    encoder = ENCODERS_BY_SIZE.get(embedding.shape[-1]) if embedding.ndim else None
    return f"{shape} ({encoder})" if encoder else shape

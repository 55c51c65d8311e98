"""What conditions images: tensors, and how they came about."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..controls import Climb

__all__ = ["Conditioning"]


@dataclass(frozen=True, eq=False)
class Conditioning:
    """What conditions n images: hidden states `[n, L, D]`, and pooled features `[n, D_pooled]` where a family
    has them; `climbs` says for each image how its text encoders were moved. `filling` `[1, L, D]` are the
    states that stand behind them where those of others, in the web UI's syntax, are longer. An IP-Adapter
    takes `image` `[n, 1, D]`, an image's vector, which counts by `scale`."""

    hidden: Tensor
    pooled: Tensor | None = None
    climbs: tuple[tuple[Climb, ...], ...] = ((),)
    filling: Tensor | None = None
    image: Tensor | None = None
    scale: float = 0.0

    def repeated(self, count: int) -> "Conditioning":
        """One prompt's for `count` images."""
        pooled = None if self.pooled is None else self.pooled.expand(count, -1)
        image = None if self.image is None else self.image.expand(count, -1, -1)
        hidden = self.hidden.expand(count, -1, -1)
        return replace(self, hidden=hidden, pooled=pooled, climbs=self.climbs * count, image=image)

    def filled(self, length: int) -> "Conditioning":
        """The same with as many states as others have: empty chunks stand behind its own."""
        if self.filling is None or (missing := length - self.hidden.shape[1]) <= 0:
            return self
        rest = self.filling.repeat(len(self.hidden), missing // self.filling.shape[1], 1)
        return replace(self, hidden=torch.cat([self.hidden, rest], dim=1))

    @staticmethod
    def alike(parts: "Sequence[Conditioning]") -> "list[Conditioning]":
        """Several, all as long as the longest."""
        longest = max(each.hidden.shape[1] for each in parts)
        return [each.filled(longest) for each in parts]

    @staticmethod
    def of(parts: "Sequence[Conditioning]") -> "Conditioning":
        """All images of several, in their order."""
        parts = Conditioning.alike(parts)
        pooled = [each.pooled for each in parts if each.pooled is not None]
        climbs = tuple(climb for each in parts for climb in each.climbs)
        hidden = torch.cat([each.hidden for each in parts])
        return Conditioning(
            hidden,
            torch.cat(pooled) if pooled else None,
            climbs,
            parts[0].filling,
            _images(parts),
            max(each.scale for each in parts),
        )


def _images(parts: Sequence[Conditioning]) -> Tensor | None:
    """The image vectors of several; for those without one zeros, as the adapters were trained."""
    given = next((each.image for each in parts if each.image is not None), None)
    if given is None:
        return None
    nothing = torch.zeros_like(given[:1])
    return torch.cat(
        [nothing.expand(len(each.hidden), -1, -1) if each.image is None else each.image for each in parts]
    )

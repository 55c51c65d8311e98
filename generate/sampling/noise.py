"""Noise as the original drew it: one generator, seeded once, in one order."""

import torch
from torch import Tensor

__all__ = ["Noise"]


class Noise:
    """Normal noise `[n, C, h, w]` in fp32 from one generator seeded once.

    `source` is the device that draws (the sampler's own as in the original, or the CPU for the same image
    on every machine), `target` the device that the noise is wanted on.
    """

    def __init__(self, seed: int, source: torch.device | str, target: torch.device | str) -> None:
        self.seed, self.target = seed, target
        self.generator = torch.Generator(device=source).manual_seed(seed)

    def draw(self, shape: tuple[int, ...]) -> Tensor:
        """The next `shape` values."""
        return torch.randn(shape, generator=self.generator, device=self.generator.device).to(self.target)

    def skip(self, shape: tuple[int, ...], count: int) -> None:
        """Leave out `count` draws of `shape`: what images made before would have used."""
        for _ in range(count):
            torch.randn(shape, generator=self.generator, device=self.generator.device)

    def branch(self, number: int) -> torch.Generator:
        """A generator for schedulers that draw on their own: it leaves the course of this one alone."""
        return torch.Generator(device=self.generator.device).manual_seed(self.seed + number)

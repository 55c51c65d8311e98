"""Noise of a batch: from a seed for each of its images, or as the original drew it, from one for the run."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ..settings import SEEDS, Settings

__all__ = ["ImageNoise", "Noise", "seeds_of"]


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


class ImageNoise:
    """Normal noise `[n, C, h, w]` in fp32 that is for each image what it would have alone, with its own seed.

    `source` and `target` are those of `Noise`.
    """

    def __init__(self, seeds: Sequence[int], source: torch.device | str, target: torch.device | str) -> None:
        self.each = [Noise(seed, source, target) for seed in seeds]

    def draw(self, shape: tuple[int, ...]) -> Tensor:
        """The next `shape` values, as many images as there are seeds."""
        return torch.cat([noise.draw((1, *shape[1:])) for noise in self.each])

    def branch(self, number: int) -> torch.Generator | list[torch.Generator]:
        """Generators for schedulers that draw on their own: an image's is that of a first batch."""
        generators = [noise.branch(0) for noise in self.each]
        return generators if len(generators) > 1 else generators[0]


def seeds_of(settings: Settings, batch: int) -> tuple[int, ...]:
    """The seeds of a batch's images: counted up through the run; with a fixed code, in each batch anew."""
    first = settings.seed + (0 if settings.fixed_code else batch * settings.samples)
    return tuple((first + position) % SEEDS for position in range(settings.samples))

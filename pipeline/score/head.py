"""A predictor's layers, folded into as few as they are: what turns unit vectors into scores."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

__all__ = ["Head", "Layer", "affine"]

_DIGITS = 5  # of a score: float32 sums differ in the seventh digit by the order they are added in

Matrix = NDArray[np.float64]
Rows = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Layer:
    """x -> x @ `kernel` [inputs, outputs] + `bias` [outputs]."""

    kernel: Matrix
    bias: Matrix


def affine(layers: Sequence[Layer]) -> Layer:
    """The one layer that layers with nothing between them are, in float64."""
    kernel, bias = layers[0].kernel, layers[0].bias
    for layer in layers[1:]:
        kernel, bias = kernel @ layer.kernel, bias @ layer.kernel + layer.bias
    return Layer(kernel, bias)


@dataclass(frozen=True, eq=False)
class Head:
    """Layers with ReLU between them, the last with one output.

    `sigmoid`: behind the last. `places`: the dimensions whose numbers are read as texts of six decimals, and
    the number of each text; 0 for all others.
    """

    layers: tuple[Layer, ...]
    sigmoid: bool = False
    places: Mapping[int, Mapping[str, int]] = field(default_factory=dict)

    @property
    def dimension(self) -> int:
        """How long its vectors are."""
        return len(self.layers[0].kernel)

    def scores(self, units: Rows) -> NDArray[np.float64]:
        """The scores [n] of unit vectors float32 [n, D], to five decimals."""
        values = self._with_places(units)
        for number, layer in enumerate(self._narrow):
            if number:
                np.maximum(values, 0, out=values)
            values = values @ layer[0] + layer[1]
        found = values[:, 0].astype(np.float64)
        return (1 / (1 + np.exp(-found)) if self.sigmoid else found).round(_DIGITS)

    @cached_property
    def _narrow(self) -> list[tuple[Rows, Rows]]:
        """The layers in float32, as vectors are."""
        return [(each.kernel.astype(np.float32), each.bias.astype(np.float32)) for each in self.layers]

    def _with_places(self, units: Rows) -> Rows:
        if not self.places:
            return units
        changed = units.copy()
        for dimension, numbers in self.places.items():
            changed[:, dimension] = [numbers.get(f"{value:f}", 0) for value in units[:, dimension].tolist()]
        return changed

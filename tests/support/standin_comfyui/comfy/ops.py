"""Layers whose weights are cast, and changed by functions, as they are used."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def cast_bias_weight(
    s: Any, input: Any = None, dtype: Any = None, device: Any = None, bias_dtype: Any = None
) -> Any:
    dtype = dtype or input.dtype
    weight, bias = s.weight.to(device, dtype), s.bias
    for function in s.weight_function:
        weight = function(weight)
    if bias is not None:
        bias = bias.to(device, bias_dtype or dtype)
        for function in s.bias_function:
            bias = function(bias)
    return weight, bias


class _Cast:
    comfy_cast_weights = True
    weight_function: list[Any] = []  # noqa: RUF012 # of the class there, too
    bias_function: list[Any] = []  # noqa: RUF012


class Linear(torch.nn.Linear, _Cast):
    def reset_parameters(self) -> None:
        """Weights stay as memory was."""

    def forward(self, input: Tensor) -> Tensor:
        return F.linear(input, *cast_bias_weight(self, input))


class LayerNorm(torch.nn.LayerNorm, _Cast):
    def forward(self, input: Tensor) -> Tensor:
        return F.layer_norm(input, self.normalized_shape, *cast_bias_weight(self, input), self.eps)


class Embedding(torch.nn.Embedding, _Cast):
    bias = None

    def forward(self, input: Tensor, out_dtype: torch.dtype | None = None) -> Tensor:
        weight, _ = cast_bias_weight(self, dtype=out_dtype or self.weight.dtype)
        return F.embedding(input, weight)

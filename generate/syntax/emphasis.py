"""Weights laid on a text encoder's states, as the web UI's 'Original' emphasis does."""

import torch
from torch import Tensor

__all__ = ["weigh"]

ROUNDING = 1e-6  # a mean that is so small beside the values is none


def weigh(states: Tensor, weights: Tensor) -> Tensor:
    """States `[N, L, D]` of N chunks times the weights `[N, L]` of their tokens, with the mean of before.

    As in the web UI the mean is each chunk's own. Computed in fp32, returned in the
    states' precision; states whose weights are all 1 come back as they are, and a mean that is zero but for
    rounding stays what it becomes.
    """
    weights = weights.to(states.device, torch.float32)
    if bool((weights == 1).all()):
        return states
    exact = states.float()
    laid = exact * weights[..., None]
    before, after = (each.mean(dim=(1, 2), keepdim=True) for each in (exact, laid))
    nothing = after.abs() <= ROUNDING * laid.abs().mean(dim=(1, 2), keepdim=True)
    return (laid * torch.where(nothing, 1.0, before / after)).to(states.dtype)

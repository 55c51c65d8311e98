"""A prompt's plain conditioning and its moved one -> what is used of them."""

import torch
from torch import Tensor

from ..controls import Controls
from ..steering.goal import slerp

__all__ = ["blended"]


def blended(plain: Tensor, moved: Tensor, controls: Controls) -> Tensor:
    """`controls.blend` of the way from rows `[..., D]` to others of the same shape, in fp32.

    With `controls.slerp` each row goes along the arc between its two. 1 is `moved`, bit for bit.
    """
    plain, moved = plain.float(), moved.float().to(plain.device)
    if controls.blend == 1:
        return moved
    if controls.slerp:
        return slerp(plain, moved, controls.blend)
    return torch.lerp(plain, moved, controls.blend)

"""Where a model runs, and in which precision: the same for every family."""

import torch

from visunex.base.errors import first_line

from ..errors import UsageError
from ..settings import Precision

__all__ = ["find_device", "precision_on"]


def find_device(name: str) -> torch.device:
    """The device called `name`; for `auto` a GPU if there is one."""
    if name == "auto":
        accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
        return accelerator or torch.device("cpu")
    try:
        torch.empty(1, device=name)
    except (RuntimeError, AssertionError) as error:
        raise UsageError(f"no device {name!r} here: {first_line(error)}") from None
    return torch.device(name)


def precision_on(device: torch.device, wanted: Precision, half: torch.dtype = torch.float16) -> torch.dtype:
    """What denoiser and VAE compute in: fp32, or for `autocast` on a GPU `half`, as the original."""
    lower = wanted == "autocast" and device.type in ("cuda", "mps", "xpu")
    return half if lower else torch.float32

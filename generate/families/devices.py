"""Where a model runs, and in which precision: the same for every family."""

import contextlib
from collections.abc import Iterator

import torch

from visunex.base.errors import first_line
from visunex.base.memory import is_memory_shortage

from ..errors import MemoryShortageError, UsageError
from ..settings import Precision

__all__ = ["enough_memory", "find_device", "precision_on"]


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


def precision_on(device: torch.device, wanted: Precision) -> torch.dtype:
    """What UNet and VAE compute in: fp32, or for `autocast` on a GPU fp16, as the original's autocast."""
    half = wanted == "autocast" and device.type in ("cuda", "mps", "xpu")
    return torch.float16 if half else torch.float32


@contextlib.contextmanager
def enough_memory(what: str, device: str, *less: str) -> Iterator[None]:
    """Raise MemoryShortageError in the place of what memory that does not suffice raises in the block.

    It names `what` does not fit, and in the command's options what takes `less`.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_memory_shortage(error):
            raise
        on_gpu = () if device.startswith("cpu") else ("--lowvram", "--precision autocast", "--device cpu")
        raise MemoryShortageError(
            f"{what} does not fit into the memory of {device}: try {', '.join((*less, *on_gpu))}"
        ) from None

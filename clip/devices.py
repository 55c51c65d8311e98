"""Where an encoder runs, and in which number format."""

import os
import platform
import sys
from typing import TYPE_CHECKING, Literal, cast

from visunex.base.errors import first_line
from visunex.base.machine import keep_memory

from .errors import ModelError

if TYPE_CHECKING:
    import torch

__all__ = ["Precision", "choose_device", "choose_precision", "dtype_of", "every_device", "share_the_cpu"]

Precision = Literal["fp32", "bf16", "fp16"]


def share_the_cpu() -> None:
    """Prepare this process for an encoder on the CPU with decoders beside it; before torch is imported.

    The encoder's threads sleep while they wait for one another (libgomp's would spin on cores that decoding
    could use), and the memory of its large intermediate results is kept for the next batch.
    """
    if "torch" not in sys.modules:
        os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # libgomp has no other way to be told
    keep_memory()


def choose_device(wanted: str = "auto") -> str:
    """The device to run on: the one wanted, or the fastest of cuda, mps and cpu. Raises ModelError."""
    import torch

    if wanted != "auto":
        try:
            torch.empty(0, device=wanted)
        except Exception as error:
            raise ModelError(
                f"there is no device {wanted!r} here ({first_line(error)}); leave out --device"
            ) from None
        return wanted
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def every_device(wanted: str = "auto") -> tuple[str, ...]:
    """The devices to run on: those named, with commas between; `auto` and `cuda` mean all there are of CUDA.

    Raises ModelError.
    """
    import torch

    named = tuple(choose_device(name.strip()) for name in wanted.split(","))
    if named == ("cuda",) and torch.cuda.device_count() > 1:
        return tuple(f"cuda:{number}" for number in range(torch.cuda.device_count()))
    return named


def choose_precision(wanted: str, device: str) -> Precision:
    """The number format to run in: the one wanted, or the fastest that the device is good at.

    bf16 on CUDA from compute capability 8.0 and on CPUs with AVX512-BF16 or AMX, fp16 on older CUDA, else
    fp32.
    """
    import torch

    if wanted != "auto":
        return cast("Precision", wanted)
    if device.startswith("cuda"):
        return "bf16" if torch.cuda.get_device_capability(device)[0] >= 8 else "fp16"
    return "bf16" if device == "cpu" and _cpu_has_bf16() else "fp32"


def dtype_of(precision: Precision) -> "torch.dtype":
    """torch's name of a precision."""
    import torch

    return {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]


def _cpu_has_bf16() -> bool:
    """Whether the CPU multiplies bf16 in hardware; elsewhere torch emulates it, slower than fp32."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return False
    import torch

    checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, check, lambda: False)() for check in checks)

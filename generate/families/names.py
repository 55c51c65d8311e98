"""Whether a model's name can mean anything, and a device's: told before torch is loaded."""

from pathlib import Path

from visunex.base.hub_cache import DEFAULT_MODEL
from visunex.base.suggest import did_you_mean
from visunex.demo import TINY_MODEL

from ..checkpoint.kinds import NAMES, Family
from ..errors import CheckpointError, UsageError
from ..settings import TextEncoder

__all__ = ["check_device", "check_name", "check_text_encoder"]

DEVICES = ("auto", "cpu", "cuda", "mps", "xpu", "hpu", "mtia", "npu", "mlu", "musa", "xla", "privateuseone")
_GPUS = ("gpu", "nvidia", "amd", "rocm")  # what people call them
_FILES = (".ckpt", ".safetensors")


def check_name(name: str) -> None:
    """Raise CheckpointError for what is no folder or file here, nor could be a name on the Hub."""
    if not name:
        raise CheckpointError(f"the name of the model is empty; without --model it is {DEFAULT_MODEL}")
    path = Path(name)
    if name == TINY_MODEL or path.is_file() or path.is_dir():
        return
    if path.exists():
        raise CheckpointError(f"{name} is no file and no folder: give --model the model itself")
    if path.suffix.lower() in _FILES:
        raise CheckpointError(f"{name} cannot be read as a checkpoint: there is no such file")
    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise CheckpointError(
            f"no model {name!r}: {did_you_mean(name, [TINY_MODEL])}not a folder, not a file, not a Hub name "
            f"(OWNER/NAME) and not {TINY_MODEL}; without --model it is {DEFAULT_MODEL}"
        )


def check_device(name: str) -> None:
    """Raise UsageError for a device of no kind that torch knows."""
    kind = name.partition(":")[0]
    if kind not in DEVICES:
        meant = "" if kind.lower() in _GPUS else did_you_mean(kind, DEVICES)
        raise UsageError(f"no device {name!r} here: {meant}cpu, cuda (a GPU), mps (a Mac's) or auto")


def check_text_encoder(text_encoder: TextEncoder, family: Family | None, model: str) -> None:
    """Raise UsageError where OpenAI's text encoder is asked for and cannot stand for the model's own."""
    if text_encoder == "openai" and family not in (None, "sd1"):
        raise UsageError(
            f"--text-encoder openai is for Stable Diffusion 1.x, and {model} is of the family "
            f"{NAMES[family]}: leave it out"
        )

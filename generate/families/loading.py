"""A model's name, folder or file -> its parts on a device, by the family that it is of."""

from pathlib import Path
from typing import Any

import torch

from visunex.base.machine import free_memory, keep_memory
from visunex.demo import TINY_MODEL

from ..checkpoint.kinds import Family, denoiser_of, family_of
from ..checkpoint.reader import SUFFIXES, read_weights
from ..errors import MemoryShortageError
from ..settings import DEFAULT_MODEL, Precision
from ..tokens import check_tokenizer
from . import flux, sd1, sd2, sd3, sdxl
from .devices import find_device, precision_on
from .folders import family_of_folder
from .model import Model
from .outline import outline
from .parts import Parts

__all__ = ["load"]

FAMILIES: dict[Family, Any] = {"sd1": sd1, "sd2": sd2, "sdxl": sdxl, "sd3": sd3, "flux": flux}
KEPT = 2**31 - 1  # bytes: a step of the UNet and the steering each take up to 1 GB, over and over


def load(
    name: str = DEFAULT_MODEL,
    *,
    device: str = "auto",
    precision: Precision = "autocast",
    lowvram: bool = False,
    variant: str | None = None,
) -> Model:
    """Load a Hub name, a diffusers folder, a single `.safetensors` or `.ckpt` file, or `visunex-tiny`.

    `device` is a torch device or `auto`; `precision` is `full` (fp32) or `autocast` (fp16 UNet and VAE on a
    GPU, fp32 on a CPU, as the original's autocast did; bf16 where a transformer denoises). `variant` chooses
    among a folder's files: `fp16`. Raises CheckpointError for what is not there or not readable, UsageError
    for a device that is not there.
    """
    target = find_device(device)
    if target.type == "cpu":
        _require_memory(name)
        keep_memory(KEPT)
    family, parts = _parts(name, target, precision, variant)
    for tokenizer, encoder in parts.readers:
        check_tokenizer(tokenizer, encoder.config.vocab_size, name)
        tokenizer.model_max_length = encoder.config.max_position_embeddings  # which some say nothing of
    model: Model = family.Model(name=name, device=target, lowvram=lowvram, **vars(parts))
    for part in (model.denoiser, model.vae):  # convolutions run faster so; on two CPU threads by 17 times
        part.to(memory_format=torch.channels_last)
    for part in model.networks:
        part.eval().requires_grad_(False)
        if not lowvram:
            part.to(target)
    if lowvram:
        model.vae.enable_slicing()
        model.vae.enable_tiling()
    return model


def _require_memory(name: str) -> None:
    """Raise MemoryShortageError, before anything is read, for a model that does not fit here as fp32.

    The system would end the process in the midst of it, without a word.
    """
    found, free = outline(name), free_memory()
    needed = 4 * found.weights if found else 0
    if free is not None and needed > free:
        raise MemoryShortageError(
            f"{name} takes {needed / 1e9:.1f} GB of memory on the CPU and {free / 1e9:.1f} GB are free: "
            "end other programs, or take a smaller model or a machine with more memory"
        )


def _parts(name: str, target: torch.device, precision: Precision, variant: str | None) -> tuple[Any, Parts]:
    """The family's room, and the parts that it loads."""
    if name == TINY_MODEL:
        return sd1, sd1.load_tiny(precision_on(target, precision))
    path = Path(name)
    if path.is_file() or (path.suffix.lower() in SUFFIXES and not path.is_dir()):
        weights = read_weights(path)
        kind = family_of({key: tuple(value.shape) for key, value in weights.items()}, name)
        return FAMILIES[kind], FAMILIES[kind].load_checkpoint(weights, path, _dtype(kind, target, precision))
    kind = family_of_folder(name)
    return FAMILIES[kind], FAMILIES[kind].load_folder(name, _dtype(kind, target, precision), variant)


def _dtype(kind: Family, target: torch.device, precision: Precision) -> torch.dtype:
    """What a family's denoiser computes in; a transformer's values are beyond fp16's."""
    transforms = denoiser_of(kind) == "transformer"
    return precision_on(target, precision, torch.bfloat16 if transforms else torch.float16)

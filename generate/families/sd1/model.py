"""A model's name, folder or file -> its parts on a device."""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from visunex.base.machine import keep_memory
from visunex.demo import TINY_MODEL

from ...checkpoint.reader import SUFFIXES
from ...settings import DEFAULT_MODEL, Precision
from ...tokens import check_tokenizer
from ..devices import find_device, precision_on
from .checkpoint import SCALING, load_checkpoint
from .folder import load_folder, load_tiny
from .outline import SAMPLE_SIZE
from .parts import Parts
from .text_encoder import CLIP_L, WIDTH, text_projection

__all__ = ["Model", "load"]

KEPT = 2**31 - 1  # bytes: a step of the UNet and the steering each take up to 1 GB, over and over


@dataclass(frozen=True, eq=False, kw_only=True)
class Model(Parts):
    """One Stable Diffusion 1.x model on a device; UNet and VAE in `dtype`, the text encoder in fp32.

    With `lowvram` only the part at work is on the device.
    """

    name: str
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    lowvram: bool = False

    @property
    def dtype(self) -> torch.dtype:
        """The precision of the UNet."""
        return self.unet.dtype

    @property
    def factor(self) -> int:
        """Pixels per latent along each side: 8 for Stable Diffusion."""
        return 2 ** (len(self.vae.config.block_out_channels) - 1)

    @property
    def channels(self) -> int:
        """Channels of a latent: 4 for Stable Diffusion."""
        return int(self.unet.config.in_channels)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels that the model was made for."""
        side = self.unet.config.sample_size or SAMPLE_SIZE
        height, width = (side, side) if isinstance(side, int) else side
        return height * self.factor, width * self.factor

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits of a SHA-256 over a sample of every part's weights, to tell models apart."""
        digest = hashlib.sha256()
        for part in (self.unet, self.vae, self.text_encoder):
            for name, value in sorted(part.state_dict().items()):
                digest.update(name.encode())
                digest.update(value.flatten()[:16].to("cpu", torch.float16).numpy().tobytes())
        return digest.hexdigest()[:16]

    @cached_property
    def text_projection(self) -> Tensor:
        """The text features' projection `[D_proj, D]`: the model's, else CLIP-L's. Raises CheckpointError."""
        if self.own_projection is not None:
            return self.own_projection
        return text_projection(self.text_encoder.config.hidden_size)

    @property
    def clip(self) -> Mapping[str, str] | None:
        """The CLIP in whose space prompts are moved: CLIP-L, unless the model brings a projection of its own.

        None where nothing says which it is.
        """
        if self.name == TINY_MODEL:
            return {"name": TINY_MODEL}
        own = self.own_projection is not None or self.text_encoder.config.hidden_size != WIDTH
        return None if own else CLIP_L

    @property
    def scaling_factor(self) -> float:
        """What the VAE's latents are multiplied by for the UNet: 0.18215 where the config does not say."""
        return self.vae.config.scaling_factor or SCALING

    @contextmanager
    def on_device(self, part: Any) -> Iterator[Any]:
        """The part, on the model's device while the block runs; with `lowvram` it leaves again after it."""
        if not self.lowvram:
            yield part
            return
        try:
            yield part.to(self.device)
        finally:
            part.to("cpu")


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
    GPU, fp32 on a CPU, as the original's autocast did). `variant` chooses among a folder's files: `fp16`.
    Raises CheckpointError for what is not there or not readable, UsageError for a device that is not there.
    """
    target = find_device(device)
    if target.type == "cpu":
        keep_memory(KEPT)
    parts = _parts(name, precision_on(target, precision), variant)
    check_tokenizer(parts.tokenizer, parts.text_encoder.config.vocab_size, name)
    model = Model(name=name, device=target, lowvram=lowvram, **vars(parts))
    for part in (model.unet, model.vae):  # convolutions run faster so; on two CPU threads by 17 times
        part.to(memory_format=torch.channels_last)
    for part in (model.unet, model.vae, model.text_encoder):
        part.eval().requires_grad_(False)
        if not lowvram:
            part.to(target)
    if lowvram:
        model.vae.enable_slicing()
        model.vae.enable_tiling()
    return model


def _parts(name: str, dtype: torch.dtype, variant: str | None) -> Parts:
    if name == TINY_MODEL:
        return load_tiny(dtype)
    path = Path(name)
    if path.is_file() or (path.suffix.lower() in SUFFIXES and not path.is_dir()):
        return load_checkpoint(path, dtype)
    return load_folder(name, dtype, variant)

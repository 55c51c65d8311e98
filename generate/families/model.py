"""A model on a device: what the sampler, the records and the command ask of one, whatever its family."""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor

from ..added import AddedFile
from ..settings import TextEncoder
from .parts import Parts
from .prompts import Conditioner, Conditioning

__all__ = ["Model"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Model(Parts):
    """One model on a device; the UNet in `dtype`, text encoders in fp32. With `lowvram` only the part at work
    is on the device.

    A family says `SAMPLE_SIZE`, latents along a side, and `SCALING`, of the latents, where a config does not;
    `AS_ORIGINAL`, whether DDIM and PLMS take the time steps of CompVis's scripts or diffusers' own.
    `additions` are files that were added to it, `base_fingerprint` is what it was before.
    """

    SAMPLE_SIZE: ClassVar[int]
    SCALING: ClassVar[float]
    AS_ORIGINAL: ClassVar[bool]

    name: str
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    lowvram: bool = False
    additions: tuple[AddedFile, ...] = ()
    base_fingerprint: str = ""

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
        side = self.unet.config.sample_size or self.SAMPLE_SIZE
        height, width = (side, side) if isinstance(side, int) else side
        return height * self.factor, width * self.factor

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits of a SHA-256 over a sample of every part's weights, to tell models apart.

        Additions have hashes of their own: it is that of the model without them.
        """
        if self.base_fingerprint:
            return self.base_fingerprint
        digest = hashlib.sha256()
        for part in self.networks:
            for name, value in sorted(part.state_dict().items()):
                digest.update(name.encode())
                digest.update(value.flatten()[:16].to("cpu", torch.float16).numpy().tobytes())
        return digest.hexdigest()[:16]

    @property
    def scaling_factor(self) -> float:
        """What the VAE's latents are multiplied by for the UNet."""
        return self.vae.config.scaling_factor or self.SCALING

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

    def conditioner(self, text_encoder: TextEncoder = "model") -> Conditioner:
        """What makes conditioning of prompts; with `text_encoder` `openai` OpenAI's own CLIP reads them."""
        raise NotImplementedError

    def added(self, cond: Conditioning, height: int, width: int) -> Mapping[str, Tensor] | None:
        """What the UNet takes beside hidden states, for images of so many pixels, in its dtype."""
        return None

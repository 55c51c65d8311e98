"""A model on a device: what the sampler, the records and the command ask of one, whatever its family."""

import hashlib
import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from visunex.demo import TINY_MODEL

from ..added import AddedFile
from ..checkpoint.kinds import Family as Kind
from ..settings import Defaults
from .family import Family
from .outline import defaults_of
from .parts import Parts

__all__ = ["Model", "Task"]


Task = Literal["text", "image", "inpaint"]  # what a pipeline starts from


@dataclass(frozen=True, eq=False, kw_only=True)
class Model(Parts):
    """One model on a device; the denoiser in `dtype`, CLIP in fp32. With `lowvram` only the part at work is
    on the device.

    A family says what it is called (`KIND`), how it is conditioned (`FAMILY`), and which of diffusers'
    pipelines draw by it (`PIPELINES`); `SAMPLE_SIZE`, latents along a side, and `SCALING`, of the latents,
    where a config does not; `AS_ORIGINAL`, whether DDIM and PLMS take the time steps of CompVis's scripts or
    diffusers' own.
    `additions` are files that were added to it, `base_fingerprint` is what it was before.
    """

    KIND: ClassVar[Kind]
    FAMILY: ClassVar[Family]
    PIPELINES: ClassVar[Mapping[Task, str]]
    SAMPLE_SIZE: ClassVar[int]
    SCALING: ClassVar[float]
    AS_ORIGINAL: ClassVar[bool]

    name: str
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    lowvram: bool = False
    additions: tuple[AddedFile, ...] = ()
    base_fingerprint: str = ""

    @property
    def family(self) -> Family:
        """How it is conditioned, with what its files bring."""
        return self.FAMILY

    @property
    def kind(self) -> Kind:
        """What its family is called."""
        return self.KIND

    @property
    def dtype(self) -> torch.dtype:
        """The precision of the denoiser."""
        return self.denoiser.dtype

    @property
    def factor(self) -> int:
        """Pixels per latent along each side: 8 for Stable Diffusion."""
        return 2 ** (len(self.vae.config.block_out_channels) - 1)

    @property
    def channels(self) -> int:
        """Channels of a latent: 4 for Stable Diffusion."""
        return int(self.denoiser.config.in_channels)

    @property
    def multiple(self) -> int:
        """What height and width in pixels are multiples of."""
        return self.factor

    @property
    def guided(self) -> bool:
        """Whether it is guided by a second pass, for the negative prompt."""
        return True

    @property
    def defaults(self) -> Defaults:
        """How it is sampled where nobody says how."""
        return defaults_of(self.KIND, self.denoiser.config)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels that the model was made for."""
        side = self.denoiser.config.get("sample_size") or self.SAMPLE_SIZE
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
        """What the VAE's latents are multiplied by for the denoiser."""
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

    @property
    def clip(self) -> Mapping[str, str] | None:
        """The CLIP that the first text encoder is of, where that is known and is not its family's."""
        return {"name": TINY_MODEL} if self.name == TINY_MODEL else None

    def pipeline(self, task: Task = "text", **instead: Any) -> Any:
        """diffusers' own pipeline for a task, of this model's parts; those named `instead` take their places.

        Without a `scheduler` among them it is for prompts alone, and draws as no sampler here does.
        """
        import diffusers

        kind = getattr(diffusers, self.PIPELINES[task])
        parts = {**vars(self), "scheduler": self.any_scheduler(), **self.pipeline_options}
        taken = inspect.signature(kind.__init__).parameters
        return kind(**{name: part for name, part in {**parts, **instead}.items() if name in taken})

    def any_scheduler(self) -> Any:
        """A scheduler that its pipelines take without a word."""
        import diffusers

        config = self.scheduler_config
        return diffusers.DDIMScheduler.from_config(config, clip_sample=False, steps_offset=1)

    @property
    def pipeline_options(self) -> Mapping[str, Any]:
        """What a family's pipelines are built with beside the parts."""
        return {}

    def added(self, pooled: Tensor | None, height: int, width: int) -> Mapping[str, Tensor] | None:
        """What the UNet takes beside hidden states, for images of so many pixels, in its dtype.

        `pooled` are the text encoders' features `[n, D]`, where they have any.
        """
        return None

"""What Stable Diffusion 3 and FLUX.1 share: a transformer that goes along a flow, and T5 beside CLIP."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from ..errors import CheckpointError
from ..tokens import check_pieces
from . import model, parts
from .folders import Folder
from .outline import PATCH, SAMPLE_SIZES

__all__ = ["Model", "Parts", "check_latents", "schedule", "t5_of"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Parts(parts.Parts):
    """A family's parts, of which diffusers' transformer denoises; a second text encoder and its tokenizer."""

    transformer: Any
    text_encoder_2: Any
    tokenizer_2: Any

    @property
    def denoiser(self) -> Any:
        """The transformer."""
        return self.transformer


class Model(model.Model):
    """A model that goes along a flow, on a device; transformer, VAE and T5 in `dtype`, CLIP in fp32."""

    SAMPLE_SIZE, AS_ORIGINAL = SAMPLE_SIZES["sd3"], False
    SCALING: ClassVar[float] = 1.0

    @property
    def multiple(self) -> int:
        """What height and width in pixels are multiples of: patches of latents."""
        return self.factor * PATCH

    def any_scheduler(self) -> Any:
        """A scheduler that its pipelines take without a word."""
        import diffusers

        return diffusers.FlowMatchEulerDiscreteScheduler.from_config(self.scheduler_config)

    def starting(self, latents: Tensor) -> Tensor:
        """Noise `[n, C, h, w]` as its pipelines take it, in the transformer's dtype."""
        return latents.to(self.dtype)


def t5_of(folder: Folder, name: str, number: int, dtype: torch.dtype) -> tuple[Any, Any]:
    """The text encoder of that number, T5, in `dtype`, and its tokenizer; raises CheckpointError."""
    encoder = folder.language_model(f"text_encoder_{number}", dtype)
    tokenizer = folder.pieces(f"tokenizer_{number}")
    check_pieces(tokenizer, int(encoder.config.vocab_size), name)
    return encoder, tokenizer


def schedule(folder: Folder, name: str) -> dict[str, Any]:
    """The noise schedule. Raises CheckpointError for one that is no flow's."""
    kind = str(folder.config("scheduler").get("_class_name"))
    if not kind.startswith("FlowMatch"):
        raise CheckpointError(f"the scheduler of {name} is {kind}, which goes along no flow: fetch it again")
    return folder.schedule()


def check_latents(transformer: Any, vae: Any, each: int, name: str) -> None:
    """Raise CheckpointError where a transformer takes other latents than its VAE has; `each` of a patch."""
    taken, given = int(transformer.config.in_channels), int(vae.config.latent_channels)
    if taken != given * each:
        raise CheckpointError(
            f"the transformer of {name} takes {taken} numbers of a place, and its VAE has {given * each}: it "
            "draws over something (Fill, Control), or its parts are of several models; name one that draws "
            "from prompts alone"
        )

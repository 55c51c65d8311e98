"""The parts that a model is made of, whatever they were read from; a family may add to them."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

__all__ = ["Parts", "UNetParts"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Parts:
    """diffusers' VAE, transformers' CLIP text model (fp32) and tokenizer, the noise schedule; and a denoiser.

    `own_projection` is the text projection `[D_proj, D]` where the model brings one.
    """

    vae: Any
    text_encoder: Any
    tokenizer: Any
    scheduler_config: Mapping[str, Any]
    own_projection: Tensor | None = None

    @property
    @abstractmethod
    def denoiser(self) -> Any:
        """The network that every step of the sampler asks."""

    @property
    def networks(self) -> tuple[Any, ...]:
        """Everything that has weights."""
        return self.denoiser, self.vae, self.text_encoder

    @property
    def readers(self) -> tuple[tuple[Any, Any], ...]:
        """Each of CLIP's tokenizers, and the text encoder that takes its tokens."""
        return ((self.tokenizer, self.text_encoder),)


@dataclass(frozen=True, eq=False, kw_only=True)
class UNetParts(Parts):
    """A family's parts, of which diffusers' UNet denoises."""

    unet: Any

    @property
    def denoiser(self) -> Any:
        """The UNet."""
        return self.unet

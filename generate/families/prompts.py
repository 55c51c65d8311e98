"""Prompts -> conditioning, personalised or not, each computed once per run: what every family shares."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..settings import TextEncoder
from ..steering import steer
from ..taste import Taste

if TYPE_CHECKING:
    from .parts import Parts

__all__ = ["Conditioner", "Conditioning", "length_of", "token_ids"]


@dataclass(frozen=True, eq=False)
class Conditioning:
    """What conditions the UNet for n images: hidden states `[n, L, D]`, and pooled features `[n, D_proj]` for
    families whose UNet takes them as well."""

    hidden: Tensor
    pooled: Tensor | None = None

    def repeated(self, count: int) -> "Conditioning":
        """One prompt's for `count` images."""
        pooled = None if self.pooled is None else self.pooled.expand(count, -1)
        return Conditioning(self.hidden.expand(count, -1, -1), pooled)

    @staticmethod
    def of(parts: "Sequence[Conditioning]") -> "Conditioning":
        """All images of several, in their order."""
        pooled = [each.pooled for each in parts if each.pooled is not None]
        return Conditioning(torch.cat([each.hidden for each in parts]), torch.cat(pooled) if pooled else None)


class Conditioner:
    """The text side of a model: prompts -> `Conditioning` of one image, kept for as long as this lives."""

    def __init__(self, model: "Parts", *, text_encoder: TextEncoder = "model") -> None:
        self.text_encoder: TextEncoder = text_encoder
        self._readers = model.readers
        self._computed: dict[tuple[object, ...], Conditioning] = {}

    def prompt(
        self, text: str, taste: Taste | None = None, on_step: steer.OnStep | None = None
    ) -> Conditioning:
        """The conditioning of one prompt, personalised to `taste`; the empty prompt never is.

        `on_step(step, cosine)` is called before each step towards the taste. Raises what `personalise` does,
        CheckpointError where the text projection cannot be had, and UsageError where OpenAI's encoder does
        not fit the model.
        """
        personal = taste is not None and taste.steps != 0 and text.strip()
        key = (text, taste.digest, taste.steps, taste.lr) if taste and personal else (text,)
        if key not in self._computed:
            self._computed[key] = self._compute(text, taste if personal else None, on_step)
        return self._computed[key]

    def negative(self, text: str) -> Conditioning:
        """The conditioning of the negative (or empty) prompt, by the model's own text encoders."""
        key = ("negative", text)
        if key not in self._computed:
            self._computed[key] = self._compute_negative(text)
        return self._computed[key]

    def require_space(self, taste: Taste) -> None:
        """Raise EmbeddingError where a taste certainly is of another CLIP than what reads the prompts."""
        raise NotImplementedError

    def surplus(self, text: str) -> int:
        """How many tokens of `text` are beyond the text encoders' length and left out."""
        lengths = (
            len(tokenizer(text, verbose=False).input_ids) - length_of(encoder)
            for tokenizer, encoder in self._readers
        )
        return max(0, *lengths)

    def _compute(self, text: str, taste: Taste | None, on_step: steer.OnStep | None) -> Conditioning:
        raise NotImplementedError

    def _compute_negative(self, text: str) -> Conditioning:
        raise NotImplementedError


def length_of(encoder: Any) -> int:
    """Tokens that a text encoder takes, the start and the end of the text among them: 77 for CLIP."""
    return int(encoder.config.max_position_embeddings)


def token_ids(tokenizer: Any, encoder: Any, text: str) -> Tensor:
    """Token ids `[1, L]` on the CPU, cut and padded to the text encoder's length."""
    ids: Tensor = tokenizer(
        text,
        padding="max_length",
        max_length=length_of(encoder),
        truncation=True,
        return_tensors="pt",
    ).input_ids
    return ids

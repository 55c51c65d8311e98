"""Prompts -> the penultimate hidden states of SDXL's two text encoders, and the second's pooled feature."""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ...errors import EmbeddingSizeError, UsageError
from ...settings import TextEncoder
from ...steering import steer
from ...taste import Taste
from .. import prompts
from ..names import check_text_encoder
from ..prompts import Conditioning, token_ids

if TYPE_CHECKING:
    from .model import Model

__all__ = ["Conditioner"]


class Conditioner(prompts.Conditioner):
    """The text side of an SDXL model: prompts -> conditioning, kept for as long as this lives.

    A taste moves the text encoder whose feature has its size, by that feature: 1x768 CLIP-L, 1x1280 bigG. The
    other encoder's part of the conditioning stays as it is.
    """

    def __init__(self, model: "Model", *, text_encoder: TextEncoder = "model") -> None:
        check_text_encoder(text_encoder, "sdxl", model.name)
        super().__init__(model, text_encoder=text_encoder)
        self.model = model

    def require_space(self, taste: Taste) -> None:
        """Raise EmbeddingError where a taste certainly is of another CLIP than the encoder that it moves."""
        taste.require_space(self.model.name, self.model.clips[self._moved_by(taste)])

    def _compute_negative(self, text: str) -> Conditioning:
        if self.model.zeros and not text:
            like = self.prompt("")
            pooled = None if like.pooled is None else torch.zeros_like(like.pooled)
            return Conditioning(torch.zeros_like(like.hidden), pooled)
        return self._compute(text, None, None)

    def _compute(self, text: str, taste: Taste | None, on_step: steer.OnStep | None) -> Conditioning:
        moving = None
        if taste is not None:
            self.require_space(taste)
            moving = self._moved_by(taste)
        states, pooled = [], None
        for number, (tokenizer, whole) in enumerate(self.model.readers):
            with self.model.on_device(whole) as encoder:
                ids = token_ids(tokenizer, encoder, text).to(self.model.device)
                if taste is None or number != moving:
                    hidden, row = _plain(encoder, ids, tokenizer.eos_token_id)
                else:
                    projection = self.model.projection(number)
                    hidden, row = _moved(encoder, projection, ids, taste, tokenizer.eos_token_id, on_step)
                states.append(hidden)
                if number:  # the UNet takes the second one's alone
                    with torch.no_grad():
                        pooled = encoder.text_projection(row)
        return Conditioning(torch.cat(states, dim=-1), pooled)

    def _moved_by(self, taste: Taste) -> int:
        """Which encoder has features of a taste's size, 0 or 1. Raises EmbeddingSizeError for neither."""
        size, sizes = taste.embedding.shape[-1], self.model.sizes
        if sizes.count(size) > 1:
            raise UsageError(
                f"the embedding {taste.name} is 1x{size}, and so are the features of both text encoders of "
                f"{self.model.name}: which it is for cannot be told"
            )
        if size not in sizes:
            raise EmbeddingSizeError(
                f"this embedding is 1x{size}, the model needs 1x{sizes[0]} or 1x{sizes[1]}"
            )
        return sizes.index(size)


@torch.no_grad()
def _plain(encoder: Any, ids: Tensor, eos_token_id: int) -> tuple[Tensor, Tensor]:
    """The penultimate hidden state `[1, L, D]` and the row of the last where the text ends, `[1, D]`."""
    found = encoder(input_ids=ids, output_hidden_states=True)
    end = steer.end_of_text(encoder, ids, eos_token_id)
    return found.hidden_states[-2], found.last_hidden_state[:, end]


def _moved(
    encoder: Any,
    projection: Tensor,
    ids: Tensor,
    taste: Taste,
    eos_token_id: int,
    on_step: steer.OnStep | None,
) -> tuple[Tensor, Tensor]:
    """The same of the encoder moved towards a taste."""
    moved = steer.move(
        encoder,
        projection,
        ids,
        taste.embedding,
        steps=taste.steps,
        lr=taste.lr,
        skipped=1,
        normed=False,
        eos_token_id=eos_token_id,
        on_step=on_step,
    )
    return moved.states, moved.pooled

"""Prompts -> the last hidden state of Stable Diffusion 1's text encoder, or of OpenAI's own."""

from typing import TYPE_CHECKING, Any

from torch import Tensor

from ...errors import UsageError
from ...settings import TextEncoder
from ...steering import steer
from ...taste import Taste
from .. import prompts
from ..prompts import Conditioning, token_ids
from .text_encoder import CLIP_L, openai_text_encoder

if TYPE_CHECKING:
    from .model import Model

__all__ = ["Conditioner"]


class Conditioner(prompts.Conditioner):
    """The text side of a model: prompts -> conditioning `[1, L, D]`, kept for as long as this lives.

    With `text_encoder` `openai` OpenAI's own CLIP reads the prompts, as in the original script; the negative
    prompt is the model's in either case.
    """

    def __init__(self, model: "Model", *, text_encoder: TextEncoder = "model") -> None:
        super().__init__(model, text_encoder=text_encoder)
        self.model = model
        self._openai: tuple[Any, Tensor] | None = None

    def require_space(self, taste: Taste) -> None:
        """Raise EmbeddingError where a taste certainly is of another CLIP than what reads the prompts."""
        taste.require_space(self.model.name, self.model.clip if self.text_encoder == "model" else CLIP_L)

    def tokens(self, text: str) -> Tensor:
        """Token ids `[1, L]` on the model's device, cut and padded to the text encoder's length."""
        return token_ids(self.model.tokenizer, self.model.text_encoder, text).to(self.model.device)

    def _compute_negative(self, text: str) -> Conditioning:
        with self.model.on_device(self.model.text_encoder) as encoder:
            return Conditioning(steer.conditioning(encoder, self.tokens(text)))

    def _compute(self, text: str, taste: Taste | None, on_step: steer.OnStep | None) -> Conditioning:
        own = self.text_encoder == "model"
        with self.model.on_device(self.model.text_encoder if own else self._openais()[0]) as encoder:
            if taste is None:
                return Conditioning(steer.conditioning(encoder, self.tokens(text)))
            self.require_space(taste)
            moved = steer.personalise(
                encoder,
                self.model.text_projection if own else self._openais()[1],
                self.tokens(text),
                taste.embedding,
                steps=taste.steps,
                lr=taste.lr,
                eos_token_id=self.model.tokenizer.eos_token_id,
                on_step=on_step,
            )
            return Conditioning(moved)

    def _openais(self) -> tuple[Any, Tensor]:
        """OpenAI's text encoder, on the device of the model's own, and its projection; loaded once."""
        if self._openai is None:
            encoder, projection = openai_text_encoder()
            self._check_size(encoder.config)
            self._openai = encoder.to("cpu" if self.model.lowvram else self.model.device), projection
        return self._openai

    def _check_size(self, theirs: Any) -> None:
        own = self.model.text_encoder.config
        if (theirs.hidden_size, theirs.vocab_size) != (own.hidden_size, own.vocab_size):
            raise UsageError(
                f"--text-encoder openai does not fit {self.model.name}: its text tower is "
                f"{own.hidden_size} wide, OpenAI's {theirs.hidden_size}"
            )

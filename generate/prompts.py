"""Prompts -> conditioning, personalised or not, each computed once per run."""

from typing import Any

from torch import Tensor

from .errors import UsageError
from .families.sd1.model import Model
from .families.sd1.text_encoder import CLIP_L, openai_text_encoder
from .settings import TextEncoder
from .steering import steer
from .taste import Taste

__all__ = ["Conditioner"]


class Conditioner:
    """The text side of a model: prompts -> conditioning `[1, L, D]`, kept for as long as this lives.

    With `text_encoder` `openai` OpenAI's own CLIP reads the prompts, as in the original script; the negative
    prompt is the model's in either case.
    """

    def __init__(self, model: Model, *, text_encoder: TextEncoder = "model") -> None:
        self.model, self.text_encoder = model, text_encoder
        self._openai: tuple[Any, Tensor] | None = None
        self._computed: dict[tuple[object, ...], Tensor] = {}

    def prompt(self, text: str, taste: Taste | None = None, on_step: steer.OnStep | None = None) -> Tensor:
        """Conditioning `[1, L, D]` of one prompt, personalised to `taste`; the empty prompt never is.

        `on_step(step, cosine)` is called before each step towards the taste. Raises what `personalise` does,
        CheckpointError where the text projection cannot be had, and UsageError where OpenAI's encoder does
        not fit the model.
        """
        personal = taste is not None and taste.steps != 0 and text.strip()
        key = (text, taste.digest, taste.steps, taste.lr) if taste and personal else (text,)
        if key not in self._computed:
            self._computed[key] = self._compute(text, taste if personal else None, on_step)
        return self._computed[key]

    def require_space(self, taste: Taste) -> None:
        """Raise EmbeddingError where a taste certainly is of another CLIP than what reads the prompts."""
        taste.require_space(self.model.name, self.model.clip if self.text_encoder == "model" else CLIP_L)

    def negative(self, text: str) -> Tensor:
        """Conditioning `[1, L, D]` of the negative (or empty) prompt by the model's own text encoder."""
        key = ("negative", text)
        if key not in self._computed:
            with self.model.on_device(self.model.text_encoder) as encoder:
                self._computed[key] = steer.conditioning(encoder, self.tokens(text))
        return self._computed[key]

    def tokens(self, text: str) -> Tensor:
        """Token ids `[1, L]` on the model's device, cut and padded to the text encoder's length."""
        ids = self.model.tokenizer(
            text,
            padding="max_length",
            max_length=self.length,
            truncation=True,
            return_tensors="pt",
        ).input_ids
        return ids.to(self.model.device)

    @property
    def length(self) -> int:
        """Tokens that the encoder takes, the start and the end of the text among them: 77 for CLIP."""
        return int(self.model.text_encoder.config.max_position_embeddings)

    def surplus(self, text: str) -> int:
        """How many tokens of `text` are beyond the text encoder's length and left out."""
        return max(0, len(self.model.tokenizer(text, verbose=False).input_ids) - self.length)

    def _compute(self, text: str, taste: Taste | None, on_step: steer.OnStep | None) -> Tensor:
        own = self.text_encoder == "model"
        with self.model.on_device(self.model.text_encoder if own else self._openais()[0]) as encoder:
            if taste is None:
                return steer.conditioning(encoder, self.tokens(text))
            self.require_space(taste)
            return steer.personalise(
                encoder,
                self.model.text_projection if own else self._openais()[1],
                self.tokens(text),
                taste.embedding,
                steps=taste.steps,
                lr=taste.lr,
                eos_token_id=self.model.tokenizer.eos_token_id,
                on_step=on_step,
            )

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

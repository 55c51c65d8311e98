"""Prompts -> conditioning, personalised or not, each computed once per run."""

from typing import Any

from torch import Tensor

from .errors import UsageError
from .families.sd1.model import Model
from .steering import steer
from .taste import Taste

__all__ = ["Conditioner"]


class Conditioner:
    """The text side of a model. `stock` uses OpenAI's own tower for prompts, as the original script did."""

    def __init__(self, model: Model, *, stock: bool = False) -> None:
        self.model, self.stock = model, stock
        self._tower: tuple[Any, Tensor] | None = None
        self._known: dict[tuple[object, ...], Tensor] = {}

    def prompt(self, text: str, taste: Taste | None = None, on_step: steer.OnStep | None = None) -> Tensor:
        """Conditioning `[1, L, D]` of one prompt, personalised to `taste`; the empty prompt never is."""
        personal = taste is not None and taste.steps != 0 and text.strip()
        key = (text, taste.digest, taste.steps, taste.lr) if taste and personal else (text,)
        if key not in self._known:
            self._known[key] = self._compute(text, taste if personal else None, on_step)
        return self._known[key]

    def negative(self, text: str) -> Tensor:
        """Conditioning `[1, L, D]` of the negative (or empty) prompt by the model's own, untouched tower."""
        key = ("negative", text)
        if key not in self._known:
            with self.model.on_device(self.model.text_model) as tower:
                self._known[key] = steer.conditioning(tower, self.tokens(text))
        return self._known[key]

    def tokens(self, text: str) -> Tensor:
        """Token ids `[1, L]` on the model's device, cut and padded to the tower's length."""
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
        """Tokens that the tower takes, the start and the end of the text among them: 77 for CLIP."""
        return int(self.model.text_model.config.max_position_embeddings)

    def surplus(self, text: str) -> int:
        """How many tokens of `text` are beyond the tower's length and left out."""
        return max(0, len(self.model.tokenizer(text, verbose=False).input_ids) - self.length)

    def _compute(self, text: str, taste: Taste | None, on_step: steer.OnStep | None) -> Tensor:
        with self.model.on_device(self._text_model()) as tower:
            if taste is None:
                return steer.conditioning(tower, self.tokens(text))
            return steer.personalise(
                tower,
                self._projection(),
                self.tokens(text),
                taste.embedding,
                steps=taste.steps,
                lr=taste.lr,
                on_step=on_step,
            )

    def _text_model(self) -> Any:
        return self._stock()[0] if self.stock else self.model.text_model

    def _projection(self) -> Tensor:
        return self._stock()[1] if self.stock else self.model.text_projection

    def _stock(self) -> tuple[Any, Tensor]:
        if self._tower is None:
            from .families.sd1.clip_l import stock_tower

            own = self.model.text_model.config
            tower, projection = stock_tower()
            if tower.config.hidden_size != own.hidden_size or tower.config.vocab_size != own.vocab_size:
                raise UsageError(
                    f"--text-encoder openai does not fit {self.model.name}: its text tower is "
                    f"{own.hidden_size} wide, OpenAI's {tower.config.hidden_size}"
                )
            self._tower = tower.to("cpu" if self.model.lowvram else self.model.device), projection
        return self._tower

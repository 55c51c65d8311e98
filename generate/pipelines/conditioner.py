"""Prompts -> what conditions a model's sampler, plain or moved, each computed once per run."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from visunex.aesthetic_embeddings.space import space_said

from ..controls import Climb, Steering, Towards
from ..errors import UsageError
from ..families.names import check_text_encoder
from ..families.sd1.text_encoder import openai_text_encoder
from ..settings import TextEncoder
from ..steering import steer
from .encoders import Encoders, How
from .rooms import Room, rooms_of
from .targets import assign

if TYPE_CHECKING:
    from ..families.model import Model

__all__ = ["Conditioner", "Conditioning"]


@dataclass(frozen=True, eq=False)
class Conditioning:
    """What conditions n images: hidden states `[n, L, D]`, and pooled features `[n, D_pooled]` where a family
    has them; `climbs` says for each image how its text encoders were moved."""

    hidden: Tensor
    pooled: Tensor | None = None
    climbs: tuple[tuple[Climb, ...], ...] = ((),)

    def repeated(self, count: int) -> "Conditioning":
        """One prompt's for `count` images."""
        pooled = None if self.pooled is None else self.pooled.expand(count, -1)
        return Conditioning(self.hidden.expand(count, -1, -1), pooled, self.climbs * count)

    @staticmethod
    def of(parts: "Sequence[Conditioning]") -> "Conditioning":
        """All images of several, in their order."""
        pooled = [each.pooled for each in parts if each.pooled is not None]
        climbs = tuple(climb for each in parts for climb in each.climbs)
        hidden = torch.cat([each.hidden for each in parts])
        return Conditioning(hidden, torch.cat(pooled) if pooled else None, climbs)


class Conditioner:
    """The text side of a model: prompts -> `Conditioning` of one image, kept for as long as this lives.

    With `text_encoder` `openai` OpenAI's own CLIP reads the prompts of Stable Diffusion 1.x, as in the
    original script; the negative prompt is the model's in either case. `clip_skip` counts as the web UI does:
    1 is the model's own hidden state, 2 leaves one layer more out. Raises UsageError for another family.
    """

    def __init__(self, model: "Model", *, text_encoder: TextEncoder = "model") -> None:
        check_text_encoder(text_encoder, model.KIND, model.name)
        self.model = model
        self.text_encoder: TextEncoder = text_encoder
        self._computed: dict[tuple[object, ...], Conditioning] = {}

    def prompt(
        self,
        text: str,
        towards: "Steering | Towards | None" = None,
        on_step: steer.OnStep | None = None,
        *,
        clip_skip: int = 1,
    ) -> Conditioning:
        """The conditioning of one prompt, moved `towards` tastes; the empty prompt never is.

        `on_step(step, cosine)` is called before each step. Raises what `require` does, SteeringError for
        steps that run away to values that are not numbers, and CheckpointError where the text projection
        cannot be had.
        """
        steering = Steering.of(towards)
        if steering is None or steering.idle or not text.strip():
            return self._once((text, clip_skip), lambda: self._plain(text, clip_skip))
        key = (text, clip_skip, *steering.key)
        return self._once(key, lambda: self._moved(text, clip_skip, steering, on_step))

    def negative(self, text: str, *, clip_skip: int = 1) -> Conditioning:
        """The conditioning of the negative (or empty) prompt, by the model's own text encoders."""
        return self._once(("negative", text, clip_skip), lambda: self._negative(text, clip_skip))

    def require(self, towards: "Steering | Towards | None") -> None:
        """Raise EmbeddingError or UsageError where a taste cannot move what reads the prompts here.

        CheckpointError where an encoder brings no text projection and none fits it.
        """
        steering = Steering.of(towards)
        if steering is not None and not steering.idle:
            self._how(self._reading, steering)

    def tokens(self, text: str) -> Tensor:
        """The first text encoder's token ids `[1, L]` on the model's device, cut and padded to its length."""
        tokenizer, _ = self.model.readers[0]
        length = tokenizer.model_max_length
        ids: Tensor = tokenizer(
            text, padding="max_length", max_length=length, truncation=True, return_tensors="pt"
        ).input_ids
        return ids.to(self.model.device)

    @property
    def pipe(self) -> Any:
        """diffusers' own pipeline of the model, whose text encoders read the prompts."""
        return self._reading.pipe

    @property
    def rooms(self) -> list[Room]:
        """The text encoders that read the prompts, each with its tokenizer, projection and CLIP's space."""
        return self._reading.rooms

    def surplus(self, text: str) -> int:
        """How many tokens of `text` are beyond the text encoders' length and left out."""
        lengths = (
            len(tokenizer(text, verbose=False).input_ids) - tokenizer.model_max_length
            for tokenizer, _ in self.model.readers
        )
        return max(0, *lengths)

    def _once(self, key: tuple[object, ...], compute: Any) -> Conditioning:
        if key not in self._computed:
            self._computed[key] = compute()
        return self._computed[key]

    def _plain(self, text: str, clip_skip: int) -> Conditioning:
        found = self._asked(self._reading, clip_skip, prompt=text, do_classifier_free_guidance=False)
        return Conditioning(found["prompt_embeds"], found.get("pooled_prompt_embeds"))

    def _moved(
        self, text: str, clip_skip: int, steering: Steering, on_step: steer.OnStep | None
    ) -> Conditioning:
        plain = self.prompt(text, clip_skip=clip_skip)
        found = {"prompt_embeds": plain.hidden}
        found |= {} if plain.pooled is None else {"pooled_prompt_embeds": plain.pooled}
        encoders = replace(self._reading, clip_skip=clip_skip - 1)
        how = replace(self._how(encoders, steering), on_step=on_step)
        moved, climbs = encoders.moved(found, {"prompt": [text]}, how)
        return Conditioning(moved["prompt_embeds"], moved.get("pooled_prompt_embeds"), (tuple(climbs[0]),))

    def _negative(self, text: str, clip_skip: int) -> Conditioning:
        # None is the empty prompt, for which some models take zeros.
        found = self._asked(self._own, clip_skip, prompt="", negative_prompt=text or None)
        return Conditioning(found["negative_prompt_embeds"], found.get("negative_pooled_prompt_embeds"))

    def _asked(self, encoders: Encoders, clip_skip: int, **asked: Any) -> dict[str, Tensor]:
        """What the pipeline itself makes of prompts."""
        replace(encoders, clip_skip=clip_skip - 1).check_layers()
        more = {"clip_skip": clip_skip - 1} if clip_skip > 1 else {}
        with self._here(encoders):
            return encoders.plain({**asked, **more, "device": self.model.device, "num_images_per_prompt": 1})

    @contextmanager
    def _here(self, encoders: Encoders) -> Iterator[None]:
        """The text encoders on the model's device while the block runs."""
        parts = (part for name, part in encoders.pipe.components.items() if name.startswith("text_encoder"))
        with ExitStack() as stack:
            for part in parts:
                if part is not None:
                    stack.enter_context(self.model.on_device(part))
            yield

    def _how(self, encoders: Encoders, steering: Steering) -> How:
        for room in encoders.rooms:
            if room.size is None:
                room.projection()  # which says what is missing
        chosen = assign(list(steering.tastes), encoders.rooms, self.model.name)
        how = How(chosen, steering.controls, strict=False)
        encoders.check(how)
        return how

    @cached_property
    def _own(self) -> Encoders:
        """By the model's own text encoders."""
        return self._encoders(self.model.pipeline(), self.model.own_projection)

    @cached_property
    def _reading(self) -> Encoders:
        """By the text encoders that read the prompts."""
        if self.text_encoder == "model":
            return self._own
        encoder, projection = openai_text_encoder()
        self._check_size(encoder.config)
        encoder.to("cpu" if self.model.lowvram else self.model.device)
        return self._encoders(self.model.pipeline(text_encoder=encoder), projection)

    def _encoders(self, pipe: Any, projection: Tensor | None) -> Encoders:
        family, space = self.model.FAMILY, space_said(self.model.clip)
        return Encoders(pipe, family, rooms_of(pipe, family, projection, space), self.model.device)

    def _check_size(self, theirs: Any) -> None:
        own = self.model.text_encoder.config
        if (theirs.hidden_size, theirs.vocab_size) != (own.hidden_size, own.vocab_size):
            raise UsageError(
                f"--text-encoder openai does not fit {self.model.name}: its text tower is "
                f"{own.hidden_size} wide, OpenAI's {theirs.hidden_size}"
            )

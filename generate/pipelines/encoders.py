"""A pipeline's text encoders as one: prompts -> conditioning arguments of its `__call__`, plain or moved."""

import gc
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from visunex.base.machine import is_memory_shortage

from ..controls import MOST_STEPS, Climb, Controls
from ..errors import SteeringError, UsageError
from ..families.family import Asked, Family
from ..steering.arguments import check_steps
from ..steering.goal import turned
from ..steering.steer import Moved, move
from ..steering.weights import weight_of
from .blending import blended
from .rooms import Room, columns
from .targets import Target, Weighted
from .texts import check_tokenizer, ids_of
from .untouched import ending_by_tokenizer, left_as_found, named_as_of_old

__all__ = ["Encoders", "How"]

_log = logging.getLogger(__name__)

STATES, POOLED = "prompt_embeds", "pooled_prompt_embeds"
THERE = 0.9999  # a cosine from which there is nowhere to rise to


@dataclass(frozen=True)
class How:
    """What steers: the targets of each encoder by its part's name, the controls, and steps and rate where
    they are not the targets' own. `strict` refuses steps that lead no nearer, else that is logged."""

    chosen: Mapping[str, list[Weighted]]
    controls: Controls
    steps: int | None = None
    lr: float | None = None
    strict: bool = True
    on_step: Callable[[int, float], None] | None = None

    def targets_of(self, room: Room) -> list[Weighted]:
        """What an encoder is moved towards; nothing where no steps are taken, or none count."""
        targets = self.chosen.get(room.encoder.part, [])
        return targets if targets and self.steps_of(targets[0][0])[0] and not self.controls.idle else []

    def steps_of(self, target: Target) -> tuple[int, float]:
        """Steps and rate: what was asked for, else the target's own."""
        steps = target.steps if self.steps is None else self.steps
        steps = steps if self.controls.until is None else MOST_STEPS
        return steps, target.lr if self.lr is None else self.lr


@dataclass(frozen=True, eq=False)
class Encoders:
    """The text encoders of a pipeline: each room's, in order, and on which device their copies move.

    `clip_skip` last layers more are left out of the hidden states, `lora_scale` is a factor of adapters'
    strength, as the pipeline's own `encode_prompt` takes them.
    """

    pipe: Any
    family: Family
    rooms: list[Room]
    device: torch.device
    clip_skip: int = 0
    lora_scale: float = 1.0
    _features: dict[tuple[str, str], Tensor] = field(default_factory=dict)

    def check(self, how: How) -> None:
        """Raise UsageError for steps that cannot be taken, and layers to skip that are not there."""
        for targets in how.chosen.values():
            check_steps(*how.steps_of(targets[0][0]))
        self.check_layers()

    def check_layers(self) -> None:
        """Raise UsageError for tokenizers that cut no prompt, and layers to skip that are not there."""
        for room in self.rooms:
            check_tokenizer(self.pipe, room)
            layers = len(room.text_model.encoder.layers)
            if (room.encoder.skipped or 0) + self.clip_skip > layers:
                raise UsageError(
                    f"clip_skip {self.clip_skip} leaves out more than {room.encoder.part}'s {layers} layers"
                )

    def read(self, room: Room, ids: Tensor) -> tuple[Tensor, Tensor | None]:
        """What an encoder as it is makes of ids `[1, L]`: states `[1, L, D]`, and a feature `[1, P]`."""
        skipped, encoder = (room.encoder.skipped or 0) + self.clip_skip, room.encoder
        with _without_gradients(), left_as_found(self.pipe):
            place = room.text_model.embeddings.token_embedding.weight.device
            found = room.module(ids.to("cpu" if place.type == "meta" else place), output_hidden_states=True)
            states = found.hidden_states[-1 - skipped]
            if encoder.normed:
                states = room.text_model.final_layer_norm(states) if skipped else found.last_hidden_state
            return states, found.text_embeds if encoder.pooled else None

    def plain(self, asked: Asked) -> dict[str, Tensor]:
        """What the pipeline itself makes of prompts, by the names that its `__call__` takes."""
        with (
            _without_gradients(),
            left_as_found(self.pipe),
            named_as_of_old(self.pipe),
            ending_by_tokenizer(self.rooms),
        ):
            found = self.family.plain(self.pipe, asked)
        return {name: tensor for name, tensor in found.items() if tensor is not None}

    def moved(
        self, plain: Mapping[str, Tensor], texts: Mapping[str, list[str]], how: How
    ) -> tuple[dict[str, Tensor], list[list[Climb]]]:
        """The plain conditioning with what moved encoders give in the place of their own; how each moved, for
        every text."""
        climbs: list[list[Climb]] = [[] for _ in texts["prompt"]]
        with _without_gradients():
            found = {name: tensor.clone() for name, tensor in plain.items()}
            for room in self.rooms:
                if targets := how.targets_of(room):
                    self._lay_in(found, room, targets, texts, how, climbs)
        return found, climbs

    def _lay_in(
        self,
        found: dict[str, Tensor],
        room: Room,
        targets: list[Weighted],
        texts: Mapping[str, list[str]],
        how: How,
        climbs: list[list[Climb]],
    ) -> None:
        """Put in what an encoder gives, moved for each text; as in the original the empty one never is."""
        states, pooled = columns(room, self.rooms)
        for row, text in enumerate(texts.get(room.encoder.prompt, texts["prompt"])):
            if not text.strip():
                continue
            moved = self.climbed_to(room, targets, ids_of(self.pipe, room, text), how)
            climbs[row].append(Climb(room.encoder.part, moved.steps, *moved.cosines))
            if states is not None:
                place = found[STATES][row, : moved.states.shape[1], states]
                place.copy_(blended(place, moved.states[0], how.controls))
            if pooled is not None:
                place = found[POOLED][row, pooled]
                place.copy_(blended(place, self.feature(room, moved), how.controls))

    def climbed_to(self, room: Room, targets: list[Weighted], ids: Tensor, how: How) -> Moved:
        """What an encoder, moved towards targets for ids `[1, L]`, makes of them."""
        first, controls = targets[0][0], how.controls
        steps, lr = how.steps_of(first)
        moved = self._climbed(
            room,
            ids,
            [(self._turned(room, target.vector, controls), weight) for target, weight in targets],
            steps=steps,
            lr=lr,
            enough=controls.enough if controls.until else None,
            on_step=how.on_step,
        )
        before, after = moved.cosines
        names = " and ".join(target.name for target, _ in targets)
        if moved.steps and not after > before and before < THERE:
            _refuse(
                f"{moved.steps} steps of {lr:g} led {room.encoder.part} no nearer to {names} (cosine "
                f"{before:.4f}, then {after:.4f}): lower {'lr' if how.strict else '--aesthetic_lr'}",
                how.strict,
            )
        elif controls.until and after < controls.goal(before):
            _log.warning(
                "%d steps of %g bring %r to a cosine of %.3f to %s, not to %.3f: raise %s, or ask for less",
                moved.steps, lr, _words(room, ids), after, names, controls.goal(before),
                "lr" if how.strict else "--aesthetic_lr",
            )  # fmt: skip
        return moved

    def _climbed(self, room: Room, ids: Tensor, goal: Any, **options: Any) -> Moved:
        added = room.encoder.missing(room.text_model.config) if room.encoder.missing else None
        return self._on_some_device(
            room.text_model,
            room.projection(self.lora_scale),
            ids,
            goal,
            skipped=(room.encoder.skipped or 0) + self.clip_skip + bool(added),
            normed=room.encoder.normed,
            lora_scale=self.lora_scale,
            added=added,
            eos_token_id=room.tokenizer.eos_token_id,
            **options,
        )

    def _turned(self, room: Room, vector: Tensor, controls: Controls) -> Tensor:
        """A target turned by the controls' text, if they have one."""
        if not controls.text.strip() or not controls.text_angle:
            return vector
        feature = self._text_feature(room, controls.text).to(vector.device)
        return turned(vector, feature, controls.text_angle, away=controls.text_negative)

    def _text_feature(self, room: Room, text: str) -> Tensor:
        """The projected feature `[D_proj]` of a text by the encoder as it is."""
        key = (room.encoder.part, text)
        if key not in self._features:
            projection = room.projection(self.lora_scale)
            anywhere = torch.ones(1, len(projection))
            moved = self._climbed(room, ids_of(self.pipe, room, text), anywhere, steps=0)
            self._features[key] = projection.to(moved.pooled.device).float() @ moved.pooled[0]
        return self._features[key]

    def _on_some_device(self, *given: Any, **options: Any) -> Moved:
        """Move on the device, or on the CPU where it has no room for a copy with its moments."""
        try:
            return move(*given, **options, device=self.device)
        except (MemoryError, RuntimeError) as error:
            if self.device.type == "cpu" or not is_memory_shortage(error):
                raise
        gc.collect()
        torch.cuda.empty_cache()  # which does nothing where there is none
        _log.warning(
            "%s has no room for a moving copy of a text encoder: it is moved on the CPU", self.device
        )
        return move(*given, **options, device=torch.device("cpu"))

    def feature(self, room: Room, moved: Moved) -> Tensor:
        """The pooled feature `[D]` as the pipeline takes it."""
        if room.encoder.pooled == "plain":
            return moved.pooled[0]
        weight = weight_of(room.own, lora_scale=self.lora_scale).to(moved.pooled.device).float()
        return weight @ moved.pooled[0]


def _words(room: Room, ids: Tensor) -> str:
    """The beginning of a text, for a message."""
    return str(room.tokenizer.decode(ids[0], skip_special_tokens=True))[:60]


def _refuse(sentence: str, strict: bool) -> None:
    if strict:
        raise SteeringError(sentence)
    _log.warning("%s", sentence)


@contextmanager
def _without_gradients() -> Iterator[None]:
    with torch.inference_mode(False), torch.no_grad():
        yield

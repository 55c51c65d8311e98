"""A diffusers pipeline's own conditioning arguments, its text encoders moved for each prompt."""

import gc
import inspect
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from visunex.base.errors import require_number
from visunex.base.machine import is_memory_shortage

from ..errors import SteeringError, UsageError
from ..families.family import Asked, Family
from ..families.recognise import family_of
from ..steering.arguments import check_steps
from ..steering.steer import Moved, move
from ..steering.weights import weight_of
from .rooms import Room, rooms_of
from .targets import Target, assign
from .texts import asked_of, check_tokenizer, ids_of, texts_of
from .untouched import left_as_found, named_as_of_old

__all__ = ["steered"]

_log = logging.getLogger(__name__)

PROMPTS = (
    "prompt",
    "prompt_2",
    "prompt_3",
    "negative_prompt",
    "negative_prompt_2",
    "negative_prompt_3",
)
STATES, POOLED = "prompt_embeds", "pooled_prompt_embeds"
THERE = 0.9999  # a cosine from which there is nowhere to rise to


def steered(
    pipe: Any,
    prompt: str | list[str],
    targets: Any,
    *,
    steps: int | None = None,
    lr: float | None = None,
    blend: float = 1.0,
    prompt_2: str | list[str] | None = None,
    prompt_3: str | list[str] | None = None,
    negative_prompt: str | list[str] | None = None,
    negative_prompt_2: str | list[str] | None = None,
    negative_prompt_3: str | list[str] | None = None,
    clip_skip: int | None = None,
    lora_scale: float | None = None,
    max_sequence_length: int | None = None,
    text_projection: Any = None,
    device: str | torch.device | None = None,
    on_step: Callable[[int, float], None] | None = None,
) -> dict[str, Tensor]:
    """The conditioning arguments of a diffusers pipeline's `__call__` for a prompt, moved towards a taste.

    `pipe(**steered(pipe, "a castle", Taste.load("flower_plant")))`: text or image to image, inpainting, with
    a ControlNet or an IP-Adapter. The pipeline is left bit-identical.

    `targets` is a `Taste`, a vector `[1, D]`, a list of these, or a mapping of the pipeline's parts
    (`text_encoder`, `text_encoder_2`) to them; each goes to the text encoder whose size it has. `steps` and
    `lr` are those of the Adam steps, by default the taste's own, else 10 and 1e-4. `blend` mixes: 1 is the
    moved conditioning, 0 the plain one. Prompts, `clip_skip`, `lora_scale` and `max_sequence_length` are the
    pipeline's; of several prompts each is moved on its own. `text_projection` `[D_proj, D]` is for an encoder
    that brings none and is not the published one. `device` is where the steps are computed, by default where
    the pipeline does. `on_step(step, cosine)` is called before each step of each encoder for each prompt.

    Tensors come back `[N, L, D]` and `[N, D]` in the text encoder's precision, negatives among them where the
    pipeline has such: do not give `prompt` and `negative_prompt` beside them. Without steps they are what
    `pipe.encode_prompt` returns, bit for bit.

    Raises UsageError for arguments that make no sense here, EmbeddingSizeError and EmbeddingError for vectors
    of other encoders, CheckpointError where a projection cannot be had, SteeringError for a pipeline that
    cannot be steered, weights that cannot be taken, and steps that do not lead nearer.
    """
    prompts = (prompt, prompt_2, prompt_3, negative_prompt, negative_prompt_2, negative_prompt_3)
    options = {"clip_skip": clip_skip, "lora_scale": lora_scale, "max_sequence_length": max_sequence_length}
    family = family_of(pipe)
    _check_numbers(blend, clip_skip, lora_scale)
    texts = texts_of(dict(zip(PROMPTS, prompts, strict=True)))
    rooms = rooms_of(pipe, family, text_projection)
    steering = _Steering(
        pipe=pipe,
        texts=texts,
        rooms=rooms,
        chosen=assign(targets, rooms, family.name),
        device=torch.device(pipe._execution_device if device is None else device),
        steps=steps,
        lr=lr,
        blend=blend,
        clip_skip=clip_skip or 0,
        lora_scale=1.0 if lora_scale is None else lora_scale,
        on_step=on_step,
    )
    steering.check()
    if family.about:
        _log.warning("%s", family.about)
    asked = asked_of(pipe, pipe._execution_device, {**texts, **options}, family.beside)
    return steering.laid_into(family, asked)


@dataclass(frozen=True)
class _Steering:
    """How far to go, and with what of the pipeline."""

    pipe: Any
    texts: Mapping[str, list[str]]
    rooms: list[Room]
    chosen: Mapping[str, Target]
    device: torch.device
    steps: int | None
    lr: float | None
    blend: float
    clip_skip: int
    lora_scale: float
    on_step: Callable[[int, float], None] | None

    def check(self) -> None:
        """Raise UsageError for steps that cannot be taken, and layers to skip that are not there."""
        for target in self.chosen.values():
            check_steps(*self.how(target))
        for room in self.rooms:
            check_tokenizer(self.pipe, room)
            layers = len(room.text_model.encoder.layers)
            if (room.encoder.skipped or 0) + self.clip_skip > layers:
                raise UsageError(
                    f"clip_skip {self.clip_skip} leaves out more than {room.encoder.part}'s {layers} layers"
                )

    def how(self, target: Target) -> tuple[int, float]:
        """Steps and rate: what was asked for, else the taste's own."""
        steps = target.steps if self.steps is None else self.steps
        return steps, target.lr if self.lr is None else self.lr

    def laid_into(self, family: Family, asked: Asked) -> dict[str, Tensor]:
        """The pipeline's plain conditioning with what the moved encoders give in the place of their own."""
        with torch.inference_mode(False), torch.no_grad():
            with left_as_found(self.pipe), named_as_of_old(self.pipe):
                plain = family.plain(self.pipe, asked)
            found = {name: tensor.clone() for name, tensor in plain.items()}
            for room in self.rooms:
                target = self.chosen.get(room.encoder.part)
                if target is not None and self.how(target)[0] and self.blend:
                    self._lay_in(found, room, target)
        taken = inspect.signature(type(self.pipe).__call__).parameters
        return {name: tensor for name, tensor in found.items() if name in taken}

    def _lay_in(self, found: dict[str, Tensor], room: Room, target: Target) -> None:
        """Put in what an encoder gives, moved for each text; as in the original the empty one never is."""
        texts = self.texts.get(room.encoder.prompt, self.texts["prompt"])
        states, pooled = _columns(room, self.rooms)
        for row, text in enumerate(texts):
            if not text.strip():
                continue
            moved = self._moved(room, target, ids_of(self.pipe, room, text))
            if states is not None:
                place = found[STATES][row, : moved.states.shape[1], states]
                place.copy_(self._blended(place, moved.states[0]))
            if pooled is not None:
                place = found[POOLED][row, pooled]
                place.copy_(self._blended(place, self._feature(room, moved)))

    def _moved(self, room: Room, target: Target, ids: Tensor) -> Moved:
        steps, lr = self.how(target)
        added = room.encoder.missing(room.text_model.config) if room.encoder.missing else None
        moved = self._on_some_device(
            room.text_model,
            room.projection(self.lora_scale),
            ids,
            target.vector,
            steps=steps,
            lr=lr,
            skipped=(room.encoder.skipped or 0) + self.clip_skip + bool(added),
            normed=room.encoder.normed,
            lora_scale=self.lora_scale,
            added=added,
            eos_token_id=room.tokenizer.eos_token_id,
            on_step=self.on_step,
        )
        first, last = moved.cosines
        if not last > first and first < THERE:
            raise SteeringError(
                f"{steps} steps of {lr:g} led {room.encoder.part} no nearer to {target.name} "
                f"(cosine {first:.4f}, then {last:.4f}): lower lr"
            )
        return moved

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

    def _feature(self, room: Room, moved: Moved) -> Tensor:
        """The pooled feature `[D]` as the pipeline takes it."""
        if room.encoder.pooled == "plain":
            return moved.pooled[0]
        weight = weight_of(room.own, lora_scale=self.lora_scale).to(moved.pooled.device).float()
        return weight @ moved.pooled[0]

    def _blended(self, plain: Tensor, moved: Tensor) -> Tensor:
        return torch.lerp(plain.float(), moved.to(plain.device), float(self.blend))


def _columns(room: Room, rooms: list[Room]) -> tuple[slice | None, slice | None]:
    """Where an encoder's states and its feature lie among the columns of the pipeline's conditioning."""
    before = rooms[: rooms.index(room)]
    states = sum(each.width for each in before if each.encoder.skipped is not None)
    pooled = sum(_pooled(each) for each in before)
    return (
        None if room.encoder.skipped is None else slice(states, states + room.width),
        slice(pooled, pooled + _pooled(room)) if room.encoder.pooled else None,
    )


def _pooled(room: Room) -> int:
    """Columns of the feature that an encoder gives its pipeline."""
    if room.encoder.pooled == "projected":
        return int(room.own.weight.shape[0])
    return room.width if room.encoder.pooled else 0


def _check_numbers(blend: Any, clip_skip: Any, lora_scale: Any) -> None:
    require_number(blend, "blend", "a number from 0 (the plain conditioning) to 1 (the moved one)")
    if not 0 <= blend <= 1:
        raise UsageError(
            f"blend is {blend:g}: give a number from 0 (plain conditioning) to 1 (the moved one)"
        )
    if lora_scale is not None:
        require_number(lora_scale, "lora_scale", "a number, or None")
    if clip_skip is not None:
        require_number(clip_skip, "clip_skip", "how many layers to leave out, 0 or more", whole=True)
        if clip_skip < 0:
            raise UsageError(f"clip_skip is {clip_skip}: give how many layers to leave out, 0 or more")

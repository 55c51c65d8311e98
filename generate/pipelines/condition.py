"""A diffusers pipeline's own conditioning arguments, its text encoders moved for each prompt."""

import inspect
import logging
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from visunex.base.errors import described, require_number

from ..controls import Controls
from ..errors import UsageError
from ..families.family import Family
from ..families.recognise import family_of
from ..settings import PromptSyntax
from .chunked import in_chunks, require_chunks
from .encoders import Encoders, How
from .rooms import rooms_of
from .targets import assign
from .texts import asked_of, texts_of

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


def steered(
    pipe: Any,
    prompt: str | list[str],
    targets: Any,
    *,
    steps: int | None = None,
    lr: float | None = None,
    until: float | str | None = None,
    blend: float = 1.0,
    slerp: bool = False,
    text: str = "",
    text_negative: bool = False,
    text_angle: float = 0.1,
    prompt_2: str | list[str] | None = None,
    prompt_3: str | list[str] | None = None,
    negative_prompt: str | list[str] | None = None,
    negative_prompt_2: str | list[str] | None = None,
    negative_prompt_3: str | list[str] | None = None,
    clip_skip: int | None = None,
    lora_scale: float | None = None,
    max_sequence_length: int | None = None,
    prompt_syntax: PromptSyntax = "plain",
    text_projection: Any = None,
    device: str | torch.device | None = None,
    on_step: Callable[[int, float], None] | None = None,
) -> dict[str, Tensor]:
    """The conditioning arguments of a diffusers pipeline's `__call__` for a prompt, moved towards a taste.

    `pipe(**steered(pipe, "a castle", Taste.load("flower_plant")))`: text or image to image, inpainting, with
    a ControlNet or an IP-Adapter. The pipeline is left bit-identical.

    `targets` is a `Taste`, a vector `[1, D]`, a list of these or of pairs of one and its weight, or a mapping
    of the pipeline's parts (`text_encoder`, `text_encoder_2`) to them; each goes to the text encoder whose
    size it has, and of several the weighted sum of cosines is climbed. `steps` and `lr` are those of the Adam
    steps, by default the first taste's own, else 10 and 1e-4; `until`, `blend`, `slerp`, `text`,
    `text_negative` and `text_angle` are those of `Controls`. Prompts, `clip_skip`, `lora_scale` and
    `max_sequence_length` are the pipeline's; of several prompts each is moved on its own. `prompt_syntax` is
    that of `Settings`: `webui` prompts have weights, and any length. `text_projection` `[D_proj, D]` is for
    an encoder that brings none and is not the published one. `device` is where the steps are computed, by
    default where the pipeline does. `on_step(step, cosine)` is called before each step of each encoder for
    each prompt.

    Tensors come back `[N, L, D]` and `[N, D]` in the text encoder's precision, negatives among them where the
    pipeline has such: do not give `prompt` and `negative_prompt` beside them. Without steps they are what
    `pipe.encode_prompt` returns, bit for bit.

    Raises UsageError for arguments that make no sense here, EmbeddingSizeError and EmbeddingError for vectors
    of other encoders, CheckpointError where a projection cannot be had, SteeringError for a pipeline that
    cannot be steered, weights that cannot be taken, and steps that do not lead nearer.
    """
    prompts = (prompt, prompt_2, prompt_3, negative_prompt, negative_prompt_2, negative_prompt_3)
    options = {"clip_skip": clip_skip, "lora_scale": lora_scale, "max_sequence_length": max_sequence_length}
    turn: dict[str, Any] = {"text": text, "text_negative": text_negative, "text_angle": text_angle}
    controls = Controls(until=until, blend=blend, slerp=slerp, **turn)
    texts = texts_of(dict(zip(PROMPTS, prompts, strict=True)))
    encoders = _encoders(pipe, text_projection, device, options)
    _check_syntax(prompt_syntax, encoders.family)
    how = How(assign(targets, encoders.rooms, encoders.family.name), controls, steps, lr, on_step=on_step)
    return _steered(encoders, texts, options, how, prompt_syntax)


def _encoders(pipe: Any, text_projection: Any, device: Any, options: Mapping[str, Any]) -> Encoders:
    """The pipeline's text encoders, under the options of its `encode_prompt`."""
    family, skip, scale = family_of(pipe), options["clip_skip"], options["lora_scale"]
    _check_numbers(skip, scale)
    rooms = rooms_of(pipe, family, text_projection)
    where = torch.device(pipe._execution_device if device is None else device)
    return Encoders(pipe, family, rooms, where, skip or 0, 1.0 if scale is None else scale)


def _steered(
    encoders: Encoders,
    texts: dict[str, list[str]],
    options: Mapping[str, Any],
    how: How,
    syntax: PromptSyntax,
) -> dict[str, Tensor]:
    pipe, family = encoders.pipe, encoders.family
    encoders.check(how)
    if family.about:
        _log.warning("%s", family.about)
    asked = asked_of(pipe, pipe._execution_device, {**texts, **options}, family.beside)
    if syntax == "webui":
        found = in_chunks(encoders, texts, how)
    else:
        found, _ = encoders.moved(encoders.plain(asked), texts, how)
    taken = inspect.signature(type(pipe).__call__).parameters
    return {name: tensor for name, tensor in found.items() if name in taken}


def _check_syntax(syntax: Any, family: Family) -> None:
    if syntax not in ("plain", "webui"):
        raise UsageError(f"prompt_syntax is {described(syntax)}: give 'plain' or 'webui'")
    if syntax == "webui":
        require_chunks(family)


def _check_numbers(clip_skip: Any, lora_scale: Any) -> None:
    if lora_scale is not None:
        require_number(lora_scale, "lora_scale", "a number, or None")
    if clip_skip is not None:
        require_number(clip_skip, "clip_skip", "how many layers to leave out, 0 or more", whole=True)
        if clip_skip < 0:
            raise UsageError(f"clip_skip is {clip_skip}: give how many layers to leave out, 0 or more")

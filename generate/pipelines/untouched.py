"""A pipeline left as it was found, whatever its own functions leave behind on it."""

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any

from torch import nn

from ..steering.arguments import PARTS
from .rooms import Room

__all__ = ["ending_by_tokenizer", "left_as_found", "named_as_of_old"]

_CAPTURES = "_output_capturing_hooks_installed"  # transformers' word that a model has its hooks already
_SCALE = "_lora_scale"
NAME = "text_model"
LEGACY_END = 2


@contextlib.contextmanager
def left_as_found(pipe: Any) -> Iterator[None]:
    """Take away, at the block's end, what asking a pipeline for its conditioning leaves on its text encoders.

    transformers leaves hooks on a model that is asked for its hidden states, and diffusers scales adapters by
    factors that it divides by afterwards, or does not where an error comes between.
    """
    encoders = [
        getattr(part, "_orig_mod", part) for name, part in pipe.components.items() if "encoder" in name
    ]
    modules: list[Any] = [
        module for each in encoders if isinstance(each, nn.Module) for module in each.modules()
    ]
    before = [(module, *_state(module)) for module in modules]
    scale = pipe.__dict__.get(_SCALE)
    try:
        yield
    finally:
        for module, hooks, captures, scaling in before:
            for key in [key for key in module._forward_hooks if key not in hooks]:
                for table in (module._forward_hooks, module._forward_hooks_with_kwargs):
                    table.pop(key, None)
            if not captures:
                module.__dict__.pop(_CAPTURES, None)
            if scaling is not None:
                module.scaling.update(scaling)
        if scale is None:
            pipe.__dict__.pop(_SCALE, None)
        else:
            pipe.__dict__[_SCALE] = scale


@contextlib.contextmanager
def named_as_of_old(pipe: Any) -> Iterator[None]:
    """Let CLIP's text models be found as `text_model` of themselves while the block runs.

    diffusers asks for them so, for a clip_skip on Stable Diffusion 1 and 2, and for a scale of adapters
    without peft; transformers took the name away in 5.6, where the encoder is the text model itself.
    """
    models = [each for each in _encoders(pipe) if all(hasattr(each, part) for part in PARTS)]
    named = [each for each in models if not hasattr(each, NAME)]
    for each in named:
        object.__setattr__(each, NAME, each)  # not a part of it: nothing that walks its modules sees it
    try:
        yield
    finally:
        for each in named:
            object.__delattr__(each, NAME)


@contextlib.contextmanager
def ending_by_tokenizer(rooms: Iterable[Room]) -> Iterator[None]:
    """Let CLIP's text models find the end of a text by their tokenizer while the block runs.

    Many configurations have a legacy end, 2, for which transformers takes the highest token: with tokens that
    were added behind the end of text that is another one.
    """
    own = [(room.text_model, room.tokenizer.eos_token_id) for room in rooms]
    legacy = [(model, end) for model, end in own if getattr(model, "eos_token_id", None) == LEGACY_END]
    for model, end in legacy:
        model.eos_token_id = end
    try:
        yield
    finally:
        for model, _ in legacy:
            model.eos_token_id = LEGACY_END


def _encoders(pipe: Any) -> list[Any]:
    parts = [getattr(part, "_orig_mod", part) for name, part in pipe.components.items() if "encoder" in name]
    return [part for part in parts if isinstance(part, nn.Module)]


def _state(module: Any) -> tuple[set[int], bool, dict[str, float] | None]:
    scaling = getattr(module, "scaling", None)
    return (
        set(module._forward_hooks),
        _CAPTURES in module.__dict__,
        dict(scaling) if isinstance(scaling, dict) else None,
    )

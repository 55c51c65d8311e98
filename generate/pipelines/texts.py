"""Prompts as `steered` takes them -> what a pipeline's own function takes, and each encoder's token ids."""

import inspect
from collections.abc import Collection, Mapping
from typing import Any

from torch import Tensor

from visunex.base.errors import described

from ..errors import UsageError
from .rooms import Room

__all__ = ["asked_of", "check_tokenizer", "ids_of", "length_of", "texts_of"]


def texts_of(prompts: Mapping[str, Any]) -> dict[str, list[str]]:
    """Each prompt that was given as a list, of equally many; a single text counts for each of `prompt`'s.

    Raises UsageError for what is no text, or other numbers of texts.
    """
    for name, given in prompts.items():
        if not _is_text(given) and not (name != "prompt" and given is None):
            raise UsageError(f"{name} is {described(given)}: give a text, or a list of texts")
    number = 1 if isinstance(prompts["prompt"], str) else len(prompts["prompt"])
    texts = {
        name: [given] * number if isinstance(given, str) else list(given)
        for name, given in prompts.items()
        if given is not None
    }
    if wrong := next((name for name, each in texts.items() if len(each) != number), None):
        raise UsageError(f"{wrong} has {len(texts[wrong])} texts for {number} prompts: give one for each")
    return texts


def _is_text(given: Any) -> bool:
    texts = [given] if isinstance(given, str) else given
    return isinstance(texts, list | tuple) and len(texts) > 0 and all(isinstance(text, str) for text in texts)


def asked_of(
    pipe: Any, device: Any, given: Mapping[str, Any], beside: Collection[str] = ()
) -> dict[str, Any]:
    """The arguments for the pipeline's own `encode_prompt`, and those `beside`; none that are None.

    Raises UsageError for one that this pipeline does not take.
    """
    asked = {name: value for name, value in given.items() if value is not None}
    taken = inspect.signature(pipe.encode_prompt).parameters
    if strange := next((name for name in asked if name not in {*taken, *beside}), None):
        raise UsageError(f"{type(pipe).__name__} takes no {strange}: leave it out")
    return {**asked, "device": device, "num_images_per_prompt": 1}


def check_tokenizer(pipe: Any, room: Room) -> None:
    """Raise UsageError for a tokenizer that cuts no prompt: diffusers would pad to its endless length."""
    longest = int(room.text_model.embeddings.position_embedding.weight.shape[0])
    if length_of(pipe, room) > longest:
        raise UsageError(
            f"pipe.{room.encoder.tokenizer} sets no length that prompts are cut to: set "
            f"pipe.{room.encoder.tokenizer}.model_max_length = {longest}"
        )


def ids_of(pipe: Any, room: Room, text: str) -> Tensor:
    """One prompt's ids `[1, L]` by an encoder's own tokenizer, with the tokens that were added to it."""
    convert = getattr(pipe, "maybe_convert_prompt", None)
    text = convert(text, room.tokenizer) if convert else text
    ids: Tensor = room.tokenizer(
        text, padding="max_length", max_length=length_of(pipe, room), truncation=True, return_tensors="pt"
    ).input_ids
    return ids


def length_of(pipe: Any, room: Room) -> int:
    """Tokens that an encoder of a pipeline is given, the start and the end of the text among them."""
    return int(getattr(pipe, "tokenizer_max_length", room.tokenizer.model_max_length))

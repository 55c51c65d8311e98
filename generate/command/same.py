"""Is what a picture was made with still the same: the model, the embeddings, what it was drawn over."""

from typing import TYPE_CHECKING

from ..errors import GenerateError
from ..output.png_text import ImageRecord
from ..start import Start

if TYPE_CHECKING:
    from ..controls import Steering
    from ..families.model import Model

__all__ = ["check_embedding", "check_same_model", "check_start"]


def check_same_model(record: ImageRecord, model: "Model") -> None:
    """Raise GenerateError where the model is not the one that the image was made with."""
    before = record.model
    if model.fingerprint != before.fingerprint:
        raise GenerateError(
            f"the picture was made with another model: {before.name} was {before.fingerprint}, "
            f"and is now {model.fingerprint}; name one with --model to use it all the same"
        )


def check_start(record: ImageRecord, start: Start | None) -> None:
    """Raise GenerateError where what is drawn over is not what the image was drawn over."""
    before, now = record.start, start.record if start else None
    for option, of in (("--init-img", "sha256"), ("--mask", "mask_sha256")):
        if before is not None and getattr(before, of) != getattr(now, of, None):
            name = before.path if option == "--init-img" else before.mask
            raise GenerateError(
                f"the picture was drawn over another one: {name} has changed since; name one with {option} "
                "to use it all the same"
            )


def check_embedding(record: ImageRecord, steering: "Steering | None") -> None:
    """Raise GenerateError where the embeddings are not those that the image was made with."""
    before = [(taste.sha256, taste.weight) for taste in record.tastes]
    now = [(taste.digest, weight) for taste, weight in steering.tastes] if steering else []
    if now and now != before:
        raise GenerateError(
            f"the picture was made with another embedding: {record.taste.name if record.taste else None} has "
            "changed since; name one with --aesthetic_embedding to use it all the same"
        )

"""A taste from votes: the mean vector of what was liked, minus that of what was not."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visunex.aesthetic_embeddings import Embedding, reduce, save
from visunex.base.errors import UsageError
from visunex.base.files import sha256_file

from .desk import Desk
from .encoders import image_encoder
from .gallery import file_of
from .places import Places
from .votes import DRAWN, Side, sides, votes_in

__all__ = ["taste_of_drawn", "taste_of_run"]

_BATCH = 32  # pictures that are encoded at a time
Units = dict[str, NDArray[np.float32]]


def taste_of_run(places: Places, name: str, desk: Desk) -> Embedding:
    """The taste of the votes on a run's pictures, whose vectors are there. Raises UsageError."""
    units = {
        str(each.key): unit
        for each, unit in zip(desk.images, desk.units, strict=True)
        if each.key is not None
    }
    return _saved(places, name, desk.name, units, desk.opened.made.get("model"))


def taste_of_drawn(places: Places, name: str, model: str) -> Embedding:
    """The taste of the votes on drawn pictures, by an image encoder. Raises UsageError, ModelError."""
    path = places.new_taste(name)
    voted = {side.image: side for pair in sides(votes_in(places, DRAWN)) for side in pair}
    there = [each for each in voted.values() if _is_there(places, each)]
    if not there:
        raise UsageError("there is no vote yet that prefers a drawn picture that is still there")
    encoder = image_encoder(model)
    units: Units = {}
    for begin in range(0, len(there), _BATCH):
        part = there[begin : begin + _BATCH]
        pixels = [
            encoder.preprocessing.pixels(file_of(places.outputs, each.image).read_bytes()) for each in part
        ]
        raw = encoder.encode(np.stack(pixels))
        rows = raw / np.linalg.norm(raw, axis=1, keepdims=True)
        units |= {each.image: row for each, row in zip(part, rows, strict=True)}
    said = {"name": encoder.model, "pretrained": encoder.pretrained, "weights": encoder.weights}
    return _saved(places, path.stem, DRAWN, units, said)


def _is_there(places: Places, side: Side) -> bool:
    """Whether the picture that was voted on is still the one of that name."""
    try:
        return sha256_file(file_of(places.outputs, side.image)) == side.sha256
    except (UsageError, OSError):
        return False


def _saved(
    places: Places, name: str, source: str, units: Units, model: Mapping[str, Any] | None
) -> Embedding:
    """Write the taste; a vote counts where both of its pictures have vectors."""
    path = places.new_taste(name)
    voted = [
        (liked.image, disliked.image)
        for liked, disliked in sides(votes_in(places, source))
        if liked.image in units and disliked.image in units
    ]
    if not voted:
        raise UsageError("there is no vote yet that prefers one of two pictures that are still there")
    liked, disliked = (np.stack([units[pair[side]] for pair in voted]) for side in (0, 1))
    vector = reduce([liked], "contrast", baseline=[disliked])
    return save(path, vector, _made(source, voted, model))


def _made(source: str, voted: Sequence[tuple[str, str]], model: Mapping[str, Any] | None) -> dict[str, Any]:
    images = {image for pair in voted for image in pair}
    return {
        "reduction": "contrast",
        "baseline": "the pictures that were liked less",
        "images": {"used": len(images)},
        "votes": {"source": source, "votes": len(voted), "liked_and_not": [list(pair) for pair in voted]},
        **({"model": dict(model)} if model else {}),
    }

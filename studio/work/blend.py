"""Several tastes -> one: what the mixture would be like, and keeping it."""

from collections.abc import Sequence
from dataclasses import dataclass

from visunex.aesthetic_embeddings import Embedding, compare, find, findable, mix, save_mix
from visunex.aesthetic_embeddings.errors import EmbeddingError
from visunex.aesthetic_embeddings.space import space_of
from visunex.base.errors import UsageError

from .places import Places
from .shelf import curve

__all__ = ["Blend", "beside", "blend", "save_blend"]

Parts = Sequence[tuple[str, float]]


@dataclass(frozen=True)
class Blend:
    """A mixture that is not kept yet: its curve, and the cosine to each of its parts by name."""

    curve: tuple[float, ...]
    cosines: tuple[tuple[str, float], ...]


def blend(parts: Parts) -> Blend:
    """What tastes, by what finds them, make with these weights. Raises UsageError, EmbeddingError."""
    loaded = _loaded(parts)
    vector = mix(loaded)
    made = Embedding("the mixture", vector)
    return Blend(curve(vector), tuple((each.name, compare(made, each)) for each, _ in loaded))


def save_blend(places: Places, name: str, parts: Parts) -> Embedding:
    """Keep the mixture, as `visunex-data embeddings mix` does. Raises UsageError, EmbeddingError."""
    return save_mix(places.new_taste(name), _loaded(parts))


def beside(places: Places, name: str, most: int = 12) -> list[tuple[str, float]]:
    """The cosines of a taste to the others here that are of the same model, the nearest first."""
    this = find(name)
    space, found = space_of(this), list[tuple[str, float]]()
    for each in findable(folders=(places.tastes,)):
        other = space_of(each)
        foreign = other is not None and space is not None and space.differs(other)
        if each.path != this.path and each.dimension == this.dimension and not foreign:
            found.append((each.name, compare(this, each)))
    return sorted(found, key=lambda pair: -pair[1])[:most]


def _loaded(parts: Parts) -> list[tuple[Embedding, float]]:
    given = [(name, weight) for name, weight in parts if name and weight]
    if len(given) < 2:
        raise UsageError("choose at least two tastes, with weights that are not 0")
    if len({name for name, _ in given}) < len(given):
        raise UsageError("choose each taste once")
    try:
        return [(find(name), weight) for name, weight in given]
    except EmbeddingError as error:
        raise UsageError(str(error)) from None

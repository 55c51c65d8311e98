"""What `steered` is given as targets -> which text encoder moves towards which vector."""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from visunex.aesthetic_embeddings import Embedding
from visunex.aesthetic_embeddings.errors import EmbeddingError
from visunex.aesthetic_embeddings.space import Space, require_one_space, space_of

from ..controls import weight_of
from ..errors import EmbeddingSizeError, UsageError
from ..steering.arguments import as_vector
from ..steering.goal import ENCODERS_BY_SIZE
from ..taste import LR, STEPS, Taste
from .rooms import Room

__all__ = ["Target", "Weighted", "assign"]

_log = logging.getLogger(__name__)

NO_WORD = 768  # the size that is read as OpenAI's ViT-L/14 where nothing says of which CLIP it is
AMBIGUOUS = {1024: "ViT-H-14:laion2b_s32b_b79k", 1280: "ViT-bigG-14:laion2b_s39b_b160k"}
WANTED = (
    "a Taste, a vector D or 1xD, a list of these or of pairs of one and its weight, or a mapping of "
    "text_encoder, text_encoder_2 to them"
)


@dataclass(frozen=True, eq=False)
class Target:
    """A vector `[1, D]` to move towards, or `[K, D]`, and how; `space` is its CLIP, where that is known."""

    vector: Tensor
    name: str = "this embedding"
    space: Space | None = None
    steps: int = STEPS
    lr: float = LR
    is_taste: bool = False

    @property
    def size(self) -> int:
        """Dimensions of the vector."""
        return int(self.vector.shape[-1])


Weighted = tuple[Target, float]


def assign(targets: Any, rooms: list[Room], family: str) -> dict[str, list[Weighted]]:
    """The targets of each encoder with their weights, by its part's name; others stay as they are.

    Raises EmbeddingSizeError for a vector of none of their sizes, UsageError for one that two of them have,
    EmbeddingError for a vector of another CLIP, or of no named one where several are in use.
    """
    found: dict[str, list[Weighted]] = {}
    for part, given, weight in _parts(targets, {room.encoder.part for room in rooms}):
        for target in _useful(list(_targets(given)), rooms):
            room = _room(target, [room for room in rooms if part in (None, room.encoder.part)], family)
            _check_space(target, room, family)
            found.setdefault(room.encoder.part, []).append((target, weight))
    if not found:
        raise UsageError(f"targets is empty: give {WANTED}")
    return found


def _parts(targets: Any, parts: set[str]) -> Iterator[tuple[str | None, Any, float]]:
    """What is given, with its weight, and the encoder that it is given for, where that is said."""
    if isinstance(targets, Mapping):
        if strange := sorted(set(map(str, targets)) - parts):
            raise UsageError(f"targets names {strange[0]}, this pipeline moves {' and '.join(sorted(parts))}")
        for part, given in targets.items():
            yield from ((part, each, weight) for _, each, weight in _parts(given, parts))
    elif _is_pair(targets):
        yield None, targets[0], weight_of(targets[1])
    elif isinstance(targets, list | tuple) and not _is_vector(targets):
        for given in targets:
            yield from _parts(given, parts)
    else:
        yield None, targets, 1.0


def _is_pair(given: Any) -> bool:
    """Whether it is a target and its weight."""
    return (
        isinstance(given, tuple)
        and len(given) == 2
        and isinstance(given[1], int | float)
        and not isinstance(given[0], int | float)
    )


def _is_vector(given: list[Any] | tuple[Any, ...]) -> bool:
    return bool(given) and all(isinstance(each, int | float) for each in given)


def _targets(given: Any) -> Iterator[Target]:
    """The vectors of a taste, or the one that is given bare."""
    if isinstance(given, Taste):
        for taste in (given, *given.others):
            yield Target(as_vector(taste.embedding), taste.name, taste.space, given.steps, given.lr, True)
        return
    space = space_of(given) if isinstance(given, Embedding) else None
    vector = as_vector(given, "targets")
    if vector.ndim not in (1, 2) or vector.numel() != vector.shape[-1]:
        raise UsageError(f"targets has a vector of {list(vector.shape)}: give {WANTED}")
    yield Target(vector, space=space)


def _useful(targets: list[Target], rooms: list[Room]) -> list[Target]:
    """Of a taste's several vectors those that some encoder can take; all, to be named, where none can."""
    fitting = [target for target in targets if any(_fits(target, room) for room in rooms)]
    return fitting or targets


def _fits(target: Target, room: Room) -> bool:
    if target.space is not None and room.space is not None and target.space.differs(room.space):
        return False
    return target.size == room.size


def _room(target: Target, rooms: list[Room], family: str) -> Room:
    fitting = [room for room in rooms if room.size == target.size]
    if len(fitting) > 1 and target.space is not None:
        fitting = [
            room for room in fitting if room.space is not None and not target.space.differs(room.space)
        ]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise UsageError(
            f"{' and '.join(room.encoder.part for room in fitting)} both take 1x{target.size}: say which, as "
            f"targets={{{fitting[0].encoder.part!r}: ...}}"
        )
    encoder = ENCODERS_BY_SIZE.get(target.size)
    raise EmbeddingSizeError(
        f"{target.name} is 1x{target.size}{f' ({encoder})' if encoder else ''}, {family} takes "
        f"{' and '.join(map(str, rooms))}"
    )


def _check_space(target: Target, room: Room, family: str) -> None:
    """Raise EmbeddingError for a vector of another CLIP than the encoder's; say what is taken for granted."""
    if room.space is None:
        return
    if target.space is not None:
        require_one_space([(f"{family}'s {room.encoder.part}", room.space), (target.name, target.space)])
    elif target.is_taste and target.size in AMBIGUOUS:
        raise EmbeddingError(
            f"{target.name} is 1x{target.size} and does not say of which CLIP: name it, as --aesthetic_space "
            f"{AMBIGUOUS[target.size]}, in Python as "
            f"Taste.load({target.name!r}, space={AMBIGUOUS[target.size]!r})"
        )
    elif target.is_taste and target.size == NO_WORD and room.named is None:
        _log.warning("%s does not say of which CLIP it is: read as OpenAI's ViT-L/14", target.name)

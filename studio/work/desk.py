"""A run laid out to be curated: its pictures by group and typicality, and what the rest of them make."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from visunex.base.errors import UsageError
from visunex.pipeline.curate.curation import (
    Curated,
    Dropping,
    Opened,
    curate,
    groups_of,
    kept_of,
    opened,
    reduced,
)
from visunex.pipeline.reduce.nearest_words import Word, WordVectors, word_vectors
from visunex.pipeline.report.facts import Facts, RunImage

from .encoders import text_encoder_if_here

__all__ = ["MOST_SHOWN", "Desk", "Order", "Section", "Standing", "lay_out"]

MOST_SHOWN = 1000  # pictures laid out; a page of more is slow to scroll
Order = Literal["typical", "atypical", "best"]


@dataclass(frozen=True)
class Shot:
    """A picture that is laid out: its place among the desk's, its key, what it is of, how typical it is."""

    place: int
    key: str
    caption: str
    cosine: float | None


@dataclass(frozen=True)
class Section:
    """The pictures of one group that are laid out, of so many that it has; None: there are no groups.

    `words` are those that tell it from the other groups.
    """

    group: int | None
    total: int
    shots: tuple[Shot, ...]
    words: tuple[str, ...] = ()


@dataclass(frozen=True)
class Standing:
    """What the pictures that stay make: how many stay of how many, and the cosine to the run's own.

    `words` are nearest to it; `left_out` are the keys of the pictures that are out.
    """

    kept: int
    total: int
    cosine: float
    words: tuple[Word, ...]
    left_out: frozenset[str]


@dataclass(frozen=True, eq=False)
class Desk:
    """An opened run. `groups` is the group of each vector int64 [n]; None where none were found yet."""

    name: str
    opened: Opened
    images: tuple[RunImage, ...]
    units: NDArray[np.float32]
    groups: NDArray[np.int64] | None
    vocabulary: WordVectors | None
    thumbnails: Mapping[str, bytes]

    @property
    def group_numbers(self) -> list[int]:
        """The groups there are, the largest first."""
        return [] if self.groups is None else sorted({*self.groups.tolist()} - {-1})

    def standing(self, dropping: Dropping) -> Standing:
        """What is left without the pictures of `dropping`. Raises UsageError where nothing is."""
        found = self.opened
        kept = kept_of(found, dropping, self.groups)
        unit = reduced(found, kept).reshape(-1).astype(np.float64)
        unit /= np.linalg.norm(unit)
        words = () if self.vocabulary is None else self.vocabulary.nearest(unit)
        cosine = float(unit @ found.embedding.unit.reshape(-1))
        out = frozenset(map(str, found.keys[found.counted & ~kept]))
        return Standing(int(kept.sum()), int(found.counted.sum()), cosine, words, out)

    def sections(self, order: Order) -> list[Section]:
        """The pictures by group, in an order; of large runs the first of each group."""
        by_key = {} if self.groups is None else dict(zip(self.opened.keys, self.groups.tolist(), strict=True))
        shots = [
            Shot(place, each.key, each.caption or each.where, each.cosine)
            for place, each in enumerate(self.images)
            if each.key is not None
        ]
        shots.sort(key=lambda shot: _rank(shot, order))
        numbers: Sequence[int | None] = self.group_numbers or [None]
        share = max(1, MOST_SHOWN // len(numbers))
        return [
            self._section(number, [s for s in shots if by_key.get(s.key) == number], share)
            for number in numbers
        ]

    def words_of(self, group: int) -> tuple[str, ...]:
        """The words nearest to where a group lies beside the others, at most three."""
        if self.vocabulary is None or self.groups is None or len(self.units) != len(self.images):
            return ()
        members = {key for key, each in zip(self.opened.keys, self.groups, strict=True) if each == group}
        mine = np.array([each.key in members for each in self.images], bool)
        if not mine.any() or mine.all():
            return ()
        beside = self.units[mine].mean(axis=0, dtype=np.float64) - self.units.mean(axis=0, dtype=np.float64)
        return tuple(each.word for each in self.vocabulary.nearest(beside, 3) if each.cosine > 0)

    def _section(self, number: int | None, shots: Sequence[Shot], most: int) -> Section:
        words = () if number is None else self.words_of(number)
        return Section(number, len(shots), tuple(shots[:most]), words)

    def thumbnail(self, place: int) -> bytes | None:
        """The small copy (WebP) of the picture at a place; None where there is none."""
        if not 0 <= place < len(self.images):
            return None
        return self.thumbnails.get(self.images[place].where)

    def save(self, dropping: Dropping, path: Path) -> Curated:
        """Write what is left to `path`, as `visunex-data curate` does. Raises UsageError, EmbeddingError."""
        if not dropping:
            raise UsageError("nothing is left out yet, so it would be the run's own: click a picture first")
        (made,) = curate(self.name, dropping, path)
        return made

    def command(self, dropping: Dropping, path: Path | str) -> str:
        """The command line that does the same."""
        import shlex

        parts = [part for key in dropping.keys for part in ("--drop", key)]
        parts += ["--drop-group", ",".join(map(str, dropping.groups))] if dropping.groups else []
        parts += ["--drop-atypical", f"{dropping.atypical:g}"] if dropping.atypical else []
        return shlex.join(["visunex-data", "curate", self.name, *parts, "--out", str(path)])


def lay_out(name: str) -> Desk:
    """A run by its name or folder, opened. Raises UsageError, EncodeError, EmbeddingError."""
    found = opened(name)
    facts = Facts(found.run, found.run.reports())
    images, groups = facts.images, groups_of(found) if found.run.groups.exists() else None
    captions = [each.caption for each in images]
    words = _vocabulary(captions, found.made.get("model"))
    shown = images if len(images) <= MOST_SHOWN else _shown(images)
    return Desk(name, found, images, facts.units, groups, words, facts.thumbnails(shown))


def _shown(images: Sequence[RunImage]) -> list[RunImage]:
    """Those of which any order may show the first: the best, the most and the least typical."""
    ranked = sorted(images, key=lambda each: each.cosine or 0.0)
    return [*images[:MOST_SHOWN], *ranked[:MOST_SHOWN], *ranked[-MOST_SHOWN:]]


def _rank(shot: Shot, order: Order) -> float:
    if order == "best":
        return shot.place
    return (shot.cosine or 0.0) * (1 if order == "atypical" else -1)


def _vocabulary(captions: Iterable[str | None], model: Any) -> WordVectors | None:
    """The words of captions, by the text encoder of the model that the run's vectors are of."""
    captions = list(captions)
    if not any(captions) or not isinstance(model, Mapping):
        return None
    encoder = text_encoder_if_here(str(model.get("name")), str(model.get("pretrained") or "openai"))
    return None if encoder is None else word_vectors(captions, encoder)

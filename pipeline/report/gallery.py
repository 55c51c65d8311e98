"""Pictures of a page: the best, the most and the least typical, those that are alike, the groups."""

import contextlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from visunex.base.text import shortened

from ..reduce.groups import FEW
from ..reduce.nearest_words import word_counts
from .facts import Facts, RunImage
from .grouping import Grouped
from .numbers import alike
from .sheets import MOST_ON_SHEETS, data_address, write_sheets

__all__ = ["Card", "Gallery", "Sheet"]

_BEST, _SOME, _PAIRS, _WORDS = 200, 18, 8, 8  # pictures of a sheet, pairs, and words of a group
_LONGEST, _LONGEST_LINK = 300, 2000  # characters of a caption, and of an address


@dataclass(frozen=True)
class Card:
    """A picture as it is shown: the address of its thumbnail, what its caption says, and beneath it.

    `key` is what `visunex-data curate --drop` takes; nothing where the caption says it already.
    """

    image: str | None
    caption: str
    below: str
    link: str | None
    key: str | None = None


@dataclass(frozen=True)
class Sheet:
    """Pictures under a heading, and what is said of them; of a group also `words`, by what they tell.

    With `in_pairs` each two of them belong together.
    """

    title: str
    about: str
    cards: Sequence[Card]
    words: Sequence[tuple[str, Sequence[str]]] = ()
    in_pairs: bool = False


class Gallery:
    """The pictures of a run, ready to be shown."""

    def __init__(self, facts: Facts) -> None:
        self._facts, self._images = facts, facts.images
        self._thumbnails = facts.thumbnails(facts.images[:MOST_ON_SHEETS])

    def sheets(self) -> list[Sheet]:
        """The best, the most and the least typical, and those that are alike."""
        return [self._best(), *self._typical(), self._alike()]

    def _best(self) -> Sheet:
        best, count = self._images[:_BEST], len(self._images)
        which = f"The best {len(best):,} of {count:,}" if len(best) < count else f"All {count:,} pictures"
        about = f"{which}, best first. Beneath each: score, the key that curate drops it by, caption."
        return Sheet("Contact sheet", about, [self._card(each) for each in best])

    def _typical(self) -> list[Sheet]:
        """Those whose vectors lie nearest to the embedding, and farthest from it."""
        ordered = sorted((each for each in self._images if each.cosine is not None), key=_cosine_of)
        if len(ordered) <= FEW:
            return []
        most, least = (
            [self._card(each, below=f"{each.cosine:.3f}") for each in some]
            for some in (ordered[::-1][:_SOME], ordered[:_SOME])
        )
        return [
            Sheet("Most typical", "Nearest to the embedding, with the cosine of their vectors to it.", most),
            Sheet("Least typical", "And farthest from it: are they of this taste?", least),
        ]

    def _alike(self) -> Sheet:
        pairs = alike(self._facts.units, _PAIRS) if len(self._facts.units) > FEW else []
        cards = [
            self._card(self._images[place], below=f"{cosine:.3f}")
            for *both, cosine in pairs
            for place in both
        ]
        about = "Pairs, with the cosine of their vectors: is one a copy of the other?"
        return Sheet("Most alike", about, cards, in_pairs=True)

    def groups(self, found: Grouped | None) -> list[Sheet]:
        """A sheet of each group: those nearest to its centre."""
        if found is None or len(found.groups.centres) < 2:
            return []
        of, centres = found.groups.of, found.groups.centres
        near = np.einsum("nd,nd->n", self._facts.units, centres[of])
        return [
            self._group(number, found, np.flatnonzero(of == number), near) for number in range(len(centres))
        ]

    def _group(
        self, number: int, found: Grouped, members: NDArray[np.int64], near: NDArray[np.float32]
    ) -> Sheet:
        best = members[np.argsort(-near[members], kind="stable")][:_SOME]
        size, total = found.sizes[number], sum(found.sizes.values())
        often = _words([self._images[place] for place in members], self._images)
        words = (("Nearest words", found.words.get(number, ())), ("In its captions more often", often))
        return Sheet(
            f"Group {number}",
            f"{size:,} pictures ({100 * size / total:.0f} %)",
            [self._card(self._images[each]) for each in best],
            [(title, some) for title, some in words if some],
        )

    def all_sheets(self) -> list[str]:
        """The names of the sheets of all pictures, relative to the page; they are written."""
        run = self._facts.run
        written = write_sheets(run.contact, self._images, self._thumbnails)
        return [str(path.relative_to(run.path)) for path in written]

    def _card(self, image: RunImage, below: str = "") -> Card:
        webp = self._thumbnails.get(image.where)
        score = "" if image.score is None or not math.isfinite(image.score) else f"{image.score:.3g}"
        link = image.link if image.link and _is_web(image.link) else None
        caption = shortened(image.caption or image.where, _LONGEST)
        key = None if image.key == caption else image.key
        return Card(data_address(webp) if webp else None, caption, below or score, link, key)


def _cosine_of(image: RunImage) -> float:
    return image.cosine or 0.0


def _is_web(link: str) -> bool:
    with contextlib.suppress(ValueError):
        return len(link) <= _LONGEST_LINK and urlsplit(link).scheme in ("http", "https")
    return False


def _words(members: Sequence[RunImage], everything: Sequence[RunImage]) -> list[str]:
    """The words that more of a group's captions have than of all pictures', the most telling first."""
    here, there = (word_counts(each.caption for each in some) for some in (members, everything))
    more = {word: count / len(members) - there[word] / len(everything) for word, count in here.items()}
    return sorted((word for word in more if more[word] > 0), key=lambda word: (-more[word], word))[:_WORDS]

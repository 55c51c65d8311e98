"""Two pictures and one question: which pairs are asked about, and where the answers are kept.

`votes/votes.jsonl` has a line of JSON for each answer; docs/studio.md describes it.
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from itertools import combinations, groupby
from typing import Any, Literal, get_args

import numpy as np

from visunex.base.errors import UsageError, VisunexError
from visunex.base.files import sha256_file
from visunex.generate.output.png_text import as_json

from .desk import Desk
from .gallery import Made, file_of, gallery
from .places import Places

__all__ = [
    "DRAWN",
    "QUESTION",
    "Choice",
    "Pair",
    "Side",
    "Vote",
    "keep",
    "pair_of_drawn",
    "pair_of_run",
    "votes_in",
]

QUESTION = "Which do you like more?"
DRAWN = "drawn"  # the source that are the pictures in the folder of drawn ones
Choice = Literal["left", "right", "same"]
_VERSION = 1
_FILE = "votes.jsonl"
_MOST_DRAWN = 200  # the last pictures, from which pairs are made
_OF_AN_IMAGE = (
    "negative_prompt", "model", "aesthetic_embedding", "aesthetic_sha256", "aesthetic_steps", "aesthetic_lr",
)  # fmt: skip


@dataclass(frozen=True)
class Side:
    """One of the two pictures: what it is called in its source, the SHA-256 of its file, what made it.

    `shown` is its address on the page, which is not kept.
    """

    image: str
    sha256: str | None = None
    about: Mapping[str, Any] = field(default_factory=dict)
    shown: str = ""


@dataclass(frozen=True)
class Pair:
    """Two pictures of a source, on their sides: by the lot `seed` and `number`, `swapped` as it fell."""

    source: str
    seed: int
    number: int
    swapped: bool
    left: Side
    right: Side


@dataclass(frozen=True)
class Vote:
    """An answer that was kept."""

    source: str
    left: Side
    right: Side
    choice: Choice

    @property
    def liked(self) -> Side | None:
        """The picture that was liked more; None where neither was."""
        return {"left": self.left, "right": self.right}.get(self.choice)

    @property
    def disliked(self) -> Side | None:
        """The other one."""
        return {"left": self.right, "right": self.left}.get(self.choice)


def pair_of_run(desk: Desk, number: int, seed: int, at: int) -> Pair:
    """Two pictures of a run, by lot; `at` is the desk's number. Raises UsageError for a run of fewer."""
    places = [place for place, each in enumerate(desk.images) if each.key and desk.thumbnail(place)]
    if len(places) < 2:
        raise UsageError(f"{desk.name} has no two pictures to choose between")
    drawn = np.random.default_rng([seed, number])
    first, second = drawn.choice(len(places), 2, replace=False)
    sides = [_of_run(desk, places[int(each)], at) for each in (first, second)]
    return _laid(desk.name, seed, number, sides, drawn)


def pair_of_drawn(places: Places, number: int, seed: int) -> Pair:
    """Two drawn pictures: of one prompt and seed where there are such, so that the taste alone differs.

    Raises UsageError where fewer than two were drawn.
    """
    once = {_made_how(each): each for each in gallery(places.outputs, _MOST_DRAWN)}
    pairs = _pairs(list(once.values()))
    if not pairs:
        raise UsageError("draw some pictures first: two of one prompt are compared")
    order = np.random.default_rng(seed).permutation(len(pairs))
    chosen = pairs[int(order[number % len(pairs)])]
    return _laid(
        DRAWN,
        seed,
        number,
        [_of_drawn(places, each) for each in chosen],
        np.random.default_rng([seed, number]),
    )


def keep(places: Places, pair: Pair, choice: Choice, question: str = QUESTION) -> int:
    """Write an answer behind the others; how many there are of this source. Raises UsageError."""
    if choice not in get_args(Choice):
        raise UsageError(f"a vote is one of {', '.join(get_args(Choice))}")
    line = {
        "vote": _VERSION,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "question": question,
        "source": pair.source,
        "seed": pair.seed,
        "pair": pair.number,
        "swapped": pair.swapped,
        "left": _kept(pair.left),
        "right": _kept(pair.right),
        "choice": choice,
    }
    path = places.votes / _FILE
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        data = json.dumps(line, ensure_ascii=True).encode() + b"\n"
        with path.open("ab") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise VisunexError(f"{path} cannot be written: {error.strerror}") from None
    return len(votes_in(places, pair.source))


def votes_in(places: Places, source: str | None = None) -> list[Vote]:
    """The answers so far, of one source or all; a line that is none (cut off, foreign) is left out."""
    try:
        lines = (places.votes / _FILE).read_bytes().split(b"\n")
    except OSError:
        return []
    found = [vote for line in lines if (vote := _read(line)) is not None]
    return [each for each in found if source in (None, each.source)]


def _pairs(images: Sequence[Made]) -> list[tuple[Made, Made]]:
    """All pairs of one prompt and seed that differ in their taste; else of one prompt; else any."""
    for key in (
        lambda m: (m.record.prompt, str(m.record.seed), _size(m)),
        lambda m: (m.record.prompt,),
        lambda _: (),
    ):
        ordered = sorted(images, key=lambda made: (key(made), made.name))
        groups = (list(group) for _, group in groupby(ordered, key))
        pairs = [pair for group in groups for pair in combinations(group, 2)]
        if pairs:
            return pairs
    return []


def _size(made: Made) -> tuple[str, str]:
    return str(made.record.settings.width), str(made.record.settings.height)


def _made_how(made: Made) -> tuple[Any, ...]:
    """What two pictures that are the same have in common."""
    taste, record = made.record.taste, made.record
    steered = (taste.sha256, taste.steps, taste.lr) if taste and taste.steps else None
    added = tuple((file.sha256, file.scale) for file in record.additions)
    return record.prompt, record.seed, record.model.fingerprint, added, record.settings, steered


def _laid(source: str, seed: int, number: int, sides: Sequence[Side], drawn: np.random.Generator) -> Pair:
    swapped = bool(drawn.integers(2))
    left, right = reversed(sides) if swapped else sides
    return Pair(source, seed, number, swapped, left, right)


def _of_run(desk: Desk, place: int, at: int) -> Side:
    image = desk.images[place]
    about = {"caption": image.caption, "url": image.link}
    return Side(str(image.key), None, about, f"/visunex/thumb/{at}/{place}.webp")


def _of_drawn(places: Places, made: Made) -> Side:
    said = as_json(made.record)
    about = {
        "prompt": made.record.prompt,
        "seed": made.record.seed,
        **{key: said[key] for key in _OF_AN_IMAGE},
    }
    return Side(
        made.name, sha256_file(file_of(places.outputs, made.name)), about, f"/visunex/drawn/{made.name}"
    )


def _kept(side: Side) -> dict[str, Any]:
    return {key: value for key, value in asdict(side).items() if key != "shown"}


def _read(line: bytes) -> Vote | None:
    try:
        said = json.loads(line)
        if said["vote"] != _VERSION or said["choice"] not in get_args(Choice):
            return None
        left, right = (_side(said[name]) for name in ("left", "right"))
        return Vote(str(said["source"]), left, right, said["choice"])
    except (ValueError, TypeError, KeyError, RecursionError):
        return None


def _side(said: Any) -> Side:
    if not isinstance(said, dict):
        raise TypeError
    digest, about = said.get("sha256"), said.get("about")
    return Side(
        str(said["image"]),
        digest if isinstance(digest, str) else None,
        about if isinstance(about, dict) else {},
    )


def sides(votes: Sequence[Vote]) -> Iterator[tuple[Side, Side]]:
    """Of each answer that prefers one: that, and the other."""
    for each in votes:
        if each.liked is not None and each.disliked is not None:
            yield each.liked, each.disliked

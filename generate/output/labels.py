"""Labels: a line of text of any script, in as many fonts as it needs; what none has is in Latin letters."""

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby

from PIL import Image, ImageDraw

from .fonts import Face, faces_for, needs_no_glyph

__all__ = ["Label", "Scribe", "remark"]

INK = "black"
_JOINER = "\u200d"
_PAIRS = {"(": ")", "[": "]", "{": "}", "«": "»"}
_MIRRORED = str.maketrans("()[]{}«»", ")(][}{»«")
_LEFT_OUT = re.compile(  # controls, what turns the direction of writing, halves of characters
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\ud800-\udfff\U000e0000-\U000e007f]"
)


@dataclass(frozen=True)
class _Run:
    """A stretch of a label in one font and one direction; None: whichever the text itself has."""

    text: str
    face: Face
    backwards: bool | None = None

    @property
    def shown(self) -> str:
        """The text as it is given to be drawn: turned here where the font's layout does not do it."""
        if not self.backwards or self.face.shapes:
            return self.text
        return "".join(reversed(list(_clusters(self.text)))).translate(_MIRRORED)

    @property
    def direction(self) -> str | None:
        """The direction for libraqm."""
        if self.backwards is None or not self.face.shapes:
            return None
        return "rtl" if self.backwards else "ltr"

    @property
    def width(self) -> float:
        """In pixels."""
        return self.face.font.getlength(self.shown, direction=self.direction) * self.face.scale

    @property
    def reach(self) -> tuple[int, int]:
        """How many pixels its ink is above the baseline, and below it."""
        box = self.face.font.getbbox(self.shown, direction=self.direction, anchor="ls")
        return round(-box[1] * self.face.scale), round(box[3] * self.face.scale)

    def draw(self, image: Image.Image, left: float, baseline: float) -> None:
        """Draw it from `left` on its baseline."""
        if self.face.has_one_size:
            _paste(image, self, left, baseline)
            return
        draw = ImageDraw.Draw(image)
        where, font = (left, baseline), self.face.font
        draw.text(where, self.shown, fill=INK, font=font, anchor="ls", direction=self.direction)


@dataclass(frozen=True)
class Label:
    """A line of text that fits: its runs from left to right."""

    runs: tuple[_Run, ...]

    @property
    def width(self) -> float:
        """In pixels."""
        return sum(run.width for run in self.runs)

    def draw(self, image: Image.Image, left: float, baseline: float) -> None:
        """Draw it from `left` on its baseline."""
        for run in self.runs:
            run.draw(image, left, baseline)
            left += run.width


class Scribe:
    """Makes labels of texts, at one size, in the fonts that are there for all of them.

    `spelt` are the texts whose letters no font here has, and how they are written instead.
    """

    def __init__(self, texts: Sequence[str], size: float) -> None:
        self.faces = faces_for(map(_cleaned, texts), size)
        self.spelt: dict[str, str] = {}

    def label(self, text: str, width: float) -> Label:
        """The text, or as much of it as fits `width` pixels with an ellipsis."""
        text = _cleaned(text)[: max(1, round(width))]  # no letter is narrower than a pixel
        written = "".join(self._written(cluster) for cluster in _clusters(text))
        if written != text:
            self.spelt[text] = written
        whole = self._laid(written)
        return whole if whole.width <= width else self._shortened(written, width)

    def line(self, labels: Sequence[Label]) -> tuple[int, int]:
        """How high a line of these labels is, and where in it the baseline lies, in pixels from its top."""
        own = self.faces[0]
        up, down = own.font.getmetrics()[0], own.font.getbbox("Ájgy", anchor="ls")[3]
        reaches = [run.reach for label in labels for run in label.runs if run.face is not own]
        baseline = max([up, *(above for above, _ in reaches)])
        return baseline + round(max([down, *(below for _, below in reaches)])), baseline

    def _written(self, cluster: str) -> str:
        """A letter as it is, or in Latin letters where no font has it."""
        if any(face.has(cluster) for face in self.faces):
            return cluster
        from anyascii import anyascii

        return anyascii(cluster) or "".join(f"<U+{ord(letter):04X}>" for letter in cluster)

    def _shortened(self, text: str, width: float) -> Label:
        """The most of the text that fits with an ellipsis behind it: found by halving."""
        letters = list(_clusters(text))
        fits, too_long = 0, len(letters)
        while too_long - fits > 1:
            middle = (fits + too_long) // 2
            if self._laid("".join(letters[:middle]) + "...").width <= width:
                fits = middle
            else:
                too_long = middle
        return self._laid("".join(letters[:fits]) + "...")

    def _laid(self, text: str) -> Label:
        for face in self.faces:
            if face.has(text) and (face.shapes or not _turns(text)):
                return Label((_Run(text, face),))
        clusters = list(_clusters(text))
        places = zip(clusters, self._chosen(clusters), _levels(clusters), strict=True)
        runs = [
            (level, _Run("".join(each[0] for each in group), face, level % 2 == 1))
            for (face, level), group in groupby(places, key=lambda place: place[1:])
        ]
        return Label(tuple(_from_left(runs)))

    def _chosen(self, clusters: Sequence[str]) -> Iterator[Face]:
        """The first face that has it, for each letter; a space is of the face of what is before it."""
        face = self.faces[0]
        for cluster in clusters:
            if not (cluster.isspace() and not face.has_one_size):
                face = next((each for each in self.faces if each.has(cluster)), self.faces[0])
            yield face


def remark(spelt: Mapping[str, str]) -> str:
    """What to tell a person of texts that are spelt in other letters than their own."""
    text, written = next(iter(spelt.items()))
    more = f", and {len(spelt) - 1} more" if len(spelt) > 1 else ""
    return (
        f"The grid's labels are spelt in Latin letters where no font on this machine has theirs: {text} is "
        f"{written}{more}. Install a font that has them, such as one of Noto's (Debian: fonts-noto)."
    )


def _cleaned(text: str) -> str:
    """The text in one line, composed, without what has no look of its own."""
    return unicodedata.normalize("NFC", " ".join(_LEFT_OUT.sub("", " ".join(text.split())).split()))


def _clusters(text: str) -> Iterator[str]:
    """The letters of a text, each with the marks on it, and what joiners make one sign of."""
    cluster = ""
    for letter in text:
        goes_on = (
            unicodedata.category(letter).startswith("M") or letter == _JOINER or cluster.endswith(_JOINER)
        )
        if cluster and not (goes_on or (needs_no_glyph(letter) and not letter.isspace())):
            yield cluster
            cluster = ""
        cluster += letter
    if cluster:
        yield cluster


def _strong(letter: str) -> str:
    """Where a letter's script runs to: L, R, D for digits, which run as what is before them, or nothing."""
    kind = unicodedata.bidirectional(letter)
    return {"L": "L", "R": "R", "AL": "R", "EN": "D", "AN": "D"}.get(kind, "")


def _turns(text: str) -> bool:
    """Whether some of it runs from right to left."""
    return any(_strong(letter) == "R" for letter in text)


def _levels(clusters: Sequence[str]) -> list[int]:
    """How deep each letter is nested in the other direction (UAX 9, without the marks that say so)."""
    if not any(map(_turns, clusters)):
        return [0] * len(clusters)
    kinds = [_strong(cluster[0]) for cluster in clusters]
    base = "R" if next((kind for kind in kinds if kind in ("L", "R")), "L") == "R" else "L"
    sides, before = list[str](), base
    for kind in kinds:
        before = kind if kind in ("L", "R") else before
        sides.append("" if not kind else "D" if kind == "D" and before == "R" else before)
    _pair(clusters, sides, base)
    level = {"R": 1, "D": 2, "L": 0 if base == "L" else 2}
    return [level[side or _between(sides, place, base)] for place, side in enumerate(sides)]


def _pair(clusters: Sequence[str], sides: list[str], base: str) -> None:
    """Give brackets their directions in `sides`: one that closes has that of the one which opened."""
    opened = list[tuple[str, int]]()
    for place, cluster in enumerate(clusters):
        if cluster in _PAIRS:
            sides[place] = _between(sides, place, base)
            opened.append((_PAIRS[cluster], place))
        elif opened and cluster == opened[-1][0]:
            sides[place] = sides[opened.pop()[1]]


def _between(sides: Sequence[str], place: int, base: str) -> str:
    """The direction of what has none: that of what is on both sides of it, else the line's."""
    left = next((side for side in reversed(sides[:place]) if side), base)
    right = next((side for side in sides[place + 1 :] if side), base)
    ends = {"R" if side == "D" else side for side in (left, right)}
    return ends.pop() if len(ends) == 1 else base


def _from_left(runs: list[tuple[int, _Run]]) -> Iterator[_Run]:
    """The runs in the order in which they stand (rule L2 of UAX 9): the deepest are turned first."""
    for level in range(max((deep for deep, _ in runs), default=0), 0, -1):
        turned = list[tuple[int, _Run]]()
        for is_deep, group in groupby(runs, key=partial(_is_as_deep, level)):
            together = list(group)
            turned += together[::-1] if is_deep else together
        runs = turned
    return (run for _, run in runs)


def _is_as_deep(level: int, run: tuple[int, _Run]) -> bool:
    return run[0] >= level


def _paste(image: Image.Image, run: _Run, left: float, baseline: float) -> None:
    """Draw a run of pictures, which come in another size."""
    font, scale = run.face.font, run.face.scale
    up, down = font.getmetrics()
    long = max(1, round(font.getlength(run.shown, direction=run.direction)))
    drawn = Image.new("RGBA", (long, up + down))
    pen = ImageDraw.Draw(drawn)
    pen.text(
        (0, up), run.shown, fill=INK, font=font, anchor="ls", embedded_color=True, direction=run.direction
    )
    small = drawn.resize((max(1, round(long * scale)), max(1, round((up + down) * scale))))
    image.paste(small, (round(left), round(baseline - up * scale)), small)

"""Fonts that have the letters of some text: Pillow's own, else those of this machine. Nothing is fetched.

A font has a letter where its glyph differs from the one that it draws in the place of letters it lacks.
"""

import os
import re
import shutil
import subprocess
import sys
import time
import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import cast

from PIL import ImageFont

__all__ = ["Face", "faces_for"]

SECONDS = 5.0  # that the search for fonts may take, and fontconfig of them
MOST_FILES = 5000  # in the folders of fonts
MOST_LETTERS = 2000
_NOWHERE = "\U0010ffff"  # no font has it
_SELECTORS = re.compile("[\ufe00-\ufe0f\U000e0100-\U000e01ef]")
_STYLES = re.compile(
    "bold|italic|oblique|mono|serif|condensed|light|thin|black|medium|semi|extra", re.IGNORECASE
)
_PLACEHOLDERS = re.compile(
    "lastresort|notdef|blank", re.IGNORECASE
)  # a glyph for everything, a letter of nothing
_IMAGE_SIZES = (109, 160, 96, 64, 32)  # of emoji that are pictures: Google's, Apple's


class Face:
    """A font at one size. What it draws is scaled by `scale`, where it has pictures of one size only."""

    def __init__(self, font: ImageFont.FreeTypeFont, size: float) -> None:
        self.font = font
        self.scale = size / font.size
        self._plain = font.font_variant(layout_engine=ImageFont.Layout.BASIC)
        self._lacking = self._glyph(_NOWHERE)
        self._found: dict[str, bool] = {}

    @property
    def has_one_size(self) -> bool:
        """Whether its glyphs are pictures of one size: emoji."""
        return self.scale != 1

    @property
    def shapes(self) -> bool:
        """Whether letters are joined and turned in their direction as their script wants: by libraqm."""
        return self.font.layout_engine == ImageFont.Layout.RAQM

    def has(self, text: str) -> bool:
        """Whether it has all letters of `text`."""
        return all(map(self._has, text))

    def _has(self, letter: str) -> bool:
        if letter not in self._found:
            self._found[letter] = needs_no_glyph(letter) or self._draws(letter)
        return self._found[letter]

    def _draws(self, letter: str) -> bool:
        if self.has_one_size and letter < "\xa0":  # digits in emoji are parts of keys
            return False
        glyph = self._glyph(letter)
        return glyph != self._lacking and any(glyph[1])

    def _glyph(self, letter: str) -> tuple[object, bytes]:
        mask = self._plain.getmask(letter)
        return (mask.size, self._plain.getbbox(letter)), bytes(mask)


def needs_no_glyph(letter: str) -> bool:
    """Whether nothing is to be seen of it: spaces, joiners, selectors of a variant."""
    return letter.isspace() or unicodedata.category(letter) == "Cf" or bool(_SELECTORS.match(letter))


def faces_for(texts: Iterable[str], size: float) -> list[Face]:
    """Pillow's own font, and as few others of this machine as have the letters that it lacks, if any do."""
    own = cast(ImageFont.FreeTypeFont, ImageFont.load_default(size=size))  # which it is at a size
    faces = [Face(own, size)]
    letters = dict.fromkeys("".join(texts))
    lacking = [letter for letter in letters if not faces[0].has(letter)][:MOST_LETTERS]
    search = _Search(size)
    while lacking and search.left > 0:
        found = search.best(lacking)
        if found is None:
            lacking = lacking[1:]
        else:
            faces.append(found)
            lacking = [letter for letter in lacking if not found.has(letter)]
    return faces


class _Search:
    """A search for fonts that ends in time: by fontconfig where that answers, else in the usual folders."""

    def __init__(self, size: float) -> None:
        self._size = size
        self._until = time.monotonic() + SECONDS
        self._program = shutil.which("fc-list")
        self._files: list[tuple[Path, int]] | None = None

    @property
    def left(self) -> float:
        """Seconds that are left."""
        return self._until - time.monotonic()

    def best(self, letters: list[str]) -> Face | None:
        """A face that has all of `letters`, else the first of them and as many others as any."""
        for wanted in (letters, letters[:1]) if self._program else (letters[:1],):
            if (face := self._most(wanted, letters)) is not None:
                return face
        return None

    def _most(self, wanted: list[str], letters: list[str]) -> Face | None:
        """Of the faces that have all of `wanted` the one that has most of `letters`."""
        best, most = None, 0
        for path, index in self._candidates(wanted):
            if self.left <= 0:
                break
            face = _opened(path, index, self._size)
            if face is None or not all(map(face.has, wanted)):
                continue
            count = sum(map(face.has, letters))
            if count > most:
                best, most = face, count
            if count == len(letters):
                break
        return best

    def _candidates(self, letters: list[str]) -> list[tuple[Path, int]]:
        if self._program and (listed := self._asked(letters)) is not None:
            return _by_style(listed)
        if self._files is None:
            self._files = _by_style((path, 0) for path in _font_files(self._until))
        return self._files

    def _asked(self, letters: list[str]) -> list[tuple[Path, int]] | None:
        """What fontconfig has for the letters; None where it gives no answer: it is not asked again."""
        pattern = ":charset=" + " ".join(f"{ord(letter):x}" for letter in letters)
        command = [str(self._program), "--format", "%{file}\t%{index}\n", pattern]
        try:
            answer = subprocess.run(  # noqa: S603
                command,
                capture_output=True,
                check=True,
                timeout=max(0.01, self.left / 2),
                stdin=subprocess.DEVNULL,
            )
        except (OSError, subprocess.SubprocessError):
            self._program = None
            return None
        lines = (os.fsdecode(line).partition("\t") for line in answer.stdout.split(b"\n") if line)
        return [(Path(file), int(index) & 0xFFFF) for file, _, index in lines if index.isdecimal()]


def _by_style(files: Iterable[tuple[Path, int]]) -> list[tuple[Path, int]]:
    """The files, plain styles first; without those whose glyphs only hold places."""
    kept = {each for each in files if not _PLACEHOLDERS.search(each[0].name)}
    return sorted(kept, key=lambda each: (len(_STYLES.findall(each[0].name)), len(each[0].name), each))


def _font_files(until: float) -> Iterator[Path]:
    """The font files in the usual folders, as many as there is time for."""
    count = 0
    for folder in _folders():
        for place, _, names in os.walk(folder):
            for name in names:
                if name.lower().endswith((".ttf", ".otf", ".ttc", ".otc")):
                    count += 1
                    yield Path(place, name)
            if count >= MOST_FILES or time.monotonic() > until:
                return


def _folders() -> list[Path]:
    """Where fonts lie, a person's own first."""
    home = Path(os.environ.get("HOME") or "/nonexistent")
    if sys.platform == "darwin":
        return [home / "Library/Fonts", Path("/Library/Fonts"), Path("/System/Library/Fonts")]
    own = Path(os.environ.get("XDG_DATA_HOME") or home / ".local/share") / "fonts"
    return [own, home / ".fonts", Path("/usr/local/share/fonts"), Path("/usr/share/fonts")]


def _opened(path: Path, index: int, size: float) -> Face | None:
    """The font in a file, at `size` or the one size that it has; None for a file that is not usable."""
    if not path.is_file():  # a pipe would be waited for
        return None
    for each in (size, *_IMAGE_SIZES):
        try:
            font = ImageFont.truetype(str(path), each, index=index)
            with suppress(OSError, NotImplementedError, ValueError):  # most have no variations
                font.set_variation_by_name("Regular")
            return Face(font, size)
        except OSError as error:
            if "pixel size" not in str(error):
                return None
        except (ValueError, MemoryError, SyntaxError):
            return None
    return None

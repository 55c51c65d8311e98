"""What sampling starts from in the place of noise alone: an image, and a mask of what of it is drawn anew."""

import hashlib
import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from visunex.base.errors import require, require_number

from .errors import UsageError

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["STRENGTH", "Start", "StartRecord"]

STRENGTH = 0.75  # the original's
STEP = 64  # pixels that a size found here is a multiple of, for every family
MOST_BYTES = 1 << 28  # of an image file


@dataclass(frozen=True, kw_only=True)
class StartRecord:
    """What an image was drawn over: absolute paths, and the SHA-256 of what is in the files."""

    path: str
    sha256: str
    strength: float
    mask: str | None = None
    mask_sha256: str | None = None


@dataclass(frozen=True, kw_only=True)
class Start:
    """An image that is drawn over, by so much of the sampling as `strength` says: 0 not at all, 1 all of it.

    Of a `mask`, an image of the same proportions, white is drawn anew and black stays. Raises UsageError for
    files that are no images, and a strength that is not from 0 to 1.
    """

    path: Path
    mask: Path | None = None
    strength: float = STRENGTH

    def __post_init__(self) -> None:
        for name in ("path", "mask"):
            if (given := getattr(self, name)) is not None:
                require(given, name, (str, Path), "the path of an image")
                object.__setattr__(self, name, Path(given))
        require_number(self.strength, "strength", "a number from 0 (not at all) to 1")
        if not 0 < self.strength <= 1:
            raise UsageError(f"strength is {self.strength:g}: give a number above 0, at most 1")

    @cached_property
    def image(self) -> "Image.Image":
        """The image as a person sees it, RGB."""
        return _opened(self._bytes, self.path, "--init-img")

    @cached_property
    def masking(self) -> "Image.Image | None":
        """The mask in shades of grey."""
        if self.mask is None:
            return None
        return _opened(self._mask_bytes or b"", self.mask, "--mask").convert("L")

    @property
    def record(self) -> StartRecord:
        """What is written into images of it."""
        mask = self._mask_bytes
        return StartRecord(
            path=str(self.path.absolute()),
            sha256=hashlib.sha256(self._bytes).hexdigest(),
            strength=self.strength,
            mask=None if self.mask is None else str(self.mask.absolute()),
            mask_sha256=None if mask is None else hashlib.sha256(mask).hexdigest(),
        )

    def steps(self, steps: int, *, part_of_one: bool = False) -> int:
        """How many of the sampler's steps are taken; part of one is one where it says so, as along a flow.

        Raises UsageError for none.
        """
        share = steps * self.strength
        taken = steps - int(steps - share) if part_of_one else min(int(share), steps)
        if taken < 1:
            raise UsageError(
                f"--strength {self.strength:g} of --ddim_steps {steps} is not one step: raise one of them"
            )
        return taken

    def size_near(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of the image's proportions that have the area of another size, in steps of 64."""
        across, down = self.image.size
        scale = math.sqrt(height * width / (across * down))
        return _stepped(down * scale), _stepped(across * scale)

    def fitted(self, height: int, width: int) -> "tuple[Image.Image, Image.Image | None]":
        """Image and mask filling a size: scaled, and cut where its proportions are other ones."""
        from PIL import Image, ImageOps

        image = ImageOps.fit(self.image, (width, height), Image.Resampling.LANCZOS)
        if self.masking is None:
            return image, None
        return image, ImageOps.fit(self.masking, (width, height), Image.Resampling.LANCZOS)

    @cached_property
    def _bytes(self) -> bytes:
        return _read(self.path, "--init-img")

    @cached_property
    def _mask_bytes(self) -> bytes | None:
        return None if self.mask is None else _read(self.mask, "--mask")


def _read(path: Path, option: str) -> bytes:
    try:
        if path.exists() and not path.is_file():
            raise UsageError(f"{option} {path} is no file: give a picture")
        if path.stat().st_size > MOST_BYTES:
            raise UsageError(f"{option} {path} has more than {MOST_BYTES >> 20} MB: give a smaller picture")
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{option} {path} cannot be read: {error.strerror or error}") from None


def _opened(data: bytes, path: Path, option: str) -> "Image.Image":
    from visunex.images import ImageError, open_rgb

    try:
        return open_rgb(data)
    except ImageError as error:
        raise UsageError(f"{option} {path} is no picture that can be read: {error}") from None


def _stepped(pixels: float) -> int:
    return max(round(pixels / STEP), 1) * STEP

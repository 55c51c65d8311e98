"""Writing a shard's rows in their order, whatever order they come in: the same images make the same bytes."""

import contextlib
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from visunex.images.dhash import difference_hash

from .choose import NOT_TRIED
from .img2dataset_adapter import SampleWriter
from .messages import MOST_SHARDS_AT_ONCE, Written

__all__ = ["OnRow", "OrderedWriter"]

# (a row, bytes of its image), once it is written or waits for its turn.
OnRow = Callable[[Written, int], None]

# bytes of one shard's images that wait for an earlier row; further ones wait on disk
_HELD_IN_MEMORY = 64 * 2**20 // MOST_SHARDS_AT_ONCE


class OrderedWriter:
    """A writer that passes rows on to `writer` in their order, counted from the shard's `first` rank on.

    Images that wait for an earlier row lie in memory, and where they are too many in a file in `folder`.
    With `perceptual_hash` each row gets its image's `dhash`. `files` are the SHA-256 of the files that rows'
    images were before they were resized, where that was another time.
    """

    def __init__(
        self,
        writer: SampleWriter,
        folder: Path,
        first: int,
        on_row: OnRow,
        *,
        perceptual_hash: bool = False,
        files: Mapping[int, str | None] | None = None,
    ) -> None:
        self._writer, self._first, self._on_row = writer, first, on_row
        self._perceptual_hash, self._files = perceptual_hash, files or {}
        self._next = 0
        self._waiting: dict[int, tuple[Any, ...]] = {}
        self._held = _HeldImages(folder)
        self._failure: Exception | None = None

    def write(self, img_str: bytes | None, key: str, caption: str | None, meta: dict[str, Any]) -> None:
        """Write a row when it is its turn. `close` raises a failure again, which img2dataset only prints."""
        try:
            if self._perceptual_hash:
                meta["dhash"] = _hash_or_none(img_str)
            if (meta["error_message"] or "").startswith(NOT_TRIED):
                meta["status"] = NOT_TRIED  # to img2dataset it has failed
            row = int(key) - self._first
            if img_str is not None and row in self._files:
                meta["sha256"] = self._files[row]
            if row == self._next:
                self._write_next(img_str, key, caption, meta)
                self._write_those_in_turn()
            else:
                self._waiting[row] = (self._held.put(img_str), key, caption, meta)
            written = Written(row, meta["error_message"], meta.get("sha256"), meta.get("dhash"))
            self._on_row(written, len(img_str or b""))
        except Exception as error:
            self._failure = self._failure or error
            raise

    def close(self) -> None:
        """Write what still waits for a row that never came, and finish the files. Raises what `write` met."""
        while self._waiting and self._failure is None:
            self._next = min(self._waiting)
            self._write_those_in_turn()
        self._writer.close()
        self._held.close()
        if self._failure is not None:
            raise self._failure

    def _write_those_in_turn(self) -> None:
        while self._next in self._waiting:
            held, *sample = self._waiting.pop(self._next)
            self._write_next(self._held.take(held), *sample)

    def _write_next(self, *sample: Any) -> None:
        self._writer.write(*sample)
        self._next += 1


class _HeldImages:
    """Images that wait: their bytes, or where they lie on disk when too many wait."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._bytes = folder, 0
        self._file: Any = None

    def put(self, image: bytes | None) -> bytes | tuple[int, int] | None:
        """Keep an image; what is given back fetches it with `take`."""
        if image is None or self._bytes + len(image) <= _HELD_IN_MEMORY:
            self._bytes += len(image or b"")
            return image
        if self._file is None:
            self._file = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115
        position = self._file.seek(0, os.SEEK_END)
        self._file.write(image)
        return position, len(image)

    def take(self, held: bytes | tuple[int, int] | None) -> bytes | None:
        """The image, which is kept no longer."""
        if not isinstance(held, tuple):
            self._bytes -= len(held or b"")
            return held
        self._file.seek(held[0])
        return self._file.read(held[1])

    def close(self) -> None:
        """Remove what lies on disk."""
        if self._file is not None:
            self._file.close()


def _hash_or_none(image: bytes | None) -> str | None:
    with contextlib.suppress(Exception):
        return None if image is None else f"{difference_hash(image):016x}"
    return None

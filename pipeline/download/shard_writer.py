"""img2dataset's shard writer, with the samples in order of their rows. Loaded in worker processes only."""

import contextlib
import os
import tempfile
from collections.abc import Callable
from typing import Any

import pyarrow as pa
from img2dataset.writer import WebDatasetSampleWriter

from visunex.images.dhash import difference_hash

from .messages import MOST_SHARDS_AT_ONCE, EngineSettings, ShardJob

__all__ = ["OrderedWriter"]

OnRow = Callable[[int, str | None, int], None]

# bytes of one shard's pictures that wait for an earlier row; further ones wait on disk
_HELD_IN_MEMORY = 64 * 2**20 // MOST_SHARDS_AT_ONCE


class OrderedWriter(WebDatasetSampleWriter):
    """img2dataset's writer with samples in order of their rows: the same pictures make the same bytes."""

    def __init__(
        self, *args: Any, job: ShardJob, settings: EngineSettings, on_row: OnRow, **kwargs: Any
    ) -> None:
        self.on_row, self.perceptual_hash, self._folder = on_row, settings.perceptual_hash, job.folder
        if self.perceptual_hash:
            args, kwargs = _with_column(args, kwargs, "dhash")
        super().__init__(*args, **kwargs)
        self.tarwriter.mtime = 0
        self._first, self._next = job.shard * settings.shard_size, 0
        self._waiting: dict[int, tuple[Any, ...]] = {}
        self._held = 0
        self._spool: Any = None
        self.failure: Exception | None = None

    def write(self, img_str: bytes | None, key: str, caption: str | None, meta: dict[str, Any]) -> None:
        """Write a sample when it is its turn. `close` raises a failure again: here it is only printed."""
        try:
            if self.perceptual_hash:
                meta["dhash"] = _hash_or_none(img_str)
            row = int(key) - self._first
            self._waiting[row] = (self._hold(img_str) if row != self._next else img_str, key, caption, meta)
            self._write_those_in_turn()
            self.on_row(row, meta["error_message"], len(img_str or b""))
        except Exception as error:
            self.failure = self.failure or error
            raise

    def close(self) -> None:
        """Write what still waits for a row that never came, and finish the files. Raises what `write` met."""
        while self._waiting and self.failure is None:
            self._next = min(self._waiting)
            self._write_those_in_turn()
        super().close()
        if self._spool is not None:
            self._spool.close()
        if self.failure is not None:
            raise self.failure

    def _write_those_in_turn(self) -> None:
        while self._next in self._waiting:
            image, *sample = self._waiting.pop(self._next)
            super().write(self._release(image), *sample)
            self._next += 1

    def _hold(self, image: bytes | None) -> bytes | tuple[int, int] | None:
        """Keep a picture that has to wait: the bytes, or where they lie on disk when too many wait."""
        if image is None or self._held + len(image) <= _HELD_IN_MEMORY:
            self._held += len(image or b"")
            return image
        if self._spool is None:
            self._spool = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115
        position = self._spool.seek(0, os.SEEK_END)
        self._spool.write(image)
        return position, len(image)

    def _release(self, held: bytes | tuple[int, int] | None) -> bytes | None:
        if not isinstance(held, tuple):
            self._held = max(0, self._held - len(held or b""))
            return held
        self._spool.seek(held[0])
        return self._spool.read(held[1])


def _with_column(
    args: tuple[Any, ...], kwargs: dict[str, Any], name: str
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The writer's arguments with one more column in the schema, which comes fifth or by name."""
    column = pa.field(name, pa.string())
    if "schema" in kwargs:
        return args, {**kwargs, "schema": kwargs["schema"].append(column)}
    return (*args[:4], args[4].append(column), *args[5:]), kwargs


def _hash_or_none(image: bytes | None) -> str | None:
    with contextlib.suppress(Exception):
        return None if image is None else f"{difference_hash(image):016x}"
    return None

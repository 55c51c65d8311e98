"""The forms in which pictures are taken out, one picture at a time, in little memory."""

import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

__all__ = ["FolderWriter", "ParquetWriter", "TarWriter", "Writer"]

_IN_A_TAR = 1000  # pictures
_GROUP_ROWS, _GROUP_BYTES = 100, 64 << 20  # of a row group
_FILE_BYTES = 500 << 20  # of a parquet file
_TEXT, _NUMBER = {"dtype": "string", "_type": "Value"}, {"dtype": "float64", "_type": "Value"}
_FEATURES = {"image": {"_type": "Image"}, "text": _TEXT, "score": _NUMBER, "license": _TEXT, "url": _TEXT,
             "key": _TEXT, "sha256": _TEXT}  # fmt: skip
_KINDS = {
    name: pa.float64() if kind is _NUMBER else pa.string()
    for name, kind in _FEATURES.items()
    if name != "image"
}
# What `datasets` shows as pictures, and the Hub's viewer with it.
_SCHEMA = pa.schema(
    {"image": pa.struct({"bytes": pa.binary(), "path": pa.string()}), **_KINDS},
    metadata={"huggingface": json.dumps({"info": {"features": _FEATURES}})},
)


class Writer(Protocol):
    """Takes pictures in their order."""

    def add(self, name: str, data: bytes, said: Mapping[str, Any]) -> None:
        """Write a picture's file, called `name`, with what is said of it (`text`, ...)."""

    def close(self) -> None:
        """Finish what was written."""


class FolderWriter:
    """A folder of pictures with `metadata.jsonl`, as `datasets` reads it ("imagefolder") and trainers do."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._said = (folder / "metadata.jsonl").open("w", encoding="utf-8", errors="replace", newline="\n")

    def add(self, name: str, data: bytes, said: Mapping[str, Any]) -> None:
        """Write a picture and its line."""
        (self._folder / name).write_bytes(data)
        self._said.write(json.dumps({"file_name": name, **said}, ensure_ascii=False) + "\n")

    def close(self) -> None:
        """Finish `metadata.jsonl`."""
        self._said.close()


class TarWriter:
    """WebDataset: tars of pictures, each with a `.txt` (its text) and a `.json` of the same name."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._count = folder, 0
        self._tar: tarfile.TarFile | None = None

    def add(self, name: str, data: bytes, said: Mapping[str, Any]) -> None:
        """Write a picture's members; into a new tar where the last one is full."""
        if self._count % _IN_A_TAR == 0:
            self.close()
            path = self._folder / f"{self._count // _IN_A_TAR:05d}.tar"
            self._tar = tarfile.open(path, "w", encoding="utf-8")  # noqa: SIM115 - closed when it is full
        key = name.partition(".")[0]
        self._add(name, data)
        self._add(f"{key}.txt", str(said["text"]).encode("utf-8", "replace"))
        self._add(f"{key}.json", json.dumps(dict(said)).encode())
        self._count += 1

    def _add(self, name: str, data: bytes) -> None:
        if self._tar is not None:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            self._tar.addfile(info, io.BytesIO(data))

    def close(self) -> None:
        """Finish the tar."""
        if self._tar is not None:
            self._tar.close()


class ParquetWriter:
    """Parquet with the pictures inside, as the Hub has data sets."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._files = folder, 0
        self._waiting: list[dict[str, Any]] = []
        self._waiting_bytes = self._bytes = 0
        self._file: pq.ParquetWriter | None = None

    def add(self, name: str, data: bytes, said: Mapping[str, Any]) -> None:
        """Write a picture's row; a row group when enough of them wait."""
        self._waiting.append({"image": {"bytes": data, "path": name}, **said})
        self._waiting_bytes += len(data)
        if len(self._waiting) >= _GROUP_ROWS or self._waiting_bytes >= _GROUP_BYTES:
            self._write()

    def _write(self) -> None:
        if self._file is None or self._bytes >= _FILE_BYTES:
            self._close_file()
            path = self._folder / f"{self._files:05d}.parquet"
            self._file = pq.ParquetWriter(path, _SCHEMA, compression="none", write_page_index=True)
            self._files, self._bytes = self._files + 1, 0
        self._file.write_table(pa.Table.from_pylist(self._waiting, schema=_SCHEMA))
        self._bytes += self._waiting_bytes
        self._waiting, self._waiting_bytes = [], 0

    def _close_file(self) -> None:
        if self._file is not None:
            self._file.close()

    def close(self) -> None:
        """Write what waits, and finish the file."""
        if self._waiting:
            self._write()
        self._close_file()

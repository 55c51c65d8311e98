"""One data set of pictures with captions and scores, in each form that such sets are published in."""

import hashlib
import io
import json
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import odd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

COUNT = 60
_SAID = ("caption", "aesthetic_score")


def records(count: int = COUNT) -> list[dict[str, Any]]:
    """Pictures, each another; every third one's caption says flower."""
    return [
        {
            "picture": odd.file(odd.gradient(), "JPEG", comment=f"number {row}".encode()),
            "caption": f"a {'flower' if row % 3 == 0 else 'castle'}, number {row}",
            "aesthetic_score": 5 + (row * 7 % count) / 20,
        }
        for row in range(count)
    ]


def table(path: Path, found: list[dict[str, Any]], *, struct: bool = True, group: int = 10) -> Path:
    """Parquet with the pictures inside: `image: {bytes, path}` of the Hub, or a binary column `jpg`."""
    bytes_ = [each["picture"] for each in found]
    images = [{"bytes": data, "path": f"{row}.jpg"} for row, data in enumerate(bytes_)]
    columns = {"image": images} if struct else {"jpg": pa.array(bytes_, pa.binary())}
    for name in _SAID:
        columns[name] = [each[name] for each in found]
    pq.write_table(pa.table(columns), path, row_group_size=group)
    return path


def arrow(path: Path, found: list[dict[str, Any]], *, stream: bool = True) -> Path:
    """The same as an Arrow file, in batches of 7 rows: the stream form of `datasets`, or the file form."""
    rows = [
        {"image": {"bytes": each["picture"], "path": None}} | {name: each[name] for name in _SAID}
        for each in found
    ]
    whole = pa.Table.from_pylist(rows)
    new = pa.ipc.new_stream if stream else pa.ipc.new_file
    with new(str(path), whole.schema) as writer:
        writer.write_table(whole, max_chunksize=7)
    return path


def webdataset(path: Path, found: list[dict[str, Any]]) -> Path:
    """A tar of `.jpg`, `.txt` and `.json` for each picture."""
    with tarfile.open(path, "w") as archive:
        for name, data in _members(found):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def zipped(path: Path, found: list[dict[str, Any]]) -> Path:
    """A zip of the same members, packed."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in _members(found):
            archive.writestr(name, data)
    return path


def linked(
    found: list[dict[str, Any]], address: str, vectors: NDArray[np.float32], size: int, **more: list[Any]
) -> dict[str, bytes]:
    """Links with what PD3M says of each, and vectors, a row each, in files of so many rows."""
    digests = [hashlib.md5(each["picture"], usedforsecurity=False).hexdigest() for each in found]
    table = pa.table(
        {
            "id": [f"id-{row}" for row in range(len(found))],
            "url": [f"{address}/{row}.jpg" for row in range(len(found))],
            "caption": [each["caption"] for each in found],
            "mime_type": ["image/jpeg"] * len(found),
            "hash": digests,
            "license": ["https://creativecommons.org/publicdomain/zero/1.0/"] * len(found),
            **more,
        }
    )
    files = {}
    for number, begin in enumerate(range(0, len(found), size)):
        for name, write in (
            (
                f"metadata/pd3m.{number:02d}.parquet",
                lambda to, at=begin: pq.write_table(table[at : at + size], to),
            ),
            (f"embeddings/pd3m.{number:02d}.npy", lambda to, at=begin: np.save(to, vectors[at : at + size])),
        ):
            buffer = io.BytesIO()
            write(buffer)
            files[name] = buffer.getvalue()
    return files


def _members(found: list[dict[str, Any]]) -> list[tuple[str, bytes]]:
    return [
        member
        for row, each in enumerate(found)
        for member in (
            (f"{row:05d}.jpg", each["picture"]),
            (f"{row:05d}.txt", each["caption"].encode()),
            (f"{row:05d}.json", json.dumps({"aesthetic_score": each["aesthetic_score"]}).encode()),
        )
    ]

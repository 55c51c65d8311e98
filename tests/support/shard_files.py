"""Shards as tests need them: plain tars, img2dataset's, and a run folder with some of its pictures chosen."""

import io
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import odd
import pyarrow as pa
import pyarrow.parquet as pq

JPEG = odd.file(odd.gradient(), "JPEG")


def tar(path: Path, members: Mapping[str, bytes] | Sequence[tuple[str, bytes]]) -> Path:
    """A tar with these members, in their order."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, data in members.items() if isinstance(members, Mapping) else members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def img2dataset_shard(folder: Path, number: int, count: int, *, done: bool = True, failed: int = 0) -> Path:
    """A shard as img2dataset writes it: every row in the parquet, the successes in the tar."""
    rows = [
        {
            "key": f"{number:05d}{row:04d}",
            "url": f"http://x/{number}/{row}",
            "caption": f"picture {row} of {number}" if row else None,
            "score": 7.0 + row / 10,
            "status": "success" if row < count else "failed_to_download",
        }
        for row in range(count + failed)
    ]
    members = []
    for row in rows[:count]:
        members += [
            (f"{row['key']}.jpg", JPEG),
            (f"{row['key']}.json", b"{}"),
            (f"{row['key']}.txt", b"other"),
        ]
    path = tar(folder / f"{number:05d}.tar", members)
    pq.write_table(pa.Table.from_pylist(rows), path.with_suffix(".parquet"))
    if done:
        (folder / f"{number:05d}_stats.json").write_text("{}")
    return path


def run_folder(path: Path, chosen: Sequence[str]) -> Path:
    """A run whose table chooses some pictures of two shards."""
    for number in (0, 1):
        img2dataset_shard(path / "shards", number, 3)
    keys = [f"{number:05d}{row:04d}" for number in (0, 1, 2) for row in range(3)]
    table = {
        "key": keys,
        "caption": [f"chosen {key}" for key in keys],
        "url": keys,
        "score": [9.0] * 9,
        "chosen": [key in chosen for key in keys],
    }
    pq.write_table(pa.table(table), path / "downloaded.parquet")
    return path

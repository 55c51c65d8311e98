"""What the tests of the download stage share: a run ready to be downloaded, and reading it back."""

import hashlib
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from visunex.pipeline.rundir import RunDir
from visunex.recipes import Recipe

QUICK = {
    "shard_size": 10,
    "deadline": 2.0,
    "threads": 16,
    "processes": 1,
    "max_bytes": 2**21,
    "allow_private": True,
}


def ready_run(
    path: Path, urls: Sequence[str], top: int, columns: dict[str, Any] | None = None, **settings: Any
):
    """A run folder whose filter stage has selected `urls`, best first, and its recipe."""
    table = pa.table(
        {
            "key": [f"{rank:06d}" for rank in range(len(urls))],
            "url": list(urls),
            "caption": [f"picture {rank}" if rank % 7 else None for rank in range(len(urls))],
            "score": [8 - rank / 1000 for rank in range(len(urls))],
            "width": pa.array([48] * len(urls), pa.int64()),
            "height": pa.array([48] * len(urls), pa.int64()),
            **(columns or {}),
        }
    )
    run = RunDir(path)
    path.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, run.selected)
    recipe = Recipe.model_validate(
        {"name": "test", "filter": {"top": top}, "download": {**QUICK, **settings}}, strict=False
    )
    return run, recipe


def rows(run: RunDir) -> list[dict[str, Any]]:
    """The rows of `downloaded.parquet`."""
    return pq.read_table(run.downloaded).to_pylist()


def chosen(run: RunDir) -> list[str]:
    """The URLs of the chosen pictures, best first."""
    return [row["url"] for row in rows(run) if row["chosen"]]


def pictures(run: RunDir) -> dict[str, bytes]:
    """Key -> file of every picture in the shards."""
    found = {}
    for path in sorted(run.shards.glob("*.tar")):
        with tarfile.open(path) as tar:
            for member in tar:
                if member.name.endswith(".jpg"):
                    found[member.name[:-4]] = tar.extractfile(member).read()  # type: ignore[union-attr]
    return found


def fingerprints(run: RunDir) -> dict[str, str]:
    """File -> SHA-256 of everything in the shards but the statistics, which hold times."""
    files = sorted(path for path in run.shards.rglob("*") if path.suffix in (".tar", ".parquet"))
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

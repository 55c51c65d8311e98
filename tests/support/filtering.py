"""What the tests of the filter share: metadata in LAION's columns, and a run over it."""

from pathlib import Path
from typing import Any

import polars as pl

from visunex.pipeline.filter.stage import FilterReport, filter_rows
from visunex.pipeline.rundir import RunDir
from visunex.recipes import Recipe

SCHEMA: dict[str, Any] = {
    "URL": pl.String,
    "TEXT": pl.String,
    "WIDTH": pl.Int64,
    "HEIGHT": pl.Int64,
    "similarity": pl.Float64,
    "punsafe": pl.Float32,
    "pwatermark": pl.Float32,
    "AESTHETIC_SCORE": pl.Float64,
    "hash": pl.Int64,
}


def rows(*captions: str | None, **columns: list[Any]) -> pl.DataFrame:
    """One row for each caption: distinct URLs, falling scores; `columns` stand in for the usual values."""
    count = len(captions)
    usual: dict[str, list[Any]] = {
        "URL": [f"https://example.org/{n:05d}.jpg" for n in range(count)],
        "TEXT": list(captions),
        "WIDTH": [640] * count,
        "HEIGHT": [480] * count,
        "similarity": [0.3] * count,
        "punsafe": [0.1] * count,
        "pwatermark": [0.2] * count,
        "AESTHETIC_SCORE": [8 - n / max(count, 1) for n in range(count)],
        "hash": list(range(count)),
    }
    return pl.DataFrame({**usual, **columns}, schema=SCHEMA)


def recipe(data: Path | str, **settings: Any) -> Recipe:
    """A recipe over that metadata; `columns` goes to the source, `shard_size` to the download."""
    source = {"data": str(data), "columns": settings.pop("columns", {})}
    download = {"shard_size": settings.pop("shard_size", 1000)}
    return Recipe.model_validate({"name": "test", "source": source, "filter": settings, "download": download})


def select(run: Path, data: Path | str, **settings: Any) -> tuple[FilterReport, pl.DataFrame]:
    """Filter into a run folder; the report and `selected.parquet`."""
    folder = RunDir(run)
    overwrite = settings.pop("overwrite", False)
    with folder.locked():
        report = filter_rows(folder, recipe(data, **settings), overwrite=overwrite)
    assert report.rows == sum(report.dropped.values()) + report.selected
    return report, pl.read_parquet(folder.selected)

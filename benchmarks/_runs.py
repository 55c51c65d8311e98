"""Runs for the benchmarks of the download."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from visunex.base.files import write_text
from visunex.pipeline.rundir import RunDir
from visunex.recipes import Recipe, dumps


def make_run(path: Path, urls: Sequence[str], top: int, **settings: Any) -> RunDir:
    """A run folder whose filter stage has selected `urls`, of which `top` are wanted."""
    path.mkdir(parents=True)
    run = RunDir(path)
    table = {
        "key": [f"{rank:08d}" for rank in range(len(urls))],
        "url": urls,
        "caption": ["a picture"] * len(urls),
    }
    pq.write_table(pa.table(table), run.selected)
    download = {"allow_private": True, **settings}
    recipe = Recipe.model_validate({"name": "benchmark", "filter": {"top": top}, "download": download})
    write_text(run.recipe, dumps(recipe))
    return run

"""What lies in a run's folder: `.visunex/*.json`, report.json, recipe.toml, the tables."""

import json
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from shard_files import run_folder

from ..loader import Seed, loader

_REPORT = {
    "filter": {"rows": 9, "dropped": {"keywords": 3, "where": 2}, "selected": 4, "seconds": 0.5},
    "download": {"downloaded": 3, "failed": {"http_404": 1}, "hosts": ["a"], "seconds": 1.5},
    "encode": {"pictures": {"used": 3}, "checks": {"norm": 9.5, "words": ["a", "b"]}},
}


def _run(folder: Path) -> Iterable[Seed]:
    from visunex.recipes import dumps, load

    run = run_folder(folder / "run", ["000000000", "000010001"])
    table = pq.read_table(run / "downloaded.parquet")
    columns = {
        "status": ["success"] * 9,
        "error_message": [None] * 9,
        "sha256": ["ab"] * 9,
        "hash": list(range(9)),
    }
    for name, values in columns.items():
        table = table.append_column(name, pa.array(values, pa.string() if name == "error_message" else None))
    pq.write_table(table, run / "selected.parquet")
    for number in (0, 1):
        shard = run / "shards" / f"0000{number}.parquet"
        rows = pq.read_table(shard)
        pq.write_table(rows.append_column("error_message", pa.nulls(3, pa.string())).append_column(
            "sha256", pa.array(["a", "b", "c"])), shard)  # fmt: skip
    (run / ".visunex").mkdir()
    for stage in ("filter", "download", "encode"):
        made = {
            "source": "s",
            "keywords": ["a"],
            "stamp": "x",
            "selection": "ab",
            "top": 5,
            "columns": {"url": "u"},
        }
        (run / ".visunex" / f"{stage}.json").write_text(json.dumps(made))
    (run / ".visunex" / "holder.json").write_text(json.dumps({"pid": 1, "host": "h", "since": "now"}))
    (run / "spool").mkdir()
    (run / "spool" / "index.json").write_text(
        json.dumps({"stamp": "x", "places": {"u": [0, 9]}, "left_out": {"a": 1}})
    )
    (run / "report.json").write_text(json.dumps(_REPORT))
    (run / "recipe.toml").write_text(dumps(load("demo_flower")))
    for path in sorted(run.rglob("*")):
        if path.suffix in (".json", ".toml", ".parquet"):
            yield Seed(str(path.relative_to(folder)), path.read_bytes())


@loader("run folder", _run)
def _read_run(path: Path) -> None:
    from visunex.pipeline.chain import broken_shards, require_download
    from visunex.pipeline.report.html import write_page
    from visunex.pipeline.rundir import RunDir, _describe_holder
    from visunex.recipes import load

    run = RunDir(next(each for each in path.parents if each.name == "run"))
    for stage in ("filter", "download", "encode"):
        run.made_from(stage)
        run.identity(stage)
    _describe_holder(run.path / ".visunex" / "holder.json")
    write_page(run)
    recipe = load(run.path)
    broken_shards(run)
    _read_tables(run.path)
    require_download(run, recipe)


def _read_tables(run: Path) -> None:
    from visunex.images.errors import ImageError
    from visunex.pipeline.download.candidates import load_candidates
    from visunex.pipeline.download.results import read_shard
    from visunex.pipeline.download.tar_source import _finished
    from visunex.pipeline.shards.made import is_made
    from visunex.pipeline.shards.samples import run_sources, samples
    from visunex.pipeline.shards.sidecar import chosen_count
    from visunex.recipes import Download

    _finished(run / "spool", "x")
    load_candidates(run / "selected.parquet", Download())
    for number in (0, 1):
        if is_made(run / "shards", number):
            read_shard(run / "shards", number)
    chosen_count(run / "downloaded.parquet")
    for sample in samples(run_sources(run / "shards", run / "downloaded.parquet")):
        try:
            sample.read()
        except ImageError:
            continue

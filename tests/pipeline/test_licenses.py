"""Licences travel: from a source's columns to the condition, the reports, the shards and the embedding."""

import json
import tarfile
from pathlib import Path

import picture_sets
import pyarrow as pa
import pyarrow.parquet as pq
from click.testing import CliRunner

from visunex.pipeline.cli import main

LICENCES = ["CC BY 2.0", "CC0", None, "CC BY-NC 2.0"]


def test_licences_travel_from_the_source_to_the_embedding(tmp_path: Path) -> None:
    table = pq.read_table(picture_sets.table(tmp_path / "a.parquet", picture_sets.records()))
    count = table.num_rows
    columns = {
        "licensename": [LICENCES[row % 4] for row in range(count)],
        "unickname": [f"author {row}" for row in range(count)],
        "source": ["a collection"] * count,
    }
    for name, values in columns.items():
        table = table.append_column(name, pa.array(values, pa.string()))
    pq.write_table(table, tmp_path / "a.parquet")
    run = ["--run", str(tmp_path / "run")]

    def done(*arguments: str, fails: bool = False) -> str:
        result = CliRunner().invoke(main, [*arguments, *run])
        assert (result.exit_code != 0) == fails, result.output
        return result.output

    none = done("filter", str(tmp_path / "a.parquet"), "--license", "GPL", fails=True)
    assert "Licences that do occur: CC BY 2.0, CC BY-NC 2.0, CC0, no licence given" in none
    said = done("filter", str(tmp_path / "a.parquet"), "--license", "cc0,cc by 2.0", "--top", "8")
    assert "4  under CC" in said
    report = json.loads((tmp_path / "run" / "report.json").read_text())["filter"]
    assert sum(report["licenses"].values()) == 8
    assert report["licenses"].keys() == {"CC0", "CC BY 2.0"}
    assert report["dropped"]["license"] == count - sum(
        each in ("CC0", "CC BY 2.0") for each in columns["licensename"]
    )
    done("download", "--processes", "1")
    with tarfile.open(next((tmp_path / "run" / "shards").glob("*.tar"))) as shard:
        beside = json.loads(
            shard.extractfile(next(name for name in shard.getnames() if name.endswith(".json"))).read()
        )
    assert beside["licensename"] in ("CC0", "CC BY 2.0")
    assert (beside["unickname"].startswith("author"), beside["source"]) == (True, "a collection")
    done("encode", "--model", "visunex-tiny")
    made = json.loads((tmp_path / "run" / "embedding.json").read_text())
    assert made["licenses"] == report["licenses"]
    assert "CC BY 2.0" in (tmp_path / "run" / "report.html").read_text()

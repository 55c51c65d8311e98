"""`visunex-data download` and `visunex-data demo`, as typed."""

import json
from pathlib import Path

import downloads
import hostile
import pyarrow.parquet as pq
from click.testing import CliRunner, Result

from visunex.base.files import write_text
from visunex.pipeline.cli import main
from visunex.recipes import dumps, load


def typed(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments), prog_name="visunex-data")


def test_download(tmp_path: Path) -> None:
    with hostile.hostile() as server:
        urls = [
            f"{server.base}/{name}/{number}.jpg"
            for number, name in enumerate(["good", "404", "good", "html"])
        ]
        run, recipe = downloads.ready_run(tmp_path, urls, 2, allow_private=False)
        write_text(run.recipe, dumps(recipe))
        refused = typed("download", "--run", str(tmp_path))
        assert refused.exit_code == 1
        assert "private_address 4 (--allow-private permits private addresses)" in refused.stderr
        done = typed("download", "--run", str(tmp_path), "--allow-private", "--retry-failed", "--json")
        assert done.exit_code == 0, done.output
        report = json.loads(done.stdout)
        assert report["classes"] == {"chosen": 2, "http_404": 1, "not_an_image": 1}
        assert "download: 2/2 images" in done.stderr
        again = typed("download", "--run", str(tmp_path), "--allow-private")
        assert again.stdout.startswith("2 of 2 pictures")
        assert load(run.recipe).download.allow_private, "the recipe in the run folder says what was done"


def test_download_without_a_filter_stage(tmp_path: Path) -> None:
    result = typed("download", "--run", str(tmp_path / "nothing"))
    assert result.exit_code == 1
    assert "run `visunex-data filter` first" in result.stderr


def test_settings_that_make_no_sense(tmp_path: Path) -> None:
    run, recipe = downloads.ready_run(tmp_path, ["http://a"], 1)
    write_text(run.recipe, dumps(recipe))
    for option, value in (
        ("--deadline", "0"),
        ("--threads", "0"),
        ("--verify-hash", "hash"),
        ("--max-aspect-ratio", "0.5"),
    ):
        result = typed("download", "--run", str(tmp_path), option, value)
        assert (result.exit_code, option in result.stderr) == (2, True), result.output


def test_demo_serves_and_writes_metadata(tmp_path: Path) -> None:
    path = tmp_path / "demo.parquet"
    result = typed("demo", "--port", "0", "--metadata", str(path), "--seconds", "0")
    assert result.exit_code == 0, result.output
    assert f"metadata in {path}" in result.stdout
    assert pq.read_table(path).num_rows == 3000

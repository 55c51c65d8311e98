"""A whole run: pictures are encoded while others are fetched, and it ends as if they had not been."""

import http.server
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import odd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from PIL import Image

from visunex.aesthetic_embeddings import compare, load
from visunex.base.errors import FewerImagesError, UsageError
from visunex.base.files import write_text
from visunex.pipeline.cli import main
from visunex.pipeline.download.stage import download
from visunex.pipeline.encode.reports import EncodeReport
from visunex.pipeline.encode.stage import encode
from visunex.pipeline.errors import DownloadError, EncodeError, ModelError, StaleRunError
from visunex.pipeline.filter.stage import filter_rows
from visunex.pipeline.run import RunReport, run_recipe
from visunex.pipeline.rundir import RunDir
from visunex.pipeline.vectors.store import part_numbers, read_vectors
from visunex.recipes import Recipe, dumps

ROWS, WANTED = 60, 36
GONE = set(range(0, ROWS, 7))  # these links are dead
HELD = 38  # a picture of shard 3, which keeps the download from ending


class Server(http.server.ThreadingHTTPServer):
    """Serves pictures; `hold` says of a row whether it is to wait. Row 12 is row 3 at another address."""

    daemon_threads, block_on_close = True, False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.visits: list[int] = []
        self.hold: Callable[[int], bool] = lambda _row: False

    def url(self, row: int) -> str:
        return f"http://127.0.0.1:{self.server_port}/{row}.jpg"

    def handle_error(self, *_: Any) -> None:
        """Clients are killed here."""


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        row = int(self.path[1:].partition(".")[0])
        self.server.visits.append(row)
        while self.server.hold(row):
            time.sleep(0.02)
        body = b"gone" if row in GONE else picture(3 if row == 12 else row)
        self.send_response(404 if row in GONE else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


def picture(seed: int) -> bytes:
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return odd.file(Image.fromarray(coarse).resize((48, 40), Image.Resampling.BICUBIC), "JPEG")


@pytest.fixture(scope="module")
def running() -> Iterator[Server]:
    server = Server()
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def server(running: Server) -> Iterator[Server]:
    running.visits.clear()
    yield running
    running.hold = lambda _row: False


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return odd.small_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def stages(tmp_path_factory: pytest.TempPathFactory, running: Server, model: str) -> RunDir:
    """A run whose stages were called one after another."""
    folder = tmp_path_factory.mktemp("stages")
    run, recipe = RunDir(folder / "run"), recipe_for(folder, running, model)
    with run.locked():
        filter_rows(run, recipe)
        download(run, recipe)
        encode(run, recipe)
    return run


def recipe_for(folder: Path, server: Server, model: str, **encode: Any) -> Recipe:
    rows = {
        "URL": [server.url(row) for row in range(ROWS)],
        "TEXT": [f"picture {row}" for row in range(ROWS)],
        "AESTHETIC_SCORE": [8 - row / 100 for row in range(ROWS)],
    }
    path = folder / "metadata.parquet"
    if not path.exists():
        pq.write_table(pa.table(rows), path)
    return Recipe.model_validate(
        {
            "name": "test",
            "source": str(path),
            "filter": {"top": WANTED},
            "download": {"shard_size": 10, "processes": 2, "deadline": 60, "allow_private": True},
            "encode": {"model": model, "precision": "fp32", "workers": 0, **encode},
        }
    )


def run_of(path: Path, recipe: Recipe) -> RunReport:
    run = RunDir(path)
    with run.locked():
        return run_recipe(run, recipe)


def start(folder: Path, recipe: Recipe, run: Path, *settings: str) -> "subprocess.Popen[str]":
    """`visunex-data run` in a process group of its own, as a shell starts it."""
    write_text(folder / "recipe.toml", dumps(recipe))
    command = [sys.executable, "-m", "visunex.pipeline", "run", str(folder / "recipe.toml")]
    return subprocess.Popen(
        [*command, "--run", str(run), *settings],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
    )


def goes_on(folder: Path, run: Path) -> dict[str, Any]:
    """The report of `visunex-data run` that is given the run's folder alone; its recipe's file is gone."""
    (folder / "recipe.toml").unlink()
    result = CliRunner().invoke(main, ["run", "--run", str(run), "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def wait_for(what: Callable[[], object], seconds: float = 60) -> None:
    ends = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < ends, "it never happens"
        time.sleep(0.02)


def is_encoded(run: Path, shard: int) -> bool:
    return (run / "vectors" / "metadata" / f"metadata_{shard:04d}.parquet").exists()


def pictures_in(run: Path) -> list[str]:
    return sorted(path.name for path in run.rglob("*") if path.suffix in (".tar", ".jpg"))


def keys_by_part(run: RunDir) -> dict[int, list[str]]:
    """What the vectors are of: they stand beside these rows."""
    found = zip(part_numbers(run.vectors), read_vectors(run.vectors).parts, strict=True)
    return {number: pq.read_table(part.metadata)["key"].to_pylist() for number, part in found}


def needed(run: RunDir) -> pa.Table:
    """What became of the candidates up to the last chosen one; how many more were tried, time decides."""
    table = pq.read_table(run.downloaded)
    chosen = table["chosen"].to_pylist()
    return table.slice(0, len(chosen) - chosen[::-1].index(True))


def assert_same(one: RunDir, other: RunDir) -> None:
    assert one.selected.read_bytes() == other.selected.read_bytes()
    assert needed(one).equals(needed(other))
    assert keys_by_part(one) == keys_by_part(other)
    assert 1 - compare(load(one.embedding), load(other.embedding)) <= 1e-6


def test_shards_are_encoded_while_others_are_fetched_and_it_ends_the_same(
    tmp_path: Path, server: Server, model: str, stages: RunDir
) -> None:
    """The server holds a picture back until there are vectors: without overlap that would be for ever."""
    recipe, run = recipe_for(tmp_path, server, model), RunDir(tmp_path / "run")
    server.hold = lambda row: row == HELD and not is_encoded(run.path, 0)
    report = run_of(run.path, recipe)
    assert report.download is not None
    assert set(report.download.failures) == {"http_404"}  # and no timeout
    encoded = report.encode.as_dict()
    assert encoded["images"] == encoded["encoded"] == WANTED
    assert WANTED <= encoded["encoded_now"] <= ROWS - len(GONE)
    assert_same(run, stages)
    assert "seconds" in report.as_dict()
    again = run_of(run.path, recipe)
    assert again.encode.as_dict()["encoded_now"] == 0
    assert again.download is not None
    assert again.download.images_per_second == 0


def test_ctrl_c_ends_both_stages_in_time_and_the_folder_alone_says_how_to_go_on(
    tmp_path: Path, server: Server, model: str, stages: RunDir
) -> None:
    recipe, run = recipe_for(tmp_path, server, model), RunDir(tmp_path / "run")
    server.hold = lambda row: row == HELD
    more = recipe.model_copy(update={"filter": recipe.filter.model_copy(update={"top": ROWS})})
    process = start(tmp_path, more, run.path, "--set", f"filter.top={WANTED}")
    wait_for(lambda: is_encoded(run.path, 0) and is_encoded(run.path, 2))
    began = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert time.monotonic() - began < 5
    assert process.returncode == 130
    assert "Interrupted. What is done is kept" in errors
    assert "Traceback" not in errors
    assert "encode: " in errors
    assert not (run.shards / "_tmp").exists()
    server.hold = lambda _row: False
    server.visits.clear()
    assert goes_on(tmp_path, run.path)["encode"]["encoded_now"] < WANTED
    assert not set(range(10)) & set(server.visits)
    assert_same(run, stages)


def test_pictures_are_discarded_when_all_encoders_have_had_them(
    tmp_path: Path, server: Server, model: str, stages: RunDir
) -> None:
    other = odd.small_model(tmp_path / "other", seed=1, dimension=40)
    report = run_of(tmp_path / "run", recipe_for(tmp_path, server, model, also=[other], discard_images=True))
    assert isinstance(report.encode, EncodeReport)
    (second,) = report.encode.also
    assert (report.encode.encoded, second.encoded, second.dimension) == (WANTED, WANTED, 40)
    assert pictures_in(tmp_path / "run") == []
    run = RunDir(tmp_path / "run")
    assert run.embedding.read_bytes() == stages.embedding.read_bytes()
    (own, also) = (read_vectors(each.vectors) for each in run.encoders)
    assert (len(own), len(also)) == (WANTED, WANTED)


def test_discarded_pictures_are_gone_soon_and_a_killed_run_goes_on_without_them(
    tmp_path: Path, server: Server, model: str, stages: RunDir
) -> None:
    recipe, run = recipe_for(tmp_path, server, model, discard_images=True), RunDir(tmp_path / "run")
    server.hold = lambda row: row == HELD
    process = start(tmp_path, recipe, run.path)
    wait_for(lambda: is_encoded(run.path, 0) and not (run.shards / "00000.tar").exists())
    process.kill()
    process.communicate(timeout=30)
    server.hold = lambda _row: False
    server.visits.clear()
    report = goes_on(tmp_path, run.path)["encode"]
    assert (report["encoded"], report["discarded"]) == (WANTED, True)
    assert not set(range(10)) & set(server.visits)
    assert pictures_in(run.path) == []
    assert len(list(run.shards.glob("*.parquet"))) == len(list(run.shards.glob("*_stats.json"))) > 4
    assert_same(run, stages)
    assert run_of(run.path, recipe).encode.as_dict()["encoded"] == WANTED


@pytest.fixture
def discarded(tmp_path: Path, server: Server, model: str) -> tuple[RunDir, Recipe]:
    recipe = recipe_for(tmp_path, server, model, discard_images=True)
    run_of(tmp_path / "discarded", recipe)
    return RunDir(tmp_path / "discarded"), recipe


def test_vectors_outlive_their_pictures(
    tmp_path: Path, server: Server, model: str, discarded: tuple[RunDir, Recipe]
) -> None:
    run, recipe = discarded
    before = load(run.embedding)
    report = encode(run, recipe_for(tmp_path, server, model, reduce="mean"))
    assert (report.encoded, report.encoded_now, report.failed) == (WANTED, 0, {})
    other = recipe_for(tmp_path, server, odd.small_model(tmp_path / "other", seed=1))
    for ask in (
        lambda: encode(run, other),
        lambda: encode(run, other, overwrite=True),
        lambda: encode(run, recipe, overwrite=True),
        lambda: run_recipe(run, other),
    ):
        with pytest.raises(StaleRunError, match=r"were discarded .*visunex-data download --overwrite"):
            ask()
    assert len(read_vectors(run.vectors)) == WANTED
    with pytest.raises(EncodeError, match="were discarded"):
        encode(None, recipe_for(tmp_path, server, model), images=[run.path], out=tmp_path / "x.pt")
    with pytest.raises(UsageError, match="retry-failed"):
        download(run, recipe, retry_failed=True)
    download(run, recipe, overwrite=True)
    assert encode(run, other, overwrite=True).encoded_now == WANTED
    assert compare(before, load(run.embedding)) < 0.999


def test_pictures_wanted_only_later_are_counted_as_discarded(discarded: tuple[RunDir, Recipe]) -> None:
    run, recipe = discarded
    table = pq.read_table(run.downloaded)
    spare = [status == "success" for status in table["status"].to_pylist()]
    assert sum(spare) > WANTED
    pq.write_table(table.set_column(table.column_names.index("chosen"), "chosen", [spare]), run.downloaded)
    report = encode(run, recipe)
    assert report.failed == {"discarded": sum(spare) - WANTED}
    assert (report.encoded, report.images) == (WANTED, sum(spare))


def test_pictures_given_by_hand_are_never_discarded(tmp_path: Path, server: Server, model: str) -> None:
    recipe = recipe_for(tmp_path, server, model, discard_images=True)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "a.jpg").write_bytes(picture(1))
    with pytest.raises(UsageError, match="--discard-images"):
        encode(None, recipe, images=[tmp_path / "mine"], out=tmp_path / "x.pt")
    assert (tmp_path / "mine" / "a.jpg").exists()


def test_a_missing_model_is_said_before_the_pictures_are_there(tmp_path: Path, server: Server) -> None:
    server.hold = lambda _row: True
    with pytest.raises(ModelError, match="nowhere"):
        run_of(tmp_path / "run", recipe_for(tmp_path, server, "local-dir:nowhere"))
    assert not (tmp_path / "run" / "shards" / "_tmp").exists()


def test_a_failing_download_ends_the_run_with_its_reason(tmp_path: Path, server: Server, model: str) -> None:
    recipe = recipe_for(tmp_path, server, model)
    few = recipe.model_copy(update={"download": recipe.download.model_copy(update={"min_images": ROWS})})
    with pytest.raises(FewerImagesError, match="fewer than min_images"):
        run_of(tmp_path / "run", few)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "shards").write_text("not a folder")
    with pytest.raises((OSError, DownloadError)):
        run_of(tmp_path / "other", recipe)

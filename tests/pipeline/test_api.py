"""The pipeline from Python, on a small demo world: what the commands do, by a call."""

import inspect
import json
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
import pytest

import visunex.pipeline
from visunex import recipes
from visunex.aesthetic_embeddings import load
from visunex.base.errors import FewerImagesError, UsageError, VisunexError
from visunex.base.files import write_bytes
from visunex.demo import TINY_MODEL
from visunex.demo.server import DemoServer
from visunex.demo.world import World, metadata_bytes
from visunex.pipeline import (
    api,
    curate_run,
    download_images,
    encode_images,
    filter_metadata,
    run_recipe,
    take_out_images,
)
from visunex.pipeline.errors import DownloadError, StaleRunError

WORLD = World(rows=120)
FETCHED = {"allow_private": True, "processes": 1, "shard_size": 10}


@pytest.fixture(scope="module")
def metadata(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The metadata of a demo world that is served."""
    server = DemoServer(WORLD)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    path = tmp_path_factory.mktemp("world") / "m.parquet"
    write_bytes(path, metadata_bytes(server.address, WORLD))
    yield path
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, metadata: Path) -> Path:
    """A run of three calls."""
    run = tmp_path_factory.mktemp("runs") / "x"
    filtered = filter_metadata(metadata, run=run, keywords=["flower", "tree"], top=10)
    assert (filtered.source, filtered.top, filtered.rows) == (str(metadata), 10, WORLD.rows)
    downloaded = download_images(run, **FETCHED)
    assert downloaded.chosen == 10
    encoded = encode_images(run=run, model=TINY_MODEL, workers=0)
    assert encoded.as_dict()["images"] == 10
    return run


def test_three_calls_make_a_run_that_the_commands_know(done: Path) -> None:
    recipe = recipes.load(done)
    assert recipe.filter.keywords == ("flower", "tree")
    assert (recipe.download.shard_size, recipe.encode.model) == (10, TINY_MODEL)
    assert list(json.loads((done / "report.json").read_text())) == ["filter", "download", "encode"]
    assert headings(done)[-3:] == ["filter", "download", "encode"]
    assert load(done / "embedding.pt").dimension == 768


def test_a_recipe_in_one_call_gives_the_same(done: Path, tmp_path: Path, metadata: Path) -> None:
    report = run_recipe(
        name="small",
        source=metadata,
        run=tmp_path / "run",
        filter={"keywords": ("flower", "tree"), "top": 10},
        download=FETCHED,
        encode={"model": TINY_MODEL, "workers": 0},
    )
    assert report.filter is not None
    assert report.filter.top == 10
    assert recipes.load(tmp_path / "run").name == "small"
    one, other = load(done / "embedding.pt"), load(tmp_path / "run" / "embedding.pt")
    assert (one.vector == other.vector).all()
    assert (tmp_path / "run" / "report.html").exists()


def test_pictures_of_a_folder_need_no_run(
    done: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    report = encode_images(done / "shards", out="me.pt", model=TINY_MODEL, workers=0, reduce="mean")
    assert report.reduction == "mean"
    assert load("me.pt").dimension == 768
    assert sorted(path.name for path in Path.cwd().iterdir()) == ["me.json", "me.pt"]


def test_a_recipe_may_be_a_name_a_path_or_an_object(done: Path, tmp_path: Path, metadata: Path) -> None:
    recipe = recipes.Recipe(name="own", filter=recipes.Filter(top=3, keywords=("flower",)))
    (tmp_path / "own.toml").write_text(recipes.dumps(recipe))
    for number, given in enumerate((recipe, tmp_path / "own.toml", str(tmp_path / "own.toml"))):
        report = filter_metadata(metadata, recipe=given, run=tmp_path / str(number))
        assert (report.top, recipes.load(tmp_path / str(number)).name) == (3, "own")
    assert filter_metadata(metadata, recipe="demo_flower", run=tmp_path / "n", top=4).top == 4
    with pytest.raises(recipes.RecipeError, match="no recipe called"):
        run_recipe("flour_plant")


def test_of_a_recipe_for_a_later_stage_only_that_stages_section_counts(done: Path, tmp_path: Path) -> None:
    """What the selection was made from stays true."""
    other = recipes.Recipe(
        name="other",
        filter=recipes.Filter(top=99),
        encode=recipes.Encode(model=TINY_MODEL, workers=0, reduce="median"),
    )
    before = recipes.load(done)
    try:
        report = encode_images(recipe=other, run=done, out=tmp_path / "median.pt")
        after = recipes.load(done)
        assert (report.reduction, after.encode.reduce) == ("median", "median")
        assert (after.name, after.filter) == (before.name, before.filter)
    finally:
        encode_images(recipe=before, run=done)


@pytest.mark.parametrize("function", [filter_metadata, download_images, encode_images, run_recipe])
def test_wrong_keywords_are_told_with_what_there_is(function: object, done: Path) -> None:
    assert callable(function)
    with pytest.raises(UsageError, match=r"\(\) takes no 'zonk': there are \w+, \w+, \w+"):
        function(run=done, zonk=1)


def test_messages_call_a_setting_by_its_argument(done: Path, metadata: Path, tmp_path: Path) -> None:
    for said, settings in {
        r"takes no 'keyword': did you mean keywords\? there are keywords, match": {"keyword": "a"},
        "^top: must be at least 1, not 0$": {"top": 0},
        "^keywords: must not be empty$": {"keywords": ["a", ""]},
        "^columns.url: must not be empty$": {"columns": {"url": ""}},
        "^columns.urls: unknown key; did you mean url?": {"columns": {"urls": "a"}},
        "^match: must be one of .* not 'glob'; top: must be a whole number": {"top": "5", "match": "glob"},
        "^filter: reserve = 5 counts all candidates": {"reserve": 5, "top": 6},
    }.items():
        with pytest.raises(UsageError, match=said):
            filter_metadata(metadata, run=tmp_path / "run", **settings)
    assert not (tmp_path / "run").exists()
    with pytest.raises(UsageError, match=r"^filter\.top: must be at least 1"):
        run_recipe("fantasy", run=tmp_path / "run", filter={"top": 0})
    with pytest.raises(UsageError, match=r"filter: must be a section"):
        run_recipe("fantasy", run=tmp_path / "run", filter=3)


def test_named_errors_are_raised_and_the_page_is_written_all_the_same(metadata: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    with pytest.raises(DownloadError, match="call filter_metadata"):
        download_images(run)
    filter_metadata(metadata, run=run, top=3, reserve=3)
    with pytest.raises(StaleRunError):
        filter_metadata(metadata, run=run, top=4)
    with pytest.raises(FewerImagesError):
        download_images(run, max_bytes=1, **FETCHED)
    assert headings(run) == ["filter", "download"]
    filter_metadata(metadata, run=run, top=4, overwrite=True)
    with pytest.raises(VisunexError):
        run_recipe(recipes.load(run), run=run, encode={"model": "local-dir:nowhere"})


def headings(run: Path) -> list[str]:
    figures = (run / "report.html").read_text().partition("<details><summary>All figures")[2]
    return [part.partition("<")[0] for part in figures.split("<h3>")[1:]]


def test_a_run_is_curated_and_its_images_taken_out(done: Path, tmp_path: Path) -> None:
    before = load(done / "embedding.pt").vector
    (made,) = curate_run(done, tmp_path / "mine.pt", drop=chosen_keys(done)[0], drop_atypical=0.2)
    assert (made.kept, made.dropped) == (8, 2)
    assert load(tmp_path / "mine.pt").norm == pytest.approx(made.norm)
    assert (load(done / "embedding.pt").vector == before).all()
    taken = take_out_images(done, tmp_path / "out", size=32)
    assert taken.images == len(list((tmp_path / "out").glob("*.jpg"))) == 10


def chosen_keys(run: Path) -> list[str]:
    rows = pl.read_parquet(run / "downloaded.parquet").filter(pl.col("chosen"))
    return rows["key"].to_list()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda run, out: curate_run(run, out), "say what to drop"),
        (lambda run, out: curate_run(run, out, drop_atypical=10), "10 is no share of pictures"),
        (lambda run, out: curate_run(run, out, drop=["none"]), "has no picture 'none'"),
        (lambda run, out: take_out_images(run, out, form="zip"), "'zip' is none of folder, wds, parquet"),
        (lambda run, out: take_out_images(run, out, size=8, mode="crop"), "'crop' is none of shortest"),
    ],
)
def test_what_cannot_be_meant_of_a_runs_images(
    call: Callable[[Path, Path], object], message: str, done: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        call(done, tmp_path / "out.pt")
    assert not list(tmp_path.iterdir())


def test_what_is_public_is_shown_and_documented() -> None:
    assert visunex.pipeline.__all__ == dir(visunex.pipeline) == sorted(api.__all__)
    for name in api.__all__:
        function = getattr(visunex.pipeline, name)
        assert f"Example: `{name}(" in (inspect.getdoc(function) or "")
        signature = inspect.signature(function)
        assert all(each.annotation is not each.empty for each in signature.parameters.values())
        assert signature.return_annotation is not signature.empty
    with pytest.raises(AttributeError, match="has no attribute 'filter_rows'"):
        visunex.pipeline.filter_rows  # noqa: B018


def test_python_m_is_the_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "visunex.pipeline", "--help"], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("Usage: visunex-data [OPTIONS] COMMAND")

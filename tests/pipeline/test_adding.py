"""A run asked for more keeps what it has, by the pictures' addresses, and ends as a fresh one would."""

import hashlib
import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import odd
import polars as pl
import pytest
from downloads import chosen, pictures, rows
from PIL import Image
from published_vectors import published, url
from standin import Page, StandIn, serving

from visunex.pipeline.download.stage import download
from visunex.pipeline.encode.stage import encode
from visunex.pipeline.errors import StaleRunError
from visunex.pipeline.filter.stage import filter_rows
from visunex.pipeline.run import run_recipe
from visunex.pipeline.rundir import RunDir
from visunex.recipes import Recipe, override

PICTURES, GONE = 40, {3, 17}  # of which every other one is a flower; links of GONE are dead


def picture(seed: int) -> bytes:
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return odd.file(Image.fromarray(coarse).resize((48, 40), Image.Resampling.BICUBIC), "JPEG")


@pytest.fixture
def web() -> Iterator[StandIn]:
    pages = {f"/{row}.jpg": Page(picture(row)) for row in range(PICTURES) if row not in GONE}
    pages |= {f"/{row}.jpg": Page(b"gone", 404) for row in GONE}
    with serving(pages) as running:
        yield running


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return odd.small_model(tmp_path_factory.mktemp("model"))


def metadata(path: Path, web: StandIn, first: int = 0, rows: int = PICTURES) -> Path:
    numbers = range(first, first + rows)
    captions = ["flower" if number % 2 else "castle" for number in numbers]
    scores = [8 - number / 100 for number in numbers]
    links = [f"{web.address}/{number}.jpg" for number in numbers]
    pl.DataFrame({"URL": links, "TEXT": captions, "AESTHETIC_SCORE": scores}).write_parquet(path)
    return path


def recipe_for(source: Path, model: str, top: int, keywords: tuple[str, ...] = (), **download: Any) -> Recipe:
    return Recipe.model_validate(
        {
            "name": "test",
            "source": str(source),
            "filter": {"top": top, "reserve": top + 5, "keywords": list(keywords)},
            "download": {"shard_size": 10, "processes": 1, "allow_private": True, "retries": 0, **download},
            "encode": {"model": model, "precision": "fp32", "workers": 0},
        }
    )


def ran(folder: Path, recipe: Recipe, *, overwrite: bool = False) -> dict[str, Any]:
    run = RunDir(folder)
    with run.locked():
        return run_recipe(run, recipe, overwrite=overwrite).as_dict()


def visited(web: StandIn) -> set[int]:
    """The pictures that were asked for since the last call."""
    found = {int(path[1:].partition(".")[0]) for path, page in web.pages.items() if page.requests}
    for page in web.pages.values():
        page.requests = 0
    return found


def settled(folder: Path) -> set[int]:
    """The pictures that a run has or knows to be gone; others it may have asked for and not waited for."""
    table = pl.read_parquet(folder / "downloaded.parquet")
    found = table.filter((pl.col("status") == "success") | (pl.col("error_class") == "http_404"))
    return {int(url.rpartition("/")[2].partition(".")[0]) for url in found["url"]}


def assert_as_fresh(folder: Path, fresh: Path, recipe: Recipe) -> None:
    """What counts is the same, byte for byte; how many spare pictures lie behind depends on the moment."""
    ran(fresh, recipe)
    one, other = RunDir(folder), RunDir(fresh)
    assert one.embedding.read_bytes() == other.embedding.read_bytes()
    assert chosen(one) == chosen(other)
    keys = [row["key"] for row in rows(other) if row["chosen"] and row["status"] == "success"]
    files, fresh_files = pictures(one), pictures(other)
    assert [files[key] for key in keys] == [fresh_files[key] for key in keys]


def test_a_larger_top_fetches_and_encodes_only_what_is_missing(
    tmp_path: Path, web: StandIn, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    source = metadata(tmp_path / "m.parquet", web)
    ran(tmp_path / "run", recipe_for(source, model, 12, resize=24))
    visited(web)
    before = settled(tmp_path / "run")
    capsys.readouterr()
    more = recipe_for(source, model, 30, resize=24)
    report = ran(tmp_path / "run", more)
    after = visited(web)
    assert before
    assert after
    assert not before & after  # the dead link that was tried is remembered as well
    assert "are in" in (said := " ".join(capsys.readouterr().err.split()))
    assert "and kept" in said
    assert report["encode"]["encoded"] == 30
    assert (
        report["encode"]["encoded_now"] < 30
    )  # of those encoded while others came some may not count in the end
    assert ran(tmp_path / "run", more)["encode"]["encoded_now"] == 0
    assert not visited(web)
    assert_as_fresh(tmp_path / "run", tmp_path / "fresh", more)
    assert not list((tmp_path / "run" / ".visunex" / "earlier").rglob("*.*"))  # nothing lies there twice


def test_one_more_keyword_and_another_source(tmp_path: Path, web: StandIn, model: str) -> None:
    source = metadata(tmp_path / "m.parquet", web, rows=24)
    ran(tmp_path / "run", recipe_for(source, model, 8, ("flower",)))
    visited(web)
    before = settled(tmp_path / "run")
    both = recipe_for(source, model, 16, ("flower", "castle"))
    ran(tmp_path / "run", both)
    assert not before & visited(web)
    then = settled(tmp_path / "run")
    assert_as_fresh(tmp_path / "run", tmp_path / "fresh", both)
    visited(web)
    other = recipe_for(metadata(tmp_path / "other.parquet", web, first=6, rows=30), model, 20)
    ran(tmp_path / "run", other)
    assert not (before | then) & visited(web)
    assert_as_fresh(tmp_path / "run", tmp_path / "fresh2", other)


def test_what_is_not_wanted_now_is_kept_for_another_time(tmp_path: Path, web: StandIn, model: str) -> None:
    source = metadata(tmp_path / "m.parquet", web)
    wide, narrow = recipe_for(source, model, 20), recipe_for(source, model, 8, ("flower",))
    ran(tmp_path / "run", wide)
    embedding = (tmp_path / "run" / "embedding.pt").read_bytes()
    before = settled(tmp_path / "run")
    ran(tmp_path / "run", narrow)
    assert (tmp_path / "run" / "embedding.pt").read_bytes() != embedding
    visited(web)
    assert ran(tmp_path / "run", wide)["encode"]["encoded_now"] == 0
    assert not before & visited(web)
    assert (tmp_path / "run" / "embedding.pt").read_bytes() == embedding
    ran(tmp_path / "run", wide, overwrite=True)
    assert len(visited(web)) >= 20


@pytest.mark.parametrize("moment", ["filter", "moved"])
def test_a_first_run_that_was_interrupted_is_added_to(
    tmp_path: Path, web: StandIn, model: str, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interrupted within the adding itself, too: after any of its steps the same command goes on."""
    source = metadata(tmp_path / "m.parquet", web)
    run, few, more = RunDir(tmp_path / "run"), recipe_for(source, model, 12), recipe_for(source, model, 30)
    with run.locked():
        filter_rows(run, few)
        download(run, few)
    for path in run.shards.glob("00001*"):  # as where it was killed before that one was whole
        path.unlink()
    run.downloaded.unlink()
    there = {*pl.read_parquet(run.shards / "00000.parquet").filter(pl.col("status") == "success")["url"]}
    visited(web)
    stopped = {
        "filter": "visunex.pipeline.filter.stage._write",
        "moved": "visunex.pipeline.rundir.RunDir.discard",
    }[moment]

    def stop(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(stopped, stop)
        with pytest.raises(KeyboardInterrupt):
            ran(run.path, more)
    ran(run.path, more)
    assert not {f"{web.address}/{number}.jpg" for number in visited(web)} & there
    assert_as_fresh(run.path, tmp_path / "fresh", more)


def test_pictures_of_another_taste_or_made_otherwise_are_refused_as_ever(
    tmp_path: Path, web: StandIn, model: str
) -> None:
    source = metadata(tmp_path / "m.parquet", web)
    ran(tmp_path / "run", recipe_for(source, model, 5, ("flower",)))
    files = {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in state(tmp_path / "run")}
    for other, why in (
        (recipe_for(source, model, 5, ("castle",)), "no picture in common"),
        (recipe_for(source, model, 9, ("flower",), resize=24), r"made otherwise \(resize changed since\)"),
    ):
        with pytest.raises(
            StaleRunError, match=rf"(?s)--overwrite starts it anew, --run DIR keeps both.*{why}"
        ):
            ran(tmp_path / "run", other)
    assert files == {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in state(tmp_path / "run")}


def state(run: Path) -> list[Path]:
    kept = ("recipe.toml", "selected.parquet", "embedding.pt", "downloaded.parquet", "shards/00000.tar")
    return [run / name for name in kept]


def test_download_alone_adds_after_filter_and_encode_follows(
    tmp_path: Path, web: StandIn, model: str
) -> None:
    source, run = metadata(tmp_path / "m.parquet", web), RunDir(tmp_path / "run")
    few, more = recipe_for(source, model, 12), recipe_for(source, model, 30)
    ran(run.path, few)
    visited(web)
    before = settled(run.path)
    with run.locked():
        filter_rows(run, more, overwrite=True)
        with pytest.raises(StaleRunError, match="download"):
            encode(run, more)
        download(run, more)
        encode(run, more)
    assert not before & visited(web)
    assert json.loads(run.report.read_text())["encode"]["encoded"] == 30
    assert_as_fresh(run.path, tmp_path / "fresh", more)


def test_pictures_in_files_are_copied_again_and_only_new_ones_encoded(tmp_path: Path, model: str) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(20):
        (folder / f"{number}.jpg").write_bytes(picture(number))
    ran(tmp_path / "run", recipe_for(folder, model, 6))
    more = recipe_for(folder, model, 12)
    assert ran(tmp_path / "run", more)["encode"]["encoded_now"] <= 12 - 6 + 5
    assert_as_fresh(tmp_path / "run", tmp_path / "fresh", more)


def test_discarded_pictures_are_fetched_again_but_not_encoded(
    tmp_path: Path, web: StandIn, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    source, discards = metadata(tmp_path / "m.parquet", web), {"encode.discard_images": True}
    few, more = recipe_for(source, model, 12), recipe_for(source, model, 30)
    ran(tmp_path / "run", override(few, discards))
    assert not list((tmp_path / "run" / "shards").glob("*.tar"))
    visited(web)
    capsys.readouterr()
    assert ran(tmp_path / "run", override(more, discards))["encode"]["encoded_now"] <= 30 - 12 + 5
    assert "were discarded, and are fetched again" in " ".join(capsys.readouterr().err.split())
    assert not GONE & visited(web) & {3}  # of the first selection, and known to be dead
    fresh = tmp_path / "fresh"
    ran(fresh, more)
    assert (tmp_path / "run" / "embedding.pt").read_bytes() == (fresh / "embedding.pt").read_bytes()
    assert chosen(RunDir(tmp_path / "run")) == chosen(RunDir(fresh))


def test_spare_pictures_that_were_discarded_are_fetched_when_they_count(
    tmp_path: Path, web: StandIn, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Some had no vector, as there were enough without them; the candidates are the same.

    A further encoder's vectors go the way of the run's own.
    """
    source = metadata(tmp_path / "m.parquet", web)
    settings = {"encode.discard_images": True, "filter.reserve": 36, "encode.also": ["visunex-judge"]}
    few, more = (override(recipe_for(source, model, top), settings) for top in (14, 28))
    ran(tmp_path / "run", few)
    visited(web)
    capsys.readouterr()
    report = ran(tmp_path / "run", more)["encode"]
    assert (report["encoded"], report["failed"]) == (28, {})
    assert "were discarded without a vector" in " ".join(capsys.readouterr().err.split())
    assert not visited(web) & {*range(10)}  # whose vectors are all there
    ran(tmp_path / "fresh", more)
    for name in ("embedding.pt", "embedding-visunex-judge.pt"):
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "fresh" / name).read_bytes()
    visited(web)
    assert ran(tmp_path / "run", more)["encode"]["encoded_now"] == 0
    assert not visited(web)


def test_rows_with_published_vectors_are_more_without_a_picture(tmp_path: Path) -> None:
    published(tmp_path / "v", (60,))
    urls = [url(number) for number in range(40)]
    table = {"URL": urls, "TEXT": ["flower"] * 40, "AESTHETIC_SCORE": [8 - row / 100 for row in range(40)]}
    pl.DataFrame(table).write_parquet(tmp_path / "m.parquet")

    def of(top: int, **settings: Any) -> Recipe:
        asked = {"encode.precomputed": str(tmp_path / "v"), "filter.like": ["castle"], **settings}
        return override(recipe_for(tmp_path / "m.parquet", "visunex-tiny", top), asked)

    ran(tmp_path / "run", of(6))
    assert ran(tmp_path / "run", of(20))["encode"]["precomputed"] == 20
    ran(tmp_path / "fresh", of(20))
    published(tmp_path / "v2", (60,))
    with pytest.raises(StaleRunError, match="no such published vectors"):
        ran(tmp_path / "run", of(30, **{"encode.precomputed": str(tmp_path / "v2")}))
    embedding = (tmp_path / "run" / "embedding.pt").read_bytes()
    assert embedding == (tmp_path / "fresh" / "embedding.pt").read_bytes()
    assert not list((tmp_path / "run" / ".visunex" / "earlier").rglob("*.*"))


def test_rows_with_published_vectors_are_more_beside_pictures(
    tmp_path: Path, web: StandIn, model: str
) -> None:
    """Of the first eight rows vectors are published; a run over all of them is asked for more."""
    source = metadata(tmp_path / "m.parquet", web)
    ran(tmp_path / "published", recipe_for(metadata(tmp_path / "few.parquet", web, rows=8), model, 7))
    place = {"encode.precomputed": str(tmp_path / "published" / "vectors")}
    few, more = (override(recipe_for(source, model, top), place) for top in (12, 30))
    ran(tmp_path / "run", few)
    visited(web)
    before = settled(tmp_path / "run")
    report = ran(tmp_path / "run", more)["encode"]
    assert (report["precomputed"], report["encoded"]) == (7, 23)
    assert not before & visited(web)
    assert ran(tmp_path / "run", more)["encode"]["checks"] == report["checks"]
    assert_as_fresh(tmp_path / "run", tmp_path / "fresh", more)


def test_pictures_in_named_tars_are_copied_again(tmp_path: Path, model: str) -> None:
    with tarfile.open(tmp_path / "all.tar", "w") as tar:
        for number in range(20):
            member = tarfile.TarInfo(f"{number}.jpg")
            member.size = len(data := picture(number))
            tar.addfile(member, io.BytesIO(data))
    links, scores = [f"sac:{number}.jpg" for number in range(20)], [8 - row / 100 for row in range(20)]
    table = {"URL": links, "TEXT": ["flower"] * 20, "AESTHETIC_SCORE": scores}
    pl.DataFrame(table).write_parquet(tmp_path / "m.parquet")
    few, more = (
        recipe_for(tmp_path / "m.parquet", model, top, images=str(tmp_path / "all.tar")) for top in (6, 12)
    )
    ran(tmp_path / "run", few)
    assert ran(tmp_path / "run", more)["encode"]["encoded_now"] <= 12 - 6 + 5
    assert_as_fresh(tmp_path / "run", tmp_path / "fresh", more)

"""A data set known by name whose own address is gone: copies, the part of a larger set, and what is said."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import odd
import polars as pl
import pyarrow as pa
import pyarrow.ipc
import pytest
from click.testing import CliRunner
from filtering import rows, select
from standin import Page, StandIn, serving
from standin_hub import publish as publish_on_hub

from visunex.pipeline.cli import main
from visunex.pipeline.errors import SourceError
from visunex.pipeline.metadata.catalog import entries

pytestmark = pytest.mark.usefixtures("read_here")

DEFAULT = "improved_aesthetics_6.5plus"
ORIGINAL = (
    "ChristophSchuhmann/improved_aesthetics_6.5plus",
    "data/train-00000-of-00001-6f24a7497df494ae.parquet",
)
COPY = ("RobinWZQ/improved_aesthetics_6.5plus", "data-00000-of-00001.arrow")
OTHER_COPY = ("Zhangdeyu/aesthetics_6_5plus", "data-00000-of-00001.arrow")
LARGER = ("dclure/laion-aesthetics-12m-umap", "train.parquet")

KINDS = {"WIDTH": pl.Float64, "HEIGHT": pl.Float64, "AESTHETIC_SCORE": pl.Float32}


def larger() -> pl.DataFrame:
    """Rows of a score from 6 on, one of exactly 6.5; every seventh is likely unsafe."""
    scores = [6 + n / 60 for n in range(60)]
    made = rows(
        *(f"a flower, number {n}" if n % 2 else f"a castle, number {n}" for n in range(60)),
        AESTHETIC_SCORE=scores,
        punsafe=[0.9 if n % 7 == 0 else 0.1 for n in range(60)],
    )
    return made.with_columns(pl.col(name).cast(kind) for name, kind in KINDS.items()).with_columns(
        pl.arange(60).cast(pl.Int64).alias("__index_level_0__")
    )


def original() -> pl.DataFrame:
    return larger().filter(pl.col("AESTHETIC_SCORE") >= 6.5)


def parquet(table: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    table.write_parquet(buffer)
    return buffer.getvalue()


def arrow(table: pl.DataFrame) -> bytes:
    """As the library `datasets` keeps a table: an Arrow stream."""
    buffer, made = io.BytesIO(), table.to_arrow(compat_level=pl.CompatLevel.oldest())
    with pa.ipc.new_stream(buffer, made.schema) as writer:
        writer.write_table(made)
    return buffer.getvalue()


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[StandIn]:
    """The Hub, with nothing on it."""
    for name in ("HF_HUB_OFFLINE", "HF_TOKEN", "HF_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "hub" / "token"))
    with serving({}) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.address)
        yield server


def publish(hub: StandIn, place: tuple[str, str], body: bytes, **page: Any) -> None:
    repository, path = place
    publish_on_hub(hub, repository, {path: body, "README.md": b"# Pictures"}, **page)


def counts_as(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """Let the original be known to have so many rows."""
    from dataclasses import replace

    changed = {**entries.data_sets(), DEFAULT: replace(entries.data_sets()[DEFAULT], rows=count)}
    monkeypatch.setattr(entries, "data_sets", lambda: changed)


def chosen(selected: pl.DataFrame) -> list[tuple[Any, ...]]:
    return selected.select("url", "caption", "score", "width", "punsafe").rows()


@pytest.fixture
def wanted(hub: StandIn, tmp_path: Path) -> list[tuple[Any, ...]]:
    """What the original's rows give."""
    publish(hub, ORIGINAL, parquet(original()))
    report, selected = select(tmp_path / "original", DEFAULT, keywords=["flower"], top=20)
    assert (report.taken["kind"], report.taken["max_punsafe"]) == ("original", 0.5)
    assert 6.5 in selected["score"].to_list() or min(selected["score"]) > 6.5
    assert max(selected["punsafe"]) < 0.5
    hub.pages.clear()
    return chosen(selected)


@pytest.mark.parametrize("place", [COPY, OTHER_COPY])
def test_where_the_original_is_gone_a_copy_is_taken(
    place: tuple[str, str],
    wanted: list[tuple[Any, ...]],
    hub: StandIn,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    about = f"/api/datasets/{ORIGINAL[0]}/revision/main"
    disabled = Page(b"", 403, {"X-Error-Message": "Access to this resource is disabled."})
    missing = Page(b'{"error": "Invalid username or password."}', 401)  # as is said without a token
    hub.pages[about] = missing if place == COPY else disabled
    publish(hub, COPY, b"", status=403)  # a copy that is gated is passed over
    publish(hub, place, arrow(original()))
    publish(hub, LARGER, parquet(larger()))
    counts_as(monkeypatch, original().height)
    report, selected = select(tmp_path / "run", DEFAULT, keywords=["flower"], top=20)
    assert chosen(selected) == wanted
    taken = report.taken
    assert (taken["kind"], taken["verified"], taken["doubts"]) == ("copy", True, [])
    assert place[0] in taken["address"]
    assert ("no such data set" if place == COPY else "is disabled") in taken["passed_over"][0]
    assert "a verified mirror" in report.as_text()


def test_where_copies_are_gone_too_the_larger_set_gives_the_same_rows(
    wanted: list[tuple[Any, ...]], hub: StandIn, tmp_path: Path
) -> None:
    publish(hub, LARGER, parquet(larger()))
    done = CliRunner().invoke(
        main, ["filter", "--run", str(tmp_path / "run"), "--keywords", "flower", "--top", "20", "--json"]
    )
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert chosen(pl.read_parquet(tmp_path / "run" / "selected.parquet")) == wanted
    assert (report["taken"]["kind"], report["taken"]["min_score"]) == ("larger set", 6.5)
    assert report["dropped"]["not_in_the_set"] == larger().height - original().height
    assert "rows with a score >= 6.5 of the larger set hf://datasets/dclure" in done.stderr
    assert json.loads((tmp_path / "run" / "report.json").read_text())["filter"]["taken"] == report["taken"]


@pytest.mark.parametrize("recipe", ["fantasy", "flower_plant"])
def test_the_published_recipes_run_as_they_are_on_what_is_there(
    recipe: str, hub: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the name of the recipe to an embedding, the original and all copies being gone."""
    monkeypatch.chdir(tmp_path)
    count, word = larger().height, "fantasy" if recipe == "fantasy" else "a garden"
    links = {f"/{n}.jpg": odd.file(odd.gradient(), "JPEG", comment=str(n).encode()) for n in range(count)}
    hub.pages |= {path: Page(body) for path, body in links.items()}
    columns = {"URL": [f"{hub.address}{path}" for path in links], "TEXT": [word] * count}
    there = larger().with_columns(pl.Series(name, values) for name, values in columns.items())
    publish(hub, LARGER, parquet(there))
    only_here = ("download.allow_private=true", "download.processes=1", "encode.model='visunex-tiny'")
    settings = [part for each in only_here for part in ("--set", each)]
    done = CliRunner().invoke(main, ["run", recipe, *settings])
    report = json.loads((tmp_path / f"runs/{recipe}/report.json").read_text())
    assert (tmp_path / f"runs/{recipe}/embedding.pt").exists(), done.output
    kept = original().filter(pl.col("punsafe") <= 0.5).height
    assert report["filter"]["selected"] == report["encode"]["encoded"] == kept
    made = json.loads((tmp_path / f"runs/{recipe}/embedding.json").read_text())
    assert (made["source"], made["taken"]["kind"]) == (DEFAULT, "larger set")


@pytest.mark.parametrize(
    ("change", "doubt"),
    [
        (lambda table: table.head(3), "it has 3 rows, the original"),
        (lambda table: table.drop("pwatermark"), "it has no pwatermark"),
        (lambda table: table.with_columns(pl.lit(5.0).alias("AESTHETIC_SCORE")), "its scores are 5.0 to 5.0"),
    ],
)
def test_a_copy_that_holds_something_else_is_called_unverified(
    change: Any, doubt: str, hub: StandIn, tmp_path: Path
) -> None:
    publish(hub, COPY, arrow(change(original())))
    report, _ = select(tmp_path / "run", DEFAULT)
    assert not report.taken["verified"]
    assert any(doubt in each for each in report.taken["doubts"])
    assert "an unverified mirror" in report.as_text()


def test_rows_known_of_the_original_verify_a_copy(
    hub: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (url, score), *_ = original().select("URL", "AESTHETIC_SCORE").rows()
    publish(hub, COPY, parquet(original()))
    for known, doubts in (({url: score}, 0), ({url: score + 1}, 1), ({"http://not/there": score}, 1)):
        found = entries.DataSet(
            "known", "a set", (), copies=(f"hf://datasets/{COPY[0]}/{COPY[1]}",), pairs=known
        )
        monkeypatch.setattr(entries, "data_sets", lambda found=found: {"known": found})
        report, _ = select(tmp_path / "run", "known", overwrite=True)
        assert len(report.taken["doubts"]) == doubts


def test_a_gated_original_is_not_passed_over_for_a_copy(hub: StandIn, tmp_path: Path) -> None:
    publish(hub, ORIGINAL, parquet(original()), token="good")
    publish(hub, COPY, arrow(original()))
    for status in (None, 401, 403):
        if status is not None:
            for path in [path for path in hub.pages if "Christoph" in path]:
                hub.pages[path] = Page(status=status)
        with pytest.raises(SourceError) as caught:
            select(tmp_path / "run", DEFAULT)
        said = str(caught.value)
        assert f"{hub.address}/datasets/{ORIGINAL[0]}" in said
        assert "HF_TOKEN" in said
        assert "older and not cleaned" in said


def test_a_partial_copy_is_named_and_never_taken_by_itself(hub: StandIn, tmp_path: Path) -> None:
    part = "bhargavsdesai/laion_improved_aesthetics_6.5plus_with_images"
    publish(hub, (part, "data/a.parquet"), parquet(original().head(4)))
    with pytest.raises(SourceError, match=r"A part of it is hf://datasets/bhargavsdesai"):
        select(tmp_path / "run", DEFAULT)
    report, _ = select(tmp_path / "run", f"hf://datasets/{part}")
    assert "a partial copy of improved_aesthetics_6.5plus: 169,000 of 635,561 rows" in report.as_text()
    assert report.taken["max_punsafe"] == 0.5


def test_the_bound_on_unsafe_rows_gives_way_to_the_recipes(hub: StandIn, tmp_path: Path) -> None:
    publish(hub, ORIGINAL, parquet(original()))
    report, _ = select(tmp_path / "usual", DEFAULT)
    unsafe = original().filter(pl.col("punsafe") > 0.5).height
    assert report.dropped["max_punsafe_of_the_set"] == unsafe > 0
    assert "older than Re-LAION" in report.as_text()
    publish(hub, COPY, arrow(original()))
    report, _ = select(tmp_path / "by address", f"hf://datasets/{COPY[0]}/{COPY[1]}")
    assert report.dropped["max_punsafe_of_the_set"] == unsafe
    assert (report.taken["name"], report.taken["kind"]) == (DEFAULT, "copy")
    report, _ = select(tmp_path / "all", DEFAULT, max_punsafe=1.0)
    assert report.selected == original().height

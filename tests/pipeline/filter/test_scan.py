"""Every row is looked at once and counted right, whatever the conditions and however the rows are stored."""

import math
import re
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq
import pytest
from filtering import recipe, rows, select
from hypothesis import given, settings
from hypothesis import strategies as st
from laion import recipe as laion_recipe

from visunex.pipeline.errors import FilterError, SourceError
from visunex.pipeline.filter import query, scan, strategies
from visunex.pipeline.filter.stage import filter_rows
from visunex.pipeline.rundir import RunDir
from visunex.recipes import Recipe


def passes(row: dict[str, Any], wanted: Recipe) -> dict[str, bool]:
    """What each condition says of a row, in the order in which rows are charged."""
    want, caption = wanted.filter, row["TEXT"]
    checks = {}
    for key, name in [
        ("score", "AESTHETIC_SCORE"), ("width", "WIDTH"), ("height", "HEIGHT"), ("similarity", "similarity"),
        ("punsafe", "punsafe"), ("pwatermark", "pwatermark"),
    ]:  # fmt: skip
        value = row[name]
        there = value is not None and math.isfinite(value)
        for bound, ok in ((f"min_{key}", lambda v, b: v >= b), (f"max_{key}", lambda v, b: v <= b)):
            if (limit := getattr(want, bound, None)) is not None:
                checks[bound] = there and ok(value, limit)
    hits = [re.search(re.escape(word), caption or "", re.IGNORECASE) for word in want.keywords]
    misses = [re.search(re.escape(word), caption or "", re.IGNORECASE) for word in want.exclude]
    if want.keywords:
        checks["keywords"] = caption is not None and any(hits)
    if want.exclude:
        checks["exclude"] = caption is not None and not any(misses)
    if want.where:
        checks["where"] = row["WIDTH"] is not None and row["WIDTH"] > 300
    return checks


def expected(data: list[dict[str, Any]], wanted: Recipe) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """The rows to be selected, and how many each condition drops."""
    dropped: dict[str, int] = {}
    left = []
    for row in data:
        checks = passes(row, wanted)
        for name in checks:
            dropped.setdefault(name, 0)
        failed = next((name for name, ok in checks.items() if not ok), None)
        if failed:
            dropped[failed] += 1
        else:
            left.append(row)
    kept, out = best(left, wanted)
    for why in ("no_url", "duplicates"):
        below = len(kept) == wanted.filter.candidates
        dropped[why] = sum(not below or place(row) <= place(kept[-1]) for row in out[why])
    dropped["beyond_reserve"] = len(left) - len(kept) - dropped["no_url"] - dropped["duplicates"]
    return kept, dropped


def best(left: list[dict[str, Any]], wanted: Recipe) -> tuple[list[dict[str, Any]], dict[str, list[Any]]]:
    column = {"url": "URL", "caption": "TEXT", "hash": "hash", "none": None}[wanted.filter.dedupe]
    kept, out, seen = [], {"no_url": [], "duplicates": []}, set()
    for row in sorted(left, key=full_place):
        value = row[column] if column else None
        if not row["URL"]:
            out["no_url"].append(row)
        elif value is not None and value in seen:
            out["duplicates"].append(row)
        else:
            seen.add(value)
            kept.append(row)
    return kept[: wanted.filter.candidates], out


def place(row: dict[str, Any]) -> tuple[Any, ...]:
    score = row["AESTHETIC_SCORE"]
    finite = score is not None and math.isfinite(score)
    caption = row["TEXT"]
    return (0, -score) if finite else (1, 0), row["URL"] or "", caption is None, caption or ""


def full_place(row: dict[str, Any]) -> tuple[Any, ...]:
    others = [row[name] for name in ("WIDTH", "HEIGHT", "similarity", "punsafe", "pwatermark", "hash")]
    return (*place(row), *((value is None, value or 0) for value in others))


def maybe(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | values


SCORES = st.sampled_from([5.0, 6.5, 6.5, 7.0, math.nan, math.inf]) | st.floats(5, 8, width=32)
ROW = st.fixed_dictionaries(
    {
        "URL": st.sampled_from(["a", "b", "c", "d", "e", "", None, "f", "g"]),
        "TEXT": maybe(st.sampled_from(["Rose", "a ROSE and a tulip", "tulip", "", "oak"])),
        "WIDTH": maybe(st.sampled_from([100, 300, 500])),
        "HEIGHT": maybe(st.sampled_from([100, 500])),
        "similarity": maybe(st.sampled_from([0.1, 0.3, math.nan])),
        "punsafe": maybe(st.sampled_from([0.0, 0.5, 1.0])),
        "pwatermark": maybe(st.sampled_from([0.0, 0.5])),
        "AESTHETIC_SCORE": maybe(SCORES),
        "hash": maybe(st.sampled_from([1, 2, 3])),
    }
)
SETTINGS = st.fixed_dictionaries(
    {"top": st.integers(1, 4), "dedupe": st.sampled_from(["url", "caption", "hash", "none"])},
    optional={
        "keywords": st.sampled_from([["rose"], ["rose", "TULIP"], ["oak"]]),
        "exclude": st.sampled_from([["tulip"], ["oak", "rose"]]),
        "min_score": st.sampled_from([6.0, 6.5]),
        "max_score": st.just(7.5),
        "min_width": st.just(300),
        "min_height": st.just(200),
        "min_similarity": st.just(0.2),
        "max_punsafe": st.just(0.5),
        "max_pwatermark": st.just(0.1),
        "where": st.just("WIDTH > 300"),
    },
)


@settings(max_examples=150, deadline=None)
@given(data=st.lists(ROW, min_size=1, max_size=25), wanted=SETTINGS, files=st.integers(1, 3))
def test_selection_and_counts_are_right_whatever_the_conditions(
    data: list[dict[str, Any]], wanted: dict[str, Any], files: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("data")
    table = pl.DataFrame(data, schema=rows().schema)
    data = table.rows(named=True)  # float32 as it is stored
    for n in range(files):
        table.gather_every(files, n).write_parquet(folder / f"{n}.parquet", row_group_size=4)
    kept, dropped = expected(data, recipe(folder, **wanted))
    if not kept:
        with pytest.raises(FilterError, match="none of the"):
            select(folder / "run", folder, **wanted)
        return
    report, selected = select(folder / "run", folder, **wanted)
    assert report.dropped == dropped
    assert report.rows == len(data)
    names = {"url": "URL", "caption": "TEXT", "width": "WIDTH", "height": "HEIGHT", "punsafe": "punsafe"}
    for own, name in names.items():
        assert selected[own].to_list() == [row[name] for row in kept]
    assert selected["key"].to_list() == [f"{rank:08d}" for rank in range(len(kept))]


def in_dictionaries(path: Path, **changes: list[Any]) -> None:
    """Rows as pyarrow writes them: each column as a dictionary, several row groups, some of them constant."""
    count = 6_000
    usual = {"TEXT": [["rose", "oak", None][n // 2_000] for n in range(count)], "WIDTH": [7] * count}
    table = rows(*[None] * count, **{**usual, **changes}).to_arrow()
    pq.write_table(table, path, use_dictionary=True, row_group_size=500, compression="snappy")


@pytest.mark.parametrize(
    ("left", "asked"),
    [
        (["URL"], {}),
        (["URL", "WIDTH"], {"min_width": 5}),
        (["URL", "TEXT"], {"keywords": ["rose"]}),
        (["URL", "TEXT", "AESTHETIC_SCORE"], {}),
        (["URL", "TEXT", "AESTHETIC_SCORE"], {"keywords": ["rose"]}),
        (["URL", "TEXT", "WIDTH"], {"where": "TEXT <> 'oak'"}),
        (["URL", "TEXT", "WIDTH"], {"where": "TEXT IS NULL"}),
        (["URL", "TEXT", "WIDTH"], {"where": "TEXT IS NULL", "min_width": 5}),
        (["URL", "TEXT", "WIDTH"], {"where": "TEXT <> 'oak'", "min_width": 5, "keywords": ["rose"]}),
    ],
)
def test_each_row_is_counted_once_however_it_is_stored(
    left: list[str], asked: dict[str, Any], tmp_path: Path
) -> None:
    """polars asks predicates about dictionaries and bounds as well; the report would count these as rows."""
    in_dictionaries(tmp_path / "all.parquet")
    (tmp_path / "data").mkdir()
    for n in range(2):
        table = pq.read_table(tmp_path / "all.parquet", columns=left)
        pq.write_table(table, tmp_path / "data" / f"{n}.parquet", use_dictionary=True, row_group_size=500)
    report, _ = select(tmp_path / "run", tmp_path / "data", top=10, **asked)
    assert report.rows == 12_000
    assert report.passed == 12_000 - 8_000 * bool({"keywords", "where"} & set(asked))


def test_should_polars_ask_about_something_else_the_counts_are_still_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_dictionaries(tmp_path / "all.parquet")
    pl.read_parquet(tmp_path / "all.parquet", columns=["URL", "TEXT"]).write_parquet(tmp_path / "m.parquet")
    wanted = {"keywords": ["rose"], "exclude": ["oak"], "top": 5}  # one alone is the scan's own
    report, selected = select(tmp_path / "a", tmp_path / "m.parquet", **wanted)
    monkeypatch.setattr(
        strategies, "_asked_columns", lambda query: query.needed()
    )  # TEXT alone: by its dictionary
    again, same = select(tmp_path / "b", tmp_path / "m.parquet", **wanted)
    assert (again.dropped, again.rows) == (report.dropped, 6_000)
    assert same.equals(selected)


def test_a_source_that_changes_while_it_is_read_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_dictionaries(tmp_path / "m.parquet")
    monkeypatch.setattr(
        query.CountingPredicate, "__call__", lambda _, batch: batch.is_not_null()
    )  # counts nothing
    with pytest.raises(SourceError, match="changed while it was read"):
        select(tmp_path / "run", tmp_path / "m.parquet")


@pytest.mark.parametrize("asked", [{"keywords": ["rose"]}, {"keywords": ["rose"], "min_width": 5}])
def test_files_of_several_kinds_are_one_source(asked: dict[str, Any], tmp_path: Path) -> None:
    for n, kind in enumerate((pl.Int64, pl.Float64, pl.Int64, pl.Int32)):
        part = rows("a rose", "an oak", None, "rosebud").with_columns(
            pl.col("WIDTH").cast(kind), URL=pl.format("https://example.org/{}-{}", pl.lit(n), "hash")
        )
        part.write_parquet(tmp_path / f"{n}.parquet")
    report, selected = select(tmp_path / "run", tmp_path, top=100, **asked)
    assert (report.rows, report.passed, selected.height) == (16, 8, 8)
    assert set(selected["caption"]) == {"a rose", "rosebud"}


def test_progress_counts_the_rows_looked_at_not_those_that_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    monkeypatch.setattr(scan.Progress, "update", lambda progress, done: seen.append((done, progress.total)))
    in_dictionaries(tmp_path / "m.parquet", TEXT=["oak"] * 5_998 + ["rose", "oak"])
    select(tmp_path / "run", tmp_path / "m.parquet", keywords=["rose"])
    assert {(5_999, 6_000), (6_000, 6_000)} <= set(seen)


@pytest.mark.parametrize("columns", [{"url": ["http://x/1", "http://x/1", None, "http://x/2"]}, None])
def test_a_source_of_few_columns_is_counted_row_by_row(
    tmp_path: Path, columns: dict[str, Any] | None
) -> None:
    """polars asks a predicate over one column about the column's dictionary, too."""
    texts = {
        "url": [f"http://x/{row}" for row in range(100)],
        "text": ["a flower", None, "a castle", "x"] * 25,
    }
    pq.write_table(pa.table(columns or texts), tmp_path / "x.parquet")
    report = filter_rows(
        RunDir(tmp_path / "run"),
        laion_recipe(tmp_path / "x.parquet", keywords=() if columns else ("flower",)),
    )
    assert (report.rows, report.selected) == ((4, 2) if columns else (100, 25))

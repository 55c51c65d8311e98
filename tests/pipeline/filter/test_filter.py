"""`filter_rows`: what is selected, in which order, and that the counts are right whatever the conditions."""

import itertools
import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from filtering import recipe, rows, select
from hypothesis import given, settings
from hypothesis import strategies as st

from visunex.pipeline.errors import FilterError, SourceError, StaleRunError
from visunex.pipeline.filter import query, scan, strategies
from visunex.pipeline.filter import top_rows as selection
from visunex.pipeline.filter.stage import filter_rows
from visunex.pipeline.rundir import RunDir
from visunex.pipeline.shards.naming import row_key
from visunex.recipes import Recipe, load

# --- an independent account of the same, row by row  ---


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


@settings(max_examples=200, deadline=None)
@given(
    data=st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from([None, 1.0, 2.0, 3.0])), max_size=30),
    cuts=st.lists(st.integers(1, 5), min_size=30, max_size=30),
    count=st.integers(1, 5),
    shuffle=st.randoms(),
)
def test_how_rows_arrive_makes_no_difference(data: Any, cuts: Any, count: int, shuffle: Any) -> None:
    """The selection settles after every few rows, in any order, as it does with millions."""

    def selected(arrival: list[Any]) -> tuple[Any, ...]:
        chosen = selection.Selection(count, "url")
        pieces = iter(cuts)
        while arrival:
            size = next(pieces)
            head, arrival = arrival[:size], arrival[size:]
            columns = {"url": [url for url, _ in head], "score": [score for _, score in head]}
            kinds = {"url": pl.String, "caption": pl.String, "score": pl.Float64, "width": pl.Int64}
            empty = dict.fromkeys(["caption", "width", "height"], [None] * len(head))
            frame = pl.DataFrame({**empty, **columns}, schema_overrides=kinds)
            chosen.add(frame.select(selection.CANONICAL))
            if shuffle.random() < 0.5:
                chosen.rows()
        kept = chosen.rows()
        return (None if kept is None else kept.rows()), chosen.left_out()

    shuffled = list(data)
    shuffle.shuffle(shuffled)
    assert selected(shuffled) == selected(sorted(data, key=str))


# --- what is written  ---


def test_the_selection_has_the_columns_and_keys_that_the_next_stages_read(tmp_path: Path) -> None:
    table = rows("rose", "oak", "Rosebud", None).with_columns(LANGUAGE=pl.lit("en"), key=pl.lit("mine"))
    table.write_parquet(tmp_path / "m.parquet")
    report, selected = select(tmp_path / "run", tmp_path / "m.parquet", keywords=["rose"], shard_size=100)
    assert selected.schema == {
        "key": pl.String, "url": pl.String, "caption": pl.String, "score": pl.Float64,
        "width": pl.Int64, "height": pl.Int64, "similarity": pl.Float64, "punsafe": pl.Float32,
        "pwatermark": pl.Float32, "hash": pl.Int64, "LANGUAGE": pl.String, "source_key": pl.String,
    }  # fmt: skip
    assert selected["caption"].to_list() == ["rose", "Rosebud"]
    assert selected["key"].to_list() == ["0000000", "0000001"]
    assert selected["key"].to_list() == [row_key(rank, 100) for rank in range(2)]
    assert pq.read_schema(tmp_path / "run" / "selected.parquet").field("url").type == pa.large_string()
    run = RunDir(tmp_path / "run")
    assert load(run.path) == recipe(tmp_path / "m.parquet", keywords=["rose"], shard_size=100)
    assert run.reports()["filter"] == json.loads(json.dumps(report.as_dict()))
    assert sorted(path.name for path in run.path.rglob("*") if "tmp" in path.name) == []


def test_the_report_says_what_each_condition_dropped(tmp_path: Path) -> None:
    rows("rose", "rose", "oak", "rose oak", None, URL=["a", "a", "b", "c", "d"]).write_parquet(
        tmp_path / "m.parquet"
    )
    settings_ = {"keywords": ["rose"], "exclude": ["oak"], "min_score": 7.0, "top": 3}
    report, _ = select(tmp_path / "run", tmp_path / "m.parquet", **settings_)
    assert report.dropped == {
        "min_score": 0, "keywords": 2, "exclude": 1, "no_url": 0, "duplicates": 1, "beyond_reserve": 0,
    }  # fmt: skip
    text = report.as_text()
    assert text.splitlines()[0] == f"5 rows of {tmp_path / 'm.parquet'}"
    assert re.search(r"-2 +keywords", text)
    assert "1  selected: the 1 best, and 0 in reserve" in text
    assert "fewer than the 3 asked for" in text


def test_ties_break_by_url_then_caption(tmp_path: Path) -> None:
    rows(*"dcba", URL=["x", "y", "x", "w"], AESTHETIC_SCORE=[7.0] * 4).write_parquet(tmp_path / "m.parquet")
    _, selected = select(tmp_path / "run", tmp_path / "m.parquet", dedupe="none")
    assert selected["caption"].to_list() == ["a", "b", "d", "c"]


@pytest.mark.parametrize(
    ("dedupe", "kept"), [("url", "acd"), ("caption", "abc"), ("hash", "abd"), ("none", "abcd")]
)
def test_of_rows_that_share_it_the_best_scored_is_kept(dedupe: str, kept: str, tmp_path: Path) -> None:
    table = rows(*"abcd", URL=["u", "u", "v", "w"], hash=[1, None, 1, None])
    captions = table.with_columns(TEXT=pl.Series(["same", "b", "c", "same"]), label=pl.Series(list("abcd")))
    captions.write_parquet(tmp_path / "m.parquet")
    _, selected = select(tmp_path / "run", tmp_path / "m.parquet", dedupe=dedupe)
    assert "".join(selected["label"]) == kept


def test_many_duplicates_at_the_top_make_it_look_deeper(tmp_path: Path) -> None:
    """The sieve keeps back what scores below twice the candidates; the dozen best share one URL here."""
    scores = [9 - n / 100 for n in range(40)]
    urls = ["same"] * 30 + [f"u{n:02d}" for n in range(10)]
    rows(*["rose"] * 40, URL=urls, AESTHETIC_SCORE=scores).write_parquet(
        tmp_path / "m.parquet", row_group_size=8
    )
    report, selected = select(tmp_path / "run", tmp_path / "m.parquet", top=3, reserve=4)
    assert selected["url"].to_list() == ["same", "u00", "u01", "u02"]
    assert (report.dropped["duplicates"], report.dropped["beyond_reserve"]) == (29, 7)


def test_a_source_without_scores_is_ordered_by_url(tmp_path: Path) -> None:
    rows(*"abcd", URL=list("badc")).drop("AESTHETIC_SCORE").write_parquet(tmp_path / "m.parquet")
    report, selected = select(tmp_path / "run", tmp_path / "m.parquet", top=1, reserve=3)
    assert selected["url"].to_list() == ["a", "b", "c"]
    assert selected["score"].null_count() == 3
    assert (report.best_score, report.dropped["beyond_reserve"]) == (None, 1)
    assert "  scores " not in report.as_text()


def test_float32_scores_meet_a_bound_as_they_read(tmp_path: Path) -> None:
    table = rows("a", "b", AESTHETIC_SCORE=[6.6, 6.5]).cast({"AESTHETIC_SCORE": pl.Float32})
    table.write_parquet(tmp_path / "m.parquet")
    report, _ = select(tmp_path / "run", tmp_path / "m.parquet", min_score=6.6)
    assert report.dropped["min_score"] == 1


# --- order, files, threads  ---


@pytest.fixture(scope="module")
def twenty_thousand() -> pl.DataFrame:
    """Rows with many ties and duplicates."""
    words = ["rose", "oak", "Rosebud", "tulip garden", "stone", None]
    count = 20_000
    return rows(
        *itertools.islice(itertools.cycle(words), count),
        URL=[f"u{n * 7919 % 5000}" for n in range(count)],
        AESTHETIC_SCORE=[6 + (n * 31 % 97) / 50 for n in range(count)],
    )


def written(run: Path, source: Path) -> bytes:
    select(run, source, keywords=["rose", "garden"], top=100, max_score=7.5)
    return (run / "selected.parquet").read_bytes()


def test_order_and_number_of_files_make_no_difference(twenty_thousand: pl.DataFrame, tmp_path: Path) -> None:
    one, many = tmp_path / "one", tmp_path / "many"
    for folder in (one, many):
        folder.mkdir()
    twenty_thousand.write_parquet(one / "all.parquet")
    shuffled = twenty_thousand.sample(fraction=1, shuffle=True, seed=5)
    for n, part in enumerate(shuffled.iter_slices(3_000)):
        part.write_parquet(many / f"{n}.parquet", row_group_size=500)
    assert written(tmp_path / "a", one) == written(tmp_path / "b", many)


@pytest.mark.parametrize("threads", [1, 5])
def test_the_number_of_threads_makes_no_difference(
    threads: int, twenty_thousand: pl.DataFrame, tmp_path: Path
) -> None:
    source = tmp_path / "m.parquet"
    twenty_thousand.write_parquet(source, row_group_size=700)
    program = (
        f"from pathlib import Path; import polars; assert polars.thread_pool_size() == {threads}\n"
        f"from test_filter import written; written(Path({str(tmp_path / 'a')!r}), Path({str(source)!r}))"
    )
    helpers = os.pathsep.join(
        [str(Path(__file__).parent), *sys.path[:1], *filter(None, [os.environ.get("PYTHONPATH")])]
    )
    environment = {"POLARS_MAX_THREADS": str(threads), "PYTHONPATH": helpers}
    subprocess.run([sys.executable, "-c", program], check=True, env={**os.environ, **environment})
    assert (tmp_path / "a" / "selected.parquet").read_bytes() == written(tmp_path / "b", source)


# --- running again  ---


def test_running_again_keeps_what_is_there(tmp_path: Path) -> None:
    source = tmp_path / "m.parquet"
    rows("rose", "oak").write_parquet(source)
    first, _ = select(tmp_path / "run", source, keywords=["rose"])
    before = (tmp_path / "run" / "selected.parquet").stat().st_mtime_ns
    again, _ = select(tmp_path / "run", source, keywords=["rose"])
    assert (again.reused, again.dropped) == (True, first.dropped)
    assert (tmp_path / "run" / "selected.parquet").stat().st_mtime_ns == before
    assert not select(tmp_path / "run", source, keywords=["rose"], overwrite=True)[0].reused


def test_running_again_needs_no_source_when_it_was_read_before(tmp_path: Path) -> None:
    source = tmp_path / "m.parquet"
    rows("rose", "oak").write_parquet(source)
    select(tmp_path / "run", source, keywords=["rose"])
    source.unlink()
    assert select(tmp_path / "run", source, keywords=["rose"])[0].reused
    with pytest.raises(SourceError, match="there is no file"):
        select(tmp_path / "run", source, keywords=["oak"])
    with pytest.raises(SourceError, match="there is no file"):
        select(tmp_path / "run", source, keywords=["rose"], overwrite=True)


@pytest.mark.parametrize("change", ["settings", "contents", "columns"])
def test_another_selection_is_not_replaced_unasked(change: str, tmp_path: Path) -> None:
    source = tmp_path / "m.parquet"
    rows("rose", "oak").write_parquet(source)
    select(tmp_path / "run", source)
    before = (tmp_path / "run" / "selected.parquet").read_bytes()
    changed: dict[str, Any] = {"settings": {"top": 7}, "columns": {"columns": {"caption": "URL"}}}.get(
        change, {}
    )
    if change == "contents":
        rows("rose", "elm").write_parquet(source)
    with pytest.raises(StaleRunError, match=r"\((top|contents|caption_column) changed since\)"):
        select(tmp_path / "run", source, **changed)
    assert (tmp_path / "run" / "selected.parquet").read_bytes() == before
    assert not select(tmp_path / "run", source, overwrite=True, **changed)[0].reused


def test_the_bytes_may_lie_elsewhere_than_the_recipe_says(tmp_path: Path) -> None:
    rows("rose").write_parquet(tmp_path / "m.parquet")
    run = RunDir(tmp_path / "run")
    with run.locked():
        report = filter_rows(run, recipe("demo"), metadata=str(tmp_path / "m.parquet"))
    assert (report.source, report.rows) == ("demo", 1)
    assert load(run.path).source.data == "demo"


# --- nothing left  ---


def test_no_match_names_the_nearest_words(tmp_path: Path) -> None:
    rows("A red rose", "tulips", None).write_parquet(tmp_path / "m.parquet")
    with pytest.raises(FilterError) as caught:
        select(tmp_path / "run", tmp_path / "m.parquet", keywords=["rosse", "tulip's"])
    assert str(caught.value).splitlines() == [
        "none of the 3 rows passes (dropped by keywords 3)",
        "Words that do occur: tulips, rose",
    ]
    assert caught.value.exit_code == 1
    assert not (tmp_path / "run" / "selected.parquet").exists()


def test_nothing_left_says_what_dropped_the_rows(tmp_path: Path) -> None:
    rows("rose", "oak", URL=["", None]).write_parquet(tmp_path / "m.parquet")
    with pytest.raises(FilterError, match=r"dropped by keywords 1, no_url 1\)"):
        select(tmp_path / "run", tmp_path / "m.parquet", keywords=["rose"])
    rows().write_parquet(tmp_path / "empty.parquet")
    with pytest.raises(FilterError, match="has no rows"):
        select(tmp_path / "other", tmp_path / "empty.parquet")


# --- how polars asks  ---


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

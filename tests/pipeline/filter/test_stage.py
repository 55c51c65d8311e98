"""`filter_rows`: what is written, ranked, kept and reported, and that running again keeps what is there."""

import itertools
import json
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

from visunex.pipeline.errors import FilterError, SourceError, StaleRunError
from visunex.pipeline.filter.stage import filter_rows
from visunex.pipeline.rundir import RunDir
from visunex.pipeline.shards.naming import row_key
from visunex.recipes import load


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


def test_float32_scores_meet_a_bound_as_they_read(tmp_path: Path) -> None:
    table = rows("a", "b", AESTHETIC_SCORE=[6.6, 6.5]).cast({"AESTHETIC_SCORE": pl.Float32})
    table.write_parquet(tmp_path / "m.parquet")
    report, _ = select(tmp_path / "run", tmp_path / "m.parquet", min_score=6.6)
    assert report.dropped["min_score"] == 1


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
        f"from test_stage import written; written(Path({str(tmp_path / 'a')!r}), Path({str(source)!r}))"
    )
    helpers = os.pathsep.join(
        [str(Path(__file__).parent), *sys.path[:1], *filter(None, [os.environ.get("PYTHONPATH")])]
    )
    environment = {"POLARS_MAX_THREADS": str(threads), "PYTHONPATH": helpers}
    subprocess.run([sys.executable, "-c", program], check=True, env={**os.environ, **environment})
    assert (tmp_path / "a" / "selected.parquet").read_bytes() == written(tmp_path / "b", source)


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

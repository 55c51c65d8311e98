"""No more than so many rows of one value, no near copy of a better row: as a plain loop has it."""

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner
from filtering import rows, select
from hypothesis import given
from hypothesis import strategies as st

from visunex.pipeline.cli import main
from visunex.pipeline.errors import SourceError
from visunex.pipeline.filter import scan as scan_module
from visunex.pipeline.filter.greedy import Copies, Greedy, Limit

COLUMNS = ("host", "artist")


def table(data: list[tuple[str | None, str | None]]) -> pl.DataFrame:
    columns = {name: [row[at] for row in data] for at, name in enumerate(COLUMNS)}
    urls = [f"https://a.org/{n}" for n in range(len(data))]
    return pl.DataFrame({"url": urls, **columns}, schema=dict.fromkeys(("url", *COLUMNS), pl.String))


@given(
    st.lists(
        st.tuples(st.sampled_from([None, "a", "b", "c"]), st.sampled_from([None, "x", "y"])), max_size=40
    ),
    st.integers(1, 4),
    st.integers(1, 4),
    st.integers(1, 30),
)
def test_limits_of_several_columns_together(data: Any, hosts: int, artists: int, count: int) -> None:
    most = {"host": hosts, "artist": artists}
    greedy = Greedy([Limit(name, pl.col(name), most[name]) for name in COLUMNS])
    chosen = greedy.choose(table(data), count)
    plain, taken = [], Counter[tuple[str, str]]()
    for place, row in enumerate(data):
        values = [(name, value) for name, value in zip(COLUMNS, row, strict=True) if value is not None]
        if len(plain) < count and all(taken[each] < most[each[0]] for each in values):
            plain.append(f"https://a.org/{place}")
            taken.update(values)
    assert chosen.rows["url"].to_list() == plain
    assert chosen.rows.height + sum(chosen.dropped.values()) <= len(data)


def test_copies_and_limits_together() -> None:
    data = [("a", None), ("a", None), ("a", None), ("b", None), ("b", None)]
    units = np.eye(3, dtype=np.float32)[[0, 0, 1, 0, 2]]
    greedy = Greedy([Limit("host", pl.col("host"), 2)], Copies(0.9, lambda _: units))
    chosen = greedy.choose(table(data), 9)
    assert chosen.rows["url"].to_list() == [f"https://a.org/{n}" for n in (0, 2, 4)]
    assert chosen.copies == {0: ["https://a.org/1", "https://a.org/3"]}
    assert chosen.dropped == {"max_per_host": 0, "near_copies": 2}


def brute_force(frame: pl.DataFrame, most: int, count: int) -> list[str]:
    taken, plain = Counter[str](), []
    for url in frame.sort("AESTHETIC_SCORE", descending=True)["URL"]:
        host = url.split("/")[2]
        if taken[host] < most and len(plain) < count:
            taken[host] += 1
            plain.append(url)
    return plain


@pytest.mark.parametrize("most", [1, 3, 40])
def test_the_selection_is_that_of_a_plain_loop_however_deep_it_must_look(tmp_path: Path, most: int) -> None:
    """The best 300 rows are of one host: the table is read again until 20 are there."""
    count, hosts = 2000, random.Random(1)
    urls = [f"https://h{0 if n < 300 else hosts.randrange(9)}.org/{n}.jpg" for n in range(count)]
    frame = rows(*["a"] * count, URL=urls).sample(fraction=1, shuffle=True, seed=2)
    frame.write_parquet(tmp_path / "m.parquet")
    report, selected = select(
        tmp_path / "run", tmp_path / "m.parquet", top=10, reserve=20, max_per=[f"host={most}"]
    )
    assert selected["url"].to_list() == brute_force(frame, most, 20)
    assert report.selected == min(20, 9 * most)
    assert report.dropped["max_per_host"] > 0 or most == 40
    text = report.as_text()
    assert ("max per host" in text) == (most < 40)


def test_what_a_limit_may_name(tmp_path: Path) -> None:
    frame = rows(*"aabbccdd").with_columns(artist=pl.Series(["x"] * 6 + [None] * 2), tags=pl.lit([1, 2]))
    frame.write_parquet(tmp_path / "m.parquet")

    def chosen(*limits: str) -> list[str]:
        return select(tmp_path / "r", tmp_path / "m.parquet", top=9, max_per=limits, overwrite=True)[1][
            "caption"
        ].to_list()

    assert chosen("artist=2") == ["a", "a", "d", "d"], "who is not known is not limited"
    assert chosen("caption=1") == ["a", "b", "c", "d"]
    assert chosen("TEXT=1", "artist=2") == ["a", "b", "d"]
    assert chosen("host=3") == ["a", "a", "b"]
    frame.with_columns(__index_level_0__=pl.lit(1)).write_parquet(tmp_path / "m.parquet")  # as pandas writes
    wrong = {"photographer=2": "there are host, URL, TEXT", "__index_level_0__=2": "there is no such column"}
    for limit, why in {**wrong, "tags=2": "lists or tables"}.items():
        with pytest.raises(SourceError, match=f"--max-per {limit[:4]}.*{why}"):
            chosen(limit)


def test_a_limit_is_a_column_and_a_number() -> None:
    from visunex.recipes import Filter

    assert Filter(max_per="host=20, my artist = 3").limits == {"host": 20, "my artist": 3}
    for wrong in ("host", "host=0", "=3", "host=-1", "host=many", "host=1.5", " =3"):
        with pytest.raises(ValueError, match="is no COLUMN=N"):
            Filter(max_per=(wrong,))


def test_a_table_that_is_looked_through_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer than asked for are there; nothing is counted twice."""
    monkeypatch.setattr(scan_module, "_DEEPER", 2)
    rows(*["a"] * 100).write_parquet(tmp_path / "m.parquet")
    report, selected = select(tmp_path / "run", tmp_path / "m.parquet", top=5, reserve=5, max_per=["host=3"])
    assert (selected.height, report.dropped["max_per_host"], report.dropped["beyond_reserve"]) == (3, 97, 0)


def test_near_copies_by_published_vectors_are_left_out_and_the_next_move_up(tmp_path: Path) -> None:
    """100 of 200 rows show the same picture; vectors lie in float16 in two parts; three rows have none."""
    rng = np.random.default_rng(0)
    order = rng.permutation(200)
    raw = np.concatenate(
        [rng.standard_normal(64) + 0.05 * rng.standard_normal((100, 64)), rng.standard_normal((100, 64))]
    )[order].astype(np.float16)
    frame = rows(*["a"] * 200)
    frame.sample(fraction=1, shuffle=True, seed=5).write_parquet(tmp_path / "m.parquet")
    for part, has in enumerate((slice(0, 120), slice(120, 197))):
        for name in ("img_emb", "metadata"):
            (tmp_path / "v" / name).mkdir(parents=True, exist_ok=True)
        np.save(tmp_path / f"v/img_emb/img_emb_{part}.npy", raw[has])
        frame[has].select(url="URL").write_parquet(tmp_path / f"v/metadata/metadata_{part}.parquet")
    asked = ["filter", tmp_path / "m.parquet", "--run", tmp_path / "run", "--precomputed", tmp_path / "v"]
    asked += ["--dedupe-vectors", 0.9, "--top", 30, "--reserve", 60, "--json"]
    done = CliRunner().invoke(main, [*map(str, asked)])
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    wide = raw.astype(np.float64)
    wide /= np.linalg.norm(wide, axis=1, keepdims=True)
    kept: list[int] = []
    for place in range(200):
        copied = place < 197 and any(wide[each] @ wide[place] >= 0.9 for each in kept if each < 197)
        kept += [] if copied or len(kept) == 60 else [place]
    selected = pl.read_parquet(tmp_path / "run" / "selected.parquet")
    assert selected["url"].to_list() == frame["URL"][kept].to_list()
    assert report["rows"] == sum(report["dropped"].values()) + report["selected"]
    (copied_url,) = report["copies"]
    assert copied_url == frame["URL"][int(np.flatnonzero(order < 100)[0])]
    assert len(report["copies"][copied_url]) == 20 < report["dropped"]["near_copies"]
    again = CliRunner().invoke(main, [*map(str, asked)])
    assert json.loads(again.stdout)["reused"]

"""When there are enough images, what cannot outrank a chosen one is abandoned."""

import random
from collections.abc import Iterator
from pathlib import Path

import downloads
import hostile
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from visunex.pipeline.download.choose import Result, Search, choose
from visunex.pipeline.download.stage import download
from visunex.pipeline.shards.naming import fitting_shard_size


@pytest.fixture(scope="module")
def server() -> Iterator[hostile.HostileServer]:
    with hostile.hostile() as running:
        yield running


def result(rank: int, file: int | None) -> Result:
    """A candidate with this file, or with none."""
    if file is None:
        return Result(rank, f"http://a/{rank}", "failed_to_download", "http_404: gone", None, None)
    return Result(rank, f"http://a/{rank}", "success", None, str(file), file * 2**20)


@given(
    files=st.lists(st.none() | st.integers(0, 30), max_size=60),
    target=st.integers(1, 20),
    seed=st.integers(),
    dedupe=st.sampled_from(["exact", "near", "none"]),
)
@settings(deadline=None)
def test_the_chosen_are_the_same_whatever_came_of_the_rest(
    files: list[int | None], target: int, seed: int, dedupe: str
) -> None:
    results = [result(rank, file) for rank, file in enumerate(files)]
    search = Search(target, dedupe, keep_placeholders=False)  # type: ignore[arg-type]
    shuffled = random.Random(seed).sample(results, len(results))
    known = []
    for each in shuffled:
        search.add([each])
        known.append(each)
        if search.is_over:
            break
    came = sorted(known, key=lambda each: each.rank)
    best = [
        {rank for rank, status in choose(of, target, dedupe).items() if status == "chosen"}
        for of in (came, results)
    ]  # type: ignore[arg-type]
    assert best[0] == best[1]
    assert search.is_over == (len(best[1]) == target)


def test_better_candidates_that_are_open_are_counted() -> None:
    search = Search(2, "exact", keep_placeholders=False)
    search.add([result(4, 4), result(1, 1)])
    assert (search.is_over, search.open_before) == (False, 3)
    search.add([result(0, None), result(2, None)])
    assert search.open_before == 1
    search.add([result(3, 3)])
    assert (search.is_over, search.open_before) == (True, 0)
    assert [each.rank for each in search.needed] == [0, 1, 2, 3]


def test_what_hangs_behind_the_last_that_is_needed_holds_up_nothing(
    server: hostile.HostileServer, tmp_path: Path
) -> None:
    """It is neither failed nor done, and tried when more pictures are wanted."""
    names = ["good"] * 8 + ["404"] + ["slow-but-fine"] + ["good"] * 2 + ["hang"] * 6 + ["404"] * 22
    urls = [f"{server.base}/{name}/e{number}.jpg" for number, name in enumerate(names)]
    run, recipe = downloads.ready_run(tmp_path, urls, 11, deadline=60.0, processes=2, retries=0)
    report = download(run, recipe)
    assert (report.chosen, set(report.failures)) == (11, {"http_404"})
    assert report.seconds < 60
    assert downloads.chosen(run) == [url for url in urls[:12] if "/404/" not in url]
    hanging = downloads.rows(run)[12:18]
    assert {row["status"] for row in hanging} == {"not_tried"}
    assert {row["error_class"] for row in hanging} == {None}
    before = sum(server.visits.values())
    assert download(run, recipe).chosen == 11
    assert sum(server.visits.values()) == before
    _, more = downloads.ready_run(tmp_path, urls, 12, deadline=1.0, processes=2, retries=0)
    assert download(run, more).failures == {"http_404": 23, "timeout": 6}


def test_rows_left_when_there_were_enough_are_tried_when_there_are_not(
    server: hostile.HostileServer, tmp_path: Path
) -> None:
    urls = [f"{server.base}/{'slow-but-fine' if n > 4 else 'good'}/m{n}.jpg" for n in range(20)]
    run, recipe = downloads.ready_run(tmp_path, urls, 4, deadline=20.0)
    assert download(run, recipe).chosen == 4
    _, more = downloads.ready_run(tmp_path, urls, 15, deadline=20.0)
    assert download(run, more).chosen == 15
    assert downloads.chosen(run) == urls[:15]


@pytest.mark.parametrize(
    ("asked", "candidates", "size"),
    [(None, 20, 10), (None, 800, 100), (None, 8000, 1000), (None, 10**6, 1000), (1000, 20, 1000)],
)
def test_shards_are_of_the_size_of_the_job(asked: int | None, candidates: int, size: int) -> None:
    assert fitting_shard_size(asked, candidates) == size

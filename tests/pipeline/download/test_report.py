"""What a person is told of a download: the live line, and the report with the keys of the first release."""

from pathlib import Path

import downloads

from visunex.base.progress import Progress
from visunex.pipeline.download.candidates import load_candidates
from visunex.pipeline.download.choose import Result
from visunex.pipeline.download.messages import ShardProgress
from visunex.pipeline.download.plan import Plan
from visunex.pipeline.download.report import DownloadReport, Effort, LiveLine, report_on
from visunex.pipeline.download.results import Results


def plan_for(path: Path, rows: int = 25, target: int = 20) -> Plan:
    run, recipe = downloads.ready_run(path, [f"http://a/{row}" for row in range(rows)], target)
    return Plan(run, recipe.download, load_candidates(run.selected, recipe.download), target)


def progress(shard: int, attempted: int, succeeded: int, received: int, **failures: int) -> ShardProgress:
    return ShardProgress(shard, attempted, succeeded, received, failures, ())


def test_the_live_line_adds_up_the_shards_of_a_round() -> None:
    effort, shown = Effort(), Progress("download", 20)
    line = LiveLine(shown, 20, effort)
    line.begin_round(5)
    line.show(progress(0, 4, 2, 1000, http_404=2))
    line.show(progress(1, 4, 4, 3000))
    line.show(progress(0, 8, 5, 2000, http_404=2, timeout=1))
    assert shown.done == 14
    assert shown.note.startswith("75 % of links alive, ")
    assert shown.note.endswith(" MB/s, http_404 2, timeout 1")
    line.end_round()
    assert effort.received == 5000
    line.begin_round(18)
    line.show(progress(2, 9, 9, 10))
    assert shown.done == 20  # never more than were asked for
    line.end(20)
    assert (shown.done, shown.note) == (20, "")


def test_the_report_counts_what_became_of_the_candidates(tmp_path: Path, monkeypatch) -> None:
    plan = plan_for(tmp_path)
    images = [Result(rank, f"http://a/{rank}", "success", None, f"{rank // 2}", None) for rank in range(8)]
    failed = [
        Result(rank, f"http://a/{rank}", "failed_to_download", "http_404: gone", None, None)
        for rank in range(8, 12)
    ]
    results = Results(plan)
    monkeypatch.setattr(
        "visunex.pipeline.download.results.read_shard",
        lambda _folder, shard: [each for each in images + failed if each.rank // 10 == shard],
    )
    results.read([1, 0])
    effort = Effort(shards=1, images=3, rounds=2, received=1_500_000)
    assert results.chosen() == 4
    assert (results.downloaded([0, 1]), results.downloaded([1])) == (8, 0)
    assert results.chosen(first=0) == 0
    report = report_on(plan, results, results.statuses(), effort, {"link": 1})
    assert report.status_counts == {"chosen": 4, "duplicate": 4, "http_404": 4}
    assert (report.attempted, report.downloaded, report.shards, report.shards_made_now) == (12, 8, 2, 1)
    assert report.failures == {"http_404": 4}
    assert report.megabytes == 1.5
    assert "members of the tar left out: link" in report.as_text()


def test_the_keys_of_the_json_are_those_of_the_first_release() -> None:
    report = DownloadReport(20, 25, 12, 8, 4, 1, {"chosen": 4}, 2, 1, 2, 1.5, 1.0, 3.0, False)
    assert list(report.as_dict()) == [
        "target", "candidates", "attempted", "had", "chosen", "min_images", "classes", "shards",
        "shards_made_now", "rounds", "megabytes", "seconds", "pictures_per_second", "insecure", "left_out",
        "withdrawn",
    ]  # fmt: skip


def test_the_limits_of_a_host_hold_for_all_processes_together(tmp_path: Path) -> None:
    urls = ["http://a/1"]
    run, recipe = downloads.ready_run(
        tmp_path, urls, 1, processes=4, host_connections=8, host_rate=2.0, deadline=10
    )
    plan = Plan(run, recipe.download, load_candidates(run.selected, recipe.download), 1)
    fetch = plan.maker_settings(None).fetch
    assert (fetch.host_connections, fetch.host_rate) == (2, 0.5)
    assert plan.patience == 2 * 10 + 60 + 300 + 2 * 4 / 2.0

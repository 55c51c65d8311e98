"""`report.html` says what `report.json` says, and a stranger's text stays text."""

import re
from pathlib import Path

import pytest

from visunex.pipeline.report import render, reported, write_page
from visunex.pipeline.rundir import RunDir


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return RunDir(tmp_path / "run")


def test_the_page_shows_the_reports_of_all_stages(run: RunDir) -> None:
    run.record("filter", {"rows_read": 10, "dropped": {"no keyword": 7, "score": 1}})
    run.record(
        "encode", {"images": 2, "model": "<ViT>", "seconds": 0.123456, "notes": ["a", "b"], "none": None}
    )
    write_page(run)
    page = run.report_page.read_text()
    assert "no keyword" in page
    assert "&lt;ViT&gt;" in page
    assert "0.1235" in page
    assert re.findall("<h2>(.*)</h2>", page) == ["filter", "encode"]
    assert "<td>rows read</td><td>10</td>" in page
    assert re.findall(r'div style="width:([\d.]+)%', page) == ["100.0", "100.0", "14.3"]
    assert "<td>notes</td><td>a, b</td>" in page
    assert "<td>none</td><td>-</td>" in page


def test_whatever_strangers_wrote_is_text() -> None:
    """Keys, values, stages and the run's name may all come from outside."""
    evil = '<script>alert(\'"&")</script>{{ 7 * 7 }}'
    page = render(evil, {evil: {evil: evil, "list": [evil], "table": {evil: 3}, "deep": {"a": {evil: evil}}}})
    assert "<script" not in page
    assert page.count("&lt;script&gt;alert(") == 9
    assert "49" not in page
    assert "{{ 7 * 7 }}" in page


def test_the_same_reports_are_the_same_page() -> None:
    reports = {"filter": {"rows": 3, "dropped": {"a": 1, "b": 0}}, "encode": {"seconds": 1.0}}
    assert render("run", reports) == render("run", reports)
    assert render("run", {}).count("<h2>") == 0


def test_the_page_follows_what_a_block_records_also_when_it_fails(run: RunDir) -> None:
    with reported(run):
        pass
    assert not run.report_page.exists()  # nothing was done
    with pytest.raises(ZeroDivisionError), reported(run):
        run.record("filter", {"rows": 3})
        raise ZeroDivisionError
    first = run.report_page.stat()
    assert "<td>rows</td><td>3</td>" in run.report_page.read_text()
    with reported(run):  # as it was: the page is left alone
        pass
    assert run.report_page.stat() == first
    run.report_page.unlink()
    with reported(run):
        pass
    assert run.report_page.exists()


def test_a_page_that_cannot_be_written_does_not_hide_why_the_stage_failed(run: RunDir) -> None:
    run.report_page.mkdir(parents=True)
    with pytest.raises(ZeroDivisionError), reported(run):
        run.record("filter", {"rows": 3})
        raise ZeroDivisionError
    with pytest.raises(OSError, match=r"report\.html"), reported(run):
        run.record("filter", {"rows": 4})

"""A run folder is trustworthy: one process at a time, nothing old mixed with new, nothing half-written."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from visunex.pipeline.errors import PipelineError, RunBusyError, StaleRunError
from visunex.pipeline.rundir import RunDir


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return RunDir(tmp_path / "run")


def test_a_second_process_is_told_who_holds_the_folder(run: RunDir) -> None:
    program = (
        "import sys; from pathlib import Path; from visunex.pipeline.rundir import RunDir\n"
        "with RunDir(Path(sys.argv[1])).locked(): print('held', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", program, str(run.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(RunBusyError, match=f"process {holder.pid} on "), run.locked():
            pass
        holder.kill()
    with run.locked():  # a killed holder holds nothing
        pass


def test_taking_the_lock_sweeps_what_a_killed_process_left(run: RunDir) -> None:
    leftover = run.path / "shards" / ".00001.tar.visunex-tmp"
    leftover.parent.mkdir(parents=True)
    leftover.write_bytes(b"half")
    with run.locked():
        assert not leftover.exists()


def test_a_file_is_no_run_folder(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("")
    with pytest.raises(PipelineError, match="is a file"), RunDir(tmp_path / "run").locked():
        pass


def test_other_settings_are_refused_until_overwritten(run: RunDir) -> None:
    run.begin("filter", {"keywords": ("a",), "top": 5}, overwrite=False)
    run.selected.write_text("old")
    run.begin("filter", {"keywords": ("a",), "top": 5}, overwrite=False)
    with pytest.raises(StaleRunError, match=r"selected\.parquet .*\(keywords changed"):
        run.begin("filter", {"keywords": ("b",), "top": 5}, overwrite=False)
    assert run.selected.read_text() == "old"
    run.begin("filter", {"keywords": ("b",), "top": 5}, overwrite=True)
    assert not run.selected.exists()
    assert run.made_from("filter") == {"keywords": ["b"], "top": 5}


def test_settings_may_change_while_nothing_was_made(run: RunDir) -> None:
    run.begin("encode", {"model": "a"}, overwrite=False)
    first = run.identity("encode")
    run.begin("encode", {"model": "b"}, overwrite=False)
    assert run.identity("encode") not in (None, first)


def test_files_of_a_peer_have_no_stamp_and_are_accepted(run: RunDir) -> None:
    run.shards.mkdir(parents=True)
    assert run.identity("download") is None
    run.begin("download", {"selection": "x"}, overwrite=False)
    assert run.shards.is_dir()


def test_overwriting_a_stage_removes_its_folders(run: RunDir) -> None:
    run.begin("download", {"selection": "x"}, overwrite=False)
    (run.shards / "00000.tar").parent.mkdir()
    (run.shards / "00000.tar").write_bytes(b"")
    run.begin("download", {"selection": "x"}, overwrite=True)
    assert not run.shards.exists()


def test_reports_of_all_stages_stand_side_by_side(run: RunDir) -> None:
    run.record("filter", {"rows_read": 10, "dropped": {"no keyword": 7, "score": 1}})
    run.record(
        "encode", {"images": 2, "model": "<ViT>", "seconds": 0.123456, "notes": ["a", "b"], "none": None}
    )
    assert list(json.loads(run.report.read_text())) == ["filter", "encode"]
    assert not run.report_page.exists()  # that is the commands' to write

"""A run killed at any instant resumes to the same result; `python tests/kill_resume.py` does so often."""

import importlib.util
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from s3_server import BUCKET

from visunex.base.storage import Store

_spec = importlib.util.spec_from_file_location("kill_resume", Path(__file__).with_name("kill_resume.py"))
assert _spec is not None
assert _spec.loader is not None
kill_resume = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(kill_resume)


def test_a_killed_run_resumes_to_the_same_result(tmp_path: Path) -> None:
    assert len(kill_resume.trials(tmp_path, times=2, seed=8)) == 3


def test_the_comparison_notices_a_difference() -> None:
    import torch

    one = kill_resume.Outcome(b"a", {"k": "x"}, torch.tensor([[1.0, 0.0]]))
    for other in (
        kill_resume.Outcome(b"b", {"k": "x"}, one.embedding),
        kill_resume.Outcome(b"a", {"k": "y"}, one.embedding),
        kill_resume.Outcome(b"a", {"k": "x"}, torch.tensor([[1.0, 0.01]])),
    ):
        with pytest.raises(AssertionError):
            kill_resume.compare(one, other)


SERVER = """import sys, time; sys.path.insert(0, sys.argv[1]); import s3_server
with s3_server.s3_server() as address: print(address, flush=True); time.sleep(3600)"""


@pytest.mark.slow
def test_killed_drivers_and_a_bucket_that_goes_away_lose_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(run: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "visunex.pipeline", "run", *kill_resume.RECIPE, "--run", run]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    with start(str(tmp_path / "undisturbed")) as undisturbed:
        undisturbed.communicate(timeout=600)
    assert undisturbed.returncode == 0
    support, address = Path(__file__).parent / "support", f"s3://{BUCKET}/killed"
    command = [sys.executable, "-c", SERVER, str(support)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as far:
        try:
            assert far.stdout is not None
            monkeypatch.setenv("AWS_ENDPOINT_URL", far.stdout.readline().strip())
            for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
                monkeypatch.setenv(name, "x")
            monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
            monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
            for seconds in (4, 6, 9, 11, 13):
                driver = start(address)
                time.sleep(seconds)
                driver.kill()
                driver.communicate()
            driver = start(address)
            time.sleep(6)
            far.send_signal(signal.SIGSTOP)
            time.sleep(20)
            far.send_signal(signal.SIGCONT)
            said, _ = driver.communicate(timeout=600)
            assert driver.returncode == 0, said
            for name in ("selected.parquet", "embedding.pt"):
                assert Store(address).read(name) == (tmp_path / "undisturbed" / name).read_bytes()
        finally:
            far.kill()

"""A run killed at any instant resumes to the same result; `python tests/kill_resume.py` does so often."""

import importlib.util
from pathlib import Path

import pytest

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

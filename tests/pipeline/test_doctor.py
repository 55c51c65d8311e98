"""The look over the machine says what is there, what is not, and what to do."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from standin import Page, serving

from visunex.pipeline import doctor
from visunex.pipeline.cli import main


def test_doctor_finds_this_machine_usable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    result = CliRunner().invoke(main, ["doctor", "--json", "--run", str(tmp_path / "runs" / "new")])
    assert result.exit_code == 0, result.output
    findings = {each["what"]: each for each in json.loads(result.stdout)["findings"]}
    assert findings["torch"]["verdict"] == "ok"
    assert findings["download"]["verdict"] == "ok"
    assert findings["CLIP ViT-L-14"]["detail"].startswith("weights")
    assert "hub" not in findings  # nobody asked for a connection


def test_a_full_disk_and_a_missing_package_are_told_with_what_to_do(tmp_path: Path) -> None:
    missing = doctor._package("no-such-package-visunex")
    assert (missing.verdict, missing.advice) == ("fault", "pip install no-such-package-visunex")
    text = doctor.as_text([missing, doctor.Finding("disk", "ok", "plenty")])
    assert text.splitlines()[0].startswith("FAULT no-such-package-visunex")
    assert "-> pip install" in text


def test_a_fault_is_an_exit_status(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_PACKAGES", ("no-such-package-visunex",))
    result = CliRunner().invoke(main, ["doctor", "--run", str(tmp_path)])
    assert result.exit_code == 1
    assert "FAULT" in result.stdout


def test_an_unreachable_hub_is_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://hub.invalid")
    finding = doctor._hub()
    assert finding.verdict == "note"
    assert "hub.invalid cannot be reached: its name is unknown" in finding.detail


def test_the_hub_is_looked_for_by_the_proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://hub.invalid")
    with serving({"http://hub.invalid/": Page(b"here")}) as proxy:
        asked = ["doctor", "--online", "--run", str(tmp_path), "--proxy", proxy.address]
        result = CliRunner().invoke(main, asked)
    assert "http://hub.invalid answers (HTTP 200)" in result.stdout

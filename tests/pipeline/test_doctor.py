"""The look over the machine says what is there, what is not, and what to do."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from standin import Page, serving

from visunex.base.hub_cache import DEFAULT_MODEL, DEFAULT_MODEL_FILES
from visunex.demo.tiny import SD_FOLDER
from visunex.generate.families.sd1.folder import load_folder
from visunex.pipeline import doctor
from visunex.pipeline.cli import main

COMMIT = "0123456789" * 4


def test_doctor_finds_this_machine_usable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    result = CliRunner().invoke(main, ["doctor", "--json", "--run", str(tmp_path / "runs" / "new")])
    assert result.exit_code == 0, result.output
    findings = {each["what"]: each for each in json.loads(result.stdout)["findings"]}
    assert findings["torch"]["verdict"] == "ok"
    assert findings["download"]["verdict"] == "ok"
    assert findings["CLIP ViT-L-14"]["detail"].startswith("weights")
    assert findings["Stable Diffusion"]["detail"].startswith("weights")
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


def in_cache(cache: Path, monkeypatch: pytest.MonkeyPatch, leave_out: str = "-") -> Path:
    """The Hub's cache with the default model's files, which here are those of `visunex-tiny`."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
    folder = cache / f"models--{DEFAULT_MODEL.replace('/', '--')}"
    snapshot = folder / "snapshots" / COMMIT
    for name in DEFAULT_MODEL_FILES:
        if leave_out not in name:
            (snapshot / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(SD_FOLDER / name, snapshot / name)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text(COMMIT)
    return snapshot


@pytest.mark.filterwarnings("ignore:The `local_dir_use_symlinks`")  # diffusers gives it to the Hub's client
def test_the_weights_of_stable_diffusion_that_are_here_are_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = in_cache(tmp_path, monkeypatch)
    size = sum(path.stat().st_size for path in snapshot.rglob("*.*"))
    finding = doctor._diffusion_weights()
    assert (finding.verdict, finding.detail) == (
        "ok",
        f"weights cached and whole, {size / 1e9:.1f} GB ({DEFAULT_MODEL})",
    )
    assert load_folder(DEFAULT_MODEL, torch.float32).unet is not None  # nothing else is loaded


@pytest.mark.parametrize(
    ("name", "damage", "said"),
    [
        (
            "unet/diffusion_pytorch_model.safetensors",
            lambda data: data[:-1],
            r"it has [\d,]+ bytes of [\d,]+",
        ),
        ("vae/diffusion_pytorch_model.safetensors", lambda data: data + b"0", "it has"),
        ("text_encoder/model.safetensors", lambda _: b"version https://git-lfs.github.com/spec", "broken"),
        ("text_encoder/model.safetensors", lambda _: b"", "broken download"),
        ("unet/config.json", lambda data: data[:40], "broken download"),
        ("tokenizer/merges.txt", lambda _: b"", "it is empty"),
    ],
)
def test_damaged_weights_are_a_fault(
    name: str,
    damage: Callable[[bytes], bytes],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = in_cache(tmp_path, monkeypatch) / name
    path.write_bytes(damage(path.read_bytes()))
    finding = doctor._diffusion_weights()
    assert finding.verdict == "fault"
    assert re.search(f"{re.escape(str(path))}: .*{said}", finding.detail)
    assert finding.advice.endswith(f"rm {path}")


def test_weights_saved_by_torch_take_the_place_of_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    twin = in_cache(tmp_path, monkeypatch, "text_encoder/model") / "text_encoder" / "pytorch_model.bin"
    torch.save({"weights": torch.zeros(9)}, twin)
    assert doctor._diffusion_weights().verdict == "ok"
    twin.write_bytes(twin.read_bytes()[:-30])
    assert "its end is missing" in doctor._diffusion_weights().detail


def test_what_is_not_here_is_fetched_from_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setenv("HF_ENDPOINT", "https://mirror.example/")
    in_cache(tmp_path, monkeypatch, "unet/diffusion")
    finding = doctor._diffusion_weights()
    assert finding.verdict == "note"
    assert "cached in part, without unet/diffusion_pytorch_model.safetensors; " in finding.detail
    assert f"fetches 3.4 GB from https://mirror.example/{DEFAULT_MODEL}" in finding.detail
    assert "give the folder with --model" in finding.advice
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(1, 1, 10**9))
    assert "1.0 GB are free" in doctor._diffusion_weights().advice
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert "is not asked, as HF_HUB_OFFLINE is set" in doctor._diffusion_weights().detail

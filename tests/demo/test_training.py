"""The training scripts run, resume, and write folders that load; how good models get is tested elsewhere."""

from pathlib import Path

import open_clip
import pytest
import torch
from diffusers import StableDiffusionPipeline

from visunex.demo import train_clip, train_diffusion
from visunex.demo.training import Checkpoint, Clock, draw_scenes, fit, learning_rate, to_unit


def test_pictures_in_bulk_are_repeatable() -> None:
    scenes, pictures = draw_scenes(5, seed=3)
    again, same = draw_scenes(5, seed=3)
    assert scenes == again
    assert (pictures == same).all()
    unit = to_unit(pictures)
    assert unit.shape == (5, 3, 64, 64)
    assert -1 <= unit.min() < unit.max() <= 1


def test_the_learning_rate_rises_then_falls() -> None:
    rates = [learning_rate(share / 100, peak=1.0) for share in range(101)]
    top = rates.index(max(rates))
    assert 0 < top < 5
    assert rates[:top] == sorted(rates[:top])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert rates[-1] == pytest.approx(0.02)


def test_the_clock_counts_what_was_spent_before() -> None:
    assert Clock(1, spent=30).share == pytest.approx(0.5, abs=0.05)
    assert Clock(1, spent=600).share == 1


def test_so_many_steps_make_the_same_weights(tmp_path: Path) -> None:
    def fitted() -> torch.Tensor:
        torch.manual_seed(0)
        line = torch.nn.Linear(2, 1)
        (tmp_path / "line.pt").unlink(missing_ok=True)
        fit(
            line,
            lambda: line(torch.rand(4, 2)).square().mean(),
            tmp_path / "line.pt",
            0,
            peak_rate=0.1,
            steps=3,
        )
        return line.weight

    assert torch.equal(fitted(), fitted())
    assert torch.load(tmp_path / "line.pt", weights_only=True)["step"] == 3


def fitted(checkpoint: Path, seconds: float) -> torch.nn.Linear:
    torch.manual_seed(0)
    line = torch.nn.Linear(1, 1)
    x = torch.linspace(-1, 1, 64).unsqueeze(1)
    fit(line, lambda: (line(x) - 3 * x - 1).square().mean(), checkpoint, seconds / 60, peak_rate=0.05)
    return line


def test_fit_learns_and_goes_on_where_it_stopped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint = tmp_path / "line.pt"
    line = fitted(checkpoint, seconds=2)
    assert line.weight.item() == pytest.approx(3, abs=0.1)
    assert line.bias.item() == pytest.approx(1, abs=0.1)
    assert "line step" in capsys.readouterr().err
    again = fitted(checkpoint, seconds=1)  # the time is used up: the same weights, no step more
    assert torch.equal(again.weight, line.weight)
    assert list(tmp_path.iterdir()) == [checkpoint]


def test_a_fresh_checkpoint_changes_nothing(tmp_path: Path) -> None:
    line = torch.nn.Linear(1, 1)
    before = line.weight.clone()
    assert Checkpoint(tmp_path / "none.pt", {"model": line}).load() == (0, 0.0)
    assert torch.equal(line.weight, before)


def test_both_scripts_write_folders_that_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train_diffusion, "CAPTIONS_EACH", 1)
    texts = train_clip.vocabulary_texts(count=200)
    monkeypatch.setattr(train_clip, "vocabulary_texts", lambda: texts)
    monkeypatch.setattr(train_clip, "accuracy", lambda *_: 0.0)
    threads = str(torch.get_num_threads())
    short = ["--out", str(tmp_path), "--pictures", "16", "--threads", threads]
    train_clip.main([*short, "--checkpoint", str(tmp_path / "clip.pt"), "--minutes", "0.001"])
    minutes = [f"--{part}-minutes=0.001" for part in ("vae", "unet", "decoder")]
    train_diffusion.main([*short, "--checkpoints", str(tmp_path), *minutes])

    clip = open_clip.create_model(f"local-dir:{tmp_path / 'clip'}")
    assert clip.encode_text(open_clip.get_tokenizer(f"local-dir:{tmp_path / 'clip'}")("flower")).shape == (
        1,
        768,
    )
    train_clip.main([*short, "--judge", "--checkpoint", str(tmp_path / "judge.pt"), "--steps", "2"])
    judge = open_clip.create_model(f"local-dir:{tmp_path / 'judge'}")
    assert judge.encode_image(torch.zeros(1, 3, 64, 64)).shape == (1, 256)
    pipeline = StableDiffusionPipeline.from_pretrained(tmp_path / "sd")
    pipeline.set_progress_bar_config(disable=True)
    assert pipeline("a castle", height=64, width=64, num_inference_steps=2).images[0].size == (64, 64)

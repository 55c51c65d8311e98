"""`visunex-generate` with Stable Diffusion 3 and FLUX.1: the model's own sampling, records, and refusals."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image
from safetensors.torch import save_file

from visunex.generate.cli import main
from visunex.generate.output.png_text import read_record

Generate = Callable[..., Result]
SMALL = ("--H", "32", "--W", "32", "--device", "cpu")
TASTE = ("--aesthetic_embedding", "taste.pt", "--aesthetic_steps", "2", "--aesthetic_lr", "1e-3")


@pytest.fixture
def generate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generate:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    torch.save(torch.randn(1, 24, generator=torch.Generator().manual_seed(1)), "taste.pt")
    return lambda *options: CliRunner().invoke(main, [*map(str, options)])


def test_it_is_sampled_as_the_model_is_and_made_again_bit_for_bit(
    generate: Generate, folders: dict[str, Path]
) -> None:
    made = generate("--model", folders["schnell"], "--prompt", "a castle", *SMALL, *TASTE)
    assert made.exit_code == 0, made.output
    record = read_record(Path("outputs/samples/00000.png"))
    settings = record.settings
    assert (settings.scheduler, settings.steps, settings.guidance_scale) == ("EulerDiscrete", 4, 1.0)
    assert (settings.height, settings.width) == (32, 32)
    assert "an experiment" in made.output
    again = generate("--from-image", "outputs/samples/00000.png", "--outdir", "again", "--device", "cpu")
    assert again.exit_code == 0, again.output
    first, second = (np.asarray(Image.open(f"{place}/samples/00000.png")) for place in ("outputs", "again"))
    assert np.array_equal(first, second)


def test_a_sweep_and_the_options_own_sampling(generate: Generate, folders: dict[str, Path]) -> None:
    sampled = ("--scheduler", "DPM++ 2M", "--ddim_steps", 3, "--scale", 2, "--negative_prompt", "fog")
    taste = ("--aesthetic_embedding", "wide.pt", "--aesthetic_lr", "1e-3", "--sweep-steps", "0,2")
    torch.save(torch.randn(1, 40, generator=torch.Generator().manual_seed(1)), "wide.pt")
    made = generate("--model", folders["sd3"], "--prompt", "a castle", *SMALL, *sampled, *taste)
    assert made.exit_code == 0, made.output
    plain, moved = (np.asarray(Image.open(f"outputs/samples/0000{n}.png")) for n in (0, 1))
    assert not np.array_equal(plain, moved)
    settings = read_record(Path("outputs/samples/00001.png")).settings
    assert (settings.scheduler, settings.steps, settings.guidance_scale) == ("DPMSolverMultistep", 3, 2.0)


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("sd3", ("--plms",), "goes along a flow, and PLMS does not: --scheduler Euler, DPM++ 2M, UniPC"),
        ("sd3", ("--prediction", "v"), "--prediction is for Stable Diffusion 1, 2 and XL"),
        ("sd3", ("--lora", "x.safetensors"), "files are added to Stable Diffusion 1, 2 and XL"),
        ("sd3", ("--method", "pooled", *TASTE), "--method pooled is for SDXL"),
        ("sd3", ("--text-encoder", "openai"), "is of the family Stable Diffusion 3"),
        ("flux", ("--negative_prompt", "fog"), "takes no negative prompt: leave --negative_prompt out"),
        ("flux", ("--clip_skip", "2"), "leave --clip_skip 2 out"),
        ("flux", ("--W", "33"), "--W is 33: it must be a multiple of 4, such as 32 or 36"),
        ("flux", ("--prompt-syntax", "webui"), "T5 beside CLIP"),
    ],
)
def test_what_it_has_nothing_for_is_said_before_it_is_loaded(
    generate: Generate, folders: dict[str, Path], name: str, options: tuple[str, ...], said: str
) -> None:
    save_file({"x": torch.zeros(1)}, "x.safetensors")
    result = generate("--model", folders[name], "--prompt", "a castle", *SMALL, *options)
    assert result.exit_code in (1, 2), result.output
    assert said in " ".join(result.output.split())
    assert "Loading" not in result.output

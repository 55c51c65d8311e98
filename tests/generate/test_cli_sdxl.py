"""`visunex-generate` with an SDXL model: pictures, records, sweeps and refusals as for any other."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import save_file
from sdxl_models import G, L, in_one_file

from visunex.generate.cli import main
from visunex.generate.output.png_text import read_record

Generate = Callable[..., Result]


@pytest.fixture
def generate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, xl_folder: Path) -> Generate:
    """Run the command in a folder of its own on the tiny model, two steps of a tiny picture."""
    monkeypatch.chdir(tmp_path)
    for size in (L, G, 512):
        torch.save(torch.randn(1, size, generator=torch.Generator().manual_seed(size)), f"{size}.pt")

    def run(*options: object, model: Path | None = xl_folder) -> Result:
        tiny = [] if model is None else ["--model", str(model), "--device", "cpu", "--ddim_steps", "2"]
        return CliRunner().invoke(main, [*tiny, *map(str, options)])

    return run


def pixels(path: str) -> NDArray[np.uint8]:
    with Image.open(path) as image:
        return np.asarray(image)


def test_a_picture_in_a_taste_is_made_again_bit_for_bit(generate: Generate) -> None:
    taste = ("--aesthetic_embedding", f"{G}.pt", "--aesthetic_steps", 2, "--aesthetic_lr", 1e-3)
    made = generate("--prompt", "a castle", "--negative_prompt", "fog", *taste)
    assert made.exit_code == 0, made.output
    record = read_record(Path("outputs/samples/00000.png"))
    assert record.taste is not None
    assert (record.taste.name, record.settings.height) == (f"{G}.pt", 64)
    again = generate("--from-image", "outputs/samples/00000.png", "--outdir", "again", model=None)
    assert again.exit_code == 0, again.output
    assert np.array_equal(pixels("again/samples/00000.png"), pixels("outputs/samples/00000.png"))
    plain = generate("--prompt", "a castle", "--negative_prompt", "fog", "--outdir", "plain")
    assert plain.exit_code == 0, plain.output
    assert not np.array_equal(pixels("plain/samples/00000.png"), pixels("outputs/samples/00000.png"))


def test_a_sweep_over_both_encoders_and_the_steps(generate: Generate) -> None:
    result = generate(
        *(
            "--prompt",
            "a castle",
            "--sweep-embeddings",
            f"{L}.pt,{G}.pt",
            "--sweep-steps",
            "0,2",
            "--skip_save",
        )
    )
    assert result.exit_code == 0, result.output
    assert Path("outputs/grid-0000.png").is_file()


def test_low_memory_and_a_list_of_prompts(generate: Generate) -> None:
    Path("prompts.txt").write_text("a castle\na ship\n", encoding="utf-8")
    for folder, more in (("all", ()), ("parts", ("--lowvram",))):
        result = generate("--from-file", "prompts.txt", "--n_samples", 2, "--outdir", folder, *more)
        assert result.exit_code == 0, result.output
    for name in ("00000", "00001"):
        both = [pixels(f"{folder}/samples/{name}.png").astype(int) for folder in ("all", "parts")]
        assert np.abs(both[0] - both[1]).max() <= 2  # the VAE decodes each by itself


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (("--text-encoder", "openai"), 2, "--text-encoder openai is for Stable Diffusion 1.x"),
        (("--aesthetic_embedding", "512.pt"), 1, "512.pt is 1x512 (ViT-B-32), "),
        (("--H", 100), 2, "--H is 100: it must be a multiple of 8"),
    ],
)
def test_what_does_not_fit_is_refused(
    generate: Generate, options: tuple[object, ...], code: int, said: str
) -> None:
    result = generate("--prompt", "a castle", *options)
    assert (result.exit_code, said in result.output) == (code, True), result.output
    assert not Path("outputs").exists()


def test_a_model_without_room_is_refused_before_it_is_read(
    generate: Generate, monkeypatch: pytest.MonkeyPatch, xl_folder: Path
) -> None:
    from visunex.generate.families import loading

    save_file(in_one_file(xl_folder), "xl.safetensors")
    monkeypatch.setattr(loading, "free_memory", lambda: 10**7)
    monkeypatch.setattr(loading, "read_weights", lambda path: pytest.fail("it was read"))
    result = generate("--prompt", "a castle", "--H", 64, "--W", 64, model=Path("xl.safetensors"))
    assert result.exit_code == 1, result.output
    assert "GB of memory on the CPU and 0.0 GB are free" in result.output


def test_how_many_numbers_a_model_has(xl_folder: Path) -> None:
    from visunex.generate.families.loading import load
    from visunex.generate.families.outline import outline

    model: Any = load(str(xl_folder), device="cpu")
    found = outline(str(xl_folder))
    assert found is not None
    own = [value for part in model.networks for value in part.parameters()] + [model.own_projection]
    assert found.weights == sum(value.numel() for value in own)


def test_over_a_picture_and_a_mask_is_made_again(generate: Generate, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save("photo.png")
    Image.fromarray(noise[..., 0]).save("mask.png")
    over = ("--init-img", "photo.png", "--mask", "mask.png", "--strength", 0.9, "--aesthetic_steps", 1)
    tastes = ("--aesthetic_embedding", f"{G}.pt=0.7", "--aesthetic_embedding", f"{L}.pt=-0.5")
    controls = (
        "--aesthetic_weight",
        0.5,
        "--aesthetic_from",
        0.2,
        "--clip_skip",
        2,
        "--aesthetic_until",
        "+0.001",
    )
    made = generate("--prompt", "a castle", *over, *tastes, *controls, "--n_samples", 2)
    assert made.exit_code == 0, made.output
    record = read_record(Path("outputs/samples/00001.png"))
    assert record.start is not None
    assert [each.weight for each in record.tastes] == [0.7, -0.5]
    assert {climb.part for climb in record.climbs} == {"text_encoder", "text_encoder_2"}
    again = generate("--from-image", "outputs/samples/00001.png", "--outdir", "again", model=None)
    assert again.exit_code == 0, again.output
    assert np.array_equal(pixels("again/samples/00000.png"), pixels("outputs/samples/00001.png"))
    Image.fromarray(255 - noise).save("photo.png")
    changed = generate("--from-image", "outputs/samples/00001.png", model=None)
    assert changed.exit_code == 1
    assert "photo.png has changed since" in changed.output

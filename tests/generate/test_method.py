"""`visunex-generate --method`: a taste as SDXL's pooled vector, and what is refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image
from sdxl_models import G, L

from visunex.aesthetic_embeddings import save
from visunex.generate import Sampler, Taste
from visunex.generate.adapters import pooled
from visunex.generate.cli import main
from visunex.generate.controls import Controls, Steering

OF = 24  # dimensions of what the adapters take
Generate = Callable[..., Result]


@pytest.fixture
def generate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generate:
    """Run the command in a folder of its own, with tastes of several sizes in it."""
    monkeypatch.chdir(tmp_path)
    for size in (OF, L, G):
        drawn = torch.randn(1, size, generator=torch.Generator().manual_seed(size)).numpy()
        save(Path(f"{size}.pt"), drawn, {"checks": {"image_norm": 7.0}})
        save(Path(f"contrast{size}.pt"), drawn, {"reduction": "contrast"})

    def run(*options: object) -> Result:
        return CliRunner().invoke(main, ["--device", "cpu", "--ddim_steps", "2", *map(str, options)])

    return run


def picture(folder: str, number: int = 0) -> Any:
    with Image.open(f"{folder}/samples/{number:05}.png") as image:
        return np.asarray(image), json.loads(image.info["visunex"]), image.info["parameters"]


def test_the_pooled_vector_is_as_by_hand(xl_folder: Path, generate: Generate) -> None:
    sampler = Sampler.load(xl_folder, device="cpu")
    steering = Steering(((Taste.load(f"{G}.pt"), 1.0),), Controls(blend=0.3), "pooled")
    found = sampler.conditioner.prompt("a castle", steering)
    by_hand = pooled(sampler.model.pipeline(), "a castle", f"{G}.pt", weight=0.3)
    assert torch.equal(found.pooled, by_hand["pooled_prompt_embeds"])
    assert torch.equal(found.hidden, by_hand["prompt_embeds"])


def test_a_picture_by_its_pooled_vector_is_made_again(xl_folder: Path, generate: Generate) -> None:
    how = ("--model", xl_folder, "--prompt", "a castle", "--aesthetic_embedding", f"{G}.pt")
    idle = ("--aesthetic_lr", 0.01)
    made = generate(*how, "--method", "pooled", "--sweep-weights", "0,1", "--skip_grid", *idle)
    assert made.exit_code == 0, made.output
    assert "--aesthetic_lr has no effect beside --method" in made.output
    assert generate(*how[:4], "--outdir", "plain").exit_code == 0
    plain, none, whole = picture("plain"), picture("outputs", 0), picture("outputs", 1)
    assert np.array_equal(plain[0], none[0])
    assert not np.array_equal(plain[0], whole[0])
    assert whole[1]["aesthetic_method"] == "pooled"
    assert "Aesthetic" not in whole[2]
    again = generate("--from-image", "outputs/samples/00001.png", "--outdir", "again")
    assert again.exit_code == 0, again.output
    assert np.array_equal(picture("again")[0], whole[0])


SD1, XL = "clip_folder", "xl_folder"
REFUSED: list[tuple[str, tuple[object, ...], str]] = [
    (XL, ("pooled", f"{L}.pt"), f"{L}.pt is 1x{L}, SDXL's pooled vector takes 1x{G}"),
    (SD1, ("pooled", f"{G}.pt"), "--method pooled is for SDXL"),
    (SD1, ("unclip", f"{G}.pt"), "--method unclip is for Kandinsky and Stable unCLIP"),
    (XL, ("pooled", f"{G}.pt", "--sweep-steps", "0,5"), "--sweep-steps is for --method steer"),
    (XL, ("pooled", f"{G}.pt=0.5"), "takes one taste"),
]


@pytest.mark.parametrize(("model", "options", "said"), REFUSED, ids=[each[2][:40] for each in REFUSED])
def test_what_does_not_go_together_is_refused_by_name(
    generate: Generate,
    model: str,
    options: tuple[Any, ...],
    said: str,
    request: pytest.FixtureRequest,
) -> None:
    method, taste, *more = options
    result = generate(
        *("--model", request.getfixturevalue(model), "--prompt", "a castle", "--H", 64, "--W", 64),
        *("--method", method, "--aesthetic_embedding", taste, *more),
    )
    assert result.exit_code in (1, 2)
    assert said in result.output.replace("\n", " ")
    assert not Path("outputs").exists()

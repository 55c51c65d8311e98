"""`visunex-generate --method`: a taste as SDXL's pooled vector, or for an IP-Adapter, and what is refused."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from adapter_files import adapter, flat
from click.testing import CliRunner, Result
from PIL import Image
from safetensors.torch import save_file
from sdxl_models import G, L

from visunex.aesthetic_embeddings import save
from visunex.base.files import sha256_file
from visunex.generate import Sampler, Settings, Taste
from visunex.generate.adapters import ip_adapter, pooled
from visunex.generate.additions import Additions
from visunex.generate.cli import main
from visunex.generate.controls import Controls, Steering

OF = 24  # dimensions of what the adapters take
Generate = Callable[..., Result]


@pytest.fixture(scope="session")
def files(clip_folder: Path, xl_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with adapters for both models, and one that is not plain."""
    folder = tmp_path_factory.mktemp("adapters")
    for name, model in (("sd1", clip_folder), ("xl", xl_folder)):
        values = flat(adapter(Sampler.load(model, device="cpu").model.unet, of=OF))
        save_file(values, folder / f"{name}.safetensors")
    save_file(values | {"image_proj.latents": torch.ones(1, 16, 8)}, folder / "plus.safetensors")
    return folder


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
    idle = ("--aesthetic_lr", 0.01, "--adapter", "none.safetensors")
    made = generate(*how, "--method", "pooled", "--sweep-weights", "0,1", "--skip_grid", *idle)
    assert made.exit_code == 0, made.output
    assert "--aesthetic_lr has no effect beside --method" in made.output
    assert "--adapter has no effect without --method ip-adapter" in made.output
    assert generate(*how[:4], "--outdir", "plain").exit_code == 0
    plain, none, whole = picture("plain"), picture("outputs", 0), picture("outputs", 1)
    assert np.array_equal(plain[0], none[0])
    assert not np.array_equal(plain[0], whole[0])
    assert whole[1]["aesthetic_method"] == "pooled"
    assert "Aesthetic" not in whole[2]
    again = generate("--from-image", "outputs/samples/00001.png", "--outdir", "again")
    assert again.exit_code == 0, again.output
    assert np.array_equal(picture("again")[0], whole[0])


def test_a_picture_with_an_ip_adapter_is_made_again(xl_folder: Path, files: Path, generate: Generate) -> None:
    shutil.copy(files / "xl.safetensors", "plain.safetensors")
    how = ("--model", xl_folder, "--prompt", "a castle")
    taste = ("--aesthetic_embedding", f"{OF}.pt", "--method", "ip-adapter", "--adapter", "plain.safetensors")
    made = generate(*how, *taste, "--sweep-weights", "0,0.6", "--skip_grid")
    assert made.exit_code == 0, made.output
    assert generate(*how, "--outdir", "plain").exit_code == 0
    plain, none, some = picture("plain"), picture("outputs", 0), picture("outputs", 1)
    assert np.array_equal(plain[0], none[0])
    assert not np.array_equal(plain[0], some[0])
    assert some[1]["aesthetic_method"] == "ip-adapter"
    assert some[1]["ip_adapter"]["sha256"] == sha256_file(Path("plain.safetensors"))
    again = generate("--from-image", "outputs/samples/00001.png", "--outdir", "again")
    assert again.exit_code == 0, again.output
    assert np.array_equal(picture("again")[0], some[0])
    shutil.copy(files / "sd1.safetensors", "plain.safetensors")
    changed = generate("--from-image", "outputs/samples/00001.png")
    assert changed.exit_code == 1
    assert "another file now" in changed.output


def test_an_adapters_vector_is_as_by_hand(clip_folder: Path, files: Path, generate: Generate) -> None:
    bare = Sampler.load(clip_folder, device="cpu")
    added = Additions.of(ip_adapter=files / "sd1.safetensors")
    sampler = Sampler.load(clip_folder, device="cpu", additions=added)
    steering = Steering(((Taste.load(f"{OF}.pt"), 1.0),), Controls(blend=0.6), "ip-adapter")
    found = sampler.conditioner.prompt("a castle", steering)
    (by_hand,) = ip_adapter(sampler.model.pipeline(), f"{OF}.pt", guidance=False)["ip_adapter_image_embeds"]
    assert found.image is not None
    assert torch.equal(found.image, by_hand)
    assert found.scale == 0.6
    assert float(by_hand.norm()) == pytest.approx(7, rel=1e-5)
    how = Settings(steps=2, height=64, width=64)
    drawn, plain, before = (
        next(given.sample("a castle", how, taste)).images[0].tobytes()
        for given, taste in ((sampler, steering), (sampler, None), (bare, None))
    )
    assert plain == before != drawn


SD1, XL = "clip_folder", "xl_folder"
REFUSED: list[tuple[str, tuple[object, ...], str]] = [
    (XL, ("pooled", f"{L}.pt"), f"{L}.pt is 1x{L}, SDXL's pooled vector takes 1x{G}"),
    (SD1, ("pooled", f"{G}.pt"), "--method pooled is for SDXL"),
    (SD1, ("unclip", f"{G}.pt"), "--method unclip is for Kandinsky and Stable unCLIP"),
    (SD1, ("ip-adapter", f"{OF}.pt"), "needs a plain IP-Adapter's file: --adapter"),
    (
        SD1,
        ("ip-adapter", f"{OF}.pt", "--adapter", "nothing.safetensors"),
        "nothing.safetensors cannot be read",
    ),
    (SD1, ("ip-adapter", f"{OF}.pt", "--adapter", "plus.safetensors"), "is an IP-Adapter Plus"),
    (
        SD1,
        ("ip-adapter", f"{OF}.pt", "--adapter", f"{OF}.pt"),
        "embedding, no plain IP-Adapter",
    ),
    (XL, ("ip-adapter", f"{OF}.pt", "--adapter", "sd1.safetensors"), "does not fit"),
    (SD1, ("ip-adapter", f"{G}.pt", "--adapter", "sd1.safetensors"), f"this IP-Adapter takes 1x{OF}"),
    (SD1, ("ip-adapter", f"contrast{OF}.pt", "--adapter", "sd1.safetensors"), "is a contrast"),
    (XL, ("pooled", f"{G}.pt", "--sweep-steps", "0,5"), "--sweep-steps is for --method steer"),
    (XL, ("pooled", f"{G}.pt=0.5"), "takes one taste"),
]


@pytest.mark.parametrize(("model", "options", "said"), REFUSED, ids=[each[2][:40] for each in REFUSED])
def test_what_does_not_go_together_is_refused_by_name(
    generate: Generate,
    files: Path,
    model: str,
    options: tuple[Any, ...],
    said: str,
    request: pytest.FixtureRequest,
) -> None:
    for file in files.iterdir():
        shutil.copy(file, file.name)
    method, taste, *more = options
    result = generate(
        *("--model", request.getfixturevalue(model), "--prompt", "a castle", "--H", 64, "--W", 64),
        *("--method", method, "--aesthetic_embedding", taste, *more),
    )
    assert result.exit_code in (1, 2)
    assert said in result.output.replace("\n", " ")
    assert not Path("outputs").exists()

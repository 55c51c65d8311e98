"""Over a picture and a mask: what diffusers' own pipelines draw of the conditioning that `steered` gives."""

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from PIL import Image

from visunex.generate import Controls, Sampler, Settings, Steering, Taste, steered
from visunex.generate.errors import UsageError
from visunex.generate.sampling.sampler import build_scheduler
from visunex.generate.start import Start

# numpy.array of a tensor, in diffusers' schedulers
pytestmark = pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")

SIDE = 64
SETTINGS = Settings(samples=2, steps=4, seed=7, height=SIDE, width=SIDE, scheduler="Euler", clip_skip=2)
PIPELINES = {
    ("sd1", None): diffusers.StableDiffusionImg2ImgPipeline,
    ("sd1", "mask"): diffusers.StableDiffusionInpaintPipeline,
    ("sdxl", None): diffusers.StableDiffusionXLImg2ImgPipeline,
    ("sdxl", "mask"): diffusers.StableDiffusionXLInpaintPipeline,
}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A picture of other proportions, and a mask that leaves its left half open."""
    folder = tmp_path_factory.mktemp("start")
    noise = np.random.default_rng(0).integers(0, 255, (4, 6, 3), dtype=np.uint8)
    Image.fromarray(noise).resize((96, 64), Image.Resampling.BICUBIC).save(folder / "photo.png")
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[:, : SIDE // 2] = 255
    Image.fromarray(mask).save(folder / "mask.png")
    return {"photo": folder / "photo.png", "mask": folder / "mask.png"}


@pytest.fixture(scope="module")
def samplers(model_folder: Path, xl_folder: Path) -> dict[str, Sampler]:
    folders = {"sd1": model_folder, "sdxl": xl_folder}
    return {name: Sampler.load(str(folder), device="cpu") for name, folder in folders.items()}


def taste(size: int) -> Taste:
    vector = torch.randn(1, size, generator=torch.Generator().manual_seed(size))
    return Taste("gardens", vector, steps=2, lr=1e-3)


@pytest.mark.parametrize("mask", [None, "mask"])
@pytest.mark.parametrize(("family", "size"), [("sd1", 64), ("sdxl", 128)])
def test_pictures_are_those_of_diffusers_own_pipeline(
    samplers: dict[str, Sampler], files: dict[str, Path], family: str, size: int, mask: str | None
) -> None:
    sampler, own = samplers[family], taste(size)
    start = Start(path=files["photo"], mask=files[mask] if mask else None, strength=0.75)
    steps: list[int] = []
    (batch,) = sampler.sample("a castle", SETTINGS, own, start=start, on_step=lambda: steps.append(1))
    assert len(steps) == sampler.evaluations("a castle", SETTINGS, start=start)
    model: Any = sampler.model
    parts = {"scheduler": build_scheduler(model, SETTINGS), **model.pipeline_options}
    parts |= {name: part for name, part in vars(model).items() if name in ("unet", "vae")}
    parts |= {name: part for name, part in vars(model).items() if name.startswith(("text_enc", "tokenizer"))}
    pipe = PIPELINES[family, mask](**parts)
    projection = {} if model.own_projection is None else {"text_projection": model.own_projection}
    given = steered(pipe, ["a castle"] * 2, own, clip_skip=1, **projection)
    image, masking = start.fitted(SIDE, SIDE)
    expected = pipe(
        **given,
        image=[image] * 2,
        **({"mask_image": [masking] * 2, "height": SIDE, "width": SIDE} if mask else {}),
        strength=0.75,
        num_inference_steps=4,
        guidance_scale=7.5,
        generator=[torch.Generator().manual_seed(7), torch.Generator().manual_seed(8)],
    ).images
    for ours, theirs in zip(batch.images, expected, strict=True):
        assert np.array_equal(np.asarray(ours), np.asarray(theirs))
    assert not np.array_equal(np.asarray(batch.images[0]), np.asarray(batch.images[1]))


def test_what_a_mask_leaves_out_stays_as_the_vae_has_it(files: dict[str, Path]) -> None:
    sampler = Sampler.load("visunex-tiny", device="cpu")
    start = Start(path=files["photo"], mask=files["mask"], strength=1.0)
    (batch,) = sampler.sample("a castle", Settings(steps=6), start=start)
    image, _ = start.fitted(SIDE, SIDE)
    values = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None] / 127.5 - 1
    with torch.no_grad():
        vae = sampler.model.vae
        there_and_back = vae.decode(vae.encode(values).latent_dist.mode()).sample
    own = ((there_and_back[0].permute(1, 2, 0).clamp(-1, 1) + 1) * 127.5).numpy()
    apart = np.abs(np.asarray(batch.images[0], dtype=float) - own)
    stays, anew = apart[:, 48:].mean(), apart[:, :32].mean()  # away from the mask's edge
    assert stays < 12  # of 255: pipelines draw latents from what the VAE is unsure of
    assert anew > 3 * stays


def test_a_share_of_none_and_a_weight_of_none_are_no_steering(
    samplers: dict[str, Sampler], files: dict[str, Path]
) -> None:
    sampler, own, start = samplers["sd1"], taste(64), Start(path=files["photo"])

    def drawn(steering: Steering | None, **more: Any) -> np.ndarray[Any, Any]:
        (batch,) = sampler.sample("a castle", SETTINGS, steering, **more)
        return np.stack([np.asarray(image) for image in batch.images])

    def steering(**controls: Any) -> Steering:
        return Steering(((own, 1.0),), Controls(**controls))

    for more in ({}, {"start": start}):
        plain, whole = drawn(None, **more), drawn(steering(), **more)
        assert not np.array_equal(plain, whole)
        for none in (steering(blend=0), steering(end=0), steering(begin=1)):
            assert np.array_equal(drawn(none, **more), plain)
        part = drawn(steering(begin=0.5), **more)
        assert not np.array_equal(part, plain)
        assert not np.array_equal(part, whole)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"path": "nowhere.png"}, "nowhere.png cannot be read"),
        ({"path": "/dev/zero"}, "is no file"),
        ({"path": __file__}, "is no picture"),
        ({"path": "x.png", "strength": 0}, "strength is 0"),
        ({"path": "x.png", "strength": "all"}, "strength is str"),
        ({"path": 3}, "path is int 3"),
    ],
)
def test_what_cannot_be_drawn_over_is_named(given: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        _ = Start(**given).image


@pytest.mark.parametrize("family", ["sd1", "sdxl"])
def test_a_denoiser_of_half_precision_beside_text_encoders_of_fp32(
    samplers: dict[str, Sampler], files: dict[str, Path], family: str
) -> None:
    """As on a GPU; the pipelines would go by the text encoders' precision if they had them."""
    model: Any = samplers[family].model
    half = {name: copy.deepcopy(getattr(model, name)).to(torch.bfloat16) for name in ("unet", "vae")}
    sampler, start = Sampler(replace(model, **half)), Start(path=files["photo"])
    (whole,) = samplers[family].sample("a castle", SETTINGS, start=start)
    (batch,) = sampler.sample("a castle", SETTINGS, start=start)
    apart = np.asarray(batch.images[0], dtype=float) - np.asarray(whole.images[0], dtype=float)
    assert 0 < np.abs(apart).mean() < 10

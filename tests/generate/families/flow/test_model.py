"""Stable Diffusion 3 and FLUX.1 in `visunex.generate`: what diffusers' own pipelines draw, and refusals."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from PIL import Image

from visunex.generate import Controls, Sampler, Settings, Steering, Taste, steered
from visunex.generate.checkpoint.kinds import Family
from visunex.generate.errors import CheckpointError, UsageError
from visunex.generate.families.loading import load
from visunex.generate.families.outline import check_model, outline
from visunex.generate.start import Start

# numpy.array of a tensor, in diffusers' schedulers
pytestmark = pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")

SIDE = 32
OF: dict[str, Family] = {"sd3": "sd3", "flux": "flux", "schnell": "flux"}
SIZES = {"sd3": 40, "flux": 24, "schnell": 24}  # of a target of each
PIPELINES = {
    ("sd3", None): diffusers.StableDiffusion3Img2ImgPipeline,
    ("sd3", "mask"): diffusers.StableDiffusion3InpaintPipeline,
    ("flux", None): diffusers.FluxImg2ImgPipeline,
    ("flux", "mask"): diffusers.FluxInpaintPipeline,
}


@pytest.fixture(scope="module")
def samplers(folders: dict[str, Path]) -> dict[str, Sampler]:
    return {name: Sampler.load(folder, device="cpu") for name, folder in folders.items()}


def taste(name: str) -> Taste:
    vector = torch.randn(1, SIZES[name], generator=torch.Generator().manual_seed(3))
    return Taste("gardens", vector, steps=2, lr=1e-3)


def pixels(images: Any) -> Any:
    return [np.asarray(image) for image in images]


def settings(sampler: Sampler, **given: Any) -> Settings:
    return sampler.settings(**{"samples": 2, "steps": 3, "seed": 7, "height": SIDE, "width": SIDE, **given})


def theirs(folder: Path) -> Any:
    """The folder as diffusers itself loads it, one picture as wide as ours."""
    pipe = diffusers.DiffusionPipeline.from_pretrained(folder)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def seeds() -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in (7, 8)]


def drawn(sampler: Sampler, own: Settings, *given: Any, **more: Any) -> Any:
    (batch,) = sampler.sample("a castle at night", own, *given, **more)
    return pixels(batch.images)


@pytest.mark.parametrize("name", OF)
def test_without_a_taste_it_is_diffusers_own_picture_bit_for_bit(
    samplers: dict[str, Sampler], folders: dict[str, Path], name: str
) -> None:
    sampler, pipe = samplers[name], theirs(folders[name])
    model = sampler.model
    negative = "sea" if name == "sd3" else ""
    ours = drawn(sampler, settings(sampler, negative_prompt=negative))
    how = {"guidance_scale": model.defaults.guidance_scale, "num_inference_steps": 3}
    how |= {"height": SIDE, "width": SIDE, "generator": seeds(), "num_images_per_prompt": 2}
    expected = pipe("a castle at night", **how, **({"negative_prompt": negative} if negative else {})).images
    assert all(map(np.array_equal, ours, pixels(expected)))
    assert not np.array_equal(*ours)
    assert all(map(np.array_equal, ours, drawn(sampler, settings(sampler, negative_prompt=negative), None)))


@pytest.mark.parametrize("mask", [None, "mask"])
@pytest.mark.parametrize("name", ["sd3", "flux"])
def test_over_a_picture_and_steered_it_is_diffusers_own_pipeline_fed_with_steered(
    samplers: dict[str, Sampler], folders: dict[str, Path], tmp_path: Path, name: str, mask: str | None
) -> None:
    sampler = samplers[name]
    noise = np.random.default_rng(0).integers(0, 255, (SIDE, SIDE, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "photo.png")
    Image.fromarray(np.tile(np.uint8([255, 0]), (SIDE, SIDE // 2))).save(tmp_path / "mask.png")
    start = Start(path=tmp_path / "photo.png", mask=tmp_path / "mask.png" if mask else None, strength=0.5)
    own, counted = settings(sampler), list[int]()
    ours = drawn(sampler, own, taste(name), start=start, on_step=lambda: counted.append(1))
    assert len(counted) == sampler.evaluations("a castle", own, start=start) == 2

    pipe = theirs(folders[name])
    projection = sampler.model.own_projection
    if projection is not None:  # diffusers' class has none
        pipe.register_modules(text_encoder=sampler.model.text_encoder)
    given = {} if projection is None else {"text_projection": projection}
    found = steered(pipe, ["a castle at night"] * 2, taste(name), **given)
    image, masking = start.fitted(SIDE, SIDE)
    over = PIPELINES[name, mask](**pipe.components)
    over.set_progress_bar_config(disable=True)
    expected = over(
        **found,
        image=[image] * 2,
        **({"mask_image": [masking] * 2} if mask else {}),
        strength=0.5,
        num_inference_steps=3,
        guidance_scale=own.guidance_scale,
        height=SIDE,
        width=SIDE,
        generator=seeds(),
    ).images
    assert all(map(np.array_equal, ours, pixels(expected)))
    assert not np.array_equal(ours[0], drawn(sampler, own, start=start)[0])


@pytest.mark.parametrize("name", ["sd3", "flux"])
def test_a_taste_counts_from_a_share_of_the_sampling_on(samplers: dict[str, Sampler], name: str) -> None:
    sampler, own = samplers[name], taste(name)

    def steering(**controls: Any) -> Steering:
        return Steering(((own, 1.0),), Controls(**controls))

    plain, whole = drawn(sampler, settings(sampler)), drawn(sampler, settings(sampler), own)
    late = drawn(sampler, settings(sampler), steering(begin=0.5))
    none = drawn(sampler, settings(sampler), steering(begin=0.0, end=0.0))
    assert not np.array_equal(plain[0], whole[0])
    assert not any(np.array_equal(late[0], each[0]) for each in (plain, whole))
    assert np.array_equal(none[0], plain[0])
    assert np.array_equal(drawn(sampler, settings(sampler), own)[0], whole[0])  # nothing was left changed


@pytest.mark.parametrize("name", OF)
@pytest.mark.parametrize("sampled", ["DPM++ 2M", "UniPC"])
def test_other_samplers_along_the_flow(samplers: dict[str, Sampler], name: str, sampled: str) -> None:
    sampler = samplers[name]
    one, other = (drawn(sampler, settings(sampler, scheduler=each)) for each in ("Euler", sampled))
    assert not np.array_equal(one[0], other[0])


@pytest.mark.parametrize("name", OF)
def test_what_is_known_before_it_is_loaded(folders: dict[str, Path], name: str) -> None:
    found, model = outline(str(folders[name])), load(str(folders[name]), device="cpu")
    assert found is not None
    assert check_model(str(folders[name])) == found.kind == model.kind == OF[name]
    assert (found.factor, found.channels, found.multiple) == (model.factor, model.channels, model.multiple)
    assert (found.size, found.defaults) == (model.size, model.defaults)
    own = 0 if model.own_projection is None else model.own_projection.numel()
    tensors = (value for part in model.networks for value in part.state_dict().values())
    once = {value.data_ptr(): value.numel() for value in tensors if value.is_floating_point()}
    assert found.weights == own + sum(once.values())


def test_guidance_and_steps_are_the_models_own(samplers: dict[str, Sampler]) -> None:
    own = {name: sampler.settings() for name, sampler in samplers.items()}
    assert {(each.scheduler, each.eta) for each in own.values()} == {("EulerDiscrete", 0.0)}
    assert {name: (each.steps, each.guidance_scale) for name, each in own.items()} == {
        "sd3": (28, 7.0),
        "flux": (28, 3.5),
        "schnell": (4, 1.0),
    }


def test_stable_diffusion_3_without_t5(folders: dict[str, Path], tmp_path: Path) -> None:
    pipe = diffusers.StableDiffusion3Pipeline.from_pretrained(
        folders["sd3"], text_encoder_3=None, tokenizer_3=None
    )
    pipe.set_progress_bar_config(disable=True)
    pipe.save_pretrained(tmp_path / "small")
    sampler = Sampler.load(tmp_path / "small", device="cpu")
    ours = drawn(sampler, settings(sampler, samples=1))
    how = {"num_inference_steps": 3, "height": SIDE, "width": SIDE, "guidance_scale": 7.0}
    (expected,) = pipe("a castle at night", **how, generator=seeds()[:1]).images
    assert np.array_equal(ours[0], np.asarray(expected))


@pytest.mark.parametrize(
    ("name", "given", "named"),
    [
        ("sd3", {"scheduler": "ddim"}, "--scheduler Euler, DPM"),
        ("sd3", {"scheduler": "Euler a"}, "goes along a flow"),
        ("sd3", {"prediction": "v"}, "--prediction"),
        ("sd3", {"eta": 0.5}, "--ddim_eta"),
        ("sd3", {"prompt_syntax": "webui"}, "--prompt-syntax"),
        ("sd3", {"height": 36 + 2}, "multiple of 4"),
        ("sd3", {"clip_skip": 9}, "--clip_skip 9"),
        ("flux", {"negative_prompt": "fog"}, "no negative prompt"),
        ("flux", {"clip_skip": 2}, "--clip_skip 2"),
    ],
)
def test_what_it_has_nothing_for_is_refused(
    samplers: dict[str, Sampler], name: str, given: dict[str, Any], named: str
) -> None:
    sampler = samplers[name]
    with pytest.raises(UsageError, match=named):
        drawn(sampler, settings(sampler, **given))


@pytest.mark.parametrize(
    ("name", "part", "values", "named"),
    [
        ("flux", "transformer", {"in_channels": 32}, "numbers of a place|size mismatch|shape"),
        ("sd3", "transformer", {"num_layers": 10_000}, "num_layers is 10000"),
        ("flux", "text_encoder_2", {"num_layers": 10_000}, "num_layers is 10000"),
        ("sd3", "text_encoder_3", {"vocab_size": 1 << 30}, "vocab_size"),
        ("sd3", "transformer", {"dual_attention_layers": [1] * 500}, "dual_attention_layers"),
    ],
)
def test_a_folder_that_is_not_what_it_says(
    changed: Callable[..., Path], name: str, part: str, values: dict[str, Any], named: str
) -> None:
    folder = str(changed(name, part, **values))
    with pytest.raises(CheckpointError, match=named):
        load(folder, device="cpu")


def test_a_scheduler_of_another_kind_is_refused(changed: Callable[..., Path]) -> None:
    folder = changed("sd3", "scheduler", "scheduler_config.json", _class_name="EulerDiscreteScheduler")
    with pytest.raises(CheckpointError, match="goes along no flow"):
        load(str(folder), device="cpu")

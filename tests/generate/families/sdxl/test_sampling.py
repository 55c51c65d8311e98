"""SDXL sampled without a taste is what diffusers' own pipeline makes of the same parts, bit for bit."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from visunex.generate.sampling.noise import Noise
from visunex.generate.sampling.sampler import Sampler, build_scheduler
from visunex.generate.settings import Settings

pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")  # of some schedulers

PROMPT = "a castle at night"


@pytest.fixture(scope="module")
def sampler(xl_folder: Path) -> Sampler:
    return Sampler.load(str(xl_folder), device="cpu")


def pipeline(sampler: Sampler, settings: Settings, **changes: Any) -> Any:
    """diffusers' own, of the parts as they are, and with the scheduler that it would be given."""
    from diffusers import StableDiffusionXLPipeline

    model: Any = sampler.model
    scheduler = build_scheduler(model, settings)
    pipe = StableDiffusionXLPipeline(
        unet=model.unet,
        vae=model.vae,
        text_encoder=model.text_encoder,
        text_encoder_2=model.text_encoder_2,
        tokenizer=model.tokenizer,
        tokenizer_2=model.tokenizer_2,
        scheduler=type(scheduler).from_config(scheduler.config),
        add_watermarker=False,
        **changes,
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def drawn_by_diffusers(sampler: Sampler, settings: Settings, **given: Any) -> np.ndarray[Any, Any]:
    size = settings.height or 64, settings.width or 64
    shape = (1, 4, size[0] // 8, size[1] // 8)
    noise = Noise(settings.seed, "cpu", "cpu")
    images = pipeline(sampler, settings)(
        PROMPT,
        latents=noise.draw(shape),
        generator=noise.branch(0),
        num_inference_steps=settings.steps,
        guidance_scale=settings.guidance_scale,
        eta=settings.eta,
        height=size[0],
        width=size[1],
        **given,
    ).images
    return np.asarray(images[0])


def drawn(sampler: Sampler, settings: Settings) -> np.ndarray[Any, Any]:
    (batch,) = sampler.sample(PROMPT, settings)
    return np.asarray(batch.images[0])


# Those that are built otherwise, one of each kind; all of them are one line in `build`.
SCHEDULERS = (
    "ddim",
    "plms",
    "EulerDiscrete",
    "Euler a",
    "DPM++ 2M Karras",
    "UniPCMultistep",
    "Heun",
    "DDPM",
    "LMS",
)


@pytest.mark.parametrize("name", SCHEDULERS)
def test_each_scheduler_draws_what_diffusers_draws(sampler: Sampler, name: str) -> None:
    settings = Settings(scheduler=name, steps=3, guidance_scale=5.0, seed=7)
    assert np.array_equal(drawn(sampler, settings), drawn_by_diffusers(sampler, settings))


@pytest.mark.parametrize(
    ("settings", "given"),
    [
        (Settings(steps=2, negative_prompt="fog, rain"), {"negative_prompt": "fog, rain"}),
        (Settings(steps=2, height=64, width=96), {}),
        (Settings(steps=2, guidance_scale=1.0), {}),
        (Settings(steps=3, eta=0.7), {}),
        (Settings(steps=2, prediction="v"), {}),
    ],
    ids=["negative prompt", "another size", "no guidance", "eta", "v"],
)
def test_and_so_with_each_setting(sampler: Sampler, settings: Settings, given: dict[str, Any]) -> None:
    assert np.array_equal(drawn(sampler, settings), drawn_by_diffusers(sampler, settings, **given))


def test_the_conditioning_is_diffusers_own(sampler: Sampler) -> None:
    settings = Settings()
    for text in ("", PROMPT, "word " * 100):
        hidden, negative, pooled, negative_pooled = pipeline(sampler, settings).encode_prompt(text)
        ours, zeros = sampler.conditioner.prompt(text), sampler.conditioner.negative("")
        assert torch.equal(ours.hidden, hidden)
        assert torch.equal(zeros.hidden, negative)
        assert ours.pooled is not None
        assert zeros.pooled is not None
        assert torch.equal(ours.pooled, pooled)
        assert torch.equal(zeros.pooled, negative_pooled)


def test_a_batch_is_what_each_prompt_is_alone(sampler: Sampler) -> None:
    both = next(iter(sampler.sample(["a castle", "a ship"], Settings(steps=2, samples=2, seed=3))))
    alone = next(iter(sampler.sample("a ship", Settings(steps=2, seed=4))))
    difference = np.abs(np.asarray(both.images[1], int) - np.asarray(alone.images[0], int))
    assert difference.max() <= 1  # batches of other sizes are added up in another order


def test_tokens_that_neither_encoder_takes_are_counted(sampler: Sampler) -> None:
    assert sampler.conditioner.surplus("word " * 80) == 5
    assert sampler.conditioner.surplus(PROMPT) == 0

"""What the whole of `visunex-generate` costs beyond a bare diffusers pipeline of the same model and steps.

The tiny model shows the overhead at its largest; Stable Diffusion 1's sizes, with random weights, show it as
it is in use.
"""

import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import diffusers
import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

from visunex.generate.controls import Steering
from visunex.generate.families.loading import load
from visunex.generate.families.sd1.model import Model
from visunex.generate.job import Job, Variant, run
from visunex.generate.sampling.sampler import Sampler
from visunex.generate.settings import Settings
from visunex.generate.taste import Taste
from visunex.generate.tokens import clip_tokenizer

PROMPT = "a castle at night"
REPEATS = 5
SCHEDULE = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
SCHEDULE |= {"steps_offset": 1, "set_alpha_to_one": False, "clip_sample": False}


def full_size() -> Model:
    """Stable Diffusion 1.5's shapes with random weights."""
    text = CLIPTextConfig(
        vocab_size=49408,
        hidden_size=768,
        intermediate_size=3072,
        num_hidden_layers=12,
        num_attention_heads=12,
    )
    unet = UNet2DConditionModel(sample_size=64, cross_attention_dim=768, attention_head_dim=8)
    widths = (128, 256, 512, 512)
    vae = AutoencoderKL(
        block_out_channels=widths,
        layers_per_block=2,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        scaling_factor=0.18215,
    )
    parts = {"unet": unet.eval(), "vae": vae.eval(), "text_encoder": CLIPTextModel(text).eval()}
    tokenizer = clip_tokenizer()
    tokenizer.model_max_length = (
        text.max_position_embeddings
    )  # the pipeline asks it, visunex the text encoder
    return Model(name="full size", tokenizer=tokenizer, scheduler_config=SCHEDULE, **parts)


def bare(model: Model, settings: Settings) -> Callable[[], None]:
    """The pipeline as its users run it."""
    pipeline = StableDiffusionPipeline(
        vae=model.vae,
        text_encoder=model.text_encoder,
        tokenizer=model.tokenizer,
        unet=model.unet,
        scheduler=DDIMScheduler(**SCHEDULE),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)

    def sample() -> None:
        pipeline(
            PROMPT,
            num_inference_steps=settings.steps,
            num_images_per_prompt=settings.samples,
            height=settings.height,
            width=settings.width,
            guidance_scale=settings.guidance_scale,
        )

    return sample


def whole(model: Model, settings: Settings, taste: Taste | None, folder: Path) -> Callable[[], None]:
    """Everything the command does once a model is loaded: pictures and grid on disk."""
    return lambda: run(Job(PROMPT, settings, (Variant(Steering.of(taste)),), folder), Sampler(model)) and None


def seconds(work: Callable[[], None]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def row(name: str, model: Model, settings: Settings) -> str:
    """Time the three in turns."""
    with tempfile.TemporaryDirectory() as folder:
        width = model.own_projection.shape[0] if model.own_projection is not None else None
        taste = Taste("random", torch.randn(1, width)) if width else None
        works = [bare(model, settings), whole(model, settings, None, Path(folder))]
        if taste:
            works.append(whole(model, settings, taste, Path(folder)))
        for work in works:
            work()
        rounds = [[seconds(work) for work in works] for _ in range(REPEATS)]
    pipeline, ours = (statistics.median(times[place] for times in rounds) for place in (0, 1))
    over = statistics.median(times[1] / times[0] - 1 for times in rounds)
    steering = f"{statistics.median(times[2] - times[1] for times in rounds):.2f} s" if taste else "-"
    return f"| {name} | {pipeline:.2f} s | {ours:.2f} s | {over:+.1%} | {steering} |"


def main() -> None:
    """Print the table."""
    warnings.simplefilter("ignore")
    diffusers.utils.logging.set_verbosity_error()
    print(f"## Overhead: all of visunex-generate against a bare diffusers pipeline, medians of {REPEATS}\n")
    print("| model, DDIM | pipeline | visunex | overhead | steering (10 steps) adds |\n|---|---|---|---|---|")
    tiny = load("visunex-tiny", device="cpu", precision="full")
    name = "visunex-tiny, 64x64, 4 pictures, 50 steps"
    print(row(name, tiny, Settings(steps=50, samples=4)), flush=True)
    settings = Settings(steps=4, height=256, width=256)
    print(row("SD 1.5's sizes, 256x256, 1 picture, 4 steps", full_size(), settings), flush=True)


if __name__ == "__main__":
    main()

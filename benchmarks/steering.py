"""Do aesthetic gradients put flowers into pictures, and does the subject stay? On the tiny models."""

import logging
import warnings
from dataclasses import dataclass

import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline
from PIL import Image

from visunex.demo.judge import Judge
from visunex.demo.tiny import SD_FOLDER, text_projection
from visunex.generate.steering.steer import personalise

PROMPTS = ("a castle at night", "a ship at sunset", "a lighthouse in winter", "a house by day")
STEPS = (0, 5, 10, 20)
LEARNING_RATE = 1e-4
SEEDS = 16
GUIDANCE = 4.0


@dataclass(frozen=True)
class Row:
    """What the pictures of one number of steps show: a mean cosine, and shares of pictures (0..1)."""

    steps: int
    cosine: float
    flowers: float
    subject: float
    kept: float


def load() -> StableDiffusionPipeline:
    """The committed pipeline with DDIM."""
    pipeline = StableDiffusionPipeline.from_pretrained(SD_FOLDER, torch_dtype=torch.float32)
    pipeline.scheduler = DDIMScheduler.from_config(pipeline.scheduler.config)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def paint(
    pipeline: StableDiffusionPipeline,
    prompt: str,
    embedding: torch.Tensor,
    steps: int,
    seeds: int,
    ddim_steps: int,
) -> list[Image.Image]:
    """Pictures of a prompt personalised with `steps` steps, one a seed; the same noise for any `steps`."""
    ids = pipeline.tokenizer(prompt, padding="max_length", truncation=True, return_tensors="pt").input_ids
    conditioning = personalise(
        pipeline.text_encoder, text_projection(), ids, embedding, steps=steps, lr=LEARNING_RATE
    )
    return pipeline(
        prompt_embeds=conditioning,
        negative_prompt="",
        num_images_per_prompt=seeds,
        num_inference_steps=ddim_steps,
        guidance_scale=GUIDANCE,
        height=64,
        width=64,
        generator=[torch.Generator().manual_seed(seed) for seed in range(seeds)],
    ).images


def measure(seeds: int = SEEDS, steps: tuple[int, ...] = STEPS, ddim_steps: int = 25) -> list[Row]:
    """One row for each number of steps, over all prompts and seeds."""
    pipeline, judge = load(), Judge()
    embedding = judge.flower_embedding()
    unit = torch.nn.functional.normalize(embedding, dim=-1)
    rows: list[Row] = []
    first: list[bool] = []
    for count in steps:
        pictures = [paint(pipeline, prompt, embedding, count, seeds, ddim_steps) for prompt in PROMPTS]
        flat = [picture for group in pictures for picture in group]
        wanted = [prompt.split()[1] for prompt in PROMPTS for _ in range(seeds)]
        verdicts = judge.verdicts(flat)
        right = [verdict.subject == subject for verdict, subject in zip(verdicts, wanted, strict=True)]
        first = first or right
        kept = [now for now, before in zip(right, first, strict=True) if before]
        rows.append(
            Row(
                steps=count,
                cosine=(judge.images(flat) @ unit.T).mean().item(),
                flowers=sum(verdict.flowers for verdict in verdicts) / len(flat),
                subject=sum(right) / len(right),
                kept=sum(kept) / max(1, len(kept)),
            )
        )
    return rows


def main() -> None:
    """Print the table."""
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    print("## Steering: what aesthetic gradients do to pictures\n")
    print(
        f"`visunex-tiny`, {len(PROMPTS)} prompts x {SEEDS} seeds, DDIM 25 steps, guidance {GUIDANCE:g}, "
        f"learning rate {LEARNING_RATE:g}, towards the mean embedding of scenes with flowers. Flowers are "
        "told by the share of flower-coloured pixels, which knows nothing of CLIP;\n"
        "the subject by visunex-tiny.\n"
    )
    print("| steps | cosine to the embedding | with flowers | subject recognised | of those at step 0 |")
    print("|---|---|---|---|---|")
    for row in measure():
        print(f"| {row.steps} | {row.cosine:.3f} | {row.flowers:.0%} | {row.subject:.0%} | {row.kept:.0%} |")


if __name__ == "__main__":
    main()

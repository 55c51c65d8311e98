"""Train the tiny Stable Diffusion, autoencoder and UNet, with visunex-tiny's text encoder.

    torchrun --nproc-per-node 2 -m visunex.demo.train_diffusion --out demo/weights

Writes `OUT/sd`, an ordinary diffusers folder. Needs the text encoder that `train_clip` wrote there. A run
that was stopped goes on from its checkpoints. One process for each core; each draws scenes of its own.
"""

import argparse
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from random import Random

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, PNDMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from diffusers.training_utils import EMAModel
from transformers import CLIPTextModel, CLIPTokenizer

from .autoencoder import encode_latents, polish_decoder, train_autoencoder
from .captions import partial_caption
from .scenes import PALETTES, SUBJECTS, Scene
from .training import draw_scenes, fit, is_first, log, start_processes, to_unit

__all__ = ["main"]

PEAK_RATE = 1.2e-3
EMPTY_SHARE = 0.1  # of captions left out, so that guidance has something to guide away from
SNR_CAP = 5.0
CAPTIONS_EACH = 64
CONTENTS = list(product(SUBJECTS, PALETTES, (False, True)))

# Stable Diffusion 1.x's own schedule: what runs this model runs the large ones.
SCHEDULER = PNDMScheduler.from_config(
    {
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "num_train_timesteps": 1000,
        "set_alpha_to_one": False,
        "skip_prk_steps": True,
        "steps_offset": 1,
        "clip_sample": False,  # PNDM knows nothing of it, but DDIM made from this configuration must not clip
    }
)


@dataclass(frozen=True)
class Corpus:
    """Scaled latents [N, 4, 16, 16], their contents [N], text states [contents, captions, 77, D]."""

    latents: torch.Tensor
    contents: torch.Tensor
    texts: torch.Tensor
    empty: torch.Tensor


def new_unet(text_width: int) -> UNet2DConditionModel:
    """About 5 M parameters, random weights; attention at 8x8 and 4x4 only, where it costs little."""
    return UNet2DConditionModel(
        sample_size=16,
        block_out_channels=(64, 96, 112),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        norm_num_groups=16,
        attention_head_dim=4,
        cross_attention_dim=text_width,
    ).to(memory_format=torch.channels_last)


@torch.no_grad()
def text_states(encoder: CLIPTextModel, tokenizer: CLIPTokenizer, texts: list[str]) -> torch.Tensor:
    """Last hidden states [N, 77, D] in fp16, padded as Stable Diffusion pads."""
    ids = tokenizer(
        texts, padding="max_length", max_length=77, truncation=True, return_tensors="pt"
    ).input_ids
    return torch.cat([encoder(part).last_hidden_state.half() for part in ids.split(64)])


def build_corpus(vae: AutoencoderKL, sd_folder: Path, seed: int, count: int) -> Corpus:
    """Everything that training reads, computed once."""
    scenes, images = draw_scenes(count, seed)
    latents = encode_latents(vae, to_unit(images)) * vae.config.scaling_factor
    places = {content: place for place, content in enumerate(CONTENTS)}
    contents = torch.tensor([places[scene.subject, scene.palette, scene.garden] for scene in scenes])
    encoder = CLIPTextModel.from_pretrained(sd_folder / "text_encoder", dtype=torch.float32)
    tokenizer = CLIPTokenizer.from_pretrained(sd_folder / "tokenizer")
    rng = Random(seed)  # noqa: S311
    texts = [
        partial_caption(Scene(*content, seed=0), rng)[0] for content in CONTENTS for _ in range(CAPTIONS_EACH)
    ]
    states = text_states(encoder, tokenizer, texts).unflatten(0, (len(CONTENTS), CAPTIONS_EACH))
    return Corpus(latents, contents, states, text_states(encoder, tokenizer, [""]))


def draw_conditions(corpus: Corpus, contents: torch.Tensor) -> torch.Tensor:
    """Text states [N, 77, D]: a random caption for each content, the empty one now and then."""
    states = corpus.texts[contents, torch.randint(CAPTIONS_EACH, contents.shape)]
    left_out = torch.rand(len(contents), 1, 1) < EMPTY_SHARE
    return torch.where(left_out, corpus.empty, states).float()


def diffusion_loss(unet: UNet2DConditionModel, corpus: Corpus, size: int) -> torch.Tensor:
    """Error of the predicted noise, easy steps weighted down (min-SNR, arXiv 2303.09556)."""
    rows = torch.randint(len(corpus.latents), (size,))
    latents, steps = corpus.latents[rows], torch.randint(1000, (size,))
    noise = torch.randn_like(latents)
    noisy = SCHEDULER.add_noise(latents, noise, steps).to(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        predicted = unet(noisy, steps, draw_conditions(corpus, corpus.contents[rows])).sample
    kept = SCHEDULER.alphas_cumprod[steps]
    snr = kept / (1 - kept)
    errors = F.mse_loss(predicted.float(), noise, reduction="none").mean(dim=(1, 2, 3))
    return (errors * snr.clamp(max=SNR_CAP) / snr).mean()


def train_unet(corpus: Corpus, checkpoint: Path, minutes: float, size: int = 32) -> UNet2DConditionModel:
    """Train for `minutes` in all, resuming from `checkpoint`; returns the averaged weights."""
    unet = new_unet(corpus.texts.shape[-1])
    average = EMAModel(unet.parameters(), decay=0.998, use_ema_warmup=True, power=0.75)
    fit(
        unet,
        lambda: diffusion_loss(unet, corpus, size),
        checkpoint,
        minutes,
        peak_rate=PEAK_RATE,
        after_step=lambda: average.step(unet.parameters()),
        average=average,
    )
    average.copy_to(unet.parameters())
    return unet


def export(vae: AutoencoderKL, unet: UNet2DConditionModel, sd_folder: Path) -> None:
    """Write the diffusers folder in fp16; the text encoder and tokenizer in it stay as they are."""
    vae.half().save_pretrained(sd_folder / "vae")
    unet.half().save_pretrained(sd_folder / "unet")
    SCHEDULER.save_pretrained(sd_folder / "scheduler")
    pipeline = StableDiffusionPipeline(
        vae=vae,
        unet=unet,
        text_encoder=CLIPTextModel.from_pretrained(sd_folder / "text_encoder"),
        tokenizer=CLIPTokenizer.from_pretrained(sd_folder / "tokenizer"),
        scheduler=SCHEDULER,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_config(sd_folder)


def main(words: list[str] | None = None) -> None:
    """Command line; `words` in place of the real one's."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="folder with sd/, as train_clip wrote it")
    parser.add_argument("--checkpoints", type=Path, default=Path("runs/train"))
    parser.add_argument("--vae-minutes", type=float, default=25)
    parser.add_argument("--unet-minutes", type=float, default=70)
    parser.add_argument("--decoder-minutes", type=float, default=15)
    parser.add_argument("--threads", type=int, default=1, help="of each process")
    parser.add_argument("--pictures", type=int, default=12_000, help="how many each process draws")
    arguments = parser.parse_args(words)
    torch.set_num_threads(arguments.threads)
    start_processes(seed=0)
    kept, count, seed = arguments.checkpoints, arguments.pictures, torch.initial_seed()
    vae = train_autoencoder(kept / "vae.pt", arguments.vae_minutes, count)
    corpus = build_corpus(vae, arguments.out / "sd", seed, count)
    log(f"{len(corpus.latents)} latents, scaling factor {vae.config.scaling_factor:.4f}")
    unet = train_unet(corpus, kept / "unet.pt", arguments.unet_minutes)
    polish_decoder(vae, kept / "decoder.pt", arguments.decoder_minutes, count, seed)
    if is_first():
        export(vae, unet, arguments.out / "sd")


if __name__ == "__main__":
    main()

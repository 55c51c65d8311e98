"""The picture autoencoder of the tiny Stable Diffusion: 64x64 RGB to 4x16x16 latents and back."""

from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL

from .training import draw_scenes, fit, to_unit

__all__ = ["autoencoder_loss", "encode_latents", "new_autoencoder", "polish_decoder", "train_autoencoder"]

PEAK_RATE = 1.2e-3
KL_WEIGHT = 5e-4
EDGE_WEIGHT = 0.5
LATENT_NOISE = 0.05


def new_autoencoder() -> AutoencoderKL:
    """About 1 M parameters, random weights."""
    return AutoencoderKL(
        block_out_channels=(16, 32, 80),  # the top level costs most, so it is thin
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        layers_per_block=1,
        norm_num_groups=8,
        latent_channels=4,
        sample_size=64,
        mid_block_add_attention=False,
    ).to(memory_format=torch.channels_last)


def slopes(images: torch.Tensor) -> torch.Tensor:
    """Differences between neighbouring pixels, both ways, one flat vector."""
    return torch.cat([images.diff(dim=2).flatten(), images.diff(dim=3).flatten()])


def reconstruction_loss(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """L1 of pixels and of slopes: the second is what keeps edges from blurring."""
    return F.l1_loss(output, target) + EDGE_WEIGHT * F.l1_loss(slopes(output), slopes(target))


def autoencoder_loss(vae: AutoencoderKL, images: torch.Tensor) -> torch.Tensor:
    """Reconstruction through one sample of the posterior, and a little KL to keep latents smooth."""
    with torch.autocast("cpu", torch.bfloat16):
        posterior = vae.encode(images).latent_dist
        output = vae.decode(posterior.sample()).sample
    mean, logvar = posterior.mean.float(), posterior.logvar.float()
    kl = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).mean()
    return reconstruction_loss(output.float(), images) + KL_WEIGHT * kl


def train_autoencoder(
    checkpoint: Path, minutes: float, count: int, seed: int = 1, batch: int = 8
) -> AutoencoderKL:
    """Train for `minutes` in all (resumes from `checkpoint`) and return the model, scaling factor set."""
    vae, (_, images) = new_autoencoder(), draw_scenes(count, seed)

    def loss() -> torch.Tensor:
        rows = torch.randint(len(images), (batch,)).numpy()
        return autoencoder_loss(vae, to_unit(images[rows]))

    fit(vae, loss, checkpoint, minutes, peak_rate=PEAK_RATE)
    set_scaling(vae, to_unit(images[:2000]))
    return vae


def decoder_loss(vae: AutoencoderKL, images: torch.Tensor) -> torch.Tensor:
    """Reconstruction from latents with a little noise, since a UNet's are never quite an encoder's."""
    with torch.autocast("cpu", torch.bfloat16):
        with torch.no_grad():
            latents = vae.encode(images).latent_dist.mean
        output = vae.decode(latents + LATENT_NOISE * torch.randn_like(latents)).sample
    return reconstruction_loss(output.float(), images)


def polish_decoder(
    vae: AutoencoderKL, checkpoint: Path, minutes: float, count: int, seed: int, batch: int = 8
) -> None:
    """Train the decoder on for `minutes` in all; the encoder, and so the latents that a UNet knows, stay."""
    for part in (vae.encoder, vae.quant_conv):
        part.requires_grad_(False)
    _, images = draw_scenes(count, seed)

    def loss() -> torch.Tensor:
        rows = torch.randint(len(images), (batch,)).numpy()
        return decoder_loss(vae, to_unit(images[rows]))

    fit(vae, loss, checkpoint, minutes, peak_rate=PEAK_RATE)


@torch.no_grad()
def encode_latents(vae: AutoencoderKL, images: torch.Tensor, batch: int = 64) -> torch.Tensor:
    """Pictures [N, 3, 64, 64] in -1..1 to unscaled mean latents [N, 4, 16, 16]."""
    with torch.autocast("cpu", torch.bfloat16):
        parts = [vae.encode(part).latent_dist.mean.float() for part in images.split(batch)]
    return torch.cat(parts)


def set_scaling(vae: AutoencoderKL, images: torch.Tensor) -> None:
    """Choose the factor that gives latents a standard deviation of one, as diffusion assumes."""
    vae.register_to_config(scaling_factor=1 / encode_latents(vae, images).std().item())

"""Latents or pixel values -> images, refused where they are no finite numbers."""

import torch
from PIL import Image
from torch import Tensor

from ..errors import SamplingError
from ..families.model import Model

__all__ = ["as_images", "check_finite", "decode"]


@torch.inference_mode()
def decode(model: Model, latents: Tensor) -> tuple[Image.Image, ...]:
    """The images of latents `[n, C, h, w]`, by the model's VAE.

    Raises SamplingError for values that are not finite: they would become black or random pixels.
    """
    check_finite(latents, "the sampler", "a scale, a scheduler or the weights of its UNet may be the cause")
    with model.on_device(model.vae) as vae:
        latents = (latents / model.scaling_factor).to(vae.dtype)
        pixels = vae.decode(latents, return_dict=False)[0]
    half = (
        " in fp16, which is too small for some VAEs: try --precision full"
        if vae.dtype == torch.float16
        else ""
    )
    check_finite(pixels, f"the VAE{half}", "its weights may be broken")
    return as_images(((pixels.float() + 1) / 2).clamp(0, 1))


def check_finite(values: Tensor, maker: str, cause: str) -> None:
    """Raise SamplingError where values are not finite, by whom they were made and what may be the cause."""
    if not values.isfinite().all():
        raise SamplingError(
            f"no picture was saved of this batch: values of {maker} are not finite numbers; {cause}"
        )


def as_images(pixels: Tensor) -> tuple[Image.Image, ...]:
    """Images of `[n, 3, h, w]` from 0 to 1."""
    values = pixels.float().permute(0, 2, 3, 1).cpu().numpy()
    return tuple(Image.fromarray(image) for image in (values * 255).round().astype("uint8"))

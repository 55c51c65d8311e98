"""Noise -> latents: one sampler's run over the noise schedule, with classifier-free guidance."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from . import schedulers
from .noise import ImageNoise, Noise

__all__ = ["OnStep", "denoise", "predict_noise"]

OnStep = Callable[[], None]
Step = Callable[[Tensor, Tensor, Tensor], Tensor]


@torch.inference_mode()
def denoise(
    unet: Any,
    scheduler: Any,
    latents: Tensor,
    cond: Tensor,
    uncond: Tensor | None,
    *,
    added: Mapping[str, Tensor] | None = None,
    otherwise: "tuple[Tensor, Mapping[str, Tensor] | None] | None" = None,
    share: tuple[float, float] = (0.0, 1.0),
    guidance_scale: float,
    eta: float = 0.0,
    noise: Noise | ImageNoise,
    branch: int = 0,
    as_original: bool = True,
    on_step: OnStep = lambda: None,
) -> Tensor:
    """Latents `[n, C, h, w]` from noise of that shape, for the prompts' conditioning `cond` `[n, L, D]`.

    They are guided away from `uncond` `[n, L, D]`, the negative prompts'; None leaves guidance out. A batch
    that is not full takes the first of the noise. The state stays fp32 whatever the UNet's precision. `added`
    is what the UNet takes beside the hidden states, for uncond and cond. `otherwise` are conditioning and
    what belongs beside it for the steps that are not in the `share` of the sampling, from and to. `scheduler`
    is one of diffusers'; what it draws comes from `noise`, or for schedulers that draw by themselves, which
    all do unless `as_original`, from its branch of that number. `on_step` is called after each evaluation of
    the UNet.
    """
    contexts = [
        (states if uncond is None else torch.cat([uncond, states])).to(unet.dtype)
        for states in (cond, cond if otherwise is None else otherwise[0])
    ]
    beside = added, added if otherwise is None else otherwise[1]
    if as_original and schedulers.is_original(scheduler):
        step = _original_step(scheduler, eta, noise, latents.shape)
    else:
        step = _step(scheduler, eta, noise.branch(branch))
    latents = latents[: len(cond)] * scheduler.init_noise_sigma
    for number, t in enumerate(scheduler.timesteps):
        other = not share[0] <= number / len(scheduler.timesteps) < share[1]
        scaled = scheduler.scale_model_input(latents, t)
        scale = None if uncond is None else guidance_scale
        noise_pred = predict_noise(unet, scaled, t, contexts[other], scale, beside[other])
        latents = step(noise_pred, t, latents)
        on_step()
    return latents


def predict_noise(
    unet: Any,
    latents: Tensor,
    t: Tensor,
    context: Tensor,
    guidance_scale: float | None,
    added: Mapping[str, Tensor] | None = None,
) -> Tensor:
    """The UNet's estimate of the noise in `latents` `[n, C, h, w]` at time step `t`, in fp32.

    Classifier-free guidance (Ho & Salimans, arXiv 2207.12598) for a `context` `[2n, L, D]`, uncond first:
    eps(x, uncond) + guidance_scale * (eps(x, cond) - eps(x, uncond)). None: eps(x, cond) for `[n, L, D]`.
    """
    batch = latents if guidance_scale is None else torch.cat([latents, latents])
    noise_pred = unet(
        batch.to(unet.dtype),
        t.to(latents.device),
        encoder_hidden_states=context,
        added_cond_kwargs=added,
        return_dict=False,
    )[0].float()
    if guidance_scale is None:
        return noise_pred
    uncond, cond = noise_pred.chunk(2)
    return uncond + guidance_scale * (cond - uncond)


def _step(scheduler: Any, eta: float, generator: torch.Generator | list[torch.Generator]) -> Step:
    """One step of the scheduler: noise_pred, time step, latents -> latents."""
    takes = inspect.signature(scheduler.step).parameters
    given = {"eta": eta, "generator": generator}
    extra = {name: value for name, value in given.items() if name in takes}
    return lambda noise_pred, t, latents: scheduler.step(noise_pred, t, latents, return_dict=False, **extra)[
        0
    ]


def _original_step(scheduler: Any, eta: float, noise: Noise | ImageNoise, shape: Sequence[int]) -> Step:
    """A step of the original's DDIM or PLMS.

    The original draws noise at every step, even where it multiplies it by 0: so do its two samplers here, or
    the next batch would begin elsewhere in the generator's course.
    """
    takes_noise = "variance_noise" in inspect.signature(scheduler.step).parameters

    def step(noise_pred: Tensor, t: Tensor, latents: Tensor) -> Tensor:
        drawn = noise.draw(tuple(shape))[: len(latents)]
        extra = {"eta": eta, "variance_noise": drawn} if takes_noise else {}
        return scheduler.step(noise_pred, t, latents, return_dict=False, **extra)[0]

    return step

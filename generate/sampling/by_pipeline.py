"""Images by diffusers' own pipeline of a model: along a flow, over an image, where a mask is open."""

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import torch
from PIL import Image
from torch import Tensor

from ..families.model import Model, Task
from ..pipelines.conditioner import Conditioning
from ..settings import Settings
from .decode import as_images, check_finite

if TYPE_CHECKING:
    from .denoise import OnStep

__all__ = ["draw"]

CAUSE = "a scale, a scheduler, fp16 (try --precision full) or the model's weights may be the cause"
# What the pipelines call the conditioning in their callbacks, and which part of ours that is.
_CALLED = {
    "prompt_embeds": "hidden",
    "add_text_embeds": "pooled",
    "pooled_prompt_embeds": "pooled",
}


def draw(
    model: Model,
    task: Task,
    scheduler: Any,
    cond: Conditioning,
    uncond: Conditioning | None,
    settings: Settings,
    *,
    otherwise: Conditioning | None = None,
    share: tuple[float, float] = (0.0, 1.0),
    generators: Sequence[torch.Generator],
    on_step: "OnStep" = lambda: None,
    **given: Any,
) -> tuple[Image.Image, ...]:
    """The images of a batch that diffusers' pipeline for a task draws, one with each of the generators.

    `otherwise` conditions the steps that are not in the `share` of the sampling, from and to. `given` goes to
    the pipeline as it is: an image, a mask, a strength, latents. Raises SamplingError for values that are not
    finite numbers.
    """
    pipe = model.pipeline(task, scheduler=scheduler, **_without_readers(model))
    pipe.set_progress_bar_config(disable=True)
    count = len(cond.hidden)
    asked = {
        **_named(cond, "", model.dtype),
        **_named(uncond, "negative_", model.dtype),
        "num_inference_steps": settings.steps,
        "guidance_scale": 1.0 if uncond is None and model.guided else settings.guidance_scale,
        "eta": settings.eta,
        "generator": list(generators)[:count],
        "output_type": "pt",
        **given,
    }
    taken = inspect.signature(pipe.__call__).parameters
    turns = _turns(share, cond, otherwise or cond, on_step)
    first = cond if share[0] == 0 < share[1] else otherwise or cond
    asked |= {name: part.clone() for name, part in _named(first, "", model.dtype).items()}
    watched = [name for name in _variables(pipe) if name in _CALLED]
    pipe._callback_tensor_inputs = watched  # which some leave out, though they hold them
    with _at_work(model):
        pixels: Tensor = pipe(
            **{name: value for name, value in asked.items() if name in taken},
            callback_on_step_end=turns,
            callback_on_step_end_tensor_inputs=watched,
        ).images
    check_finite(pixels, "the sampler or the VAE", CAUSE)
    return as_images(pixels)


def _named(cond: Conditioning | None, prefix: str, dtype: torch.dtype) -> dict[str, Tensor]:
    """Conditioning as the pipelines' arguments, in the precision of the denoiser."""
    if cond is None:
        return {}
    found = {f"{prefix}prompt_embeds": cond.hidden.to(dtype)}
    return found if cond.pooled is None else {**found, f"{prefix}pooled_prompt_embeds": cond.pooled.to(dtype)}


def _turns(
    share: tuple[float, float], cond: Conditioning, otherwise: Conditioning, on_step: "OnStep"
) -> Callable[..., dict[str, Tensor]]:
    """A callback of the pipelines: counts a step, and says what conditions the next one."""

    def turn(pipe: Any, step: int, _: Any, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        on_step()
        inside = share[0] <= (step + 1) / pipe.num_timesteps < share[1]
        wanted = cond if inside else otherwise
        for name, tensor in tensors.items() if cond is not otherwise else ():
            part = getattr(wanted, _CALLED[name])
            # The last rows are the prompts', whether negative ones stand before them or not. They are put
            # where the pipeline holds them: not every one takes back what it gives.
            tensor[-len(part) :] = part.to(tensor.dtype)
        return {}

    return turn


def _variables(pipe: Any) -> tuple[str, ...]:
    """The names by which a pipeline's call holds its tensors."""
    return inspect.unwrap(type(pipe).__call__).__code__.co_varnames


def _without_readers(model: Model) -> dict[str, None]:
    """No text encoders: they have read the prompts, and pipelines go by their device and precision."""
    return {name: None for name in vars(model) if name.startswith("text_encoder")}


@contextmanager
def _at_work(model: Model) -> Iterator[None]:
    """The parts that draw on the model's device, and the VAE as it was afterwards.

    Pipelines of SDXL leave a VAE that they made fp32 in the precision of the UNet.
    """
    vae = model.vae
    changes = vae.dtype != model.dtype
    kept = {name: value.clone() for name, value in vae.state_dict().items()} if changes else {}
    dtype = vae.dtype
    with ExitStack() as stack:
        for part in (vae, model.denoiser):
            stack.enter_context(model.on_device(part))
        try:
            yield
        finally:
            if changes:
                vae.to(dtype)
                vae.load_state_dict(kept)

"""Samplers by name: the original's DDIM and PLMS with its own time steps, and diffusers' others."""

import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from visunex.base.errors import first_line

from ..errors import UsageError
from .names import DDIM, FLOWING, PLMS, canonical, kind_of, names, settings_of
from .sizes import check_steps

__all__ = [
    "PLMS",
    "PREDICTIONS",
    "along_flow",
    "build",
    "canonical",
    "is_original",
    "names",
    "original_timesteps",
]

PREDICTIONS = {"epsilon": "epsilon", "v": "v_prediction"}  # what diffusers calls them
# What CompVis trained Stable Diffusion 1 and samples with: the last step goes to the first alpha, not to 1.
_AS_ORIGINAL = {
    "steps_offset": 1,
    "set_alpha_to_one": False,
    "timestep_spacing": "leading",
}


def build(name: str, config: Mapping[str, Any], steps: int, *, as_original: bool = True) -> Any:
    """A diffusers scheduler over the model's own noise schedule `config`, set to `steps` steps.

    DDIM and PLMS take the original's time steps, or without `as_original` what the model's config says.
    Raises UsageError for an unknown name or a number of steps that the noise schedule does not have.
    """
    import diffusers

    name = canonical(name)
    trained = int(config.get("num_train_timesteps", 1000))
    check_steps(steps, trained)
    if config.get("rescale_betas_zero_snr"):
        return _zero_snr(name, config, steps)
    own = _AS_ORIGINAL if as_original else {}
    if name == DDIM:
        scheduler = diffusers.DDIMScheduler.from_config(config, clip_sample=False, **own)
    elif name == PLMS:
        scheduler = _plms(config, own)
    else:
        return _other(name, config, steps)
    scheduler.set_timesteps(steps)
    if as_original:
        scheduler.timesteps = torch.from_numpy(_visited(name, original_timesteps(steps, trained)))
    return scheduler


def along_flow(name: str, config: Mapping[str, Any]) -> Any:
    """A diffusers scheduler along the flow of `config`; the pipeline sets it to its steps.

    Raises UsageError for a sampler that goes along none.
    """
    import diffusers

    name = canonical(name)
    if name not in FLOWING:
        raise UsageError(f"{name} goes along no flow: give one of {', '.join(FLOWING)}")
    if name == "EulerDiscrete":
        return diffusers.FlowMatchEulerDiscreteScheduler.from_config(config)
    own = {
        "use_flow_sigmas": True,
        "prediction_type": "flow_prediction",
        "flow_shift": config.get("shift", 1.0),
    }
    scheduler = getattr(diffusers, f"{name}Scheduler").from_config(_of_diffusion(config), **own)
    if not config.get("use_dynamic_shifting"):  # FLUX.1's pipelines give a shift all the same
        scheduler.set_timesteps = _unshifted(scheduler.set_timesteps)
    return scheduler


def _unshifted(set_timesteps: Any) -> Any:
    """The same method of a scheduler, which takes a shift and leaves it out."""

    def without(steps: int, device: Any = None, mu: float | None = None) -> None:
        del mu
        set_timesteps(steps, device=device)

    return without


def _of_diffusion(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """What of a flow's configuration the samplers of diffusion, too, have."""
    names = ("num_train_timesteps", "use_dynamic_shifting", "time_shift_type")
    return {name: config[name] for name in names if name in config}


def _plms(config: Mapping[str, Any], own: Mapping[str, Any]) -> Any:
    """PLMS (Liu et al., arXiv 2202.09778), a multistep method over the noise; of v each step makes the noise.

    diffusers' own averages v over several time steps and turns the average into noise at the last of them: on
    an analytic example that is three to seven times as far from the exact course.
    """
    import diffusers

    changes = {"skip_prk_steps": True, "prediction_type": "epsilon", **own}
    scheduler = diffusers.PNDMScheduler.from_config(config, **changes)
    if config.get("prediction_type") == PREDICTIONS["v"]:
        step = scheduler.step

        def step_of_v(v: Tensor, t: Tensor, latents: Tensor, **options: Any) -> Any:
            share = float(scheduler.alphas_cumprod[int(t)])
            return step(share**0.5 * v + (1 - share) ** 0.5 * latents, t, latents, **options)

        scheduler.step = step_of_v
    return scheduler


def _zero_snr(name: str, config: Mapping[str, Any], steps: int) -> Any:
    """A scheduler for a model that was trained up to pure noise (Lin et al., arXiv 2305.08891).

    Such a model has to begin at the last time step, which the original's DDIM never visits. Raises UsageError
    for a scheduler that cannot.
    """
    kind = _class_of(name)
    if "rescale_betas_zero_snr" not in inspect.signature(kind).parameters:
        able = [
            each
            for each in names()
            if "rescale_betas_zero_snr" in inspect.signature(_class_of(each)).parameters
        ]
        raise UsageError(
            f"the model has a zero-terminal-SNR noise schedule, which {name} cannot sample; "
            f"there are {', '.join(able)}"
        )
    extra = {"clip_sample": False} if name == DDIM else settings_of(name)
    return _set(kind, {**config, **extra, "timestep_spacing": "trailing"}, name, steps)


def _class_of(name: str) -> Any:
    import diffusers

    return getattr(
        diffusers, {DDIM: "DDIMScheduler", PLMS: "PNDMScheduler"}.get(name, f"{kind_of(name)}Scheduler")
    )


def is_original(scheduler: Any) -> bool:
    """Whether it is one of the original's two samplers."""
    return type(scheduler).__name__ in ("DDIMScheduler", "PNDMScheduler")


def original_timesteps(steps: int, trained: int = 1000) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Ascending time steps as CompVis's `make_ddim_timesteps` has them: from 1, `trained // steps` apart.

    Where `steps` does not divide `trained` there are more than `steps` of them (31 for 30), as in the
    original; only a last one outside the schedule, which the original failed on, is left out.
    """
    timesteps = np.arange(0, trained, trained // steps) + 1
    return timesteps[timesteps < trained]


def _visited(name: str, ascending: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The time steps of the UNet's evaluations: PLMS begins with an improved Euler step, which needs two."""
    descending = ascending[::-1].copy()
    if name == PLMS and len(descending) > 1:
        return np.insert(descending, 1, descending[1])
    return descending


def _other(name: str, config: Mapping[str, Any], steps: int) -> Any:
    return _set(_class_of(name), {**config, **settings_of(name)}, name, steps)


def _set(kind: Any, config: Mapping[str, Any], name: str, steps: int) -> Any:
    try:
        scheduler = kind.from_config(config)
        scheduler.set_timesteps(steps)
    except (ImportError, ValueError) as error:
        raise UsageError(f"the scheduler {name} does not run here: {first_line(error)}") from None
    return scheduler

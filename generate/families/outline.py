"""What can be said of a model before it is loaded, and without torch: of which family it is, and its sizes.

From a folder's configurations, here or in the Hub's cache, or the header of a single safetensors file.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from visunex.demo import TINY_MODEL
from visunex.demo.tiny import SD_FOLDER

from ..checkpoint.configs import CONFIGS, check_folder, is_of_v, read_json
from ..checkpoint.folders import kind_of_folder
from ..checkpoint.headers import Entry, header_of, is_safetensors, weights_in
from ..checkpoint.kinds import Family, accepted, denoiser_of, family_of
from ..errors import CheckpointError
from ..settings import Defaults
from .hub import cached_folder, check_hub
from .names import check_name

__all__ = [
    "PATCH",
    "SAMPLE_SIZES",
    "STEPS",
    "Outline",
    "check_model",
    "defaults_of",
    "outline",
    "side_of",
]

# Latents along a side, where a config is silent.
SAMPLE_SIZES: dict[Family, int] = {"sd1": 64, "sd2": 64, "sdxl": 128, "sd3": 128, "flux": 128}
OF_V = 96  # of the models of Stable Diffusion 2 that estimate v
PATCH = 2  # latents along a side of what a transformer takes for one place
# How models are sampled where nobody says how; what is not here is as Stable Diffusion 1.
DEFAULTS: dict[Family, Defaults] = {
    "sd3": Defaults(scheduler="EulerDiscrete", steps=28, guidance_scale=7.0),
    "flux": Defaults(scheduler="EulerDiscrete", steps=28, guidance_scale=3.5),
}
SCHNELL = Defaults(scheduler="EulerDiscrete", steps=4, guidance_scale=1.0)  # FLUX.1 without guidance
PARTS = ("unet", "transformer", "vae", "text_encoder", "text_encoder_2", "text_encoder_3")
FIRST = ("input_blocks.0.0.weight", "x_embedder.proj.weight")  # ends of what takes the latents
LEFT_OUT = r"model_ema\.|^text_encoders\.t5xxl\."  # of a file
STEPS = 1000  # of the noise schedule, where a config does not say
_LEVEL = re.compile(r"(?:.*\.)?encoder\.down\.(\d+)\.block\.0\.conv1\.weight")


@dataclass(frozen=True, kw_only=True)
class Outline:
    """Sizes of a model: pixels per latent, channels of a latent, height and width that it was made for.

    `multiple` is what sizes in pixels are multiples of, `steps` the length of its noise schedule; `weights`
    how many numbers it has, 0 where that is not known; `defaults` how it is sampled where nobody says how.
    """

    name: str
    kind: Family
    factor: int
    channels: int
    size: tuple[int, int]
    multiple: int
    steps: int = STEPS
    weights: int = 0
    defaults: Defaults = field(default_factory=Defaults)


def check_model(name: str) -> Family | None:
    """The family of the model called `name`; None where that is known once it is fetched or read.

    Raises CheckpointError, saying why, for a name, a folder or a file that is of no family that is taken. Of
    what passes the weights have not been read.
    """
    path = Path(name)
    if name == TINY_MODEL:
        return "sd1"
    if path.is_file():
        header = _header(path)
        return family_of(_shapes(header), name) if header else None  # the others are read by torch
    if path.is_dir():
        return _check_folder(path)
    check_name(name)
    return check_hub(name)


def _check_folder(path: Path) -> Family:
    family = accepted(kind_of_folder(path), str(path))
    denoiser = CONFIGS[denoiser_of(family)]
    if not (path / denoiser).is_file():
        raise CheckpointError(
            f"{path} is no diffusers folder: it has no {denoiser}. Give --model a folder that has, "
            "a checkpoint's file, or a Hub name"
        )
    check_folder(path)
    return family


def outline(name: str) -> Outline | None:
    """The sizes of the model called `name`; None where they are only known once it is loaded."""
    path = Path(name)
    if name != TINY_MODEL and path.is_file():
        return _of_header(name, _header(path))
    folder = SD_FOLDER if name == TINY_MODEL else path if path.is_dir() else cached_folder(name)
    return None if folder is None else _of_configs(name, folder)


def _header(path: Path) -> Mapping[str, Entry]:
    try:
        return header_of(path) if is_safetensors(path) else {}
    except (CheckpointError, OSError):  # whoever reads the file says what is wrong with it
        return {}


def _shapes(header: Mapping[str, Entry]) -> dict[str, tuple[int, ...]]:
    return {name: entry.shape for name, entry in header.items()}


def _of_header(name: str, header: Mapping[str, Entry]) -> Outline | None:
    levels = {match[1] for each in header if (match := _LEVEL.fullmatch(each))}
    first = next((each for key, each in header.items() if key.endswith(FIRST)), None)
    if not levels or first is None or len(first.shape) < 2:
        return None
    family = family_of(_shapes(header), name)
    side = side_of(family, of_v=is_of_v(header, Path(name)))
    found = _outline(name, family, len(levels), first.shape[1], side, STEPS)
    own = (entry for key, entry in header.items() if not re.search(LEFT_OUT, key))
    weights = sum(math.prod(entry.shape) for entry in own)
    return replace(found, weights=weights, defaults=defaults_of(family, {}))


def side_of(family: Family, *, of_v: bool) -> int:
    """Latents along a side of a model in one file, by what its UNet estimates."""
    return OF_V if family == "sd2" and of_v else SAMPLE_SIZES[family]


def _of_configs(name: str, folder: Path) -> Outline | None:
    family = accepted(kind_of_folder(folder), name)
    parts = (denoiser_of(family), "vae", "scheduler")
    denoiser, vae, scheduler = (read_json(folder / CONFIGS[part]) for part in parts)
    levels, channels = vae.get("block_out_channels"), denoiser.get("in_channels")
    steps = scheduler.get("num_train_timesteps", STEPS)
    if not isinstance(levels, list) or not isinstance(channels, int) or not isinstance(steps, int):
        return None
    channels = channels // PATCH**2 if family == "flux" else channels
    found = _outline(name, family, len(levels), channels, denoiser.get("sample_size"), steps)
    weights = sum(weights_in(folder / part) for part in PARTS)
    return replace(found, weights=weights, defaults=defaults_of(family, denoiser))


def defaults_of(family: Family, denoiser: Mapping[str, Any]) -> Defaults:
    """How a model is sampled where nobody says how, by the configuration of its UNet or transformer."""
    if family == "flux" and not denoiser.get("guidance_embeds", False):
        return SCHNELL
    return DEFAULTS.get(family, Defaults())


def _outline(name: str, family: Family, levels: int, channels: int, side: Any, steps: int) -> Outline:
    factor, side = 2 ** (levels - 1), side or SAMPLE_SIZES[family]
    height, width = side if isinstance(side, list) and len(side) == 2 else (side, side)
    return Outline(
        name=name,
        kind=family,
        factor=factor,
        channels=channels,
        size=(height * factor, width * factor),
        multiple=factor * (PATCH if denoiser_of(family) == "transformer" else 1),
        steps=steps,
    )

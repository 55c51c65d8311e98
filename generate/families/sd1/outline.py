"""What can be said of a model before it is loaded, and without torch: is it one, and of which size.

From a folder's configurations, here or in the Hub's cache, or the header of a single safetensors file.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from visunex.demo import TINY_MODEL
from visunex.demo.tiny import SD_FOLDER

from ...checkpoint.configs import CONFIGS, check_folder, read_json
from ...checkpoint.folders import kind_of_folder
from ...checkpoint.headers import Entry, header_of, is_safetensors
from ...checkpoint.kinds import WANTED, kind_of
from ...errors import CheckpointError
from ..hub import cached_folder, check_hub
from ..names import check_name

__all__ = ["SAMPLE_SIZE", "STEPS", "Outline", "check_model", "outline"]

SAMPLE_SIZE = 64  # latents along a side, where a config does not say
STEPS = 1000  # of the noise schedule, where a config does not say
_LEVEL = re.compile(r"(?:.*\.)?encoder\.down\.(\d+)\.block\.0\.conv1\.weight")


@dataclass(frozen=True, kw_only=True)
class Outline:
    """Sizes of a model: pixels per latent, channels of a latent, height and width that it was made for.

    `steps` is the length of its noise schedule.
    """

    name: str
    factor: int
    channels: int
    size: tuple[int, int]
    steps: int = STEPS


def check_model(name: str) -> None:
    """Raise CheckpointError, saying why, for a name, a folder or a file that is no Stable Diffusion 1.x.

    Of what passes the weights have not been read.
    """
    path = Path(name)
    if name == TINY_MODEL:
        return
    if path.is_file():
        _check_file(path)
    elif path.is_dir():
        _check_folder(path)
    else:
        check_name(name)
        check_hub(name)


def _check_folder(path: Path) -> None:
    if kind := kind_of_folder(path):
        raise CheckpointError(f"{path} is {kind.what}, but {WANTED}: {kind.advice}")
    if not (path / CONFIGS["unet"]).is_file():
        raise CheckpointError(
            f"{path} is no diffusers folder: it has no unet/config.json. Give --model a folder that has, "
            "a checkpoint's file, or a Hub name"
        )
    check_folder(path)


def _check_file(path: Path) -> None:
    """Raise CheckpointError for a safetensors file of something else; the others are read by torch."""
    header = _header(path)
    kind = kind_of({name: entry.shape for name, entry in header.items()}) if header else None
    if kind is not None:
        raise CheckpointError(f"{path} is {kind.what}, but {WANTED}: {kind.advice}")


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


def _of_header(name: str, header: Mapping[str, Entry]) -> Outline | None:
    levels = {match[1] for each in header if (match := _LEVEL.fullmatch(each))}
    first = next((each for key, each in header.items() if key.endswith("input_blocks.0.0.weight")), None)
    if not levels or first is None or len(first.shape) < 2:
        return None
    return _outline(name, len(levels), first.shape[1], SAMPLE_SIZE, STEPS)


def _of_configs(name: str, folder: Path) -> Outline | None:
    unet, vae, scheduler = (read_json(folder / CONFIGS[part]) for part in ("unet", "vae", "scheduler"))
    levels, channels = vae.get("block_out_channels"), unet.get("in_channels")
    steps = scheduler.get("num_train_timesteps", STEPS)
    if not isinstance(levels, list) or not isinstance(channels, int) or not isinstance(steps, int):
        return None
    return _outline(name, len(levels), channels, unet.get("sample_size") or SAMPLE_SIZE, steps)


def _outline(name: str, levels: int, channels: int, side: Any, steps: int) -> Outline:
    factor = 2 ** (levels - 1)
    height, width = side if isinstance(side, list) and len(side) == 2 else (side, side)
    return Outline(
        name=name, factor=factor, channels=channels, size=(height * factor, width * factor), steps=steps
    )

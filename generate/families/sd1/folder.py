"""Stable Diffusion 1.x as a diffusers folder, here or on the Hub -> the model's parts."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from visunex.base.errors import first_line
from visunex.demo import TINY_MODEL

from ...checkpoint.folders import kind_of_folder, shapes_of_unet
from ...checkpoint.kinds import kind_of
from ...checkpoint.reader import WANTED
from ...errors import CheckpointError
from ..names import check_name
from .parts import Parts

__all__ = ["load_folder", "load_tiny"]

# NAME.fp16.safetensors, and as shards NAME.fp16-00001-of-00002.safetensors
_VARIANT = re.compile(r"[^.]+\.([A-Za-z][A-Za-z0-9_]*)(?:-\d+-of-\d+)?\.(?:safetensors|bin)")


def load_tiny(dtype: torch.dtype) -> Parts:
    """The parts of the demo world's `visunex-tiny`; raises CheckpointError where it is not installed."""
    from visunex.demo.tiny import SD_FOLDER, text_projection

    if not (SD_FOLDER / "unet").is_dir():
        raise CheckpointError(
            f"{TINY_MODEL} is not installed with this copy of visunex: {SD_FOLDER} is not there"
        )
    return replace(load_folder(str(SD_FOLDER), dtype), own_projection=text_projection())


def load_folder(name: str, dtype: torch.dtype, variant: str | None = None) -> Parts:
    """The parts in the folder `name`, or of that name on the Hub: UNet and VAE in `dtype`, the rest in fp32.

    `variant` chooses among files such as `NAME.fp16.safetensors`; one that is alone here is taken anyway.
    Raises CheckpointError for what is no such folder, not there, or not readable.
    """
    import diffusers
    from transformers import CLIPTokenizer

    _check_folder(name)
    try:
        if kind := kind_of(
            shapes_of_unet(diffusers.UNet2DConditionModel.load_config(name, subfolder="unet"))
        ):
            raise CheckpointError(f"{name} is {kind.what}, but {WANTED}: {kind.advice}")
        config = diffusers.DDIMScheduler.load_config(name, subfolder="scheduler")
        text_encoder, projection = _text_encoder(name, variant)
        return Parts(
            unet=_part(diffusers.UNet2DConditionModel, name, "unet", dtype, variant),
            vae=_part(diffusers.AutoencoderKL, name, "vae", dtype, variant),
            text_encoder=text_encoder,
            own_projection=projection,
            tokenizer=CLIPTokenizer.from_pretrained(name, subfolder="tokenizer"),
            scheduler_config={key: value for key, value in config.items() if not key.startswith("_")},
        )
    except CheckpointError:
        raise
    # diffusers, transformers, safetensors and the Hub's client each have their own
    except Exception as error:
        raise CheckpointError(_why(name, error)) from None


def _part(kind: Any, name: str, folder: str, dtype: torch.dtype, variant: str | None) -> Any:
    variant = variant or _only_variant(Path(name) / folder)
    return kind.from_pretrained(
        name, subfolder=folder, torch_dtype=dtype, low_cpu_mem_usage=False, variant=variant
    )


def _only_variant(folder: Path) -> str | None:
    """The variant (`fp16`) of a part's weights where its folder holds no plain ones; the first of several."""
    files = [path.name for path in folder.glob("*.safetensors")] + [
        path.name for path in folder.glob("*.bin")
    ]
    variants = {match[1] for name in files if (match := _VARIANT.fullmatch(name))}
    plain = [name for name in files if not _VARIANT.fullmatch(name)]
    return min(variants) if variants and not plain else None


def _text_encoder(name: str, variant: str | None) -> tuple[Any, Tensor | None]:
    """The text encoder in fp32, and its projection if the model brings one."""
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    config = CLIPTextConfig.from_pretrained(name, subfolder="text_encoder")
    projected = "CLIPTextModelWithProjection" in (config.architectures or [])
    kind = CLIPTextModelWithProjection if projected else CLIPTextModel
    variant = variant or _only_variant(Path(name) / "text_encoder")
    encoder = kind.from_pretrained(name, subfolder="text_encoder", dtype=torch.float32, variant=variant)
    return (encoder.text_model, encoder.text_projection.weight.detach()) if projected else (encoder, None)


def _check_folder(name: str) -> None:
    """Raise CheckpointError for what is no model folder, before the Hub is asked for a model of that name."""
    path = Path(name)
    if path.is_dir():
        if kind := kind_of_folder(path):
            raise CheckpointError(f"{name} is {kind.what}, but {WANTED}: {kind.advice}")
        if not (path / "unet" / "config.json").is_file():
            raise CheckpointError(
                f"{name} is no diffusers folder: it has no unet/config.json. Give --model a folder that has, "
                "a checkpoint's file, or a Hub name"
            )
    check_name(name)


def _why(name: str, error: Exception) -> str:
    reason = first_line(error)
    if Path(name).is_dir():
        return f"the model in {name} cannot be read: {reason}"
    return (
        f"the model {name} is not on this machine and cannot be fetched from the Hub ({reason}); "
        "check the name and the network, or give --model a folder or a file"
    )

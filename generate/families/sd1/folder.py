"""Stable Diffusion 1.x as a diffusers folder, here or on the Hub -> the model's parts."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from visunex.base.errors import first_line
from visunex.base.machine import is_memory_shortage
from visunex.demo import TINY_MODEL

from ...checkpoint.bounds import check_config
from ...checkpoint.configs import CONFIGS, shapes_of_unet
from ...checkpoint.headers import check_weights, only_variant
from ...checkpoint.kinds import WANTED, kind_of
from ...errors import CheckpointError
from ..hub import cached_folder, unreachable
from .outline import check_model
from .parts import Parts

__all__ = ["load_folder", "load_tiny"]

WEIGHTS = {"unet": "UNet", "vae": "VAE", "text_encoder": "text encoder"}  # folders of weights


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

    check_model(name)
    try:
        configs = _configs(name)
        if kind := kind_of(shapes_of_unet(configs["unet"])):
            raise CheckpointError(f"{name} is {kind.what}, but {WANTED}: {kind.advice}")
        _check_weights(Path(name), variant)
        text_encoder, projection = _text_encoder(name, variant)
        parts = Parts(
            unet=_part(diffusers.UNet2DConditionModel, name, "unet", dtype, variant),
            vae=_part(diffusers.AutoencoderKL, name, "vae", dtype, variant),
            text_encoder=text_encoder,
            own_projection=projection,
            tokenizer=CLIPTokenizer.from_pretrained(name, subfolder="tokenizer"),
            scheduler_config={
                key: value for key, value in configs["scheduler"].items() if not key.startswith("_")
            },
        )
        if not Path(name).is_dir() and (folder := cached_folder(name)) is not None:
            _check_weights(folder, variant)
        return parts
    except CheckpointError:
        raise
    # diffusers, transformers, safetensors and the Hub's client each have their own
    except Exception as error:
        if is_memory_shortage(error):
            raise
        raise CheckpointError(_why(name, error)) from None


def _configs(name: str) -> dict[str, dict[str, Any]]:
    """The parts' configurations, each number within its bounds. Raises CheckpointError for others."""
    import diffusers

    configs = {}
    for part in CONFIGS:
        kind = diffusers.DDIMScheduler if part == "scheduler" else diffusers.UNet2DConditionModel
        configs[part] = dict(kind.load_config(name, subfolder=part))
        check_config(part, configs[part], f"{CONFIGS[part]} of {name}")
    return configs


def _check_weights(folder: Path, variant: str | None) -> None:
    for part in WEIGHTS if folder.is_dir() else ():
        check_weights(folder / part, variant or only_variant(folder / part))


def _part(kind: Any, name: str, folder: str, dtype: torch.dtype, variant: str | None) -> Any:
    variant = variant or only_variant(Path(name) / folder)
    part, info = kind.from_pretrained(
        name,
        subfolder=folder,
        torch_dtype=dtype,
        low_cpu_mem_usage=False,
        variant=variant,
        use_safetensors=False if _is_pickled(Path(name) / folder) else None,
        output_loading_info=True,
    )
    _require_all(info, WEIGHTS[folder], name)
    return part


def _is_pickled(folder: Path) -> bool:
    """Whether a folder here holds weights of torch alone: diffusers would complain of it."""
    return folder.is_dir() and not any(folder.glob("*.safetensors*"))


def _require_all(info: Mapping[str, Any], part: str, name: str) -> None:
    """Raise CheckpointError where weights of a part are missing: the libraries would leave them random."""
    missing = sorted(info["missing_keys"])
    if missing:
        raise CheckpointError(
            f"the model in {name} is not whole: {len(missing)} weights of its {part} are missing, such as "
            f"{missing[0]}; fetch it again"
        )


def _text_encoder(name: str, variant: str | None) -> tuple[Any, Tensor | None]:
    """The text encoder in fp32, and its projection if the model brings one."""
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    config = CLIPTextConfig.from_pretrained(name, subfolder="text_encoder")
    projected = "CLIPTextModelWithProjection" in (config.architectures or [])
    kind = CLIPTextModelWithProjection if projected else CLIPTextModel
    variant = variant or only_variant(Path(name) / "text_encoder")
    encoder, info = kind.from_pretrained(
        name, subfolder="text_encoder", dtype=torch.float32, variant=variant, output_loading_info=True
    )
    _require_all(info, "text encoder", name)
    return (encoder.text_model, encoder.text_projection.weight.detach()) if projected else (encoder, None)


def _why(name: str, error: Exception) -> str:
    reason = first_line(error)
    if Path(name).is_dir():
        return f"the model in {name} cannot be read: {reason}"
    return unreachable(name, reason)

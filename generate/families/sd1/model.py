"""A model's name, folder or file -> its parts on a device."""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from visunex.base.memory import keep_memory
from visunex.demo import TINY_MODEL

from ...errors import CheckpointError, UsageError
from ...settings import DEFAULT_MODEL

__all__ = ["Model", "load"]

SINGLE_FILES = {".safetensors", ".ckpt", ".pt"}
KEPT = 2**31 - 1  # bytes: a step of the UNet and the steering each take up to 1 GB, over and over


@dataclass(frozen=True, eq=False)
class Model:
    """The parts of one Stable Diffusion 1.x model; `unet` and `vae` in `dtype`, the text tower in fp32."""

    name: str
    unet: Any
    vae: Any
    text_model: Any
    tokenizer: Any
    scheduler_config: Mapping[str, Any]
    own_projection: Tensor | None = None
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    lowvram: bool = False

    @property
    def dtype(self) -> torch.dtype:
        """The precision of the UNet."""
        return self.unet.dtype

    @property
    def factor(self) -> int:
        """Pixels per latent along each side: 8 for Stable Diffusion."""
        return 2 ** (len(self.vae.config.block_out_channels) - 1)

    @property
    def channels(self) -> int:
        """Channels of a latent: 4 for Stable Diffusion."""
        return int(self.unet.config.in_channels)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels that the model was made for."""
        side = self.unet.config.sample_size
        height, width = (side, side) if isinstance(side, int) else side
        return height * self.factor, width * self.factor

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits of a SHA-256 over a sample of every part's weights: another model, another
        fingerprint."""
        digest = hashlib.sha256()
        for part in (self.unet, self.vae, self.text_model):
            for name, value in sorted(part.state_dict().items()):
                digest.update(name.encode())
                digest.update(value.flatten()[:16].to("cpu", torch.float16).numpy().tobytes())
        return digest.hexdigest()[:16]

    @cached_property
    def text_projection(self) -> Tensor:
        """The text projection `[D_proj, D]` of the text tower: its own, else CLIP-L's."""
        if self.own_projection is not None:
            return self.own_projection
        from .clip_l import text_projection

        return text_projection(self.text_model.config.hidden_size)

    @contextmanager
    def on_device(self, part: Any) -> Iterator[Any]:
        """The part on the model's device; with `lowvram` it leaves again, so that one part is there at a
        time."""
        if not self.lowvram:
            yield part
            return
        try:
            yield part.to(self.device)
        finally:
            part.to("cpu")


def load(
    name: str = DEFAULT_MODEL, *, device: str = "auto", precision: str = "autocast", lowvram: bool = False
) -> Model:
    """Load a Hub name, a diffusers folder, a single `.safetensors` or `.ckpt` file, or `visunex-tiny`.

    `device` is a torch device or `auto`; `precision` is `full` (fp32) or `autocast` (fp16 UNet and VAE on a
    GPU, fp32 on a CPU, as the original's autocast did). Raises CheckpointError for what is not there or not
    readable, UsageError for a device that is not there.
    """
    target = find_device(device)
    if target.type == "cpu":
        keep_memory(KEPT)
    dtype = (
        torch.float16 if precision == "autocast" and target.type in ("cuda", "mps", "xpu") else torch.float32
    )
    parts = _parts(name, dtype)
    model = Model(name=name, device=target, lowvram=lowvram, **parts)
    for part in (model.unet, model.vae):  # convolutions run faster so; on two CPU threads by 17 times
        part.to(memory_format=torch.channels_last)
    for part in (model.unet, model.vae, model.text_model):
        part.eval().requires_grad_(False)
        if not lowvram:
            part.to(target)
    if lowvram:
        model.vae.enable_slicing()
        model.vae.enable_tiling()
    return model


def find_device(name: str) -> torch.device:
    """The device called `name`; for `auto` a GPU if there is one."""
    if name == "auto":
        accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
        return accelerator or torch.device("cpu")
    try:
        torch.empty(1, device=name)
    except (RuntimeError, AssertionError) as error:
        raise UsageError(f"no device {name!r} here: {str(error).splitlines()[0]}") from None
    return torch.device(name)


def _parts(name: str, dtype: torch.dtype) -> dict[str, Any]:
    if name == TINY_MODEL:
        return _tiny_parts(dtype)
    path = Path(name)
    if path.is_file() or (path.suffix.lower() in SINGLE_FILES and not path.is_dir()):
        from ...checkpoint.single_file import load_checkpoint

        return load_checkpoint(path, dtype)
    return _diffusers_parts(name, dtype)


def _tiny_parts(dtype: torch.dtype) -> dict[str, Any]:
    from visunex.demo.tiny import SD_FOLDER, text_projection

    if not (SD_FOLDER / "unet").is_dir():
        raise CheckpointError(
            f"{TINY_MODEL} is not installed with this copy of visunex: {SD_FOLDER} is not there"
        )
    return _diffusers_parts(str(SD_FOLDER), dtype) | {"own_projection": text_projection()}


def _diffusers_parts(name: str, dtype: torch.dtype) -> dict[str, Any]:
    import diffusers
    from transformers import CLIPTokenizer

    _check_folder(name)
    try:
        config = diffusers.DDIMScheduler.load_config(name, subfolder="scheduler")
        text_model, projection = _text_tower(name)
        return {
            "unet": _part(diffusers.UNet2DConditionModel, name, "unet", dtype),
            "vae": _part(diffusers.AutoencoderKL, name, "vae", dtype),
            "text_model": text_model,
            "own_projection": projection,
            "tokenizer": CLIPTokenizer.from_pretrained(name, subfolder="tokenizer"),
            "scheduler_config": {key: value for key, value in config.items() if not key.startswith("_")},
        }
    except CheckpointError:
        raise
    except (
        Exception
    ) as error:  # diffusers, transformers, safetensors and the Hub's client each have their own
        raise CheckpointError(_why(name, error)) from None


def _part(kind: Any, name: str, folder: str, dtype: torch.dtype) -> Any:
    return kind.from_pretrained(name, subfolder=folder, torch_dtype=dtype, low_cpu_mem_usage=False)


def _text_tower(name: str) -> tuple[Any, Tensor | None]:
    """The text tower in fp32, and its projection if the model brings one."""
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    config = CLIPTextConfig.from_pretrained(name, subfolder="text_encoder")
    projected = "CLIPTextModelWithProjection" in (config.architectures or [])
    kind = CLIPTextModelWithProjection if projected else CLIPTextModel
    tower = kind.from_pretrained(name, subfolder="text_encoder", dtype=torch.float32)
    return (tower.text_model, tower.text_projection.weight.detach()) if projected else (tower, None)


def _check_folder(name: str) -> None:
    """Say plainly what a path that is no model folder is, before the Hub is asked for a model of that
    name."""
    path = Path(name)
    if path.is_dir() and not (path / "unet" / "config.json").is_file():
        raise CheckpointError(f"{name} is no diffusers folder: it has no unet/config.json")
    if not path.is_dir() and (name.count("/") != 1 or name.startswith((".", "/", "~"))):
        raise CheckpointError(
            f"no model {name!r}: not a folder, not a file, not a Hub name (OWNER/NAME) and not {TINY_MODEL}"
        )


def _why(name: str, error: Exception) -> str:
    reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    if Path(name).is_dir():
        return f"the model in {name} cannot be read: {reason}"
    return (
        f"the model {name} is not on this machine and cannot be fetched from the Hub ({reason}); "
        "check the name and the network, or give --model a folder or a file"
    )

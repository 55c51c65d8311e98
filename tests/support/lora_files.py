"""LoRAs in the layouts that programs write, of layers by diffusers' names, with what each adds by hand."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from original_layout import UNET_BLOCK, UNET_INNER, renamed, with_upsamplers_last
from safetensors.torch import save_file
from torch import Tensor, nn

RANK, ALPHA = 2, 3.0
NAMES = dict[str, Tensor]


@dataclass(frozen=True, eq=False)
class Layer:
    """A layer by diffusers' name, with the part that it is of, and A and B."""

    name: str
    down: Tensor
    up: Tensor
    module: Any
    stabilitys: str = ""  # what the layer is called in Stability's files

    @property
    def added(self) -> Tensor:
        """B A as the layer's weight has it, computed convolution by convolution in float64."""
        down, up = self.down.double(), self.up.double()
        if down.ndim == 2:
            return up @ down
        return torch.einsum("or,rikl->oikl", up[:, :, 0, 0], down)


def layers(model: Any, *names: str) -> list[Layer]:
    return [_layer(model, name, seed) for seed, name in enumerate(names)]


def _layer(model: Any, name: str, seed: int) -> Layer:
    part, _, inner = name.partition(".")
    network = getattr(model, part)
    inner = inner if hasattr(network, "text_model") else inner.removeprefix("text_model.")
    module = network.get_submodule(inner)
    draw = torch.Generator().manual_seed(seed)
    rows, columns, *kernel = module.weight.shape
    down = torch.randn(RANK, columns, *kernel, generator=draw)
    up = torch.randn(rows, RANK, *[1 for _ in kernel], generator=draw)
    names = {each: own for own, each in all_stabilitys(network)} if part == "unet" else {}
    return Layer(name, down, up, module, names.get(module, ""))


def kohya(layer: Layer) -> NAMES:
    """kohya's scripts, of Stable Diffusion 1."""
    part, _, inner = layer.name.partition(".")
    front = {"unet": "lora_unet", "text_encoder": "lora_te", "text_encoder_2": "lora_te2"}[part]
    return _kohya(layer, f"{front}_{inner.replace('.', '_')}")


def kohya_xl(layer: Layer) -> NAMES:
    """kohya's scripts, of SDXL: its UNet's layers have Stability's names."""
    part, _, inner = layer.name.partition(".")
    front = {"unet": "lora_unet", "text_encoder": "lora_te1", "text_encoder_2": "lora_te2"}[part]
    inner = layer.stabilitys or inner
    return _kohya(layer, f"{front}_{inner.replace('.', '_')}")


def _kohya(layer: Layer, name: str) -> NAMES:
    alpha = torch.tensor(ALPHA)
    return {
        f"{name}.lora_down.weight": layer.down,
        f"{name}.lora_up.weight": layer.up,
        f"{name}.alpha": alpha,
    }


def diffusers(layer: Layer) -> NAMES:
    """diffusers today; its alpha stands in the metadata, or is the rank."""
    return {f"{layer.name}.lora_A.weight": layer.down, f"{layer.name}.lora_B.weight": layer.up}


def first_diffusers(layer: Layer) -> NAMES:
    """diffusers' first releases: attention processors, and linear layers of the text encoder."""
    name = layer.name.replace(".to_out.0", ".to_out")
    for new, old in {"q_proj": "to_q", "k_proj": "to_k", "v_proj": "to_v", "out_proj": "to_out"}.items():
        name = name.replace(f".{new}", f".{old}")
    head, _, last = name.rpartition(".")
    if last.startswith("to_"):
        name = f"{head}.processor.{last}_lora" if head.startswith("unet") else f"{head}.{last}_lora"
    else:
        name = f"{name}.lora_linear_layer"
    return {f"{name}.down.weight": layer.down, f"{name}.up.weight": layer.up}


def comfy(layer: Layer) -> NAMES:
    """ComfyUI's: Stability's names behind `diffusion_model.`."""
    name = f"diffusion_model.{layer.stabilitys}"
    return {f"{name}.lora_up.weight": layer.up, f"{name}.lora_down.weight": layer.down}


def all_stabilitys(unet: Any) -> Iterator[tuple[str, nn.Module]]:
    """Every linear layer and convolution of a UNet by Stability's name."""
    own = {
        renamed(f"{name}.weight", UNET_BLOCK, UNET_INNER, unet.config.layers_per_block): module
        for name, module in unet.named_modules()
        if isinstance(module, nn.Linear | nn.Conv2d)
    }
    named = with_upsamplers_last({**dict.fromkeys(own)})  # type: ignore[arg-type]
    for key, module in zip(named, own.values(), strict=True):
        yield key.removesuffix(".weight"), module


def write(
    path: Path,
    found: list[Layer],
    layout: Callable[[Layer], NAMES],
    more: Mapping[str, Tensor] | None = None,
    metadata: Mapping[str, str] | None = None,
) -> Path:
    tensors = {key: value.contiguous() for layer in found for key, value in layout(layer).items()}
    save_file({**tensors, **(more or {})}, path, dict(metadata) if metadata else None)
    return path

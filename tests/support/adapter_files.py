"""Plain IP-Adapters with random weights, no bias of which is zero."""

from typing import Any

import torch


def projection(of: int, to: int) -> dict[str, torch.Tensor]:
    """A plain adapter's projection: four tokens for the text's attention from one vector."""
    shapes = {"proj.weight": (4 * to, of), "proj.bias": (4 * to,), "norm.weight": (to,), "norm.bias": (to,)}
    return {name: torch.randn(shape) for name, shape in shapes.items()}


def adapter(unet: Any, *, of: int) -> dict[str, dict[str, torch.Tensor]]:
    """A plain IP-Adapter for a UNet, as `load_ip_adapter` takes it."""
    values = {}
    crossing = [name for name in unet.attn_processors if name.endswith("attn2.processor")]
    for number, name in enumerate(crossing):
        inner = unet.get_submodule(name.removesuffix(".processor")).to_k.out_features
        for part in ("to_k_ip", "to_v_ip"):
            values[f"{2 * number + 1}.{part}.weight"] = torch.randn(inner, unet.config.cross_attention_dim)
    return {"image_proj": projection(of, unet.config.cross_attention_dim), "ip_adapter": values}


def flat(given: dict[str, dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """The same under the names of a safetensors file."""
    return {f"{part}.{name}": each for part, found in given.items() for name, each in found.items()}

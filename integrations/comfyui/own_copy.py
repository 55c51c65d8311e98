"""A copy of one of ComfyUI's CLIP text encoders that may move: ComfyUI's own code on weights of its own.

ComfyUI's layers may lie elsewhere than they compute, be patched by LoRAs as they are used, and are inference
tensors where ComfyUI loads them. Its containers (`SDClipModel`, `CLIPTextModel`, its layers) are kept, for
their code is what computes; each plain layer in them becomes torch's own, in fp32, with the weights that
ComfyUI itself says count.
"""

from typing import Any

import comfy.ops
import torch
from torch import Tensor, nn

from visunex.generate.errors import SteeringError

__all__ = ["own_copy", "shallow"]

NEAR = 0.05  # how far, relatively, the copy may be from the original before any step, by rounding
PLAIN = "load a CLIP in fp16 or fp32"
HOOKS = ("_forward_hooks", "_forward_pre_hooks")


class _Embedding(nn.Embedding):
    """torch's own, which takes the precision that ComfyUI asks for; it is fp32 anyhow."""

    def forward(self, input: Tensor, out_dtype: torch.dtype | None = None) -> Tensor:  # noqa: A002 # torch's
        return super().forward(input).to(out_dtype or self.weight.dtype)


def shallow(module: nn.Module) -> Any:
    """A module of the same class and parts, whose attributes may be set without a trace on the original."""
    twin = object.__new__(type(module))
    twin.__dict__.update(module.__dict__)
    twin.__dict__["_modules"] = dict(module._modules)
    return twin


def own_copy(module: nn.Module, device: torch.device) -> Any:
    """The module with plain fp32 weights of its own on `device`, as ComfyUI would use them now.

    Raises SteeringError for layers whose computation is not theirs alone: bypassed, hooked, quantised.
    """
    if "forward" in module.__dict__ or any(getattr(module, name) for name in HOOKS):
        raise SteeringError(
            f"a {type(module).__name__} of this CLIP computes by another's code (a LoRA in bypass mode, a "
            "hook): use Load LoRA, which patches the weights"
        )
    if isinstance(module, nn.Linear | nn.LayerNorm | nn.Embedding):
        return _layer(module, device)
    if not module._modules and module._parameters:
        raise SteeringError(
            f"this CLIP has a {type(module).__name__}, whose weights cannot be moved (quantised?): {PLAIN}"
        )
    twin = shallow(module)
    twin.__dict__["_parameters"] = {
        name: None if value is None else nn.Parameter(_fresh(value, device))
        for name, value in module._parameters.items()
    }
    twin.__dict__["_modules"] = {
        name: None if each is None else own_copy(each, device) for name, each in module._modules.items()
    }
    return twin


def _layer(layer: Any, device: torch.device) -> nn.Module:
    if more := sorted(set(layer._parameters) - {"weight", "bias"}):
        raise SteeringError(f"this CLIP's weights are quantised ({', '.join(more)}): {PLAIN}")
    weight, bias = _counting(layer, device)
    twin: nn.Module
    if isinstance(layer, nn.Linear):
        twin = nn.Linear(layer.in_features, layer.out_features, bias is not None, device="meta")
    elif isinstance(layer, nn.LayerNorm):
        twin = nn.LayerNorm(layer.normalized_shape, layer.eps, device="meta")
    else:
        twin = _Embedding(layer.num_embeddings, layer.embedding_dim, device="meta")
    twin.weight = nn.Parameter(_fresh(weight, device))
    if bias is not None:
        twin.bias = nn.Parameter(_fresh(bias, device))
    return twin


def _counting(layer: Any, device: torch.device) -> tuple[Tensor, Tensor | None]:
    """Weight and bias as the layer's forward takes them: ComfyUI's own function, patches and all."""
    if not hasattr(layer, "comfy_cast_weights"):
        return layer.weight, getattr(layer, "bias", None)
    weight, bias = comfy.ops.cast_bias_weight(
        layer, dtype=torch.float32, device=device, bias_dtype=torch.float32
    )
    return weight, bias


def _fresh(value: Tensor, device: torch.device) -> Tensor:
    """A tensor of its own in fp32, no inference tensor whatever mode this is called in."""
    with torch.inference_mode(False), torch.no_grad():
        return value.detach().to(device, torch.float32, copy=True)

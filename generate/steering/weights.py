"""The weights of a text encoder as they count, wherever they lie -> a text model of plain tensors.

A user's encoder may be compiled, lie on `meta` with its weights in the hooks of an offload (accelerate), or
have its layers wrapped by adapters (LoRA). Tensors are taken, never modules: a copy of a module takes its
hooks along, and with them the parts they belong to, up to the UNet.
"""

import copy
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import SteeringError

__all__ = ["bare_copy", "device_of", "weight_of"]

PLAIN = (nn.Linear, nn.LayerNorm, nn.Embedding)  # what the layers of CLIP's text model are
WHOLE = "load it whole, and offload the other parts alone"
MERGE = "merge adapters (LoRA) into it first, with pipe.fuse_lora()"


def bare_copy(
    text_model: Any,
    device: torch.device,
    *,
    lora_scale: float = 1.0,
    added: Mapping[str, Tensor] | None = None,
    own: bool = False,
) -> Any:
    """A text model on `device` with the weights of `text_model` and no more of it: no hooks, no adapters.

    `added` are the weights of one more layer, by name. Active adapters are merged, `lora_scale` times as
    strong as they are set. With `own` the tensors are fp32 and may be written to; else, where nothing has to
    be merged, they are the model's. Raises SteeringError for layers that are not CLIP's, and weights that
    are not here.
    """
    _refuse_disk(text_model)
    config = copy.deepcopy(text_model.config)
    # Some ways of attending are for fp16 alone; this one is there for every precision.
    config._attn_implementation = "sdpa"
    config.num_hidden_layers = len(text_model.encoder.layers) + bool(added)
    with torch.device("meta"):
        bare = type(text_model)(config)
    for name, _ in list(bare.named_parameters()):
        path, _, leaf = name.rpartition(".")
        more = (added or {}).get(name)
        value = _weight(_layer(text_model, path), leaf, lora_scale, name) if more is None else more
        value = value.to(device)
        value = value.to(torch.float32, copy=True) if own else value
        setattr(bare.get_submodule(path), leaf, nn.Parameter(value, requires_grad=False))
    places = bare.embeddings.position_embedding.weight
    bare.embeddings.position_ids = torch.arange(len(places), device=device)[None]
    return bare.eval()


def weight_of(layer: Any, *, lora_scale: float = 1.0) -> Tensor:
    """The weight of a linear layer as it counts: from where it lies, active adapters merged."""
    return _weight(layer, "weight", lora_scale, "text_projection")


def device_of(text_model: Any) -> torch.device:
    """The device on which a text model computes: an offload's, where its weights wait elsewhere."""
    for module in text_model.modules():
        for hook in _hooks(module):
            if (device := getattr(hook, "execution_device", None)) is not None:
                return torch.device(device)
    device = next(text_model.parameters()).device
    return torch.device("cpu") if device.type == "meta" else device


def _layer(text_model: Any, path: str) -> Any:
    try:
        return text_model.get_submodule(path)
    except AttributeError as error:
        raise SteeringError(f"this is no CLIP text model of transformers: {error}") from None


def _weight(layer: Any, leaf: str, lora_scale: float, name: str) -> Tensor:
    base = layer
    while hasattr(base, "base_layer"):  # as peft wraps layers
        base = base.base_layer
    if type(base) not in PLAIN:
        raise SteeringError(
            f"the text tower has a {type(base).__name__} where CLIP has a layer of its own ({name}): {MERGE}"
            "; quantised weights cannot be moved at all"
        )
    value = _tensor(base, leaf, name)
    for added in _additions(layer, lora_scale, name) if leaf == "weight" else ():
        value = value.float() + added.to(value.device)
    return value


def _tensor(module: Any, leaf: str, name: str) -> Tensor:
    """A tensor of a module, from an offload's hooks where the module has none of its own."""
    value = getattr(module, leaf)
    if value.is_meta:
        maps = [weights for hook in _hooks(module) if (weights := getattr(hook, "weights_map", None))]
        found = next((weights[leaf] for weights in maps if leaf in _keys(weights)), None)
        value = value if found is None else found
    if value.is_meta or not value.is_floating_point() or type(value) not in (Tensor, nn.Parameter):
        raise SteeringError(
            f"the text encoder's {name} is not here as plain numbers (on meta, or quantised): {WHOLE}"
        )
    return value.detach()


def _refuse_disk(text_model: Any) -> None:
    """Raise SteeringError where diffusers keeps weights in files of its own and leaves empty ones here."""
    for module in text_model.modules():
        hooks = getattr(getattr(module, "_diffusers_hook", None), "hooks", {})
        groups = (getattr(hook, "group", None) for hook in hooks.values())
        if any(getattr(group, "offload_to_disk_path", None) for group in groups):
            raise SteeringError(f"the text encoder's weights are offloaded to a disk in groups: {WHOLE}")


def _keys(weights: Any) -> Any:
    """Names in a map of weights; accelerate's prefixed ones tell theirs only with the prefix."""
    prefix = getattr(weights, "prefix", "")
    return {key.removeprefix(prefix) for key in weights if key.startswith(prefix)}


def _hooks(module: Any) -> Iterator[Any]:
    """accelerate's hooks of a module."""
    hook = getattr(module, "_hf_hook", None)
    if hook is not None:
        yield from getattr(hook, "hooks", (hook,))


def _additions(layer: Any, lora_scale: float, name: str) -> Iterator[Tensor]:
    """What active adapters add to a layer's weight, in fp32: s B A for each (Hu et al., 2106.09685)."""
    if not hasattr(layer, "base_layer") or getattr(layer, "disable_adapters", False):
        return
    merged = set(getattr(layer, "merged_adapters", ()))
    for adapter in getattr(layer, "active_adapters", ()):
        if adapter in merged:
            continue
        if _is_other(layer, adapter):
            raise SteeringError(
                f"the text tower's {name} has an adapter that is no plain LoRA, {adapter}: {MERGE}"
            )
        if adapter in layer.lora_A:  # else it is on other layers alone
            down = _tensor(layer.lora_A[adapter], "weight", name).float()
            up = _tensor(layer.lora_B[adapter], "weight", name).float()
            yield (layer.scaling[adapter] * lora_scale) * (up @ down)


def _is_other(layer: Any, adapter: str) -> bool:
    """Whether an adapter is more than two matrices: DoRA, a bias of its own, LoHa, a whole layer."""
    if not all(hasattr(layer, part) for part in ("lora_A", "lora_B", "scaling")):
        return True
    variants = ("lora_variant", "use_dora", "lora_bias")
    return any(bool(getattr(layer, variant, {}).get(adapter)) for variant in variants)

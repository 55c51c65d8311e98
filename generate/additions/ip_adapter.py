"""An IP-Adapter's file (arXiv 2308.06721), the plain kind, and the UNet that it is put into.

Of its layers one takes the place of each cross attention's processor; at a scale of 0 they compute nothing.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..checkpoint.kinds import outline
from ..errors import AdditionError
from .files import IP_ADAPTER, shapes_in
from .kinds import CONTEXTS, TOKENS, check_adapter
from .reading import whole_of

__all__ = [
    "IMAGE",
    "SCALE",
    "AdapterWeights",
    "put_adapter",
    "read_adapter",
]

# What the UNet is given beside hidden states: image vectors `[n, 1, D]`, and how much they count. Without
# them it computes as if there were no adapter.
IMAGE, SCALE = "image_embeds", "ip_adapter_scale"


@dataclass(frozen=True, eq=False)
class AdapterWeights:
    """The tensors of a plain adapter: `projection` of an image's vector, and of the UNet's `layers`."""

    projection: Mapping[str, Tensor]
    layers: Mapping[str, Tensor]

    @property
    def dimension(self) -> int:
        """Of the vectors that it takes."""
        return int(self.projection["proj.weight"].shape[1])

    @property
    def family(self) -> str | None:
        """The family that it is for, by its name: by how wide the tokens are that it makes."""
        return CONTEXTS.get(len(self.projection["proj.weight"]) // TOKENS)


def read_adapter(path: Path) -> AdapterWeights:
    """A plain adapter's weights. Raises AdditionError for another kind, CheckpointError for broken files."""
    if (shapes := shapes_in(path)) is not None:
        check_adapter(path, shapes)
    found = whole_of(path, IP_ADAPTER)
    check_adapter(path, outline(found))
    tensors = dict(_flat(found))
    if wrong := next((name for name, each in tensors.items() if not each.is_floating_point()), None):
        raise AdditionError(f"{path} cannot be used: {wrong} holds no fractions (quantised?)")
    return AdapterWeights(_under("image_proj.", tensors), _under("ip_adapter.", tensors))


def _flat(found: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    """Tensors under the names of a safetensors file, where torch's has dictionaries in one."""
    for name, value in found.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        elif isinstance(value, Tensor):
            yield f"{prefix}{name}", value


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): each for name, each in tensors.items() if name.startswith(prefix)}


def put_adapter(unet: Any, weights: AdapterWeights, path: Path, model: str) -> None:
    """Put an adapter into a UNet, which then takes `IMAGE` and `SCALE`, and without them is as it was.

    Raises AdditionError for one that does not fit.
    """
    wanted = dict(_layers(unet))
    given = {name: tuple(each.shape) for name, each in weights.layers.items()}
    if wanted != given:
        wrong = next((name for name in (wanted | given) if wanted.get(name) != given.get(name)), "")
        raise AdditionError(
            f"{path} does not fit {model}: {wrong} is {_size(given.get(wrong))} in the file and "
            f"{_size(wanted.get(wrong))} there; name the adapter of the model's family"
        )
    unet._load_ip_adapter_weights([{"image_proj": weights.projection, "ip_adapter": weights.layers}])
    unet.requires_grad_(False).eval()
    unet.register_forward_pre_hook(_beside, with_kwargs=True)


def _layers(unet: Any) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Names and shapes of what an adapter of this UNet has, as the published files number them."""
    crossing = [name for name in unet.attn_processors if name.endswith("attn2.processor")]
    for number, name in enumerate(crossing):
        inner = unet.get_submodule(name.removesuffix(".processor")).to_k.out_features
        for part in ("to_k_ip", "to_v_ip"):
            yield f"{2 * number + 1}.{part}.weight", (inner, unet.config.cross_attention_dim)


def _size(shape: tuple[int, ...] | None) -> str:
    return "x".join(map(str, shape)) if shape else "missing"


def _beside(unet: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> Any:
    """The UNet's arguments with the image's vector as its projection takes it, and the scale set."""
    beside: Any = unet
    sample = given[0] if given else named["sample"]
    added = dict(named.get("added_cond_kwargs") or {})
    scale, image = added.pop(SCALE, None), added.get(IMAGE)
    if image is None:
        of = beside.encoder_hid_proj.image_projection_layers[0].image_embeds.in_features
        image = torch.zeros(len(sample), 1, of, device=sample.device)
    if not isinstance(image, list):  # a pipeline of diffusers sets the scale itself
        for processor in beside.attn_processors.values():
            if hasattr(processor, "to_k_ip"):
                processor.scale = [0.0 if scale is None else float(scale)]
        added[IMAGE] = [image.to(beside.dtype)]
    return given, {**named, "added_cond_kwargs": added}

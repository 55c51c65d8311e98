"""LoRAs in files of several layouts -> what they add to a model's layers.

W becomes W + scale * (alpha / rank) * B A (Hu et al., arXiv 2106.09685), of a convolution with its kernel
laid flat: A is `[rank, in * k * k]`, B `[out, rank]`. Files call A `lora_down`, `lora_A` or `lora.down`.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..checkpoint.configs import read_json
from ..errors import AdditionError
from .files import LORA
from .kinds import check_lora, family_of_lora
from .layers import Layers, find_layer
from .reading import metadata_of, tensors_of

__all__ = ["Change", "LoraWeights", "fitted", "merge", "read_lora"]

_KEY = re.compile(
    r"(?P<layer>.+?)(?:\.lora_(?P<kohya>down|up)|[._]lora(?:_linear_layer)?\.(?P<diffusers>down|up)"
    r"|\.lora_(?P<peft>[AB])(?:\.\w+)?)\.weight"
)
_ROLES = {"down": "down", "up": "up", "A": "down", "B": "up"}
METADATA = "lora_adapter_metadata"  # under which diffusers keeps peft's configurations
CONFIG = "adapter_config.json"  # in which peft keeps its own, beside the weights


@dataclass(frozen=True, eq=False)
class Factors:
    """B `up` and A `down` of one layer, and what their product is multiplied by: alpha / rank."""

    down: Tensor
    up: Tensor
    strength: float


@dataclass(frozen=True, eq=False)
class LoraWeights:
    """A file's LoRA by its own names of layers; `others` are names of what in it is none.

    `family` is the one that it is for, where its names and shapes say so.
    """

    path: Path
    factors: Mapping[str, Factors]
    others: tuple[str, ...]
    family: str | None


@dataclass(frozen=True, eq=False)
class Change:
    """What a LoRA, at a scale, adds to one layer's weight."""

    factors: Factors
    scale: float


def read_lora(path: Path) -> LoraWeights:
    """The LoRA in a file.

    Raises AdditionError for what is none or no plain one, CheckpointError for broken ones.
    """
    tensors = tensors_of(path, LORA)
    shapes = {name: tuple(value.shape) for name, value in tensors.items()}
    check_lora(path, shapes)
    pairs: dict[str, dict[str, Tensor]] = {}
    others = []
    for name, value in tensors.items():
        layer, role = _role(name)
        if role:
            pairs.setdefault(layer, {})[role] = value
        else:
            others.append(name)
    alone = [name for name in pairs if "alpha" in pairs[name] and len(pairs[name]) == 1]
    others += [f"{name}.alpha" for name in alone]
    said = _Said(path, any(name.startswith("base_model.model.") for name in pairs))
    factors = {name: _factors(path, name, pairs[name], said) for name in pairs if name not in alone}
    return LoraWeights(path, factors, tuple(others), family_of_lora(shapes))


def _role(name: str) -> tuple[str, str]:
    """The layer that a tensor is of, as the file calls it, and whether it is `down`, `up` or `alpha`."""
    if match := _KEY.fullmatch(name):
        return match["layer"], _ROLES[match["kohya"] or match["diffusers"] or match["peft"]]
    layer, dot, end = name.rpartition(".")
    return (layer, "alpha") if dot and end == "alpha" else (name, "")


def _factors(path: Path, layer: str, pair: Mapping[str, Tensor], said: "_Said") -> Factors:
    """The matrices of one layer. Raises AdditionError where one is missing, or their ranks differ."""
    if {"down", "up"} - pair.keys():
        raise AdditionError(f"{path} is not whole: of {layer} it has one of two matrices; fetch it again")
    down, up = pair["down"], pair["up"]
    for value in (down, up):
        if not value.is_floating_point() or value.ndim not in (2, 4) or not value.numel():
            raise AdditionError(f"{path} cannot be used: {layer} is no matrix of floating-point numbers")
    rank = len(down)
    if up[0].numel() != rank:
        raise AdditionError(f"{path} cannot be used: the two matrices of {layer} are of different ranks")
    return Factors(down, up, said.strength(layer, rank, pair.get("alpha")))


class _Said:
    """What a file, or peft's configuration beside it, says of alphas that are not among its tensors."""

    def __init__(self, path: Path, is_pefts: bool) -> None:
        self._path = path
        own = read_json(path.parent / CONFIG) if is_pefts else {}
        self._said = {**own, **metadata_of(path, METADATA)}

    def strength(self, layer: str, rank: int, alpha: Tensor | None) -> float:
        """alpha / rank of a layer; 1 where nothing is said of alpha. Raises AdditionError for no number."""
        part = layer.partition(".")[0] + "."
        part = part if f"{part}lora_alpha" in self._said else ""
        value = self._pattern(part, layer)
        if alpha is not None:
            value = float(alpha) if alpha.numel() == 1 else math.nan
        elif value is None:
            value = self._said.get(f"{part}lora_alpha", rank)
        if not isinstance(value, int | float) or not math.isfinite(value):
            raise AdditionError(f"{self._path} cannot be used: the alpha of {layer} is no number")
        return float(value) / (math.sqrt(rank) if self._said.get(f"{part}use_rslora") is True else rank)

    def _pattern(self, part: str, layer: str) -> Any:
        """The alpha of layers whose names end so; peft's patterns, read as plain names."""
        patterns = self._said.get(f"{part}alpha_pattern")
        for end, value in patterns.items() if isinstance(patterns, dict) else ():
            if layer == end or layer.endswith(f".{end}"):
                return value
        return None


def fitted(
    lora: LoraWeights, scale: float, layers: Layers, model: str
) -> tuple[list[tuple[nn.Module, Change]], tuple[str, ...]]:
    """Each layer with what the LoRA adds to it, and the names in the file that fit no layer of the model.

    Raises AdditionError where none fits, or one has another size.
    """
    changes, left_out = [], list(lora.others)
    for name, factors in lora.factors.items():
        found = find_layer(layers, name)
        if found is None:
            left_out.append(name)
            continue
        _check_size(lora.path, name, factors, found[1], model)
        changes.append((found[1], Change(factors, scale)))
    if not changes:
        raise AdditionError(
            f"{lora.path} fits no layer of {model}: it is for another kind of model (it has "
            f"{left_out[0][:100]})"
        )
    return changes, tuple(left_out)


def _check_size(path: Path, name: str, factors: Factors, layer: Any, model: str) -> None:
    rows, columns = layer.weight.flatten(1).shape
    given = len(factors.up), factors.down.flatten(1).shape[1]
    if given != (rows, columns):
        raise AdditionError(
            f"{path} was made for another model than {model}: its {name} is for a layer of "
            f"{given[0]}x{given[1]} numbers, which has {rows}x{columns} here"
        )


@torch.no_grad()
def merge(layer: Any, changes: Sequence[Change], place: str) -> None:
    """Give a layer W + the sum of what is added to it, computed in fp32, in the precision of W.

    W itself is not written to. Raises AdditionError where the sum is not finite; `place` says whose it is.
    """
    weight: Tensor = layer.weight
    total = weight.float()
    for change in changes:
        up, down = (
            value.to(weight.device).float().flatten(1) for value in (change.factors.up, change.factors.down)
        )
        added = (change.scale * change.factors.strength) * (up @ down)
        total = total + added.reshape(weight.shape)
    merged = torch.empty_like(weight).copy_(total)
    if not merged.isfinite().all():
        raise AdditionError(
            f"{place} makes weights of the model that are not finite numbers: try a smaller scale, or fetch "
            "it again"
        )
    layer.weight = nn.Parameter(merged, requires_grad=False)

"""What Stable Diffusion 2.x leaves out of its text encoder, OpenCLIP's ViT-H: its last layer and projection.

50 MB of a 4 GB file: they are taken from a copy of ViT-H on this machine, else their bytes alone are fetched
from the Hub, once. The final norm is the model's own.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from torch import Tensor

from visunex.base.errors import first_line
from visunex.base.files import write_bytes
from visunex.base.folders import cache_folder

from ...errors import CheckpointError
from ..sd1.text_encoder import read_tensor

__all__ = ["LAYERS", "WIDTH", "cached_file", "last_layer", "read_layer", "text_projection"]

REPOSITORY, FILE = "laion/CLIP-ViT-H-14-laion2B-s32B-b79K", "model.safetensors"
KEPT_AS = "clip-vit-h-14-last-text-layer.safetensors"
LAYERS, WIDTH = 24, 1024  # of ViT-H's text encoder
PROJECTION = "text_projection.weight"
PARTS = (
    *(f"self_attn.{part}_proj" for part in ("q", "k", "v", "out")),
    "mlp.fc1",
    "mlp.fc2",
    "layer_norm1",
    "layer_norm2",
)


def text_projection(width: int) -> Tensor:
    """ViT-H's text projection `[1024, 1024]` in fp32.

    Raises CheckpointError where the encoder is not ViT-H's, or no copy is here nor to be fetched.
    """
    if width != WIDTH:
        raise CheckpointError(f"this model's text tower is {width} wide, ViT-H's is {WIDTH}")
    return _published()[PROJECTION].float()


def last_layer(config: Any) -> dict[str, Tensor]:
    """The weights of ViT-H's layer 24 by transformers' names; none for a text encoder that has it.

    Raises CheckpointError for an encoder that lacks more than that, or where no copy can be had.
    """
    layers = int(config.num_hidden_layers)
    if layers == LAYERS:
        return {}
    if layers != LAYERS - 1:
        raise CheckpointError(
            f"this model's text tower has {layers} layers, where ViT-H's {LAYERS - 1} belong"
        )
    found = _published()
    return {name: found[name].float() for name in _names()}


def _published() -> Mapping[str, Tensor]:
    from huggingface_hub import try_to_load_from_cache
    from safetensors.torch import load_file

    kept, whole = cached_file(), try_to_load_from_cache(REPOSITORY, FILE)
    if isinstance(whole, str) and Path(whole).exists():
        with Path(whole).open("rb") as file:
            return read_layer(file)
    if not kept.exists():
        _fetch(kept)
    return load_file(kept)


def _names() -> list[str]:
    """The last layer's weights as transformers calls them."""
    return [f"encoder.layers.{LAYERS - 1}.{part}.{leaf}" for part in PARTS for leaf in ("weight", "bias")]


def read_layer(file: BinaryIO) -> dict[str, Tensor]:
    """The last text layer and the projection of ViT-H's open safetensors file; no other bytes are read."""
    found = {}
    for name in (PROJECTION, *_names()):
        file.seek(0)
        found[name] = read_tensor(file, name if name == PROJECTION else f"text_model.{name}")
    return found


def _fetch(kept: Path) -> None:
    from huggingface_hub import HfFileSystem, constants
    from safetensors.torch import save

    if constants.HF_HUB_OFFLINE:
        raise CheckpointError(_cannot_fetch("HF_HUB_OFFLINE is set"))
    try:
        with HfFileSystem().open(f"{REPOSITORY}/{FILE}", block_size=2**20) as file:
            found = read_layer(file)
    except Exception as error:  # whatever the Hub's client raises for a network that is down
        raise CheckpointError(_cannot_fetch(first_line(error))) from None
    write_bytes(kept, save(found))


def cached_file() -> Path:
    """Where the fetched layer and projection are kept."""
    return cache_folder(".") / KEPT_AS


def _cannot_fetch(reason: str) -> str:
    return (
        f"Stable Diffusion 2.x leaves out the last text layer of {REPOSITORY}, which is not on this machine "
        f"and cannot be fetched ({reason}); bring it with `hf download {REPOSITORY} {FILE}`, or take no steps"
    )

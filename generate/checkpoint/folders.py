"""What a folder is that holds no Stable Diffusion 1.x: told by its configurations, else by its weights."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import CheckpointError
from .kinds import EMBEDDING, Kind, Shapes, kind_of, kind_of_class
from .reader import SUFFIXES, read_weights

__all__ = ["kind_of_folder", "shapes_of_unet"]

LARGEST = 1 << 20  # bytes of a configuration
WHOLE = "give that file to --model"


def kind_of_folder(folder: Path) -> Kind | None:
    """What a folder is, where it is something other than a whole Stable Diffusion 1.x; None where it is not
    told."""
    if (folder / "unet" / "config.json").is_file():
        return kind_of(shapes_of_unet(read_json(folder / "unet" / "config.json")))
    if (folder / "embedding.pt").is_file():
        return EMBEDDING
    if (folder / "snapshots").is_dir():
        return Kind(
            "a folder of the Hub's cache", "give --model the folder under its snapshots, or the Hub name"
        )
    if (folder / "adapter_config.json").is_file():
        return kind_of({"lora_A": ()})
    if (folder / "open_clip_config.json").is_file():
        return kind_of_class("open_clip")
    return next(filter(None, map(kind_of_class, _classes(folder))), None) or _by_weights(folder)


def shapes_of_unet(config: dict[str, Any]) -> Shapes:
    """What tells a UNet's kind, as its weights would, from the configuration that diffusers writes."""
    widths = config.get("cross_attention_dim")
    width = widths[0] if isinstance(widths, list) and widths else widths
    name = "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.weight"
    shapes: dict[str, tuple[int, ...]] = {
        "unet.conv_in.weight": _sizes(config.get("in_channels", 4)),
        "vae.": (),
    }
    shapes |= {f"unet.{name}": _sizes(width)}
    if config.get("addition_embed_type") == "text_time":
        shapes["unet.add_embedding.linear_1.weight"] = ()
    return shapes


def _sizes(second: Any) -> tuple[int, ...]:
    return (0, second) if isinstance(second, int) else ()


def read_json(path: Path) -> dict[str, Any]:
    """A configuration; empty where there is none that can be read."""
    try:
        with path.open("rb") as file:
            found = json.loads(file.read(LARGEST))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _classes(folder: Path) -> Iterator[str]:
    for name in ("model_index.json", "config.json"):
        config = read_json(folder / name)
        named = config.get("architectures")
        yield from map(str, [config.get("_class_name", ""), *(named if isinstance(named, list) else [])])
    if (folder / "transformer").is_dir():
        yield "Transformer2DModel"


def _by_weights(folder: Path) -> Kind | None:
    """What the only weights in a folder are; a whole model is to be given by its file."""
    files = [path for path in sorted(folder.iterdir()) if path.suffix.lower() in SUFFIXES | {".bin", ".pth"}]
    for path in files[:1]:
        try:
            kind = kind_of({name: tuple(value.shape) for name, value in read_weights(path).items()})
        except CheckpointError:
            continue
        return kind or Kind(f"a folder with the checkpoint {path.name}", WHOLE)
    return None

"""Whether vectors found somewhere can be of a model, told without loading it."""

import importlib.util
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from visunex.demo import CLIP_FOLDERS

from .pretrained import LOCAL_FOLDER

__all__ = ["dimension_of", "model_of", "other_model"]


def model_of(model: str, pretrained: str) -> list[str]:
    """A model's name and which weights of it; these are empty where it brings its own."""
    own = model in CLIP_FOLDERS or model.startswith(LOCAL_FOLDER)
    return [model, "" if own else pretrained]


def other_model(metadata: Mapping[str, Any], model: str, pretrained: str) -> tuple[str, str] | None:
    """The names of the model that made a folder's vectors and of the one wanted, where they differ.

    `metadata` is what the folder says of itself: folders of ours name the first, clip-retrieval's do not.
    """
    said, wanted = metadata.get("model"), model_of(model, pretrained)
    if said is None or said == wanted:
        return None
    words = said if isinstance(said, list) else [said]
    return " ".join(map(str, words)).strip(), " ".join(wanted).strip()


def dimension_of(model: str) -> int | None:
    """The dimension of a model's vectors by its configuration; None where that cannot be read."""
    for path in _configurations(model):
        try:
            config = json.loads(path.read_text(encoding="utf-8"))
            return int(config.get("model_cfg", config)["embed_dim"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            continue
    return None


def _configurations(model: str) -> list[Path]:
    """The files that may hold a model's configuration."""
    if model in CLIP_FOLDERS:
        return [CLIP_FOLDERS[model] / "open_clip_config.json"]
    if model.startswith(LOCAL_FOLDER):
        return [Path(model.removeprefix(LOCAL_FOLDER)) / "open_clip_config.json"]
    spec = importlib.util.find_spec("open_clip")
    folders = [Path(folder) / "model_configs" for folder in (spec and spec.submodule_search_locations) or ()]
    return [folder / f"{model.replace('/', '-')}.json" for folder in folders]

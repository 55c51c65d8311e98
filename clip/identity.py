"""Whether vectors found somewhere can be of the model that a recipe names, told without loading it."""

import importlib.util
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from visunex.pipeline.errors import EncodeError

if TYPE_CHECKING:
    from visunex.recipes import Recipe

__all__ = ["model_of", "other_model", "require_dimension"]


def model_of(recipe: "Recipe") -> list[str]:
    """The name of the recipe's model and which weights of it; empty where it brings its own."""
    own = recipe.encode.model == "visunex-tiny" or recipe.encode.model.startswith("local-dir:")
    return [recipe.encode.model, "" if own else recipe.encode.pretrained]


def other_model(notes: Mapping[str, Any], recipe: "Recipe") -> tuple[str, str] | None:
    """The names of the model that made a folder's vectors and of the recipe's, where they differ.

    Folders of ours note the first; clip-retrieval's do not.
    """
    said, wanted = notes.get("model"), model_of(recipe)
    if said is None or said == wanted:
        return None
    words = said if isinstance(said, list) else [said]
    return " ".join(map(str, words)).strip(), " ".join(wanted).strip()


def require_dimension(dimension: int, recipe: "Recipe", place: str) -> None:
    """Raise EncodeError where the recipe's model makes vectors of another dimension."""
    expected = _dimension(recipe.encode.model)
    if expected is not None and expected != dimension:
        raise EncodeError(
            f"{place} holds vectors of {dimension} dimensions, {recipe.encode.model} makes {expected}: they "
            "come from another model; name it with --model"
        )


def _dimension(model: str) -> int | None:
    """The dimension of a model's vectors from its configuration, without loading what computes with it."""
    spec = importlib.util.find_spec("open_clip")
    folders = [Path(folder) / "model_configs" for folder in (spec and spec.submodule_search_locations) or ()]
    paths = [folder / f"{model.replace('/', '-')}.json" for folder in folders]
    if model == "visunex-tiny":
        from visunex.demo.tiny import CLIP_FOLDER

        paths = [CLIP_FOLDER / "open_clip_config.json"]
    if model.startswith("local-dir:"):
        paths = [Path(model.removeprefix("local-dir:")) / "open_clip_config.json"]
    for path in paths:
        try:
            config = json.loads(path.read_text())
            return int(config.get("model_cfg", config)["embed_dim"])
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return None

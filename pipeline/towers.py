"""Whether vectors found somewhere can be of the model that a recipe names, told without loading it."""

import importlib.util
import json
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import EncodeError
from .precomputed import Found

if TYPE_CHECKING:
    from visunex.recipes import Recipe

__all__ = ["model_of", "require_dimension", "require_model"]


def model_of(recipe: "Recipe") -> list[str]:
    """The name of the recipe's model and which weights of it; empty where it brings its own."""
    own = recipe.encode.model == "visunex-tiny" or recipe.encode.model.startswith("local-dir:")
    return [recipe.encode.model, "" if own else recipe.encode.pretrained]


def require_model(found: Found, recipe: "Recipe", place: str) -> None:
    """Folders of ours say which model made them; clip-retrieval's do not. Raises EncodeError."""
    said = found.notes.get("model")
    if said is not None and said != model_of(recipe):
        raise EncodeError(
            f"{place} holds vectors of {' '.join(map(str, said)).strip()}, the recipe wants "
            f"{' '.join(model_of(recipe)).strip()}: they do not mix; name the right one with --model"
        )


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

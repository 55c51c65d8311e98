"""Which models may be loaded because an image names them: those that a person has named here before."""

import json
import os
from pathlib import Path

from visunex.base.errors import VisunexError
from visunex.base.files import write_json
from visunex.base.folders import cache_folder
from visunex.demo import TINY_MODEL

from ..errors import ImageTextError
from ..settings import DEFAULT_MODEL

__all__ = ["remember", "require_consent"]

OURS = (DEFAULT_MODEL, TINY_MODEL)
MOST_NAMES = 1000
LONGEST = 4096


def require_consent(path: Path, model: str) -> None:
    """Raise ImageTextError where the image at `path` names a model that nobody has named on this machine.

    The name is not looked up anywhere before that, neither on disk nor on the Hub.
    """
    if model in OURS or not {model, _place(model)}.isdisjoint(_named()):
        return
    raise ImageTextError(
        f"{path} was made with the model {model[:200]}, which has not been used here: no model is loaded "
        f"because a picture names it. If you trust it, give it yourself: --model {_argument(model)}"
    )


def remember(model: str) -> None:
    """Keep that a person has named `model`; where nothing can be kept, nothing is."""
    if model in OURS:
        return
    try:
        names = _named()
        wanted = [model] if not Path(model).exists() else [_place(model)]
        if not set(wanted) <= set(names):
            write_json(_file(), [*names, *wanted][-MOST_NAMES:])
    except (OSError, VisunexError):
        pass


def _file() -> Path:
    return cache_folder("generate") / "models.json"


def _named() -> list[str]:
    try:
        found = json.loads(_file().read_text(encoding="utf-8"))
    except (OSError, VisunexError, ValueError):
        return []
    return [name for name in found if isinstance(name, str)] if isinstance(found, list) else []


def _place(model: str) -> str:
    """Where a path leads from here, whether or not there is such a file."""
    return os.path.abspath(model) if len(model) < LONGEST else model  # noqa: PTH100 # links are kept


def _argument(model: str) -> str:
    import shlex

    return shlex.quote(model[:200])

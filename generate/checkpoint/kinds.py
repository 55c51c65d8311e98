"""What a file or folder holds where a model was wanted: told by the names and shapes of its weights."""

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Literal

from ..errors import CheckpointError

__all__ = [
    "EMBEDDING",
    "NAMES",
    "Family",
    "Kind",
    "Shapes",
    "accepted",
    "denoiser_of",
    "family_of",
    "kind_of",
    "kind_of_class",
    "kind_of_pipeline",
    "outline",
]

WANTED = "only Stable Diffusion 1.x, 2.x, XL, 3.x and FLUX.1 models are supported"

Shapes = Mapping[str, tuple[int, ...]]
Family = Literal["sd1", "sd2", "sdxl", "sd3", "flux"]  # what is taken as a model
NAMES: dict[Family, str] = {
    "sd1": "Stable Diffusion 1.x",
    "sd2": "Stable Diffusion 2.x",
    "sdxl": "SDXL",
    "sd3": "Stable Diffusion 3",
    "flux": "FLUX.1",
}

_FEW = 4  # weights that a textual inversion may have
_VECTORS = 128  # that one may have
_WIDTHS = (768, 1024, 1280)  # of the text encoders that such vectors are for
_DEPTH = 3  # of dictionaries that are looked into


@dataclass(frozen=True)
class Kind:
    """What something is, what to do with it, and how it is told: an entry of `kinds.toml`.

    `family` is that of a whole model of a family that is taken.
    """

    what: str
    advice: str = ""
    family: Family | None = None
    any: tuple[str, ...] = ()
    also: str = ""
    lacks: str = ""
    size: tuple[str, int, int] | None = None
    classes: str = ""

    def fits(self, names: str, shapes: Shapes) -> bool:
        """Whether it fits weights of these shapes; `names` are their names, one a line."""
        return (
            bool(self.any or self.size)
            and (not self.any or any(_matches(each, names) for each in self.any))
            and (not self.also or _matches(self.also, names))
            and not (self.lacks and _matches(self.lacks, names))
            and (self.size is None or _has_size(shapes, *self.size))
        )


EMBEDDING = Kind("an aesthetic embedding", "give it to --aesthetic_embedding")


@cache
def kinds() -> tuple[Kind, ...]:
    """The table."""
    data = tomllib.loads(resources.files(__package__).joinpath("kinds.toml").read_text(encoding="utf-8"))
    return tuple(_kind(entry, data["advice"]) for entry in data["kind"])


def _kind(entry: dict[str, Any], advice: dict[str, str]) -> Kind:
    fields: dict[str, Any] = {
        key: tuple(each) if isinstance(each, list) else each for key, each in entry.items()
    }
    return Kind(**fields | {"advice": advice[entry["advice"]] if "advice" in entry else ""})


def family_of(shapes: Shapes, place: str) -> Family:
    """The family of weights of these shapes. Raises CheckpointError, saying what `place` is, for others."""
    return accepted(kind_of(shapes), place)


def denoiser_of(family: Family) -> str:
    """The part of a family's folders that denoises: a `unet`, or a `transformer`."""
    return "transformer" if family in ("sd3", "flux") else "unet"


def accepted(kind: Kind | None, place: str) -> Family:
    """The family of what is of this kind; None is what nothing tells from Stable Diffusion 1.x.

    Raises CheckpointError, saying what `place` is, for what is of no family that is taken.
    """
    if kind is None:
        return "sd1"
    if kind.family is None:
        raise CheckpointError(f"{place} is {kind.what}, but {WANTED}: {kind.advice}")
    return kind.family


def kind_of(shapes: Shapes) -> Kind | None:
    """What weights of these shapes are, where something tells them from a whole Stable Diffusion 1.x."""
    if [*shapes] == [""] and shapes[""][-1:] > (1,):
        return EMBEDDING  # a tensor alone
    names = "\n".join(shapes)
    found = next((kind for kind in kinds() if kind.fits(names, shapes)), None)
    return found or (_inversion() if _are_vectors(shapes) else None)


def kind_of_class(name: str) -> Kind | None:
    """What a folder is whose configuration names this class of diffusers or transformers."""
    return next((kind for kind in kinds() if kind.classes and re.search(kind.classes, name)), None)


def kind_of_pipeline(name: str, *, has_unet: bool) -> Kind | None:
    """What a model is whose model_index.json names this pipeline of diffusers.

    The many pipelines for Stable Diffusion 1 and 2 are told apart by the UNet, and what an SDXL is, too.
    Where one is there (`has_unet`) a pipeline that is not in the table may be one of them.
    """
    if re.match(r"StableDiffusion(?!XL|3)", name):
        return None
    kind = kind_of_class(name)
    if kind or has_unet or not name.endswith("Pipeline"):
        return kind
    advice = next(each.advice for each in kinds() if each.what == "a Stable Cascade model")
    return Kind(f"a model of another family ({name.removesuffix('Pipeline')[:100]})", advice)


def outline(found: Any) -> Shapes:
    """The shapes in whatever a file held, under names joined by dots; () of what is no tensor."""
    return dict(_entries(found, "", _DEPTH))


def _entries(found: Any, name: str, depth: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    if isinstance(found, dict) and depth:
        for key, value in found.items():
            yield from _entries(value, f"{name}.{key}".lstrip("."), depth - 1)
        return
    shape = getattr(found, "shape", ())
    yield name, tuple(shape) if isinstance(shape, tuple) else ()


def _matches(pattern: str, names: str) -> bool:
    return re.search(pattern, names, re.MULTILINE) is not None


def _has_size(shapes: Shapes, pattern: str, axis: int, size: int) -> bool:
    found = [shape for name, shape in shapes.items() if re.search(pattern, name)]
    return bool(found) and all(len(shape) > axis and shape[axis] == size for shape in found)


def _inversion() -> Kind:
    return next(kind for kind in kinds() if "textual inversion" in kind.what)


def _are_vectors(shapes: Shapes) -> bool:
    """Whether they are a few vectors as wide as a text encoder: diffusers calls each by its word."""
    return 0 < len(shapes) <= _FEW and all(
        len(shape) in (1, 2) and shape[-1] in _WIDTHS and (len(shape) == 1 or shape[0] <= _VECTORS)
        for shape in shapes.values()
    )

"""Judges by name: ours of the demo world, whatever is installed under the entry points `visunex.judges`, and
published aesthetic predictors over the vectors of an encoder.

A judge is a function of images and the prompt of each, which gives a number for each image.
"""

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from importlib.metadata import entry_points

import numpy as np
from PIL import Image

from visunex.aesthetic_embeddings.space import Space
from visunex.base.errors import first_line
from visunex.base.suggest import did_you_mean
from visunex.pipeline.errors import EncodeError
from visunex.pipeline.score import Head, Predictor, load, named, predictors

from .errors import EvaluateError, UsageError
from .measures import Floats
from .standards import Standard

__all__ = ["GROUP", "OF_DEMO", "Heads", "Judge", "heads_of", "judged", "judges_named"]

Judge = Callable[[Sequence[Image.Image], Sequence[str]], Sequence[float]]
Heads = dict[str, tuple[Space, Head]]
USUAL = ("V1", "V2", "sac")
GROUP = "visunex.judges"
OURS = {name: f"visunex.demo.colours:{name}" for name in ("flowers", "warmth", "darkness")}
OF_DEMO = ("flowers",)  # for visunex-tiny, where none is named


def judges_named(names: Sequence[str]) -> dict[str, Judge]:
    """The judges of these names.

    Raises UsageError for a name that is none's, EvaluateError for one that cannot be loaded.
    """
    installed = {each.name: each for each in entry_points(group=GROUP)}
    there = sorted({*OURS, *installed})
    found: dict[str, Judge] = {}
    for name in dict.fromkeys(names):
        if name not in there:
            raise UsageError(
                f"--judge {name}: {did_you_mean(name, there)}there are {', '.join(there)}; packages add "
                f"theirs under the entry points {GROUP}"
            )
        try:
            found[name] = _ours(OURS[name]) if name in OURS else installed[name].load()
        except Exception as error:
            raise EvaluateError(f"the judge {name} cannot be loaded: {first_line(error)}") from None
    return found


def _ours(place: str) -> Judge:
    module, _, name = place.partition(":")
    judge: Judge = getattr(import_module(module), name)
    return judge


def judged(
    judges: Mapping[str, Judge], images: Sequence[Image.Image], prompts: Sequence[str]
) -> dict[str, Floats]:
    """What each judge says of images. Raises EvaluateError for one that fails or gives no number for each."""
    found = {}
    for name, judge in judges.items():
        try:
            values = np.asarray(judge(images, prompts), np.float64)
        except Exception as error:
            raise EvaluateError(f"the judge {name} failed: {first_line(error)}") from None
        if values.shape != (len(images),):
            raise EvaluateError(
                f"the judge {name} gave {values.shape} numbers for {len(images)} pictures: one each is wanted"
            )
        found[name] = values
    return found


def heads_of(wanted: Sequence[str] | None, standards: Sequence[Standard]) -> tuple[Heads, tuple[str, ...]]:
    """The heads by name, each with the space that it scores; and remarks on those that cannot be had.

    Where none are named, those that fit. Raises UsageError, EncodeError for one that is named and cannot be
    had.
    """
    spaces = [space for each in standards for space in each.directions]
    found: Heads = {}
    remarks = []
    for predictor in named(wanted) if wanted else [predictors()[name] for name in USUAL]:
        space = _space_for(predictor, spaces)
        if space is None and wanted:
            raise UsageError(
                f"--score {predictor.name} is of vectors of {' '.join(predictor.model)}, by which no taste "
                f"is judged here: add --also {':'.join(predictor.model)}"
            )
        if space is not None:
            try:
                found[predictor.name] = space, load(predictor)
            except EncodeError as error:
                if wanted:
                    raise
                remarks.append(f"no scores by {predictor.name}: {error}")
    return found, tuple(remarks)


def _space_for(predictor: Predictor, spaces: Sequence[Space]) -> Space | None:
    """The space among these that a predictor is of."""
    own = Space(*predictor.model)
    return next((each for each in spaces if not each.differs(own)), None)

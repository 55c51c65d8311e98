"""Judges by name: ours of the demo world, whatever is installed under the entry points `visunex.judges`,
published aesthetic predictors over the vectors of an encoder; and people, by the votes that the studio keeps.

A judge is a function of images and the prompt of each, which gives a number for each image.
"""

import contextlib
import json
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from visunex.aesthetic_embeddings.space import Space
from visunex.base.errors import first_line
from visunex.base.suggest import did_you_mean
from visunex.generate import Taste
from visunex.pipeline.errors import EncodeError
from visunex.pipeline.score import Head, Predictor, load, named, predictors

from .errors import EvaluateError, UsageError
from .measures import Floats
from .plan import PLAIN, Setting
from .standards import Standard
from .summary import WHO

__all__ = ["GROUP", "OF_DEMO", "Heads", "Judge", "heads_of", "judged", "judges_named", "wins_of"]

Judge = Callable[[Sequence[Image.Image], Sequence[str]], Sequence[float]]
MOST_VOTES = 64 << 20  # bytes
Heads = dict[str, tuple[Space, Head]]
USUAL = ("V1", "V2", "sac")
GROUP = "visunex.judges"
OURS = {name: f"visunex.demo.colours:{name}" for name in ("flowers", "warmth", "darkness")}
TAKEN = (*WHO, "taste", "clip_i", "clip_t", "diversity")
OF_DEMO = ("flowers",)  # for visunex-tiny, where none is named


def judges_named(names: Sequence[str]) -> dict[str, Judge]:
    """The judges of these names; one named MODULE:FUNCTION is called FUNCTION.

    Raises UsageError for a name that is none's, EvaluateError for one that cannot be loaded.
    """
    installed = {each.name: each for each in entry_points(group=GROUP)}
    there = sorted({*OURS, *installed})
    found: dict[str, Judge] = {}
    for name in dict.fromkeys(names):
        if name not in there and ":" not in name:
            raise UsageError(
                f"--judge {name}: {did_you_mean(name, there)}there are {', '.join(there)}; packages add "
                f"theirs under the entry points {GROUP}, and MODULE:FUNCTION names one that is none's"
            )
        called = name.rpartition(":")[2]
        if called in found or called in TAKEN:
            raise UsageError(f"--judge {name}: another column of the results is called {called}; rename it")
        try:
            found[called] = installed[name].load() if name in installed else _at(OURS.get(name, name))
        except Exception as error:
            raise EvaluateError(f"the judge {name} cannot be loaded: {first_line(error)}") from None
    return found


def _at(place: str) -> Judge:
    """The function at MODULE:FUNCTION."""
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


def wins_of(path: Path, taste: Taste) -> dict[str, Floats]:
    """How each setting fared in votes between two pictures of one prompt: 1 won, 0 lost, 0.5 neither.

    Pictures without a taste are plain, those of this taste by their steps; votes on others do not count, nor
    does a line that is none. Raises EvaluateError for a file that cannot be read.
    """
    found: dict[str, list[float]] = {}
    for line in _lines(path):
        with contextlib.suppress(ValueError, TypeError, KeyError, AttributeError, RecursionError):
            said = json.loads(line)
            left, right = (said[side]["about"] for side in ("left", "right"))
            names = [_drawn_with(about, taste) for about in (left, right)]
            won = {"left": 1.0, "right": 0.0, "same": 0.5}[said["choice"]]
            if left["prompt"] == right["prompt"] and None not in names and names[0] != names[1]:
                for name, value in zip(names, (won, 1 - won), strict=True):
                    found.setdefault(str(name), []).append(value)
    return {name: np.array(values) for name, values in sorted(found.items())}


def _lines(path: Path) -> list[bytes]:
    try:
        with path.open("rb") as file:
            data = file.read(MOST_VOTES + 1)
    except OSError as error:
        raise EvaluateError(f"{path} cannot be read: {error.strerror or error}") from None
    if len(data) > MOST_VOTES:
        raise EvaluateError(
            f"{path} is larger than {MOST_VOTES >> 20} MB: give the votes.jsonl of the studio"
        )
    return data.split(b"\n")


def _drawn_with(about: Mapping[str, Any], taste: Taste) -> str | None:
    """The setting that a picture was drawn with; None for another taste's."""
    steps = about.get("aesthetic_steps")
    if not about.get("aesthetic_embedding") or not steps:
        return PLAIN
    return Setting("", "steer", int(steps)).name if about.get("aesthetic_sha256") == taste.digest else None

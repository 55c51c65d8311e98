"""Which tastes are asked for, each with its weight, and what is compared: one variant for each of a sweep."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, cast

from visunex.base.folders import EMBEDDING

from ..controls import CONTROLS, Controls, ControlsError, Steering
from ..errors import UsageError
from ..taste import Taste, space_named

if TYPE_CHECKING:
    from ..controls import Method
    from ..job import Variant
    from .request import Options

__all__ = ["controls_of", "labels_of", "named_tastes", "variants_of", "weighted"]

Named = tuple[str, float]  # an embedding's name or path, and its weight
_SWEEPS = {"sweep_steps": "--sweep-steps", "sweep_weights": "--sweep-weights"}


def weighted(given: str) -> Named:
    """An embedding and its weight, of `NAME=WEIGHT` or of `NAME` alone; a path may have an `=` in it."""
    name, equals, number = given.rpartition("=")
    if not equals or _exists(given):
        return given, 1.0
    try:
        weight = float(number)
    except ValueError:
        return given, 1.0
    if not name or not isfinite(weight) or weight == 0:
        raise UsageError(
            f"--aesthetic_embedding {given}: give NAME=WEIGHT with a weight such as 0.7, or -0.3 to move away"
        )
    return name, weight


def _exists(name: str) -> bool:
    try:
        return Path(name).exists()
    except (OSError, ValueError):  # too long, or with a character that no path has
        return False


def controls_of(options: "Options") -> Controls:
    """How far prompts are moved, and what of it counts. Raises UsageError in the options' names."""
    if options.aesthetic_from > options.aesthetic_to:
        raise UsageError(
            f"--aesthetic_from {options.aesthetic_from:g} is behind --aesthetic_to {options.aesthetic_to:g}"
        )
    try:
        return Controls(**{name: getattr(options, option) for name, option in CONTROLS.items()})
    except ControlsError as error:
        said = str(error)
        for name, option in CONTROLS.items():
            said = f"--{option} {said[len(name) + 1 :]}" if said.startswith(f"{name} ") else said
        raise UsageError(said) from None


def named_tastes(options: "Options") -> tuple[tuple[Named, ...], ...]:
    """The embeddings of each row of a sweep, or of the one that there is; empty for none.

    Raises EmbeddingError for the first that is none, UsageError for a sweep over nothing.
    """
    rows: tuple[tuple[Named, ...], ...]
    if options.sweep_embeddings:
        rows = tuple(dict.fromkeys((weighted(name),) for name in options.sweep_embeddings))
    else:
        rows = (tuple(weighted(name) for name in options.aesthetic_embedding),)
    for field, option in _SWEEPS.items():
        if getattr(options, field) and rows == ((),):
            raise UsageError(f"{option} needs a taste: give --aesthetic_embedding")
    if not 0 < options.aesthetic_lr < float("inf"):
        raise UsageError(f"--aesthetic_lr is {options.aesthetic_lr:g}: give a positive number such as 0.0001")
    space_named(options.aesthetic_space)
    _require_found(name for row in rows for name, _ in row)
    return rows


def _require_found(names: Iterator[str]) -> None:
    """Raise EmbeddingError for the first that is none, before torch is loaded for the others."""
    from visunex.aesthetic_embeddings import find
    from visunex.aesthetic_embeddings.groups import centres_of, names_groups

    for name in names:
        centres_of(name) if names_groups(name) else find(name)


def variants_of(options: "Options", rows: Sequence[Sequence[Named]]) -> "tuple[Variant, ...]":
    """What is drawn of each prompt: what is swept last goes across, what is swept before it down."""
    controls = controls_of(options)
    loaded = [[(_loaded(options, name), weight) for name, weight in row] for row in rows]
    labels = labels_of([" ".join(name for name, _ in row) for row in rows])
    tastes = list(zip(loaded, labels, strict=True))
    steps = list(dict.fromkeys(options.sweep_steps or ())) or [options.aesthetic_steps]
    steps = steps if options.method == "steer" else [0]
    weights = list(dict.fromkeys(options.sweep_weights or ())) or [controls.blend]
    found = []
    for (pairs, label), count, weight in product(tastes, steps, weights):
        headings = [label if options.sweep_embeddings else ""]
        headings += [f"{count} steps"] if options.sweep_steps else []
        headings += [f"weight {weight:g}"] if options.sweep_weights else []
        steering = _steering(options, pairs, count, replace(controls, blend=weight))
        found.append(_variant(steering, [text for text in headings if text] or [label]))
    return tuple(found)


def _loaded(options: "Options", name: str) -> Taste:
    return Taste.load(name, lr=options.aesthetic_lr, space=options.aesthetic_space)


def _steering(
    options: "Options", pairs: Sequence[tuple[Taste, float]], steps: int, controls: Controls
) -> Steering | None:
    if not pairs:
        return None
    tastes = tuple((replace(taste, steps=steps), weight) for taste, weight in pairs)
    return Steering(tastes, controls, cast("Method", options.method))


def _variant(steering: Steering | None, headings: Sequence[str]) -> "Variant":
    from ..job import Variant

    return Variant(steering, headings[-1], " · ".join(headings[:-1]))


def labels_of(names: Sequence[str]) -> list[str]:
    """What embeddings are called in a grid: the file's name, or the run's for `embedding.pt`.

    Where two would be called the same, all are called by as many folders more as tell them apart.
    """
    parts = [_parts_of(name) for name in names]
    for length in range(1, max(map(len, parts), default=0) + 1):
        labels = ["/".join(each[-length:]) for each in parts]
        if len({*labels}) == len({*names}):
            return labels
    return list(names)


def _parts_of(name: str) -> tuple[str, ...]:
    path = Path(name)
    return (
        path.parent.parts if path.name == EMBEDDING and path.parent.name else (*path.parent.parts, path.stem)
    )

"""Textual inversions (Gal et al., arXiv 2208.01618) in files -> vectors for each text encoder. The layouts:

- the web UI's: `string_to_param` with one tensor, or `emb_params`; the word is the file's name;
- SDXL's: `clip_l` and `clip_g`; the word is the file's name;
- diffusers': one tensor, whose name is the word.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..checkpoint.kinds import NAMES, outline
from ..errors import AdditionError
from .files import INVERSION
from .kinds import check_inversion
from .reading import whole_of

__all__ = ["Inversion", "fit_inversions", "read_inversion"]

LONGEST = 100  # letters of a word
ANY = "any"  # the place of vectors that say nothing of their text encoder but their size
PLACES = {"clip_l": 0, "clip_g": 1}
WIDTHS = {768: NAMES["sd1"], 1024: NAMES["sd2"], 1280: "SDXL's second text encoder alone"}


@dataclass(frozen=True, eq=False)
class Inversion:
    """A word and its vectors `[n, D]` by the number of the text encoder that they are for, or `ANY`."""

    path: Path
    word: str
    vectors: Mapping[int | str, Tensor]


def read_inversion(path: Path) -> Inversion:
    """The word and vectors in a file. Raises AdditionError for what is none, else CheckpointError."""
    found = whole_of(path, INVERSION)
    check_inversion(path, outline(found))
    word, vectors = path.stem, dict[int | str, Any]()
    if "string_to_param" in found:
        vectors = {ANY: _only(path, found["string_to_param"])}
    elif "emb_params" in found:
        vectors = {ANY: found["emb_params"]}
    elif PLACES.keys() & found.keys():
        vectors = {place: found[name] for name, place in PLACES.items() if name in found}
    else:
        word = str(next(iter(found)))
        vectors = {ANY: next(iter(found.values()))}
    return Inversion(
        path, _checked_word(path, word), {place: _rows(path, each) for place, each in vectors.items()}
    )


def _only(path: Path, found: Any) -> Any:
    """The one tensor of the web UI's; torch's own kind of dictionary keeps it apart."""
    found = getattr(found, "_parameters", None) or found
    if not isinstance(found, dict) or len(found) != 1:
        raise AdditionError(f"{path} is a textual inversion with {len(found)} words, and one is taken")
    return next(iter(found.values()))


def _checked_word(path: Path, word: str) -> str:
    if not word.strip() or len(word) > LONGEST or not word.isprintable():
        raise AdditionError(
            f"{path} has no word for prompts of 1 to {LONGEST} letters: call the file as the word shall be"
        )
    return word.strip()


def _rows(path: Path, value: Any) -> Tensor:
    """Vectors `[n, D]` in fp32. Raises AdditionError for anything else."""
    if (
        not isinstance(value, Tensor)
        or not value.is_floating_point()
        or value.ndim not in (1, 2)
        or not value.numel()
    ):
        raise AdditionError(f"{path} cannot be used: its vectors are no rows of floating-point numbers")
    if value.is_meta or value.layout != torch.strided or value.nbytes > value.untyped_storage().nbytes():
        raise AdditionError(f"{path} holds a tensor without all of its numbers; do not use it")
    rows = value.detach().float().reshape(-1, value.shape[-1])
    if not rows.isfinite().all():
        raise AdditionError(f"{path} cannot be used: some of its numbers are not finite")
    return rows


def fit_inversions(
    found: Sequence[Inversion], widths: Sequence[int], longest: int, model: str
) -> dict[str, tuple[Tensor, ...]]:
    """Each word's vectors `[n, D]` for every text encoder of a model, whose widths are given in their order.

    Two files with one word are one where they are for different encoders. Raises AdditionError for vectors of
    another model's, a word that is given twice, and more vectors than the `longest` prompt has tokens.
    """
    words: dict[str, dict[int, Tensor]] = {}
    for each in found:
        own = words.setdefault(each.word.lower(), {})
        for place, rows in each.vectors.items():
            number = _place(each.path, place, rows, widths, model)
            if number in own:
                raise AdditionError(
                    f"{each.path} is a second textual inversion called {each.word}: rename one file"
                )
            if len(rows) > longest:
                raise AdditionError(
                    f"{each.path} has {len(rows)} vectors, and a prompt has room for {longest}"
                )
            own[number] = rows
    return {each.word: _whole(each, words[each.word.lower()], widths, model) for each in found}


def _place(path: Path, place: int | str, rows: Tensor, widths: Sequence[int], model: str) -> int:
    """The number of the text encoder that vectors are for."""
    width = rows.shape[1]
    if isinstance(place, int) and place < len(widths) and widths[place] == width:
        return place
    fitting = [number for number, each in enumerate(widths) if each == width]
    if place == ANY and len(fitting) == 1:
        return fitting[0]
    family = NAMES["sdxl"] if place != ANY else WIDTHS.get(width, "another model")
    sizes = " and ".join(map(str, widths))
    raise AdditionError(
        f"{path} is a textual inversion for {family}: its vectors have {width} numbers, those of {model} "
        f"{sizes}"
    )


def _whole(
    inversion: Inversion, own: Mapping[int, Tensor], widths: Sequence[int], model: str
) -> tuple[Tensor, ...]:
    """A word's vectors for each encoder, of which none may be missing."""
    if len(own) < len(widths):
        family = WIDTHS.get(next(iter(own.values())).shape[1], "another model")
        raise AdditionError(
            f"{inversion.path} is a textual inversion for {family}: {model} has {len(widths)} text encoders, "
            f"and it has vectors for {len(own)}"
        )
    if len({len(rows) for rows in own.values()}) > 1:
        counts = " and ".join(str(len(own[number])) for number in range(len(widths)))
        raise AdditionError(
            f"{inversion.path} has {counts} vectors for the two text encoders, not as many for both"
        )
    return tuple(own[number] for number in range(len(widths)))

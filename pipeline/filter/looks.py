"""What rows' published vectors tell: likeness to words and images, scores, whether pictures are unsafe."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import polars as pl
from numpy.typing import NDArray

from visunex.base.errors import UsageError
from visunex.base.files import fingerprint, identities
from visunex.base.folders import expanded
from visunex.base.text import printable
from visunex.clip.identity import other_model
from visunex.recipes.schema import Encode, Filter

from ..errors import EncodeError
from ..metadata.columns import Role, column
from ..metadata.table import Table
from ..score.catalog import Predictor, predictors
from ..score.published import load
from ..vectors.alignment import require_aligned
from ..vectors.lookup import look_up, read_rows
from ..vectors.measured import Function, cosine_with, measure
from ..vectors.pairs import FOLDERS
from ..vectors.remote_store import (
    PublishedFolder,
    address_of,
    header,
    named,
    open_folder,
    opened,
    provenance_of,
    split_place,
)
from .clip_query import clip_vector, image_digests
from .conditions import Condition
from .scan import hashes_of_passing

__all__ = ["Looks", "looks", "made_from", "vectors_place"]

_KINDS = ("*.npy", "*.npz", "*.parquet")  # of files with vectors, and their rows
_MOST_COMPARED = 1 << 18  # rows whose vectors are held at once: 0.8 GB of 768 numbers


@dataclass(frozen=True)
class Looks:
    """The folder of vectors, the functions of them that give a column each, and how rows find theirs there.

    `by` is the role whose values the table and the folder's metadata share. No more than `most_moved` is read
    of files behind addresses.
    """

    folder: PublishedFolder
    by: Role
    functions: dict[str, Function]
    most_moved: str

    def of(self, table: Table, asked: Sequence[Condition]) -> dict[str, pl.Expr]:
        """The columns of rows, null where no vector of a row is published or it does not pass anyway."""
        if not self.functions:
            return {}
        key = column(table.roles, table.schema, self.by, "--precomputed").cast(pl.String)
        hashes = hashes_of_passing(table, asked, key)
        measured = measure(self.folder, self.by, hashes, self.functions, self.most_moved)
        return {name: each.of(key) for name, each in measured.items()}

    def units(self, rows: pl.DataFrame) -> NDArray[np.float32]:
        """The unit vectors of rows of the selection, float32 [n, D]; NaN where none is published.

        Raises EncodeError: vectors that cannot be read, or more rows than can be compared with one another.
        """
        if rows.height > _MOST_COMPARED:
            raise EncodeError(
                f"--dedupe-vectors looks at most at {_MOST_COMPARED:,} rows: among so many too few are "
                "no copies of one another; ask for fewer rows, or with a higher cosine"
            )
        names = [name for name in ("url", "hash") if name in rows.columns]
        hits = look_up(self.folder, rows.select(names).to_arrow()).hits
        units = np.full((rows.height, header(self.folder.parts[0].vectors).dimension), np.nan, np.float32)
        found = read_rows(self.folder, list(hits.values())).astype(np.float64)
        if len(found):
            units[list(hits)] = found / np.linalg.norm(found, axis=1, keepdims=True)
        return units


def looks(data: str, wanted: Filter, encode: Encode, table: Table, most_moved: str) -> Looks:
    """Open the folder of vectors, and load what is to be told of them; `most_moved` as `measure` has it.

    Raises EncodeError (a folder or a predictor that cannot be read, or is of another model), ModelError,
    UsageError.
    """
    folder = open_folder(_place(data, wanted, encode.vectors_place))
    require_aligned(folder, encode.model, encode.pretrained)
    by = _shared_role(folder, table, encode)
    dimension = header(folder.parts[0].vectors).dimension
    functions: dict[str, Function] = {}
    if wanted.by_likeness:
        vector = clip_vector(wanted, encode)
        _require_dimension(folder, dimension, len(vector), encode)
        functions["likeness"] = cosine_with(vector)
    for name, predictor in _asked(wanted).items():
        if list(predictor.model) != [encode.model, encode.pretrained]:
            raise EncodeError(
                f"the predictor {predictor.name} scores vectors of {' '.join(predictor.model)}, not of "
                f"{encode.model} {encode.pretrained}".rstrip()
            )
        _require_dimension(folder, dimension, predictor.dimension, encode)
        functions[name] = load(predictor).scores
    return Looks(folder, by, functions, most_moved)


def _asked(wanted: Filter) -> dict[str, Predictor]:
    """The predictors that are asked for, by the columns of their scores."""
    names = {"score": wanted.score_with, "unsafe": None if wanted.max_unsafe is None else "nsfw"}
    return {column: predictors()[name] for column, name in names.items() if name is not None}


def _require_dimension(folder: PublishedFolder, dimension: int, own: int, encode: Encode) -> None:
    if dimension != own:
        raise EncodeError(
            f"{folder.place} holds vectors of {dimension} dimensions, {encode.model} makes "
            f"{own}: they come from another model; name it with --model"
        )


def made_from(data: str, wanted: Filter, encode: Encode) -> dict[str, Any]:
    """What is told of rows by their vectors depends on this, for the run to notice a change; loads nothing.

    `data` is the source as the recipe names it. Raises UsageError: no vectors named, no such image.
    """
    place = _place(data, wanted, encode.vectors_place)
    facts: dict[str, Any] = {"precomputed": place, "model": [encode.model, encode.pretrained]}
    if wanted.by_likeness:
        facts["like_images"] = image_digests(wanted)
    if predictors_used := {name: each.sha256 for name, each in _asked(wanted).items()}:
        facts["predictors"] = predictors_used
    try:
        return {**facts, "vectors": _contents_behind(place) if "://" in place else _contents(place)}
    except EncodeError:
        return facts  # they cannot be looked at now: what was made of them is resumed without them


def vectors_place(data: str, precomputed: str | None) -> str | None:
    """Where rows' vectors lie: `encode.precomputed`, or the source that is a folder of them; else None."""
    if precomputed is not None:
        return address_of(precomputed)
    source = expanded(data)
    is_folder = any((source / name).is_dir() for name in FOLDERS if name != "metadata")
    return str(source) if is_folder else None


def _place(data: str, wanted: Filter, precomputed: str | None) -> str:
    """Where the vectors lie that likeness is told by. Raises UsageError."""
    place = vectors_place(data, precomputed)
    if place is not None:
        return place
    raise UsageError(
        f"{'--like' if wanted.like or wanted.like_images else '--unlike'} looks at published vectors of the "
        "rows: say where they lie with --precomputed (a folder, https:// or hf:// address in "
        "clip-retrieval's layout), or filter such a folder itself"
    )


def _contents_behind(address: str) -> str:
    """A hash of what a server says of the files behind an address. Raises EncodeError."""
    files = [file for part in open_folder(address).parts for file in (part.vectors, part.metadata)]
    # On the Hub a file's address holds the commit, which other files change too.
    parts = 2 if address.startswith("hf://") else 0
    names = ["/".join(file.name.split("/")[-parts:]) for file in files]
    facts = [
        [name, file.size, getattr(file, "version", None)] for name, file in zip(names, files, strict=True)
    ]
    if not all(version for *_, version in facts):
        click.echo(
            printable(
                f"{address}: the server gives neither ETag nor Last-Modified, so vectors replaced by others "
                "of the same size are not noticed; --overwrite reads them anew"
            ),
            err=True,
        )
    return fingerprint(facts)


def _contents(place: str) -> str | None:
    """A hash of the files of a local place, by names and contents; None where there are none."""
    own = Path(split_place(place)[0])
    files = [own] if own.is_file() else [path for name in FOLDERS for path in (own / name).glob("*.*")]
    files = sorted(files or (path for kind in _KINDS for path in (*own.glob(kind), *own.glob(f"*/{kind}"))))
    facts = zip((path.name for path in files), identities(files), strict=True)
    return fingerprint(list(facts)) if files else None


def _shared_role(folder: PublishedFolder, table: Table, encode: Encode) -> Role:
    metadata = opened(folder.parts[0])
    names = metadata.schema_arrow.names
    if differing := other_model(provenance_of(metadata), encode.model, encode.pretrained):
        raise EncodeError(
            f"{folder.place} holds vectors of {differing[0]}, which do not compare with {differing[1]}'s; "
            "name the right model with --model"
        )
    if named(names, "url"):
        return "url"
    if named(names, "hash") and "hash" in table.roles:
        return "hash"
    raise EncodeError(
        f"{folder.place}: its metadata has no column url, nor a hash that {table.source.name} has too; it "
        f"has {', '.join(names)}"
    )

"""What pictures shall look like, by words and images: one CLIP vector to compare published ones with."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import polars as pl
from numpy.typing import NDArray

from visunex.base.errors import UsageError
from visunex.base.files import fingerprint, identities, sha256_file
from visunex.base.folders import expanded
from visunex.base.text import printable
from visunex.clip.identity import other_model
from visunex.images.errors import ImageError
from visunex.recipes.schema import Encode, Filter

from ..errors import EncodeError
from ..metadata.columns import Role, column
from ..metadata.table import Table
from ..vectors.pairs import FOLDERS
from ..vectors.remote_store import (
    PublishedFolder,
    address_of,
    header,
    named,
    open_folder,
    opened,
    provenance_of,
)

__all__ = ["ClipQuery", "clip_query", "key", "made_from"]

_LARGEST_IMAGE = 1 << 28  # bytes
_Decode = Callable[[bytes], NDArray[np.uint8]]


@dataclass(frozen=True)
class ClipQuery:
    """A unit `vector` float32 [D], the folder of vectors it is compared with, and how rows find theirs there.

    `by` is the role whose values the table and the folder's metadata share.
    """

    vector: NDArray[np.float32]
    folder: PublishedFolder
    by: Role


def clip_query(data: str, wanted: Filter, encode: Encode, table: Table) -> ClipQuery:
    """Open the folder of vectors, and encode what the rows of a table shall look like.

    Raises EncodeError (a folder that cannot be read or is of another model), ModelError, UsageError.
    """
    folder = open_folder(_place(data, encode.precomputed))
    by = _shared_role(folder, table, encode)
    vector = _vector(wanted.like, wanted.like_images, encode)
    dimension = header(folder.parts[0].vectors).dimension
    if dimension != len(vector):
        raise EncodeError(
            f"{folder.place} holds vectors of {dimension} dimensions, {encode.model} makes "
            f"{len(vector)}: they come from another model; name it with --model"
        )
    return ClipQuery(vector, folder, by)


def key(table: Table, by: Role) -> pl.Expr:
    """The values of a table's rows that their vectors are found by, as text."""
    return column(table.roles, table.schema, by, "--like").cast(pl.String)


def made_from(data: str, like_images: Sequence[str], encode: Encode) -> dict[str, Any]:
    """What the likenesses depend on, for the run to notice a change; loads nothing.

    `data` is the source as the recipe names it. Raises UsageError: no vectors named, no such image.
    """
    place = _place(data, encode.precomputed)
    images = [sha256_file(_image(path)) for path in like_images]
    model = [encode.model, encode.pretrained]
    facts = {"precomputed": place, "like_images": images, "model": model}
    try:
        return {**facts, "vectors": _contents_behind(place) if "://" in place else _contents(Path(place))}
    except EncodeError:
        return facts  # they cannot be looked at now: what was made of them is resumed without them


def _place(data: str, precomputed: str | None) -> str:
    """Where the vectors lie: `encode.precomputed`, or the source that is a folder of vectors itself."""
    if precomputed is not None:
        return address_of(precomputed)
    source = expanded(data)
    if any((source / name).is_dir() for name in FOLDERS if name != "metadata"):
        return str(source)
    raise UsageError(
        "--like compares published vectors of the rows: say where they lie with --precomputed (a folder, "
        "https:// or hf:// address in clip-retrieval's layout), or filter such a folder itself"
    )


def _contents_behind(address: str) -> str:
    """A hash of what a server says of the files behind an address. Raises EncodeError."""
    files = [file for part in open_folder(address).parts for file in (part.vectors, part.metadata)]
    facts = [[file.name, file.size, getattr(file, "version", None)] for file in files]
    if not all(version for *_, version in facts):
        click.echo(
            printable(
                f"{address}: the server gives neither ETag nor Last-Modified, so vectors replaced by others "
                "of the same size are not noticed; --overwrite reads them anew"
            ),
            err=True,
        )
    return fingerprint(facts)


def _contents(folder: Path) -> str | None:
    """A hash of a local folder's files, by names and contents; None where there are none."""
    files = sorted(path for name in FOLDERS for path in (folder / name).glob("*.*"))
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


def _vector(like: Sequence[str], like_images: Sequence[str], encode: Encode) -> NDArray[np.float32]:
    """The mean of the unit vectors of all texts and images, itself a unit vector [D]."""
    from visunex.clip.factory import load_image_encoder, load_text_encoder

    vectors = []
    if like_images:
        files = [_image(path).read_bytes() for path in like_images]
        images = load_image_encoder(encode.model, encode.pretrained, precision="fp32", device="cpu")
        decode = images.preprocessing.pixels
        pixels = [_pixels(decode, data, path) for data, path in zip(files, like_images, strict=True)]
        vectors.append(images.encode(np.stack(pixels)))
    if like:
        vectors.append(load_text_encoder(encode.model, encode.pretrained, device="cpu").encode(like))
    units = np.concatenate(vectors).astype(np.float64)
    mean = (units / np.linalg.norm(units, axis=1, keepdims=True)).mean(0)
    return (mean / np.linalg.norm(mean)).astype(np.float32)


def _image(name: str) -> Path:
    path = expanded(name)
    try:
        if path.is_file() and path.stat().st_size <= _LARGEST_IMAGE:
            return path
        reason = "is larger than any picture" if path.is_file() else "is no picture's file"
    except (OSError, ValueError) as error:
        reason = f"cannot be read: {error}"
    raise UsageError(
        f"--like-image: {name} {reason}" if path.exists() else f"--like-image: there is no {name}"
    )


def _pixels(decode: _Decode, data: bytes, name: str) -> NDArray[np.uint8]:
    try:
        return decode(data)
    except ImageError as error:
        raise UsageError(f"--like-image: {name} cannot be used: {error}") from None

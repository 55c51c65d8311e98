"""What pictures shall look like, by words and pictures: one CLIP vector to compare published ones with."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from visunex.base.errors import UsageError
from visunex.base.files import fingerprint, sha256_file
from visunex.clip.identity import other_model
from visunex.images.errors import ImageError

from ..errors import EncodeError
from ..metadata.table import Table
from ..vectors.remote_store import PublishedFolder, header, named, notes_of, open_folder, opened

if TYPE_CHECKING:
    from visunex.recipes import Recipe

    from ..metadata.columns import Role

__all__ = ["Looks", "looks", "made_from"]

_LARGEST_PICTURE = 1 << 28  # bytes


@dataclass(frozen=True)
class Looks:
    """A unit `vector` float32 [D], the folder it is compared with, and the role that rows meet it by."""

    vector: NDArray[np.float32]
    folder: PublishedFolder
    by: "Role"


def place(recipe: "Recipe") -> str:
    """Where the vectors lie: `encode.precomputed`, or the source that is a folder of vectors itself."""
    if recipe.encode.precomputed is not None:
        return recipe.encode.precomputed
    data = Path(recipe.source.data).expanduser()
    if (data / "img_emb").is_dir():
        return str(data)
    raise UsageError(
        "--like compares published vectors of the rows: say where they lie with --precomputed (a folder, "
        "https:// or hf:// address in clip-retrieval's layout), or filter such a folder itself"
    )


def made_from(recipe: "Recipe") -> dict[str, Any]:
    """What the likenesses of a recipe depend on, for the run to notice a change; loads nothing."""
    where = place(recipe)
    pictures = [sha256_file(_picture(path)) for path in recipe.filter.like_images]
    model = [recipe.encode.model, recipe.encode.pretrained]
    return {"precomputed": where, "vectors": _contents(Path(where)), "like_images": pictures, "model": model}


def _contents(folder: Path) -> str | None:
    """A hash of the names, sizes and ends of a local folder's files; None of one behind an address."""
    files = sorted(path for name in ("img_emb", "metadata") for path in (folder / name).glob("*.*"))
    return fingerprint([[path.name, path.stat().st_size, _end(path)] for path in files]) if files else None


def _end(path: Path) -> str:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 4096))
        return file.read().hex()


def looks(recipe: "Recipe", table: Table) -> Looks:
    """Open the folder and encode what the recipe's rows shall look like.

    Raises EncodeError (a folder that cannot be read or is of another model), ModelError, UsageError.
    """
    folder = open_folder(place(recipe))
    by = _meet_by(folder, table, recipe)
    vector = _vector(recipe)
    dimension = header(folder.parts[0].vectors).dimension
    if dimension != len(vector):
        raise EncodeError(
            f"{folder.place} holds vectors of {dimension} dimensions, {recipe.encode.model} makes "
            f"{len(vector)}: they come from another model; name it with --model"
        )
    return Looks(vector, folder, by)


def _meet_by(folder: PublishedFolder, table: Table, recipe: "Recipe") -> "Role":
    metadata = opened(folder.parts[0])
    names = metadata.schema_arrow.names
    settings = recipe.encode
    if differing := other_model(notes_of(metadata), settings.model, settings.pretrained):
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


def _vector(recipe: "Recipe") -> NDArray[np.float32]:
    """The mean of the unit vectors of all texts and pictures, itself a unit vector [D]."""
    from visunex.clip.factory import load, load_text

    settings, wanted = recipe.encode, recipe.filter
    vectors = []
    if wanted.like_images:
        pictures = [_picture(path).read_bytes() for path in wanted.like_images]
        images = load(settings.model, settings.pretrained, precision="fp32", device="cpu")
        pixels = [
            _pixels(images.preprocessing.pixels, data, path)
            for data, path in zip(pictures, wanted.like_images, strict=True)
        ]
        vectors.append(images.encode(np.stack(pixels)))
    if wanted.like:
        vectors.append(load_text(settings.model, settings.pretrained, device="cpu").encode(wanted.like))
    units = np.concatenate(vectors).astype(np.float64)
    mean = (units / np.linalg.norm(units, axis=1, keepdims=True)).mean(0)
    return (mean / np.linalg.norm(mean)).astype(np.float32)


def _picture(name: str) -> Path:
    path = Path(name).expanduser()
    try:
        if path.is_file() and path.stat().st_size <= _LARGEST_PICTURE:
            return path
        reason = "is larger than any picture" if path.is_file() else "is no picture's file"
    except (OSError, ValueError) as error:
        reason = f"cannot be read: {error}"
    raise UsageError(
        f"--like-image: {name} {reason}" if path.exists() else f"--like-image: there is no {name}"
    )


def _pixels(decode: Any, data: bytes, name: str) -> NDArray[np.uint8]:
    try:
        return decode(data)
    except ImageError as error:
        raise UsageError(f"--like-image: {name} cannot be used: {error}") from None

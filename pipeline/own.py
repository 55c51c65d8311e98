"""A run, or a folder of pictures, as a source whose rows have vectors: its own.

Of a run the vectors are there; pictures of a folder are encoded first. Either way rows and vectors meet as
published ones do: by what stands in the column `url`, a picture's link or else where it lies.
"""

import json
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from visunex.base.files import write_bytes
from visunex.base.folders import expanded
from visunex.base.storage import shown

from .errors import SourceError, UsageError, parquet_errors
from .inside.location import LOCATION, Location
from .metadata.folders import data_in, images_in
from .metadata.resolve import ResolvedSource, is_run, resolve_source
from .rundir import RunDir
from .score.choice import chosen_images
from .shards.places import run_sources, sources
from .shards.samples import Sample, samples
from .stored import run_or_place
from .vectors.store import Part, VectorFolder, is_vector_folder, provenance_in, read_vectors

if TYPE_CHECKING:
    import pyarrow as pa

    from visunex.recipes import Recipe

__all__ = ["own_vectors"]

_FOLDER = "own"  # in a run's .visunex
# Columns of the vectors' metadata that are kept; scores where there are any.
_KEPT = ("caption", "norm", "key", "image_path")


def own_vectors(run: RunDir, recipe: "Recipe") -> "tuple[Recipe, ResolvedSource] | None":
    """The recipe with `precomputed` being the source's own vectors, and the source with a place in each row.

    None where the source is neither a run nor, where vectors are asked about, a folder of pictures. The
    caller holds the run's lock. Raises EncodeError, ModelError, SourceError, UsageError.
    """
    own = run.path / ".visunex" / _FOLDER
    if recipe.encode.precomputed not in (None, str(own)):
        return None
    place = expanded(run_or_place(recipe.source.data))
    if not place.is_dir():
        return None
    if is_run(place):
        other = RunDir(place)
        _require_other(run, other)
        folder, images = read_vectors(other.vectors), _images_of(other)
        chosen = chosen_images(other.choice)
    elif recipe.filter.by_vectors and not is_vector_folder(place) and _is_folder_of_images(place):
        folder, images, chosen = _encoded(run, place, recipe), _placed(samples(sources([place]))), None
    else:
        return None
    kept = [*_KEPT, *(("score",) if np.isfinite(folder.scores()).any() else ())]
    paths = [_with_places(part, own, images, chosen, kept) for part in folder.parts]
    source = ResolvedSource(
        recipe.source.data,
        tuple(map(str, paths)),
        resolve_source(str(place)).identity,
        indexes=frozenset(map(str, paths)),
    )
    return _with_model(recipe, folder, own, copied=bool(images)), source


def _require_other(run: RunDir, source: RunDir) -> None:
    """Raise UsageError where what is chosen from a run would take that run's own place."""
    if run.path.resolve() == source.path.resolve():
        raise UsageError(
            f"{source.path} is chosen from, so what is chosen goes into another run: name it with --run DIR"
        )


def _is_folder_of_images(place: Path) -> bool:
    return not data_in(place)[0] and bool(images_in(place))


def _encoded(run: RunDir, place: Path, recipe: "Recipe") -> VectorFolder:
    """The vectors of a folder's pictures, kept in the run; those that are there are not made again."""
    from .encode.stage import encode_to

    vectors = run.path / ".visunex" / "own_vectors"
    encode_to(vectors, [str(place)], recipe)
    return read_vectors(vectors)


def _images_of(run: RunDir) -> Mapping[str, str]:
    """Where the pictures of a run lie, by what its vectors call them."""
    if run.shards.is_dir():
        return _placed(samples(run_sources(run.shards, run.downloaded)))
    try:
        named = json.loads(run.provenance.read_text(encoding="utf-8")).get("pictures") or []
        return _placed(samples(sources(named)))
    except (OSError, ValueError, AttributeError, RecursionError):
        return {}


def _placed(images: Iterable[Sample]) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for each in images:
        if (location := _location(each)) is not None and each.file.exists():
            found[each.where] = str(location)
    return found


def _location(image: Sample) -> Location | None:
    """Where an image lies, as selections say it; None for what they have no words for."""
    file = shown(str(image.file.absolute()))  # of a run in a bucket they are read there, by whichever machine
    if image.column is not None:
        return Location(file, row=image.offset, column=image.column)
    if image.file.suffix.lower() == ".tar":
        return Location(file, offset=image.offset, size=image.size, name=image.where.partition("/")[2])
    return None if image.deflated or image.offset else Location(file)


def _with_places(
    part: Part, own: Path, images: Mapping[str, str], chosen: Collection[str] | None, kept: Sequence[str]
) -> Path:
    """A part's metadata in `own`: columns that are `kept`, a place in each row; its vectors are linked."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if part.metadata is None:
        raise SourceError(f"{part.vectors} has no metadata beside it")
    try:
        table = pq.read_table(part.metadata)
    except parquet_errors() as error:
        raise SourceError(f"{part.metadata} cannot be read ({error}); encode the pictures again") from None
    names = _texts(table, "image_path" if "image_path" in table.column_names else "key")
    places = [images.get(name or "") for name in names]
    urls = [
        (link or place or name) if chosen is None or name in chosen else None
        for link, place, name in zip(_texts(table, "url"), places, names, strict=True)
    ]
    columns = {name: table[name] for name in kept if name in table.column_names}
    located = {LOCATION: pa.array(places, pa.string())} if images else {}  # else links are all there is
    made = pa.table({"url": pa.array(urls, pa.string()), **located, **columns})
    target = own / "metadata" / part.metadata.name
    buffer = pa.BufferOutputStream()
    pq.write_table(made.replace_schema_metadata(table.schema.metadata), buffer)
    data = buffer.getvalue().to_pybytes()
    if not target.exists() or target.read_bytes() != data:
        target.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(target, data)
    _link(part.vectors, own / "img_emb" / part.vectors.name)
    return target


def _texts(table: "pa.Table", name: str) -> list[str | None]:
    """A column of texts; all None where there is none."""
    return table[name].to_pylist() if name in table.column_names else [None] * table.num_rows


def _link(file: Path, link: Path) -> None:
    """Have `link` stand for a file, whatever it stood for."""
    link.parent.mkdir(parents=True, exist_ok=True)
    temporary = link.with_name(f".{link.name}.{os.getpid()}.tmp")
    temporary.symlink_to(file.absolute())
    temporary.replace(link)


def _with_model(recipe: "Recipe", folder: VectorFolder, own: Path, *, copied: bool) -> "Recipe":
    """The recipe over these vectors, of the model that made them unless it names another one itself.

    Pictures that are here are `copied` beside the vectors: they are what the page shows.
    """
    import pyarrow.parquet as pq

    from visunex.recipes.schema import Encode

    update: dict[str, object] = {"precomputed": str(own)}
    metadata = folder.parts[0].metadata
    made = None if metadata is None else provenance_in(pq.read_schema(metadata).metadata)
    by_default = (recipe.encode.model, recipe.encode.pretrained) == (Encode().model, Encode().pretrained)
    if by_default and isinstance(model := (made or {}).get("model"), list) and len(model) == 2:
        update |= {"model": model[0], "pretrained": model[1] or Encode().pretrained}
    download = recipe.download
    if copied and download.with_images is None:
        download = download.model_copy(update={"with_images": True})
    encode = recipe.encode.model_copy(update=update)
    return recipe.model_copy(update={"encode": encode, "download": download})

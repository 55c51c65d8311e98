"""The scores of all vectors of a folder, beside what its metadata says of them."""

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from visunex.aesthetic_embeddings import Embedding
from visunex.aesthetic_embeddings.space import Space, space_of, space_said
from visunex.base.files import atomic
from visunex.base.progress import Progress

from ..errors import EncodeError, UsageError, parquet_errors
from ..vectors.store import VectorFolder, read_provenance
from .catalog import Predictor
from .head import Head
from .published import load
from .rows import Rows

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Scores", "heads_for", "require_writable", "score_embedding", "score_folder", "spaces_of"]

_QUANTILES = {"lowest": 0.0, "quarter": 0.25, "median": 0.5, "three_quarters": 0.75, "highest": 1.0}
_MARK = b"visunex.scores"


@dataclass(frozen=True, eq=False)
class Scores:
    """The `scores` [n] of n vectors by each predictor's name, and in `rows` tables of what is said of each.

    Rows may be far more than memory holds: they are read when they are asked for.
    """

    rows: "Iterable[pa.Table]"
    scores: Mapping[str, NDArray[np.float64]]
    dropped: tuple[str, ...] = ()

    def __len__(self) -> int:
        """The number of vectors."""
        return len(next(iter(self.scores.values())))

    def summary(self, name: str) -> dict[str, float]:
        """The mean of a predictor's scores, and where they lie."""
        values = self.scores[name]
        places = zip(_QUANTILES, np.quantile(values, list(_QUANTILES.values())).tolist(), strict=True)
        return {"mean": float(values.mean()), **dict(places)}

    def extremes(self, count: int) -> dict[str, tuple[list[dict[str, Any]], list[dict[str, Any]]]]:
        """By predictor the rows that score highest and lowest, each from the outermost inwards."""
        ends = {
            name: (_outermost(values, count), _outermost(-values, count))
            for name, values in self.scores.items()
        }
        own = self._rows_at({at for both in ends.values() for places in both for at in places})

        def rows(name: str, places: list[int]) -> list[dict[str, Any]]:
            return [{"row": at, **own.get(at, {}), "score": float(self.scores[name][at])} for at in places]

        return {name: (rows(name, high), rows(name, low)) for name, (high, low) in ends.items()}

    def _rows_at(self, places: set[int]) -> dict[int, dict[str, Any]]:
        """What the metadata says of some rows, without what is null."""
        found, begin = dict[int, dict[str, Any]](), 0
        for table in self.rows if places else ():
            end = begin + table.num_rows
            for at in (at for at in places if begin <= at < end):
                row = table.slice(at - begin, 1).to_pylist()[0]
                found[at] = {name: value for name, value in row.items() if value is not None}
            begin = end
        return found

    def write(self, path: Path, *, overwrite: bool = False) -> None:
        """Write them as a parquet file. Raises UsageError for a file that is there and none of ours."""
        import pyarrow.parquet as pq

        require_writable(path, overwrite=overwrite)
        with atomic(path) as temporary, contextlib.ExitStack() as opened:
            writer = None
            for table in self._tables():
                writer = writer or opened.enter_context(pq.ParquetWriter(temporary, table.schema))
                writer.write_table(table)

    def _tables(self) -> "Iterator[pa.Table]":
        """Rows and scores side by side, block by block."""
        import pyarrow as pa

        begin = 0
        for table in self.rows:
            end = begin + table.num_rows
            rows = dict(zip(table.column_names, table.columns, strict=True))
            scores = {name: values[begin:end] for name, values in self.scores.items()}
            yield pa.table({**rows, **scores}).replace_schema_metadata({_MARK: b"1"})
            begin = end
        if not begin:  # there is no metadata
            yield pa.table(dict(self.scores)).replace_schema_metadata({_MARK: b"1"})


def _outermost(values: NDArray[np.float64], count: int) -> list[int]:
    """The places of the `count` highest values, the highest first; of equal ones the first."""
    count = min(count, len(values))
    if not count:
        return []
    least = np.partition(values, -count)[-count]
    places = np.flatnonzero(values >= least)
    return places[np.argsort(-values[places], kind="stable")][:count].tolist()


def require_writable(path: Path, *, overwrite: bool = False) -> None:
    """Raise UsageError where scores cannot go: no parquet file, or one that is there and holds none."""
    if path.suffix.lower() != ".parquet" or path.is_dir():
        raise UsageError(f"scores are written to a file NAME.parquet; {path} is none")
    if path.exists() and not overwrite and not _is_ours(path):
        raise UsageError(f"{path} is there already and holds no scores; --overwrite replaces it")


def _is_ours(path: Path) -> bool:
    import pyarrow.parquet as pq

    try:
        return _MARK in (pq.read_schema(path).metadata or {})
    except parquet_errors():
        return False


def score_folder(folder: VectorFolder, predictors: Sequence[Predictor], mirror: str | None = None) -> Scores:
    """Score all vectors of a folder by some predictors, each brought first if need be (see `load`).

    Raises EncodeError: the vectors are of another model, or a predictor cannot be had.
    """
    if not len(folder):
        raise EncodeError(f"{folder.path} holds no vectors: its arrays have no rows")
    dimension, spaces = folder.dimension, spaces_of(folder)
    heads = heads_for(predictors, dimension, str(folder.path), spaces, mirror)
    found = {name: np.empty(len(folder)) for name in heads}
    begin = 0
    with Progress("score", len(folder), unit="vectors") as progress:
        for scores in folder.units().each(lambda units: [head.scores(units) for head in heads.values()]):
            end = begin + len(scores[0])
            for name, those in zip(heads, scores, strict=True):
                found[name][begin:end] = those
            progress.advance(end - begin)
            begin = end
    return Scores(Rows(folder), found, tuple(folder.dropped))


def spaces_of(folder: VectorFolder) -> list[Space]:
    """The spaces that a folder's vectors say they are of; nothing where they do not say."""
    made = (read_provenance(part) or {} for part in folder.parts)
    said = (space_said(_model(each)) for each in made)
    return list(dict.fromkeys(each for each in said if each is not None))


def score_embedding(
    embedding: Embedding, predictors: Sequence[Predictor], mirror: str | None = None
) -> Scores:
    """Score an embedding's direction, as if it were a picture's. Raises EncodeError as `score_folder`."""
    space = space_of(embedding)
    spaces = [space] if space else []
    heads = heads_for(predictors, embedding.dimension, embedding.name, spaces, mirror)
    wide = embedding.vector.astype(np.float64)
    unit = (wide / np.linalg.norm(wide)).astype(np.float32)
    import pyarrow as pa

    return Scores(
        [pa.table({"embedding": [embedding.name]})], {name: head.scores(unit) for name, head in heads.items()}
    )


def heads_for(
    predictors: Sequence[Predictor],
    dimension: int,
    name: str,
    spaces: Iterable[Space],
    mirror: str | None,
) -> dict[str, Head]:
    """The heads by their names, each brought first if need be, for vectors called `name`.

    Raises EncodeError: the vectors are not of a predictor's model, or a predictor cannot be had.
    """
    spaces = list(spaces)
    for predictor in predictors:
        own = Space(*predictor.model)
        others = [str(space) for space in spaces if space.differs(own)]
        if others or dimension != predictor.dimension:
            what = f"of {others[0]}" if others else f"of {dimension} dimensions"
            raise EncodeError(
                f"the vectors of {name} are {what}, and {predictor.name} scores those of {own} "
                f"({predictor.dimension}); encode the pictures with --model {own.name} --pretrained "
                f"{own.pretrained}"
            )
    return {predictor.name: load(predictor, mirror) for predictor in predictors}


def _model(made: Mapping[str, Any]) -> dict[str, Any]:
    """What a part says of how it was `made`, as the `model` of an embedding's provenance."""
    identity = made.get("identity")
    said = identity if isinstance(identity, Mapping) else {}
    model = made.get("model", said.get("model"))
    name, pretrained = model if isinstance(model, list) and len(model) == 2 else (model, "")
    return {"name": name, "pretrained": pretrained, "weights": said.get("weights")}

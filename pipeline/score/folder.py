"""The scores of all vectors of a folder, beside what its metadata says of them."""

from collections.abc import Iterable, Mapping, Sequence
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
from ..vectors.remote_store import as_texts
from ..vectors.store import Part, VectorFolder
from .catalog import Predictor
from .head import Head
from .published import load

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Scores", "heads_for", "require_writable", "rows_of", "score_embedding", "score_folder"]

_COLUMNS = ("key", "image_path", "url", "caption")  # columns of the metadata that are kept beside the scores
_QUANTILES = {"lowest": 0.0, "quarter": 0.25, "median": 0.5, "three_quarters": 0.75, "highest": 1.0}
_MARK = b"visunex.scores"


@dataclass(frozen=True, eq=False)
class Scores:
    """For each of n vectors a row: `rows` of its metadata, a table of texts, and by each predictor's name its
    `scores` [n]."""

    rows: "pa.Table"
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

    def extremes(self, name: str, count: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """The rows that score highest and lowest, each from the outermost inwards."""
        order = np.argsort(-self.scores[name], kind="stable")
        return [self._row(name, at) for at in order[:count]], [
            self._row(name, at) for at in order[::-1][:count]
        ]

    def _row(self, name: str, at: int) -> dict[str, Any]:
        own = self.rows.slice(int(at), 1).to_pylist()[0] if self.rows.num_columns else {}
        present = {column: value for column, value in own.items() if value is not None}
        return {"row": int(at), **present, "score": float(self.scores[name][at])}

    def write(self, path: Path, *, overwrite: bool = False) -> None:
        """Write them as a parquet file. Raises UsageError for a file that is there and none of ours."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        require_writable(path, overwrite=overwrite)
        rows = dict(zip(self.rows.column_names, self.rows.columns, strict=True))
        table = pa.table({**rows, **self.scores}).replace_schema_metadata({_MARK: b"1"})
        with atomic(path) as temporary:
            pq.write_table(table, temporary)


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
    said = [space_said(_model(each)) for each in folder.identities()]
    dimension = folder.dimension
    heads = heads_for(predictors, dimension, str(folder.path), [each for each in said if each], mirror)
    found = {name: np.empty(len(folder)) for name in heads}
    begin = 0
    with Progress("score", len(folder), unit="vectors") as progress:
        for scores in folder.units().each(lambda units: [head.scores(units) for head in heads.values()]):
            end = begin + len(scores[0])
            for name, those in zip(heads, scores, strict=True):
                found[name][begin:end] = those
            progress.advance(end - begin)
            begin = end
    return Scores(rows_of(folder), found, tuple(folder.dropped))


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
        pa.table({"embedding": [embedding.name]}), {name: head.scores(unit) for name, head in heads.items()}
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


def _model(identity: Mapping[str, Any]) -> dict[str, Any]:
    model = identity.get("model")
    name, pretrained = model if isinstance(model, list) and len(model) == 2 else (model, "")
    return {"name": name, "pretrained": pretrained, "weights": identity.get("weights")}


def rows_of(folder: VectorFolder) -> "pa.Table":
    """What the metadata says of the vectors, as texts; columns without any are left out."""
    import pyarrow as pa

    table = pa.concat_tables([_texts(part) for part in folder.parts])
    return table.select([name for name in table.column_names if table[name].null_count < len(table)])


def _texts(part: Part) -> "pa.Table":
    """The columns of a part's metadata; null where there is no text, or none that is UTF-8."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    kept = np.delete(np.arange(part.rows), list(part.skipped))
    nothing = pa.nulls(len(kept), pa.large_string())
    columns = dict.fromkeys(_COLUMNS, nothing)
    if part.metadata is None:
        return pa.table(columns)
    try:
        file = pq.ParquetFile(part.metadata)
        for name in (each for each in _COLUMNS if each in file.schema_arrow.names):
            columns[name] = _as_text(file.read(columns=[name]).column(0).take(pa.array(kept)))
    except parquet_errors() as error:
        raise EncodeError(f"{part.metadata} cannot be read ({error}); make it again") from None
    return pa.table(columns)


def _as_text(column: "pa.ChunkedArray") -> "pa.ChunkedArray":
    import polars as pl

    try:
        texts = pl.concat([pl.Series("", [], pl.String), *(as_texts(chunk) for chunk in column.chunks)])
    except pl.exceptions.PolarsError:  # lists and the like are no texts
        texts = pl.repeat(None, len(column), dtype=pl.String, eager=True)
    return texts.to_arrow(compat_level=pl.CompatLevel.oldest())

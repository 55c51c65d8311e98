"""What a run's files say, read for a person: its pictures, best first, with their vectors and thumbnails."""

import contextlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from visunex.aesthetic_embeddings.errors import EmbeddingError
from visunex.base.errors import VisunexError

from ..errors import parquet_errors
from ..rundir import RunDir
from ..score.choice import chosen_images
from ..shards.places import Source, run_sources, sources
from ..shards.samples import samples
from ..shards.thumbnails import thumbnails_of
from ..vectors.store import Part, read_vectors
from ..vectors.subset import only

if TYPE_CHECKING:
    from pyarrow import RecordBatch

__all__ = ["MOST", "Facts", "RunImage", "section_of"]

MOST = 20_000  # pictures that the page is about, the best ones
_COLUMNS = ("image_path", "key", "caption", "url", "score")


@dataclass(frozen=True)
class RunImage:
    """A picture of a run; `where` is that of its sample, `cosine` that of its vector to the embedding."""

    where: str
    key: str | None = None
    caption: str | None = None
    link: str | None = None
    score: float | None = None
    cosine: float | None = None


@dataclass(frozen=True)
class Facts:
    """A run's files. What is absent or damaged is None or empty: a page of less is better than none."""

    run: RunDir
    reports: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @cached_property
    def recipe(self) -> Mapping[str, Any]:
        """The resolved recipe as it stands in the run."""
        from visunex.recipes import load

        with contextlib.suppress(OSError, VisunexError):
            return load(self.run.path).model_dump(mode="json")
        return {}

    @cached_property
    def images(self) -> tuple[RunImage, ...]:
        """The pictures that count, best first, at most MOST: those with vectors, else those downloaded."""
        found = self._with_vectors[0] or tuple(self._downloaded())
        return tuple(
            replace(each, cosine=float(cosine)) if cosine is not None else each
            for each, cosine in zip(found, self._cosines(len(found)), strict=True)
        )

    @property
    def units(self) -> NDArray[np.float32]:
        """The unit vectors of `images`, row for row, float32 [n, D]; [0, 0] where there are none."""
        return self._with_vectors[1]

    @cached_property
    def embedding(self) -> NDArray[np.float32] | None:
        """The embedding float32 [1, D]."""
        from visunex.aesthetic_embeddings.artefact import load

        with contextlib.suppress(OSError, EmbeddingError, VisunexError):
            return load(self.run.embedding).vector
        return None

    @cached_property
    def provenance(self) -> Mapping[str, Any]:
        """How the embedding was made."""
        with contextlib.suppress(OSError, ValueError, RecursionError):
            found = json.loads(self.run.provenance.read_text(encoding="utf-8"))
            return found if isinstance(found, dict) else {}
        return {}

    def thumbnails(self, wanted: Iterable[RunImage]) -> dict[str, bytes]:
        """Thumbnails (WebP) by `where`; made and kept in the run where they are not there yet."""
        return thumbnails_of(self._places, self.run.thumbnails, {each.where for each in wanted})

    def column(self, name: str, *, chosen: bool = False) -> Sequence[Any]:
        """A column of the table of candidates, best first, or of the `chosen`; empty without one."""
        if chosen and not self.run.downloaded.exists():
            return []
        with contextlib.suppress(*parquet_errors()):
            names = [name, "chosen"] if chosen else [name]
            return [
                row
                for block in self.blocks(*names)
                for row in (block.filter(block["chosen"]) if chosen else block)[name].to_pylist()
            ]
        return []

    def blocks(self, *names: str) -> "Iterator[RecordBatch]":
        """These columns of the table of candidates, some rows at a time: there may be millions.

        Raises what `parquet_errors` names.
        """
        import pyarrow.parquet as pq

        path = self.run.downloaded if self.run.downloaded.exists() else self.run.selected
        # read_table loads pyarrow's data sets, and these pandas: a fifth of what a small filter takes
        yield from pq.ParquetFile(path).iter_batches(columns=list(names))

    @cached_property
    def _places(self) -> list[Source]:
        if self.run.shards.is_dir():
            return run_sources(self.run.shards, self.run.downloaded)
        with contextlib.suppress(VisunexError, OSError):
            return sources(self.provenance.get("pictures") or [])
        return []

    def _downloaded(self) -> Iterable[RunImage]:
        with contextlib.suppress(*parquet_errors(VisunexError)):
            for number, each in enumerate(samples(self._places)):
                if number >= MOST:
                    return
                yield RunImage(each.where, each.key, each.caption, each.url, each.score)

    @cached_property
    def _with_vectors(self) -> tuple[tuple[RunImage, ...], NDArray[np.float32]]:
        """The rows of `vectors/` that the run has chosen, best first; only of these vectors are held."""
        try:
            folder = read_vectors(self.run.vectors)
            names = [pair for part in folder.parts for pair in _names(part)]
            order, scores = self._order(names)
            mask = np.zeros(len(names), np.bool_)
            mask[order] = True
            chosen = only(folder, mask)
            rows = [row for part in chosen.parts for row in _rows(part)]
            units = np.concatenate([np.zeros((0, folder.dimension), np.float32), *chosen.units()])
        except parquet_errors(VisunexError):
            return (), np.zeros((0, 0), np.float32)
        if len(rows) != len(units):
            return (), np.zeros((0, 0), np.float32)
        places = np.argsort(np.argsort(order))  # where each, best first, lies among those kept
        best = (rows[place] for place in places)
        return tuple(replace(row, score=scores.get(row.where, row.score)) for row in best), units[places]

    def _order(self, names: Sequence[tuple[str, str | None]]) -> tuple[list[int], Mapping[str, float | None]]:
        """The places of those that count, best first, at most MOST; and the scores that chose them."""
        with contextlib.suppress(VisunexError):
            found = chosen_images(self.run.choice, section_of(self.recipe, "filter").get("score_with"))
            if found is not None:
                places = [place for place, (where, _) in enumerate(names) if where in found]
                return sorted(places, key=lambda place: -(found[names[place][0]] or 0.0))[:MOST], found
        ranks = {key: rank for rank, key in enumerate(self.column("key", chosen=True))}
        places = [place for place, (_, key) in enumerate(names) if not ranks or key in ranks]
        return sorted(places, key=lambda place: ranks.get(names[place][1], place))[:MOST], {}

    def _cosines(self, count: int) -> Iterable[float | None]:
        vector = self.embedding
        if vector is None or len(self.units) != count or vector.shape[1] != self.units.shape[1]:
            return [None] * count
        direction = vector.reshape(-1).astype(np.float64)
        return [float(each) for each in self.units @ (direction / np.linalg.norm(direction))]


def _names(part: Part) -> list[tuple[str, str | None]]:
    """What the vectors of a part call their images (`where`), and the keys of these."""
    return [(row.where, row.key) for row in _rows(part, ("image_path", "key"))]


def _rows(part: Part, columns: Sequence[str] = _COLUMNS) -> list[RunImage]:
    """The rows of a part's table that are not left out, with some of its columns."""
    import pyarrow.parquet as pq

    if part.metadata is None:
        return []
    file, without = pq.ParquetFile(part.metadata), set(part.skipped)
    table = file.read([name for name in columns if name in file.schema_arrow.names]).to_pylist()
    return [
        RunImage(
            str(row.get("image_path") or row.get("key") or number),
            row.get("key"),
            row.get("caption"),
            row.get("url"),
            row.get("score"),
        )
        for number, row in enumerate(table)
        if number not in without
    ]


def section_of(value: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """What is a mapping under a key; an empty one where there is none."""
    found = value.get(key)
    return found if isinstance(found, Mapping) else {}

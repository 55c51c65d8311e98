"""What a run's files say, read for a person: its pictures, best first, with their vectors and thumbnails."""

import contextlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visunex.aesthetic_embeddings.errors import EmbeddingError
from visunex.base.errors import VisunexError

from ..errors import parquet_errors
from ..rundir import RunDir
from ..shards.places import Source, run_sources, sources
from ..shards.samples import samples
from ..shards.thumbnails import thumbnails_of

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
        import pyarrow.parquet as pq

        path = self.run.downloaded if self.run.downloaded.exists() else self.run.selected
        if chosen and path == self.run.selected:
            return []
        with contextlib.suppress(*parquet_errors()):
            # read_table loads pyarrow's data sets, and these pandas: a fifth of what a small filter takes
            table = pq.ParquetFile(path).read([name, "chosen"] if chosen else [name])
            found: list[Any] = (table.filter(table["chosen"]) if chosen else table)[name].to_pylist()
            return found
        return []

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
        """The rows of `vectors/` that the run has chosen, best first."""
        from ..vectors.store import read_vectors

        try:
            folder = read_vectors(self.run.vectors)
            rows = [row for part in folder.parts for row in _rows(part.metadata, set(part.skipped))]
            units = np.concatenate(list(folder.units()))
        except parquet_errors(VisunexError):
            return (), np.zeros((0, 0), np.float32)
        if len(rows) != len(units):
            return (), np.zeros((0, 0), np.float32)
        order = self._order(rows)
        return tuple(rows[place] for place in order), units[order]

    def _order(self, rows: list[RunImage]) -> list[int]:
        """The places of the rows that count, best first; those chosen by their vectors get their scores."""
        if (by_vectors := self._by_vectors()) is not None:
            rows[:] = [replace(row, score=by_vectors.get(row.where, row.score)) for row in rows]
            places = [place for place, row in enumerate(rows) if row.where in by_vectors]
            return sorted(places, key=lambda place: -(rows[place].score or 0.0))[:MOST]
        ranks = {key: rank for rank, key in enumerate(self.column("key", chosen=True))}
        if not ranks:
            return list(range(len(rows)))[:MOST]
        places = [place for place, row in enumerate(rows) if row.key in ranks]
        return sorted(places, key=lambda place: ranks[rows[place].key])[:MOST]

    def _by_vectors(self) -> dict[str, float | None] | None:
        """The images that were chosen by their vectors, with their scores if any; None where none were."""
        import pyarrow.compute as pc
        import pyarrow.parquet as pq

        if not self.run.choice.exists():
            return None
        with contextlib.suppress(*parquet_errors()):
            table = pq.read_table(self.run.choice, filters=pc.field("status") == "chosen")
            by = section_of(self.recipe, "filter").get("score_with")
            scores = table[by].to_pylist() if by in table.column_names else [None] * table.num_rows
            return dict(zip(table["image_path"].to_pylist(), scores, strict=True))
        return None

    def _cosines(self, count: int) -> Iterable[float | None]:
        vector = self.embedding
        if vector is None or len(self.units) != count or vector.shape[1] != self.units.shape[1]:
            return [None] * count
        direction = vector.reshape(-1).astype(np.float64)
        return [float(each) for each in self.units @ (direction / np.linalg.norm(direction))]


def _rows(metadata: Path | None, without: set[int]) -> list[RunImage]:
    """The rows of one part's table that have a vector."""
    import pyarrow.parquet as pq

    if metadata is None:
        return []
    names = [name for name in _COLUMNS if name in pq.read_schema(metadata).names]
    table = pq.ParquetFile(metadata).read(names).to_pylist()
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

"""Simulacra Aesthetic Captions: its SQLite database as rows of pictures, prompts and ratings."""

import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from operator import itemgetter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from visunex.base.files import atomic

from .formats.sqlite import opened, table_columns

__all__ = ["SCHEME", "Converted", "convert", "is_sac"]

SCHEME = "sac:"  # a picture of SAC has no address, only a name in a tar: `sac:NAME`
_BATCH = 50_000
_TABLES = {
    "generations": {"id", "method", "prompt", "verified"},
    "images": {"id", "gid"},
    "paths": {"iid", "path"},
    "ratings": {"sid", "iid", "rating"},
}
_SCHEMA = pa.schema(
    {
        "url": pa.string(),
        "caption": pa.string(),
        "score": pa.float64(),
        "score_median": pa.float64(),
        "score_any": pa.float64(),
        "ratings": pa.int64(),
        "image": pa.int64(),
        "generation": pa.int64(),
        "method": pa.int64(),
        "verified": pa.int64(),
    }
)
# One row for each picture and rater, pictures in order. Beside max(), SQLite takes the other columns from the
# row that has the maximum (sqlite.org/lang_select.html, "bare columns"): that is a rater's latest rating.
_QUERY = f"""
SELECT i.id, i.gid, g.method, g.verified, CAST(g.prompt AS TEXT), CAST(p.path AS TEXT), r.rating
FROM (SELECT id, gid, min(rowid) FROM images GROUP BY id) AS i
LEFT JOIN (SELECT id, method, verified, prompt, min(rowid) FROM generations GROUP BY id) AS g ON g.id = i.gid
LEFT JOIN (SELECT iid, min(path) AS path FROM paths GROUP BY iid) AS p ON p.iid = i.id
LEFT JOIN (
    SELECT iid, rating, max(rowid) FROM ratings
    WHERE typeof(rating) IN ('integer', 'real') AND rating BETWEEN 1 AND 10
    GROUP BY iid, CASE WHEN sid IS NULL THEN 'row ' || rowid ELSE sid END
) AS r ON r.iid = i.id
WHERE i.id BETWEEN {-(2**63)} AND {2**63 - 1}
ORDER BY i.id
"""  # noqa: S608 - two numbers of our own


@dataclass(frozen=True)
class Converted:
    """What a database gave: `without_image` pictures have no file, `unrated` no rating that counts.

    `double` rows of pictures are left out: they share their id with an earlier one, or have none.
    """

    rows: int
    without_image: int
    unrated: int
    double: int = 0


def is_sac(path: Path) -> bool:
    """Whether a SQLite database has SAC's tables. Raises SourceError when it cannot be read."""
    with opened(path) as database:
        names = table_columns(database)
    return all(wanted <= names.get(table, set()) for table, wanted in _TABLES.items())


def convert(path: Path, target: Path) -> Converted:
    """Write SAC's pictures to a parquet file: url, caption (the prompt), score and the number of ratings.

    `score` is the mean of the ratings (1 to 10), `score_median` their median and `score_any` the highest;
    each rater counts once for a picture, with the latest rating. Pictures without a file have no `url`.
    Raises SourceError.
    """
    rows = without = unrated = 0
    with opened(path) as database, atomic(target) as temporary:
        images = _images(database.execute(_QUERY))
        with pq.ParquetWriter(temporary, _SCHEMA) as writer:
            while batch := list(islice(images, _BATCH)):
                rows += len(batch)
                without += sum(row["url"] is None for row in batch)
                unrated += sum(row["ratings"] == 0 for row in batch)
                writer.write_table(pa.Table.from_pylist(batch, schema=_SCHEMA))
        total = database.execute("SELECT count(*) FROM images").fetchone()[0]
    return Converted(rows, without, unrated, total - rows)


def _images(found: Iterable[Sequence[Any]]) -> Iterator[dict[str, Any]]:
    for image, group in groupby(found, key=itemgetter(0)):
        first = next(group)
        ratings = [rating for rating in (first[6], *(row[6] for row in group)) if rating is not None]
        yield _image(image, first, ratings)


def _image(image: int, row: Sequence[Any], ratings: Sequence[float]) -> dict[str, Any]:
    _, generation, method, verified, prompt, path, _ = row
    return {
        "url": f"{SCHEME}{path}" if path else None,
        "caption": prompt,
        "score": statistics.fmean(ratings) if ratings else None,
        "score_median": float(statistics.median(ratings)) if ratings else None,
        "score_any": float(max(ratings)) if ratings else None,
        "ratings": len(ratings),
        "image": _whole(image),
        "generation": _whole(generation),
        "method": _whole(method),
        "verified": _whole(verified),
    }


def _whole(value: Any) -> int | None:
    """SQLite keeps anything in any column."""
    return value if isinstance(value, int) else None

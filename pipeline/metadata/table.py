"""A source's files as one table: the types of its columns, and which column has which role."""

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import polars as pl

from visunex.base.errors import first_line
from visunex.recipes import Columns

from ..errors import SourceError
from .catalog import data_set
from .columns import Role, Schema, listed, recognise
from .resolve import ResolvedSource

__all__ = ["INDEX", "Table", "broken_file", "open_table", "require_predictor"]

INDEX = "__index_level_0__"  # pandas' row labels, no data
_BROKEN = (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError)


@dataclass(frozen=True)
class Table:
    """A source opened: its rows as a LazyFrame, the types of its columns, and which column has which role.

    `file_groups` are its files, those with the same columns together.
    """

    source: ResolvedSource
    rows: pl.LazyFrame
    schema: Schema
    roles: Mapping[Role, str]
    file_groups: Sequence[Sequence[str]]

    def numbered(self, name: str) -> pl.LazyFrame:
        """The rows with their numbers, from 0 on, in a column `name`.

        The scans number them: so a filter over these rows is still asked by the scans, as they read.
        """
        first, parts = 0, []
        for paths in self.file_groups:
            part = _scan(paths, self.source.options)  # a scan that was asked for its schema takes no numbers
            parts.append(part.with_row_index(name, first))
            if len(self.file_groups) > 1:
                first += _scan(paths, self.source.options).select(pl.len()).collect(engine="streaming").item()
        return _together(parts)


def open_table(source: ResolvedSource, overrides: Columns) -> Table:
    """Open a source, with its columns' roles recognised or as `overrides` say.

    Files need not have the same types or order of columns (pandas writes whole numbers as floats where one is
    missing). Raises SourceError, naming the file, when one is broken or lacks a column that others have.
    """
    kinds: dict[tuple[tuple[str, pl.DataType], ...], list[str]] = {}
    for path, schema in zip(source.paths, _schemas(source), strict=True):
        kinds.setdefault(tuple(schema.items()), []).append(path)
    roles = [recognise(dict(kind), overrides) for kind in kinds]
    for kind, own, paths in zip(kinds, roles, kinds.values(), strict=True):
        _same_roles(roles[0], own, dict(kind), paths[0], source.paths[0])
    parts = [_scan(paths, source.options) for paths in kinds.values()]
    rows = _together(parts)
    try:
        return Table(source, rows, dict(rows.collect_schema()), roles[0], tuple(kinds.values()))
    except pl.exceptions.PolarsError as error:
        raise SourceError(f"the files of {source.name} do not fit together: {first_line(error)}") from None


def _together(parts: Sequence[pl.LazyFrame]) -> pl.LazyFrame:
    return parts[0] if len(parts) == 1 else pl.concat(parts, how="diagonal_relaxed")


def _same_roles(
    first: Mapping[Role, str], own: Mapping[Role, str], schema: Schema, path: str, reference: str
) -> None:
    for role, name in first.items():
        if own.get(role) != name:
            if role == "score":
                _same_predictor(name, own.get(role), reference, path)
            raise SourceError(
                f"{path} has no column {name!r} for the {role}, as {reference} has; it has {listed(schema)}"
            )


def _same_predictor(first: str, second: str | None, reference: str, path: str) -> None:
    one, other = _predictor_of(first), _predictor_of(second)
    if one and other and one != other:
        raise SourceError(
            f"{reference} has scores of the predictor {one} ({first}), {path} of {other} ({second}): these "
            "are different scales, so they are not mixed in one run"
        )


def _predictor_of(score: str | None) -> str | None:
    """The predictor behind a score column of LAION's: V2 sets say AESTHETIC_SCORE, V1 sets `aesthetic`."""
    return {"aesthetic_score": "V2", "aesthetic": "V1"}.get((score or "").lower())


def require_predictor(table: Table, wanted: str | None) -> None:
    """Raise SourceError when the scores are another predictor's than the recipe's thresholds mean."""
    if wanted is None:
        return
    named = data_set(table.source.name)
    people = "people" if "score_median" in table.schema else None
    found = _predictor_of(table.roles.get("score")) or people or (named.predictor if named else None)
    if found is not None and found != wanted:
        raise SourceError(
            f"{table.source.name} has scores of {found}, the recipe's thresholds mean those of {wanted}: "
            "these are different scales; choose other thresholds, and say so with --predictor"
        )


def _schemas(source: ResolvedSource) -> Iterable[Schema]:
    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(lambda path: _schema(path, source.options), source.paths))


def _schema(path: str, options: Mapping[str, str]) -> Schema:
    try:
        return dict(_scan([path], options).collect_schema())
    except _BROKEN as error:
        raise SourceError(f"{path} is not a parquet file that can be read: {first_line(error)}") from None


def _scan(paths: Sequence[str], options: Mapping[str, str]) -> pl.LazyFrame:
    # No patterns from here on: a path may hold brackets, a URL question marks. polars expands those of S3.
    pattern = any(path.startswith("s3://") for path in paths)
    # Without statistics: polars would ask the filter's predicate about bounds of row groups, too.
    return pl.scan_parquet(
        list(paths), glob=pattern, storage_options=dict(options) or None, use_statistics=False
    )


def broken_file(table: Table) -> str | None:
    """The first file whose values cannot all be read, with what is wrong in it; None when all can."""
    for path in table.source.paths:
        rows = _scan([path], table.source.options).select(table.roles.values())
        try:
            for _ in rows.collect_batches(maintain_order=False, engine="streaming"):
                pass
        except _BROKEN as error:
            return f"{path} is broken: {first_line(error)}"
    return None

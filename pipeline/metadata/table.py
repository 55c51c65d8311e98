"""A source's files as one table: the types of its columns, and which column has which role."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import polars as pl

from visunex.base.errors import first_line
from visunex.recipes import Columns

from ..errors import SourceError
from ..inside.location import LOCATION
from .catalog.entries import data_set
from .columns import Role, Schema
from .filetypes import no_parquet
from .footers import File, labelled, remarks_on_labels
from .inside import image_column, names_paths, path_column
from .made import MadeColumns, joined_caption, made_columns
from .relay import failure_of, relayed
from .resolve import ResolvedSource
from .unify import FileKind, Step, predictor_of, typed_keys, unified

__all__ = [
    "INDEX",
    "PREDICTOR",
    "READ_ERRORS",
    "FileGroup",
    "Table",
    "broken_file",
    "is_about_utf8",
    "not_utf8",
    "open_table",
    "predictor_behind",
    "require_predictor",
    "without_role",
    "words_of",
]

INDEX = "__index_level_0__"  # pandas' row labels, no data
PREDICTOR = "visunex.predictor"  # in a selection's parquet: whose its scores are
_PANIC = re.compile(
    r"unwrap\(\)|panic|assertion .* failed|index out of bounds|capacity overflow", re.IGNORECASE
)
READ_ERRORS = (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError)
_URL: tuple[Role, ...] = ("url",)
NONE_MADE: Mapping[str, str] = {}


@dataclass(frozen=True)
class FileGroup:
    """Files with the same columns, of which `steps` make those looked at.

    `columns` are the table's, None where they have just those.
    """

    paths: tuple[str, ...]
    options: Mapping[str, str]
    columns: Sequence[pl.Expr] | None
    steps: tuple[Step, ...] = ()

    def rows(self) -> pl.LazyFrame:
        """Their rows as the table's."""
        part = self._made(_scan(self.paths, self.options))
        return part if self.columns is None else part.select(self.columns)

    def numbered(self, name: str, first: int) -> pl.LazyFrame:
        """The same with their numbers, from `first` on, in a column `name`."""
        part = _scan(self.paths, self.options)  # a scan that was asked for its schema takes no numbers
        part = self._made(part.with_row_index(name, first))
        return part if self.columns is None else part.select(name, *self.columns)

    def _made(self, part: pl.LazyFrame) -> pl.LazyFrame:
        for step in self.steps:
            part = step.located(part)
        return part

    def alone(self) -> "Iterable[FileGroup]":
        """Each file by itself."""
        return (replace(self, paths=(path,)) for path in self.paths)


@dataclass(frozen=True)
class Table:
    """A source opened: its rows as a LazyFrame, the types of its columns, and which column has which role.

    `file_groups` are its files, those with the same columns together.
    """

    source: ResolvedSource
    rows: pl.LazyFrame
    schema: Schema
    roles: Mapping[Role, str]
    file_groups: Sequence[FileGroup]

    def numbered(self, name: str) -> pl.LazyFrame:
        """The rows with their numbers, from 0 on, in a column `name`.

        The scans number them: so a filter over these rows is still asked by the scans, as they read.
        """
        first, parts = 0, []
        for group in self.file_groups:
            parts.append(group.numbered(name, first))
            if len(self.file_groups) > 1:
                first += group.rows().select(pl.len()).collect(engine="streaming").item()
        return _together(parts)


def open_table(
    source: ResolvedSource,
    overrides: Columns,
    needed: Collection[Role] = _URL,
    made: Mapping[str, str] = NONE_MADE,
) -> Table:
    """Open a source, with its columns' roles recognised or as `overrides` say, in each file by itself.

    `made` are columns to put together from others, by role: `https://host/{id}.jpg`.

    Files may differ in further columns, their order, the case of names, and types. Raises SourceError, naming
    the file, when one is broken or lacks a column for a role in `needed` that others have one for.
    """
    files = _files(source)
    caption = (
        ()
        if "caption" in made
        else joined_caption([each.schema for each in files], [each.labels for each in files], overrides)
    )
    roles = [*made, *(("caption",) if caption else ())]
    kinds = _kinds(source, files, overrides.model_copy(update={role: role for role in roles}), made, caption)
    found = unified(kinds, needed)
    remarks = [*source.remarks, *remarks_on_labels(files)]
    if caption and overrides.caption is None:
        remarks.append(f"captions are what stands in {', '.join(caption)} (--caption-column names others)")
    source = replace(source, remarks=tuple(remarks))
    groups = [
        FileGroup(kind.paths, source.options, columns, kind.steps)
        for kind, columns in zip(kinds, found.columns, strict=True)
    ]
    rows = _together([group.rows() for group in groups])
    return Table(source, rows, found.schema, found.roles, groups)


def _kinds(
    source: ResolvedSource,
    files: Sequence[File],
    overrides: Columns,
    made: Mapping[str, str],
    caption: Sequence[str],
) -> list[FileKind]:
    """The source's files, those with the same columns (and folders that are columns) together."""
    types = typed_keys(source.keys, overrides)
    kinds: dict[tuple[object, ...], FileKind] = {}
    for place, file in enumerate(files):
        steps = _steps(source, file, overrides, made, caption)
        schema = file.schema
        for step in steps:
            schema = step.schema(schema)
        there = set(map(str.lower, schema))
        keys = {name: value for name, value in source.keys_of(place).items() if name.lower() not in there}
        same = (
            *schema.items(),
            *keys.items(),
            *(each for each in steps if not isinstance(each, MadeColumns)),
        )
        before = kinds.get(same)
        columns = {**schema, **{name: types[name] for name in keys}}
        paths = (file.path,) if before is None else (*before.paths, file.path)
        kinds[same] = FileKind(paths, columns, keys, overrides, steps)
    return list(kinds.values())


def _steps(
    source: ResolvedSource, file: File, overrides: Columns, made: Mapping[str, str], caption: Sequence[str]
) -> tuple[Step, ...]:
    """What is made of a file's columns: names of labels, places of pictures, and what is put together."""
    path, schema = file.path, file.schema
    by_path = "image" in made or names_paths(schema, overrides)
    images = None if by_path else image_column(schema, overrides, path)
    schema = schema if images is None else images.schema(schema)
    is_ours = images is not None or path in source.indexes
    put_together = made_columns(schema, made, path, None if is_ours else LOCATION, caption)
    schema = schema if put_together is None else put_together.schema(schema)
    named = None if is_ours else path_column(schema, overrides, source.place_of(path))
    steps = (file.labels, images, put_together, named)
    return tuple(each for each in steps if each is not None)


def _together(parts: Sequence[pl.LazyFrame]) -> pl.LazyFrame:
    return parts[0] if len(parts) == 1 else pl.concat(parts)


def predictor_behind(table: Table) -> str | None:
    """Whose scores the table's are: as the catalogue says, a selection of ours, or the column's name."""
    origin = table.source.origin
    named = data_set(table.source.name if origin is None else origin.name)
    score = table.roles.get("score")
    if score is None:
        return None
    found = (named.predictor if named else None) or _noted_predictor(table.source.paths)
    found = found or ("people" if "score_median" in table.schema else None)
    return found or predictor_of(score, table.schema.get(score))


def require_predictor(table: Table, wanted: str | None) -> None:
    """Raise SourceError when the scores are another predictor's than the recipe's thresholds mean."""
    found = None if wanted is None else predictor_behind(table)
    if found is not None and found != wanted:
        which = "a predictor that nobody names" if found == "unknown" else found
        raise SourceError(
            f"{table.source.name} has scores of {which}, the recipe's thresholds mean those of {wanted}: "
            "these are different scales; choose other thresholds, and say so with --predictor"
        )


def _noted_predictor(paths: Sequence[str]) -> str | None:
    """What a selection of ours says of its scores."""
    if len(paths) != 1 or "://" in paths[0]:
        return None
    try:
        return pl.read_parquet_metadata(paths[0]).get(PREDICTOR)
    except READ_ERRORS:
        return None


def without_role(table: Table, role: Role) -> Table:
    """The table where no column plays a role; one that did is a column like any other."""
    return replace(table, roles={each: name for each, name in table.roles.items() if each != role})


def _files(source: ResolvedSource) -> Sequence[File]:
    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(lambda path: _file(path, source), source.paths))


def _file(path: str, source: ResolvedSource) -> File:
    schema = _schema(path, source.options)
    return labelled(path, schema, lambda: _scan([path], source.options), source.features)


def _schema(path: str, options: Mapping[str, str]) -> Schema:
    try:
        return dict(_scan([path], options).collect_schema())
    except READ_ERRORS as error:
        if (failure := failure_of(path)) is not None:
            raise SourceError(failure.message) from None
        what = no_parquet(path) if "://" not in path else None
        said = f"is not a parquet file that can be read: {words_of(error)}"
        raise SourceError(f"{path} {what or said}") from None


def words_of(error: BaseException) -> str:
    """What an error of polars says; of one in its own code, which damaged files lead to, that they do."""
    said = first_line(error)
    if isinstance(error, pl.exceptions.PanicException) or _PANIC.search(said):
        return "what reads such files broke down on it, so it is damaged: fetch it again"
    return said


def _scan(paths: Sequence[str], options: Mapping[str, str]) -> pl.LazyFrame:
    # No patterns from here on: a path may hold brackets, a URL question marks.
    # Without statistics: polars would ask the filter's predicate about bounds of row groups, too.
    return pl.scan_parquet(
        list(map(relayed, paths)), glob=False, storage_options=dict(options) or None, use_statistics=False
    )


def broken_file(table: Table) -> str | None:
    """The first file whose values cannot all be read, with what is wrong in it; None when all can."""
    out_of_reach = next(filter(None, map(failure_of, table.source.paths)), None)
    if out_of_reach is not None:
        return out_of_reach.message
    for group in (single for each in table.file_groups for single in each.alone()):
        if (what := _failure_in(group, list(table.roles.values()))) is not None:
            failure = failure_of(group.paths[0])
            return failure.message if failure else f"{group.paths[0]} is broken: {what}"
    return None


def _failure_in(file: FileGroup, first: Sequence[str]) -> str | None:
    """What is wrong with the values of a file, of some columns `first`; None where all can be read."""
    for rows in (file.rows().select(first), file.rows()):
        count = 0
        try:
            expected = rows.select(pl.len()).collect(engine="streaming").item()
            for batch in rows.collect_batches(maintain_order=False, engine="streaming"):
                count += batch.height
        except READ_ERRORS as error:
            return words_of(error)
        if count != expected:  # where its own code failed polars may end in silence
            return f"{count:,} of its {expected:,} rows can be read: it is damaged, fetch it again"
    return None


def not_utf8(source: ResolvedSource) -> list[str]:
    """The files in which some text is not UTF-8, which polars reads none of."""
    return [path for path in source.paths if _is_not_utf8(path, source.options)]


def _is_not_utf8(path: str, options: Mapping[str, str]) -> bool:
    try:
        texts = _scan([path], options).with_columns(pl.col(pl.Binary).cast(pl.String))
        for _ in texts.collect_batches(maintain_order=False, engine="streaming"):
            pass
    except READ_ERRORS as error:
        return is_about_utf8(error)
    return False


def is_about_utf8(error: BaseException) -> bool:
    """Whether an error says that some text is not UTF-8."""
    return "utf8" in str(error).lower().replace("-", "")

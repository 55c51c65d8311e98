"""Where metadata lies: a known name, a path, a glob, a folder or an address, opened as a lazy table.

The data sets known by name are in `sources.toml`.
"""

import difflib
import functools
import glob
import hashlib
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from visunex.recipes import Columns

from .columns import Role, Schema, listed, recognise
from .errors import SourceError
from .hub import locate_on_hub
from .loading import locate_data_set, saved_files
from .remote import Remote, locate_in_bucket, locate_on_web

__all__ = [
    "Known",
    "ResolvedSource",
    "Table",
    "broken_file",
    "catalogue",
    "open_table",
    "predictor_of",
    "require_predictor",
    "resolve",
]

# What a parquet file ends in says where each column's pages lie, how many they are and between what bounds.
TAIL_BYTES = 1 << 16
# Of a folder, the files of the first of these that it has.
SUFFIXES = (".parquet", ".arrow", ".jsonl", ".jsonl.gz", ".jsonl.zst", ".csv", ".csv.gz", ".csv.zst")
INDEX = "__index_level_0__"  # pandas' row labels, no data
_SCHEMES: Mapping[str, Callable[[str], Remote]] = {
    "http": locate_on_web,
    "https": locate_on_web,
    "s3": locate_in_bucket,
    "hf": locate_on_hub,
    "datasets": locate_data_set,
}
_BROKEN = (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError)


@dataclass(frozen=True)
class Known:
    """A data set known by name; see `sources.toml` for what the fields mean."""

    name: str
    about: str
    addresses: tuple[str, ...]
    predictor: str | None = None
    rows: int | None = None
    checked: str = "not verified"
    note: str = ""
    columns: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ResolvedSource:
    """Files that are there: `paths` for polars to read, and an `identity` (JSON) of their contents.

    `convert`: what lies elsewhere is no parquet, and to be fetched and converted first (see `conversion`).
    """

    name: str
    paths: tuple[str, ...]
    identity: Any
    options: Mapping[str, str] = field(default_factory=dict)
    convert: bool = False


@dataclass(frozen=True)
class Table:
    """A source opened: its rows as a LazyFrame, the types of its columns, and which column has which role."""

    source: ResolvedSource
    rows: pl.LazyFrame
    schema: Schema
    roles: Mapping[Role, str]


@functools.cache
def catalogue() -> Mapping[str, Known]:
    """The data sets known by name."""
    entries = tomllib.loads((Path(__file__).parent / "sources.toml").read_text(encoding="utf-8"))
    return {
        name: Known(name, **{**entry, "addresses": tuple(entry["addresses"])})
        for name, entry in entries.items()
    }


def resolve(data: str) -> ResolvedSource:
    """Find the files of a known name, path, glob, folder or address.

    A known name wins over a file of that name: write `./name` for the file. Raises SourceError.
    """
    if known := catalogue().get(data):
        return _resolve_known(known)
    return _resolve_address(data, data)


def _resolve_known(known: Known) -> ResolvedSource:
    failures = []
    for address in known.addresses:
        try:
            return _resolve_address(address, known.name)
        except SourceError as error:
            failures.append(str(error))
    note = f" ({known.note})" if known.note else ""
    reasons = "; ".join(failures) or "it has no address of its own"
    raise SourceError(
        f"{known.name} cannot be read{note}: {reasons}.\n"
        f"Give a local copy or a mirror instead (visunex-data filter PATH_OR_URL), or a larger "
        f"LAION-aesthetics set with --min-score 6.5"
    )


def _resolve_address(address: str, name: str) -> ResolvedSource:
    scheme, elsewhere, _ = address.partition("://")
    if elsewhere:
        if scheme not in _SCHEMES:
            raise SourceError(
                f"{address}: {scheme}:// is not supported; there are https://, s3://, hf:// and datasets://"
            )
        found = _SCHEMES[scheme](address)
        return ResolvedSource(name, found.urls, found.identity, found.options, found.convert)
    if _is_hub_name(address):
        return _resolve_address(f"datasets://{address}", name)
    files = _local_files(address)
    return ResolvedSource(name, tuple(map(str, files)), [_local_identity(file) for file in files])


def _is_hub_name(address: str) -> bool:
    """Whether an address can only be OWNER/NAME, as Hugging Face `datasets` takes it."""
    parts = address.split("/")
    named = len(parts) == 2 and all(re.fullmatch(r"\w[\w.-]{0,95}", part) for part in parts)
    return named and not address.endswith(SUFFIXES) and not Path(parts[0]).exists()


def _local_files(address: str) -> list[Path]:
    path = Path(address).expanduser()
    try:
        if saved := saved_files(path):
            return saved
        if path.is_dir():
            files = (sorted(path.rglob(f"*{suffix}")) for suffix in SUFFIXES)
            return _some(
                next(filter(None, files), []), f"{address} is a folder without {', '.join(SUFFIXES)}"
            )
        if path.exists():
            return [path]
    except (OSError, ValueError) as error:
        raise SourceError(f"{address!r} cannot be looked up: {error}") from None
    if not glob.has_magic(address):
        raise SourceError(_unknown(address))
    matches = sorted(Path(match) for match in glob.glob(str(path), recursive=True))  # noqa: PTH207 - absolute too
    return _some([match for match in matches if match.is_file()], f"no file matches {address}")


def _some(files: list[Path], complaint: str) -> list[Path]:
    if not files:
        raise SourceError(complaint)
    return files


def _unknown(name: str) -> str:
    near = difflib.get_close_matches(name, catalogue(), n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    return (
        f"there is no file, folder or known data set {name!r}: {hint}give a path, a glob, an https://, "
        f"s3://, hf:// or datasets:// address, or one of {', '.join(catalogue())}"
    )


def _local_identity(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            head = {} if path.suffix == ".parquet" else {"head": _sha256(file.read(TAIL_BYTES))}
            size = file.seek(0, 2)
            file.seek(max(0, size - TAIL_BYTES))
            return {"file": path.name, "size": size, "tail": _sha256(file.read()), **head}
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}") from None


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def open_table(source: ResolvedSource, told: Columns) -> Table:
    """Open a source, with its columns' roles recognised or told.

    Files need not have the same types or order of columns (pandas writes whole numbers as floats where one is
    missing). Raises SourceError, naming the file, when one is broken or lacks a column that others have.
    """
    kinds: dict[tuple[tuple[str, pl.DataType], ...], list[str]] = {}
    for path, schema in zip(source.paths, _schemas(source), strict=True):
        kinds.setdefault(tuple(schema.items()), []).append(path)
    roles = [recognise(dict(kind), told) for kind in kinds]
    for kind, own, paths in zip(kinds, roles, kinds.values(), strict=True):
        _same_roles(roles[0], own, dict(kind), paths[0], source.paths[0])
    parts = [_scan(paths, source.options) for paths in kinds.values()]
    rows = parts[0] if len(parts) == 1 else pl.concat(parts, how="diagonal_relaxed")
    try:
        return Table(source, rows, dict(rows.collect_schema()), roles[0])
    except pl.exceptions.PolarsError as error:
        raise SourceError(f"the files of {source.name} do not fit together: {_line(error)}") from None


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
    one, other = predictor_of(first), predictor_of(second)
    if one and other and one != other:
        raise SourceError(
            f"{reference} has scores of the predictor {one} ({first}), {path} of {other} ({second}): these "
            "are different scales, so they are not mixed in one run"
        )


def predictor_of(score: str | None) -> str | None:
    """The predictor behind a score column of LAION's: V2 sets say AESTHETIC_SCORE, V1 sets `aesthetic`."""
    return {"aesthetic_score": "V2", "aesthetic": "V1"}.get((score or "").lower())


def require_predictor(table: Table, wanted: str | None) -> None:
    """Raise SourceError when the scores are another predictor's than the recipe's thresholds mean."""
    known = catalogue().get(table.source.name)
    people = "people" if "score_median" in table.schema else None
    found = predictor_of(table.roles.get("score")) or people or (known.predictor if known else None)
    if wanted is not None and found is not None and found != wanted:
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
        raise SourceError(f"{path} is not a parquet file that can be read: {_line(error)}") from None


def _scan(paths: list[str], options: Mapping[str, str]) -> pl.LazyFrame:
    # No patterns from here on: a path may hold brackets, a URL question marks. polars expands those of S3.
    pattern = any(path.startswith("s3://") for path in paths)
    # Without statistics: polars would ask the filter's predicate about bounds of row groups, too.
    return pl.scan_parquet(paths, glob=pattern, storage_options=dict(options) or None, use_statistics=False)


def broken_file(table: Table) -> str | None:
    """The first file whose values cannot all be read, with what is wrong in it; None when all can."""
    for path in table.source.paths:
        rows = _scan([path], table.source.options).select(table.roles.values())
        try:
            for _ in rows.collect_batches(maintain_order=False, engine="streaming"):
                pass
        except _BROKEN as error:
            return f"{path} is broken: {_line(error)}"
    return None


def _line(error: BaseException) -> str:
    """The first line of what polars says."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)[
        :200
    ]

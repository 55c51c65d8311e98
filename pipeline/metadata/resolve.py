"""A data set's name, a path, a glob, a folder or an address -> the metadata's files that are there."""

import glob
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from visunex.base.files import fingerprint, identities
from visunex.base.folders import expanded
from visunex.base.suggest import did_you_mean

from ..errors import SourceError
from ..shards.members import is_image_name
from .catalog.entries import DataSet, bounded_at, data_set, data_sets, partial_copy
from .catalog.origin import Origin, first_found
from .filetypes import FOLDER_SUFFIXES
from .folders import data_in, hive_keys, images_in, matching, not_read
from .formats.unread import READ
from .hub.datasets import SCHEME, locate_data_set, saved_files
from .hub.locate import locate_on_hub
from .locate import Remote, locate_in_bucket, locate_on_web

__all__ = ["ResolvedSource", "files_elsewhere", "is_run", "local_identity", "resolve_source"]

_SCHEMES: Mapping[str, Callable[[str], Remote]] = {
    "http": locate_on_web,
    "https": locate_on_web,
    "s3": locate_in_bucket,
    "hf": locate_on_hub,
    "datasets": locate_data_set,
}


@dataclass(frozen=True)
class ResolvedSource:
    """Files that are there: `paths` for polars to read, and an `identity` (JSON) of their contents.

    `convert`: what lies elsewhere is no parquet, and to be fetched and converted first (see `convert`).
    `keys`: of each path the columns that its folders are (`score=7/`), where there are any.
    `dropped`: rows that could not be read, by reason, and `remarks` on values, of files that were converted.
    `origin` says which of its places a data set known by name was taken from, `licence` is what the data
    set's page says of that, and `features` what it says of columns. `places` are those
    that the paths were converted from; of these, `indexes` say themselves where their rows' pictures lie.
    """

    name: str
    paths: tuple[str, ...]
    identity: Any
    options: Mapping[str, str] = field(default_factory=dict)
    convert: bool = False
    keys: tuple[Mapping[str, str | None], ...] = ()
    dropped: Mapping[str, int] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    origin: Origin | None = None
    licence: str = ""
    features: Mapping[str, Any] = field(default_factory=dict)
    places: tuple[str, ...] = ()
    indexes: frozenset[str] = frozenset()

    def place_of(self, path: str) -> str:
        """Where the rows of a path came from: itself, or what it was converted from."""
        return self.places[self.paths.index(path)] if self.places else path

    def keys_of(self, place: int) -> Mapping[str, str | None]:
        """The columns that the folders of a path are."""
        return self.keys[place] if self.keys else {}


def resolve_source(data: str) -> ResolvedSource:
    """Find the files of a data set's name, a path, glob, folder or address.

    A data set wins over a file of that name: write `./name` for the file. Raises SourceError.
    """
    if (found := data_set(data)) is not None:
        return _resolve_data_set(found)
    source = _resolve_address(data, data)
    if (there := bounded_at(data)) is not None:
        origin = Origin(there[0].name, there[1], data, max_punsafe=there[0].max_punsafe)
        source = replace(source, origin=origin, identity=[*source.identity, *origin.identity()])
    part = partial_copy(data)
    return source if part is None else replace(source, remarks=(*source.remarks, part))


def files_elsewhere(place: str) -> ResolvedSource | None:
    """The files that an address, OWNER/NAME on the Hub or a known data set means; None for a place here.

    Raises SourceError.
    """
    if Path(place).exists() or (glob.has_magic(place.partition("?")[0]) and "://" not in place):
        return None
    if "://" in place or data_set(place) is not None or (_is_hub_name(place) and not is_image_name(place)):
        return resolve_source(place)
    return None


def local_identity(data: str) -> Any:
    """The identity of a source on this machine; None of others, and where it is not there (any more)."""
    if data_set(data) is not None or "://" in data or _is_hub_name(data):
        return None
    try:
        return resolve_source(data).identity
    except SourceError:
        return None


def _resolve_data_set(named: DataSet) -> ResolvedSource:
    found, origin = first_found(named, lambda address: _resolve_address(address, named.name))
    return replace(found, origin=origin, identity=[*found.identity, *origin.identity()])


def _resolve_address(address: str, name: str) -> ResolvedSource:
    scheme, elsewhere, _ = address.partition("://")
    if elsewhere:
        if scheme not in _SCHEMES:
            raise SourceError(
                f"{address}: {scheme}:// is not supported; there are https://, s3://, hf:// and datasets://"
            )
        found = _SCHEMES[scheme](address)
        return ResolvedSource(
            name,
            found.urls,
            found.identity,
            found.options,
            found.convert,
            found.keys,
            remarks=found.remarks,
            licence=found.licence,
            features=found.features,
        )
    if _is_hub_name(address):
        return _resolve_address(f"{SCHEME}{address}", name)
    root, files, others = _local_files(address)
    keys = _keys_below(root, files)
    identity: list[Any] = _local_identities(files)
    identity += [{"keys": [dict(each) for each in keys]}] if any(keys) else []
    remarks = (not_read(address, others),) if others else ()
    return ResolvedSource(name, tuple(map(str, files)), identity, keys=keys, remarks=remarks)


def _is_hub_name(address: str) -> bool:
    """Whether an address can only be OWNER/NAME on the Hub, or OWNER/NAME@REVISION?config=...&split=..."""
    address = re.split(r"[@?]", address, maxsplit=1)[0]
    parts = address.split("/")
    named = len(parts) == 2 and all(re.fullmatch(r"\w[\w.-]{0,95}", part) for part in parts)
    return named and not address.lower().endswith(FOLDER_SUFFIXES) and not Path(parts[0]).exists()


def _local_files(address: str) -> tuple[Path | None, list[Path], str]:
    """The files that a path, folder or pattern names, and what else lies there.

    First comes the folder below which folders are columns.
    """
    path = expanded(address)
    try:
        if saved := saved_files(path):
            return None, saved, ""
        if is_run(path):
            return (
                None,
                _some(sorted((path / "vectors" / "metadata").glob("*.parquet")), f"{address} is empty"),
                "",
            )
        if path.is_dir():
            files, others = data_in(path)
            if not files and images_in(path):
                return None, [path], ""
            having = f"; it has {others}, which are not read: {READ}" if others else ""
            without = f"{address} is a folder without {', '.join(FOLDER_SUFFIXES)}{having}"
            return path, _some(files, without), others
        if path.exists():
            return None, [path], ""
        if not glob.has_magic(address):
            raise SourceError(_unknown(address))
        root, files, others = matching(str(path))
    except (OSError, ValueError) as error:
        raise SourceError(f"{address!r} cannot be looked up: {error}") from None
    return root, _some(files, f"no file matches {address} (names that begin with _ or . are hidden)"), others


def is_run(path: Path) -> bool:
    """Whether a folder is a run with vectors: as a source it is the pictures that were encoded."""
    return (path / "embedding.json").is_file() and (path / "vectors" / "metadata").is_dir()


def _some(files: list[Path], complaint: str) -> list[Path]:
    if not files:
        raise SourceError(complaint)
    return files


def _keys_below(root: Path | None, files: list[Path]) -> tuple[Mapping[str, str | None], ...]:
    if root is None:
        return ()
    return tuple(hive_keys(file.relative_to(root).as_posix()) for file in files)


def _unknown(name: str) -> str:
    return (
        f"there is no file, folder or known data set {name!r}: {did_you_mean(name, data_sets())}"
        f"give a path, a glob, an https://, s3://, hf:// or datasets:// address, or one of "
        f"{', '.join(data_sets())}"
    )


def _local_identities(files: Sequence[Path]) -> list[Any]:
    logs = [file.with_name(f"{file.name}-wal") for file in files]  # where SQLite keeps what is not yet merged
    every = [*files, *(log for log in logs if log.exists())]
    try:
        if files and files[0].is_dir():
            return [_identity_of_folder(each) for each in files]
        found = identities(every)
    except OSError as error:
        raise SourceError(f"{error.filename} cannot be read: {error.strerror}") from None
    return [{"file": file.name, **each} for file, each in zip(every, found, strict=True)]


def _identity_of_folder(folder: Path) -> dict[str, str]:
    """What changes when one of the pictures of a folder does, or what is said beside it. Raises OSError."""
    files = images_in(folder)
    names = [str(file.relative_to(folder)) for file in files]
    return {"folder": folder.name, "files": fingerprint([names, identities(files)])}

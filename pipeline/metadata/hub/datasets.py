"""Data sets that people name OWNER/NAME, and folders that Hugging Face `datasets` saved.

Files of such a set are read as they are where they may hold pictures: parquet, Arrow, tars and zips. What has
none of these is streamed through `datasets` (the extra of that name), as is a folder on this machine. Code of
a set's owner is never run: since version 4 `datasets` refuses loading scripts, and the extra asks for that.
"""

import importlib.metadata
import importlib.util
import json
import re
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from visunex.base.errors import first_line
from visunex.base.files import identities
from visunex.base.folders import expanded
from visunex.net import hub

from ...errors import SourceError, fetch_errors_as
from ..locate import Remote
from .locate import remote_files
from .splits import choose, data_files

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["SCHEME", "locate_data_set", "saved_files", "tables"]

SCHEME = "datasets://"
_BATCH = 1000  # rows that are asked for together; they may hold pictures
_GROUP = 50_000  # rows that are written together
_OLDEST = 4
_ABOUT_IT = re.compile(
    r"(\..*|.*/\.[^/]*|.*\.md|(.*/)?licen[cs]e[^/]*)", re.IGNORECASE
)  # no data, but about it


@dataclass(frozen=True)
class _Named:
    """What an address names: a local folder or OWNER/NAME[@REVISION], its configuration and its split."""

    address: str
    path: str
    config: str | None
    split: str | None

    @property
    def local(self) -> Path | None:
        """The folder that is named; None for a data set on the Hub."""
        return expanded(self.path) if self.path.startswith(("/", ".", "~")) else None


def _named(address: str) -> _Named:
    path, _, query = address.removeprefix(SCHEME).partition("?")
    asked = dict(urllib.parse.parse_qsl(query))
    if not path or set(asked) - {"config", "split"}:
        raise SourceError(
            f"{address} is not of the form {SCHEME}OWNER/NAME[@REVISION][?config=...&split=...]"
        )
    return _Named(address, path, asked.get("config"), asked.get("split"))


@fetch_errors_as(SourceError)
def locate_data_set(address: str) -> Remote:
    """The data set at datasets://OWNER/NAME[@REVISION] or datasets:///FOLDER, with ?config=...&split=...

    Raises SourceError: it is not there, it is not said which of its parts is meant, or the extra is missing.
    """
    named = _named(address)
    if named.local is None:
        return _on_hub(named)
    _require_library(address)
    if not named.local.is_dir():
        raise SourceError(f"{address}: there is no folder {named.local}")
    files = sorted(path for path in named.local.rglob("*") if path.is_file())
    names = [str(path.relative_to(named.local)) for path in files]
    contents = list(zip(names, identities(files), strict=True))
    return Remote((address,), [{"data set": address, "files": contents}], convert=True)


def _on_hub(named: _Named) -> Remote:
    found = hub.pinned(hub.data_set(f"hf://datasets/{named.path}"))
    listed = list(hub.files(found))
    if listed and all(_ABOUT_IT.fullmatch(each.path) for each in listed):
        raise SourceError(f"{named.address}: the data set is there, but there is no data in it")
    files = data_files(listed, found.configs, named.address, named.config, named.split)
    if (remote := remote_files(found, files)) is not None:
        return remote
    _require_library(named.address)
    return Remote(
        (named.address,),
        [{"data set": named.address, "commit": found.revision}],
        convert=True,
        licence=found.licence,
    )


def _require_library(address: str) -> None:
    try:
        version = importlib.metadata.version("datasets")
    except importlib.metadata.PackageNotFoundError:
        version = ""
    if not version or importlib.util.find_spec("datasets") is None:
        raise SourceError(
            f"{address} is read by Hugging Face datasets, which is not here: pip install 'visunex[datasets]'"
        )
    if int(version.partition(".")[0]) < _OLDEST:
        raise SourceError(
            f"datasets {version} may run code that a data set brings: pip install -U 'visunex[datasets]'"
        )


def tables(address: str) -> "Iterator[pa.Table]":
    """The rows of a data set, streamed, without columns of pictures. Raises SourceError."""
    import pyarrow as pa

    waiting: list[pa.Table] = []
    try:
        for table in _stream(_named(address)):
            if waiting and (not table.schema.equals(waiting[0].schema) or len(waiting) * _BATCH >= _GROUP):
                yield pa.concat_tables(waiting)
                waiting = []
            waiting.append(table)
    except SourceError:
        raise
    except Exception as error:  # of `datasets`, which raises whatever its readers do
        raise SourceError(f"{address} cannot be read by datasets: {first_line(error)}") from None
    if waiting:
        yield pa.concat_tables(waiting)


def _stream(named: _Named) -> "Iterator[pa.Table]":
    import datasets

    datasets.disable_progress_bars()
    datasets.logging.set_verbosity_error()
    settings: dict[str, Any] = {"path": str(named.local)}
    if named.local is None:
        with fetch_errors_as(SourceError):
            found = hub.pinned(hub.data_set(f"hf://datasets/{named.path}"))
        settings = {"path": found.repository, "revision": found.revision, "token": found.token}
    splits = datasets.load_dataset(**settings, name=named.config, streaming=True)
    rows = splits[choose(named.address, "split", named.split, splits)].with_format("arrow")
    for table in rows.iter(batch_size=_BATCH):
        yield _texts_and_numbers(table)


def _texts_and_numbers(table: "pa.Table") -> "pa.Table":
    import pyarrow as pa

    from ..footers import FEATURES

    def is_kept(kind: pa.DataType) -> bool:
        inner = kind.value_type if pa.types.is_list(kind) else kind
        others = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_nested)
        return not any(test(inner) for test in others)

    kept = [field.name for field in table.schema if is_kept(field.type)]
    features = (table.schema.metadata or {}).get(FEATURES)
    return table.select(kept).replace_schema_metadata(None if features is None else {FEATURES: features})


def saved_files(folder: Path) -> list[Path]:
    """The files of a folder that `Dataset.save_to_disk` wrote; none for any other. Raises SourceError.

    Of several splits `train` is taken; another one by the name of its folder.
    """
    try:
        if (folder / "dataset_dict.json").is_file():
            splits = json.loads((folder / "dataset_dict.json").read_text(encoding="utf-8"))["splits"]
            if "train" not in splits and len(splits) != 1:
                raise SourceError(
                    f"{folder} holds several splits: give the folder of one, {', '.join(splits)}"
                )
            return saved_files(folder / Path("train" if "train" in splits else splits[0]).name)
        if not (folder / "state.json").is_file():
            return []
        state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
        return [folder / Path(entry["filename"]).name for entry in state["_data_files"]]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise SourceError(f"{folder} looks like a saved data set, but its JSON files are broken") from None

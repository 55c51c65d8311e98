"""Files of data sets on the Hub, found by its listing, as hf:// addresses at the commit of today."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from visunex.base.files import fingerprint
from visunex.net import hub
from visunex.net.range_file import as_file

from ...errors import SourceError, fetch_errors_as
from ...inside.opened import opened_file
from ...shards.members import LeftOut, images_among
from ...shards.zips import listed_members
from ..filetypes import FOLDER_SUFFIXES, MAGIC_BYTES
from ..folders import hive_keys, most_common_kind, not_read, of_first_kind, passed_over
from ..locate import Remote, kind_at
from .splits import below, is_shown, matches

__all__ = ["locate_on_hub", "remote_files"]

_WITH_IMAGES = frozenset({"parquet", "arrow", "tar", "zip"})
_NAMING = _WITH_IMAGES | {"csv", "jsonl"}
_OF_FOLDERS = re.compile(r"(^|/)metadata\.\w+$")  # which names the pictures beside it


@fetch_errors_as(SourceError)
def locate_on_hub(address: str) -> Remote:
    """The files of hf://datasets/OWNER/NAME[@REVISION][/PATH], PATH a file, a folder or a pattern.

    Of a folder those of the first kind that it has. Raises SourceError: not there, gone, gated (with what to
    do), or out of reach.
    """
    found = hub.pinned(hub.data_set(address))
    files, inside = _meant(list(hub.files(found)), found.path)
    if not files:
        raise SourceError(
            f"{address}: the data set is there, but no such parquet file in it, nor one of "
            f"{', '.join(FOLDER_SUFFIXES)}"
        )
    return _with_remark(_remote(found, files)[0], address, inside, files)


def remote_files(found: hub.DataSet, files: Sequence[hub.HubFile]) -> Remote | None:
    """Those of the files that are of the most common kind; None where that is none that holds pictures."""
    listed, files = files, most_common_kind(files, lambda each: each.path)
    if not files:
        return None
    remote, kind = _remote(found, files)
    named = all(_OF_FOLDERS.search(each.path) for each in files)
    if kind not in (_NAMING if named else _WITH_IMAGES) or (
        kind == "zip" and not _has_images(remote.urls[0])
    ):
        return None
    return _with_remark(remote, found.repository, listed, files)


def _with_remark(
    remote: Remote, address: str, listed: Sequence[hub.HubFile], taken: Sequence[hub.HubFile]
) -> Remote:
    """The same, saying which files of other kinds are there."""
    others = passed_over((each.path for each in listed), (each.path for each in taken))
    return replace(remote, remarks=(not_read(address, others),)) if others else remote


def _remote(found: hub.DataSet, files: Sequence[hub.HubFile]) -> tuple[Remote, str]:
    """Files as addresses, and of which kind they are, by the first one's first bytes."""
    first = files[0].path
    kind = kind_at(found.address_of(first), first, hub.start_of(found, first, MAGIC_BYTES))
    features = _features(found.info)
    identity = [{"path": each.path, "oid": each.oid} for each in files]
    return Remote(
        tuple(found.address_of(each.path) for each in files),
        identity + ([{"path": "features", "oid": fingerprint(features)}] if features else []),
        convert=kind != "parquet",
        keys=tuple(hive_keys(below(found.path, each.path)) for each in files),
        licence=found.licence,
        features=features,
    ), kind


def _features(info: Any) -> dict[str, Any]:
    """The class labels that a page tells of, by column, as `datasets` has them, of none twice."""
    found: dict[str, Any] = {}
    for config in info if isinstance(info, list) else [info]:
        columns = config.get("features") if isinstance(config, Mapping) else None
        for each in columns if isinstance(columns, list) else ():
            if isinstance(each, Mapping) and (names := _names_in(each)) is not None:
                feature, name = {"_type": "ClassLabel", "names": names}, str(each.get("name"))
                found[name] = feature if found.get(name, feature) == feature else None
    return {name: feature for name, feature in found.items() if feature is not None}


def _names_in(column: Mapping[str, Any]) -> list[Any] | None:
    """The class labels of a column on a page, by their numbers: `{"class_label": {"names": {"0": ...}}}`."""
    kind = next((column[each] for each in ("dtype", "sequence", "list") if each in column), None)
    label = kind.get("class_label") if isinstance(kind, Mapping) else None
    names = label.get("names") if isinstance(label, Mapping) else None
    if isinstance(names, Mapping):
        return [names.get(str(number)) for number in range(len(names))]
    return names if isinstance(names, list) else None


def _meant(files: Sequence[hub.HubFile], path: str) -> tuple[list[hub.HubFile], list[hub.HubFile]]:
    """The files that `path` (a file, a folder or a pattern) means; of a folder also all that is in it.

    What is hidden is meant by its name only.
    """
    named = [each for each in files if matches(each.path, path)]
    if named or re.search(r"[*?\[]", path):
        return named, []
    folder = f"{path.rstrip('/')}/" if path else ""
    inside = [each for each in files if each.path.startswith(folder) and is_shown(each.path, path)]
    return of_first_kind(inside, lambda each: each.path), inside


def _has_images(address: str) -> bool:
    """Whether a zip has a picture among its members."""
    left_out = LeftOut()
    members = listed_members(as_file(opened_file(address)), left_out)
    return next(iter(images_among(members, left_out)), None) is not None

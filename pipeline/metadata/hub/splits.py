"""Which files of a data set on the Hub are meant, by the conventions that Hugging Face's own sets follow.

A set's page may name its configurations, and of each the splits with their files. Where it does not, names
of folders or of files say what is `train` and what is not; where they do not either, all of it is.
"""

import re
import urllib.parse
from collections.abc import Collection, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from visunex.net.hub import HubFile

from ...errors import SourceError
from ..filetypes import FOLDER_SUFFIXES
from ..folders import is_hidden

__all__ = ["below", "choose", "data_files", "is_shown", "matches"]

_MOST_GLOBS = 200  # of a split that a stranger's page may name
_SPECIAL = re.compile(r"[%&+#;]")  # in a query
_PATTERN = re.compile(r"[*?\[]")
_SHARD = re.compile(r"(?:.*/)?(\w[\w.]*)-\d{5}-of-\d{5,}[^/]*")
_SPLITS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing", "eval", "evaluation"),
}
_SPLIT_OF = {word: split for split, words in _SPLITS.items() for word in words}
_WORD = re.compile(rf"(?<![a-z])({'|'.join(_SPLIT_OF)})(?![a-z])", re.IGNORECASE)


def data_files(
    files: Sequence[HubFile], configs: Any, address: str, config: str | None, split: str | None
) -> list[HubFile]:
    """The files of a set's configuration and split; without a `split` those of `train`, or of the only one.

    `configs` is what its page says (JSON, of a stranger). Raises SourceError where several could be meant, or
    where the page names files that are not in the set.
    """
    shown = [each for each in files if not is_hidden(each.path)]
    described = _configuration(configs, address, config, shown)
    folder = _text(described.get("data_dir")).strip("./")
    shown = [each for each in shown if each.path.startswith(f"{folder}/" if folder else "")]
    patterns = _patterns(described.get("data_files"))
    if patterns:
        splits = _by_patterns(shown, patterns, folder)
        _require_inside(address, patterns, splits)
    else:
        splits = _by_names([each for each in shown if each.path.lower().endswith(FOLDER_SUFFIXES)], folder)
    return splits[choose(address, "split", split, splits)] if splits else []


def choose(address: str, what: str, wanted: str | None, names: Collection[str]) -> str:
    """The split (or config) that is meant: the one asked for, else the usual one, else the only one."""
    usual = {"split": "train", "config": "default"}[what]
    name = wanted or (next(iter(names)) if len(names) == 1 else usual)
    if name in names:
        return name
    said = f"has several {what}s" if wanted is None else f"has no {what} {name!r}"
    typed = ", ".join(_SPECIAL.sub(lambda sign: urllib.parse.quote(sign[0]), each) for each in names)
    raise SourceError(f"{address} {said}: name one of {typed} (?{what}=...)")


def matches(file: str, path: str) -> bool:
    """Whether a file or pattern `path` means `file`; as in a shell, * stays within a folder, ** does not."""
    if file == path:
        return True
    if not _PATTERN.search(path) or not is_shown(file, path):
        return False
    depth = "**" in path or file.count("/") == path.count("/")
    return depth and fnmatchcase(file, path.replace("**/", "*"))


def is_shown(file: str, path: str) -> bool:
    """Whether nothing in a file's path below `path` is hidden."""
    return not is_hidden(below(path, file))


def below(path: str, file: str) -> str:
    """What of a file's path lies below the folder that `path` (a file, folder or pattern) begins with."""
    place = _PATTERN.split(path, maxsplit=1)[0]
    folder = place if place == path and file.startswith(f"{place}/") else place.rpartition("/")[0]
    return file.removeprefix(folder).lstrip("/")


def _configuration(
    configs: Any, address: str, wanted: str | None, files: Iterable[HubFile]
) -> Mapping[str, Any]:
    """What the page says of the configuration that is meant; nothing where it names none."""
    listed = configs if isinstance(configs, list) else []
    named = {
        _text(each.get("config_name")) or "default": each for each in listed if isinstance(each, Mapping)
    }
    usual = [name for name, each in named.items() if each.get("default") is True]
    if named:
        return named[choose(address, "config", wanted or next(iter(usual), None), named)]
    if wanted in (None, "default"):
        return {}
    if not any(each.path.startswith(f"{wanted}/") for each in files):
        raise SourceError(f"{address} has no config {wanted!r}, and names no other")
    return {"data_dir": wanted}


def _patterns(said: Any) -> dict[str, list[str]]:
    """Of each split the patterns of its files, in any of the forms that pages have; none of another form."""
    entries = [each for each in said if isinstance(each, Mapping)] if isinstance(said, list) else []
    if isinstance(said, Mapping):
        splits = {str(split): _texts(paths) for split, paths in said.items()}
    elif entries:
        splits = {_text(each.get("split")) or "train": _texts(each.get("path")) for each in entries}
    else:
        splits = {"train": _texts(said)}
    return {split: texts for split, texts in splits.items() if texts}


def _by_patterns(
    files: Sequence[HubFile], patterns: Mapping[str, Sequence[str]], folder: str
) -> dict[str, list[HubFile]]:
    found: dict[str, list[HubFile]] = {}
    for split, paths in patterns.items():
        whole = [f"{folder}/{path.removeprefix('./')}".strip("/").removesuffix("/**") for path in paths]
        named = {path for path in whole if not _PATTERN.search(path)}
        globs = [path for path in whole if path not in named][:_MOST_GLOBS]
        of_split = [each for each in files if _is_of(each.path, named, globs)]
        found |= {split: of_split} if of_split else {}
    return found


def _require_inside(
    address: str, patterns: Mapping[str, Sequence[str]], splits: Mapping[str, Sequence[HubFile]]
) -> None:
    """Raise SourceError for files that lie elsewhere, where nobody goes because a page names them."""
    named = [path for paths in patterns.values() for path in paths]
    elsewhere = [path for path in named if "://" in path]
    if elsewhere:
        raise SourceError(
            f"{address}: its page names files that lie elsewhere, such as {elsewhere[0]}; give that as SOURCE"
        )
    if not splits:
        raise SourceError(f"{address}: its page names files that it does not have, such as {named[0]}")


def _is_of(file: str, named: Collection[str], globs: Iterable[str]) -> bool:
    """Whether a page means a file by its path, by that of a folder that it lies in, or by a pattern."""
    parts = file.split("/")
    if any("/".join(parts[:end]) in named for end in range(1, len(parts) + 1)):
        return True
    return any(matches(file, path) for path in globs)


def _by_names(files: Sequence[HubFile], folder: str) -> dict[str, list[HubFile]]:
    """Files by split as the names of shards say it, else those of folders, else those of files; else all."""
    paths = [below(f"{folder}/*", each.path) for each in files]
    for said in (_of_shard, _of_folder, _of_file):
        splits: dict[str, list[HubFile]] = {}
        for each, path in zip(files, paths, strict=True):
            if split := said(path):
                splits.setdefault(split, []).append(each)
        if splits:
            return splits
    return {"train": list(files)} if files else {}


def _of_shard(path: str) -> str | None:
    """The split of `data/NAME-00000-of-00004.parquet`."""
    found = _SHARD.fullmatch(path)
    return found[1] if found and path.startswith("data/") else None


def _of_folder(path: str) -> str | None:
    return _said_in(path.rpartition("/")[0])


def _of_file(path: str) -> str | None:
    return _said_in(path.rpartition("/")[2])


def _said_in(name: str) -> str | None:
    found = _WORD.search(name)
    return _SPLIT_OF[found[1].lower()] if found else None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _texts(value: Any) -> list[str]:
    return [each for each in (value if isinstance(value, list) else [value]) if _text(each)]

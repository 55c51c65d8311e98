"""Which files of a folder belong together by their names: vectors, and the metadata of their rows.

As clip-retrieval lays them out, `img_emb/img_emb_N.npy` with `metadata/metadata_N.parquet`; as PD3M and its
like do, `embeddings/NAME.npy` with `metadata/NAME.parquet`; else arrays (.npy, .npz) beside parquet files of
the same name (DataComp) or number, in one folder or in two.
"""

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from ..errors import EncodeError

__all__ = ["FOLDERS", "Pair", "pairs", "without_partner"]

FOLDERS = ("img_emb", "embeddings", "metadata")


@dataclass(frozen=True)
class Pair:
    """The paths of one part's two files, and the part's number.

    `by_layout`: the layout says that row n of the one is row n of the other; names alone do not.
    """

    vectors: str
    metadata: str
    number: int
    by_layout: bool = True


def pairs(paths: Collection[str], named: Callable[[str], str], advice: str = "") -> list[Pair]:
    """The pairs among a folder's files, in order; none where it holds no vectors.

    `named` is what an error calls a file, `advice` what to do about it. Raises EncodeError for a file of
    which the other is not there.
    """
    vectors = _found(paths, r"img_emb/img_emb_(\d+)\.npy", int)
    tables = _found(paths, r"metadata/metadata_(\d+)\.parquet", int)
    if vectors or tables:
        return _paired(vectors, tables, ("img_emb/img_emb_{}", "metadata/metadata_{}"), named, advice)
    vectors = _found(paths, r"embeddings/([^/.][^/]*)\.npy", str)
    tables = _found(paths, r"metadata/([^/.][^/]*)\.parquet", str) if vectors else {}
    if vectors:
        return _paired(vectors, tables, ("embeddings/{}.npy", "metadata/{}.parquet"), named, advice)
    return _by_name_or_number(paths, named, advice)


def _by_name_or_number(paths: Collection[str], named: Callable[[str], str], advice: str) -> list[Pair]:
    arrays = [path for path in paths if re.fullmatch(r"(?:[^/.][^/]*/)?[^/.][^/]*\.np[yz]", path)]
    parquet = [path for path in paths if re.fullmatch(r"(?:[^/.][^/]*/)?[^/.][^/]*\.parquet", path)]
    if not arrays or not parquet:
        return []
    by_stem = [_keyed(each, lambda stem: stem, named) for each in (arrays, parquet)]
    if by_stem[0].keys() & by_stem[1].keys():
        vectors, tables = by_stem
    else:
        vectors, tables = (_keyed(each, _number, named) for each in (arrays, parquet))
    found = _paired(vectors, tables, ("array of {}", "parquet of {}"), named, advice)
    return [Pair(each.vectors, each.metadata, each.number, by_layout=False) for each in found]


def _keyed(
    paths: Collection[str], key: Callable[[str], int | str], named: Callable[[str], str]
) -> dict[int | str, str]:
    """The paths by a key of their names. Raises EncodeError where two have the same."""
    found: dict[int | str, str] = {}
    for path in sorted(paths):
        own = key(path.rpartition("/")[2].rpartition(".")[0])
        if own in found:
            raise EncodeError(
                f"{named(path)} and {named(found[own])} could both be part {own}: leave one of them there"
            )
        found[own] = path
    return found


def _number(stem: str) -> int | str:
    """The last number in a name; the name where it has none."""
    numbers = re.findall(r"\d+", stem)
    return int(numbers[-1][-18:]) if numbers else stem


def _found(paths: Collection[str], pattern: str, key: Callable[[str], int | str]) -> dict[int | str, str]:
    found = ((path, re.fullmatch(pattern, path)) for path in paths)
    return {key(match[1]): path for path, match in found if match}


def _paired(
    vectors: Mapping[int | str, str],
    tables: Mapping[int | str, str],
    names: tuple[str, str],
    named: Callable[[str], str],
    advice: str,
) -> list[Pair]:
    found = []
    for place, key in enumerate(
        sorted(vectors.keys() | tables.keys(), key=lambda key: (str(type(key)), key))
    ):
        pair = vectors.get(key), tables.get(key)
        if pair[0] is None or pair[1] is None:
            missing = names[0 if pair[0] is None else 1].format(key)
            raise without_partner(named(pair[0] or pair[1] or ""), missing, advice)
        found.append(Pair(pair[0], pair[1], key if isinstance(key, int) else place))
    return found


def without_partner(name: str, missing: str, advice: str = "") -> EncodeError:
    """The error for a file of a part whose other file, called `missing`, is not there."""
    what_next = advice or "fetch it, or take this file out of the folder"
    return EncodeError(f"{name} has no partner: {missing} is not there; {what_next}")

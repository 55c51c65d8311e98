"""Which files of a folder belong together by their names: vectors, and the metadata of their rows.

As clip-retrieval lays them out, `img_emb/img_emb_N.npy` with `metadata/metadata_N.parquet`; else as PD3M and
its like do, `embeddings/NAME.npy` with `metadata/NAME.parquet`.
"""

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass

from .store import without_partner

__all__ = ["FOLDERS", "Pair", "pairs"]

FOLDERS = ("img_emb", "embeddings", "metadata")


@dataclass(frozen=True)
class Pair:
    """The paths of one part's two files, and the part's number."""

    vectors: str
    metadata: str
    number: int


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
    return _paired(vectors, tables, ("embeddings/{}.npy", "metadata/{}.parquet"), named, advice)


def _found(paths: Collection[str], pattern: str, key: Callable[[str], int | str]) -> dict[int | str, str]:
    found = ((path, re.fullmatch(pattern, path)) for path in paths)
    return {key(match[1]): path for path, match in found if match}


def _paired(
    vectors: dict[int | str, str],
    tables: dict[int | str, str],
    names: tuple[str, str],
    named: Callable[[str], str],
    advice: str,
) -> list[Pair]:
    found = []
    for place, key in enumerate(sorted(vectors.keys() | tables.keys())):
        pair = vectors.get(key), tables.get(key)
        if pair[0] is None or pair[1] is None:
            missing = names[0 if pair[0] is None else 1].format(key)
            raise without_partner(named(pair[0] or pair[1] or ""), missing, advice)
        found.append(Pair(pair[0], pair[1], key if isinstance(key, int) else place))
    return found

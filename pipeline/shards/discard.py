"""Shards without their images: once the vectors are written, where each lay and a thumbnail are kept.

That list is a key of the shard's `_stats.json`, so one rename makes it hold; only then is the tar removed.
"""

import json
from collections.abc import Iterable
from pathlib import Path

from visunex.base.files import write_text

from .members import LeftOut, Member
from .naming import stats_of, tars_marked_done
from .tar import members

__all__ = ["discard_images", "discarded_members", "discarded_tars", "is_discarded"]

_KEY = "discarded"


def discard_images(tars: Iterable[Path]) -> None:
    """Remove the tars of finished shards; parquet, statistics and thumbnails stay, and say what there was."""
    from .thumbnails import keep_thumbnails  # which stands on the samples, and these on what was discarded

    for tar in tars:
        if tar.exists():
            keep_thumbnails(tar)
            places = [[each.name, each.offset, each.size] for each in members(tar, LeftOut())]
            stats = json.loads(stats_of(tar).read_text(encoding="utf-8"))
            write_text(stats_of(tar), json.dumps({**stats, _KEY: places}))
            tar.unlink()


def discarded_members(tar: Path) -> list[Member] | None:
    """What lay in a tar whose images were discarded; None where the tar is there, or never was."""
    if tar.exists():
        return None
    try:
        places = json.loads(stats_of(tar).read_text(encoding="utf-8")).get(_KEY)
    except (OSError, ValueError):
        return None
    return None if places is None else [Member(*place) for place in places]


def discarded_tars(shards: Path) -> list[Path]:
    """Where the tars of a folder's shards lay whose images were discarded."""
    return [tar for tar in tars_marked_done(shards) if is_discarded(tar)]


def is_discarded(tar: Path) -> bool:
    """Whether a shard was finished and its images were discarded."""
    return discarded_members(tar) is not None

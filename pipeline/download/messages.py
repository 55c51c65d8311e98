"""What the download command and its worker processes say to each other."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from visunex.images.resize import Resize
from visunex.images.validate import Limits
from visunex.net.fetcher import FetchSettings

if TYPE_CHECKING:  # a worker is there the sooner the less it loads
    from ..earlier import Kept
    from ..inside.spool import Held

__all__ = [
    "MOST_SHARDS_AT_ONCE",
    "ROWS_FILE",
    "Broken",
    "Enough",
    "Finished",
    "MakerSettings",
    "Ready",
    "ShardJob",
    "ShardProgress",
    "Written",
]

MOST_SHARDS_AT_ONCE = 4  # in one worker, all but the last of which wait for their slowest links only
ROWS_FILE = "rows.arrow"  # with a shard's rows, in its folder


@dataclass(frozen=True)
class MakerSettings:
    """What holds for all shards of a download. `columns` of the rows include `url` and `caption`.

    `spool` is the file with images that do not come from the web. Who `sends` finished shards of a run in an
    object store puts them there.
    """

    output: Path
    columns: tuple[str, ...]
    shard_size: int
    threads: int
    fetch: FetchSettings
    limits: Limits
    resize: Resize | None = None
    perceptual_hash: bool = False
    spool: Path | None = None
    patience: float = 300.0  # seconds to wait through an outage
    sends: bool = False


@dataclass(frozen=True)
class ShardJob:
    """One shard to make: its rows lie in `folder/rows.arrow`, its files are made in `folder`.

    `not_fetched` (row in the shard -> error message) are rows that are settled without a fetch. `expected`
    (row -> hash) are the hashes that files must have, made with `hash_type`. With `keep_previous` the images
    that an earlier attempt left in the output folder are taken over from there. `held` says of rows where
    their images lie in the spool, `taken_over` where an earlier selection's do.
    """

    shard: int
    folder: Path
    not_fetched: dict[int, str] = field(default_factory=dict)
    expected: dict[int, str] = field(default_factory=dict)
    hash_type: str = "sha256"
    keep_previous: bool = False
    held: "Mapping[int, Held]" = field(default_factory=dict)
    taken_over: "Mapping[int, Kept]" = field(default_factory=dict)


@dataclass(frozen=True)
class Enough:
    """Of a shard in work, rows from `row` on are not wanted any more."""

    shard: int
    row: int


@dataclass(frozen=True)
class Written:
    """A row that is settled: its error message or None, and the hashes of its image."""

    row: int
    error: str | None
    sha256: str | None = None
    dhash: str | None = None


@dataclass(frozen=True)
class ShardProgress:
    """How far a worker is with a shard. `failures` counts by kind; `open_rows` are being worked on.

    `all_begun` means that no row waits for its turn any more, `waited` for how many seconds nothing answers
    its worker, and `gave_up` that it waits no longer. `written` are the rows settled since the last report.
    """

    shard: int
    attempted: int
    succeeded: int
    received: int
    failures: dict[str, int]
    open_rows: tuple[int, ...]
    all_begun: bool = False
    waited: int = 0
    gave_up: bool = False
    written: tuple[Written, ...] = ()


@dataclass(frozen=True)
class Ready:
    """A worker has loaded what it needs."""


@dataclass(frozen=True)
class Finished:
    """A shard is made and in its place."""

    progress: ShardProgress


@dataclass(frozen=True)
class Broken:
    """A shard could not be made. `fatal` says why trying again would end the same (disk full)."""

    shard: int
    reason: str
    lost_rows: tuple[int, ...] = ()
    fatal: str | None = None

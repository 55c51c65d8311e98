"""What became of the candidates so far: read from finished shards, written as `downloaded.parquet`."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from visunex.base.errors import first_line
from visunex.base.files import atomic
from visunex.net.errors import is_retryable, was_spoilt

from ..errors import DownloadError, parquet_errors
from ..shards.discard import is_discarded
from ..shards.made import is_made
from ..shards.naming import ROWS, shard_name, shard_number, tars_marked_done
from ..vectors.store import part_paths, provenance_if_whole
from .candidates import Candidates
from .choose import NOT_TRIED, Result, choose
from .plan import Plan

if TYPE_CHECKING:
    from visunex.recipes import Download

__all__ = [
    "Results",
    "Which",
    "is_worth_a_try",
    "read_shard",
    "wanted_without_vector",
    "write_downloaded",
]

Which = Literal["spoilt", "of the moment", "all"]  # failures that are tried again


class Results:
    """The results of the shards that were read, and which of their images are chosen."""

    def __init__(self, plan: Plan) -> None:
        self._plan, self._folder = plan, plan.run.shards
        self._by_shard: dict[int, list[Result]] = {}

    def read(self, shards: Iterable[int]) -> None:
        """Read finished shards, also again."""
        self._by_shard.update((shard, read_shard(self._folder, shard)) for shard in shards)

    @property
    def shards(self) -> list[int]:
        """The shards that were read, in order."""
        return sorted(self._by_shard)

    def of(self, shard: int) -> list[Result]:
        """The results of a shard by rank; none when it was not read."""
        return self._by_shard.get(shard, [])

    def ordered(self, first: int | None = None) -> list[Result]:
        """The results by rank, of all shards or of the `first` ones."""
        shards = [shard for shard in self.shards if first is None or shard < first]
        return [result for shard in shards for result in self._by_shard[shard]]

    def downloaded(self, shards: Iterable[int]) -> int:
        """How many images these shards have."""
        return sum(result.downloaded for shard in shards for result in self.of(shard))

    def statuses(self, first: int | None = None) -> dict[int, str]:
        """What each image is, by rank; see `choose`."""
        settings = self._plan.settings
        return choose(
            self.ordered(first),
            self._plan.target,
            settings.dedupe_images,
            keep_placeholders=settings.keep_placeholders,
        )

    def chosen(self, first: int | None = None) -> int:
        """How many images count, in all shards or the `first` ones."""
        return sum(status == "chosen" for status in self.statuses(first).values())


def wanted_without_vector(plan: Plan) -> dict[int, int]:
    """By discarded shard, how many of its images are wanted now and had no vector, as they did not count.

    Where a shard's vectors do not say which files they are of, nothing is known, and it is left as it is.
    """
    folder, results = plan.run.shards, Results(plan)
    numbers = {shard_number(tar.stem): tar for tar in tars_marked_done(folder)}
    there = {shard: tar for shard, tar in numbers.items() if shard is not None and is_made(folder, shard)}
    results.read(there)
    statuses, found = results.statuses(), dict[int, int]()
    for shard in (shard for shard, tar in there.items() if is_discarded(tar)):
        made = provenance_if_whole(part_paths(plan.run.vectors, shard)) or {"hashes": {}}
        hashes = {*made["hashes"].values()} if "hashes" in made else None
        wanted = [each.sha256 for each in results.of(shard) if statuses.get(each.rank) == "chosen"]
        missing = 0 if hashes is None else sum(each not in hashes for each in wanted)
        found |= {shard: missing} if missing else {}
    return found


def read_shard(shards: Path, shard: int) -> list[Result]:
    """The results in a finished shard, by rank. Raises DownloadError where they cannot be read."""
    path = shards / f"{shard_name(shard)}{ROWS}"
    columns = ["key", "url", "status", "error_message", "sha256"]
    try:
        columns += [name for name in pq.read_schema(path).names if name == "dhash"]
        results = [_result(row) for row in pq.read_table(path, columns=columns).to_pylist()]
    except parquet_errors() as error:
        raise DownloadError(
            f"{path} cannot be read ({first_line(error)}); remove it, and the same command fetches its "
            "pictures again"
        ) from None
    return sorted(results, key=lambda result: result.rank)


def is_worth_a_try(result: Result, settings: "Download", which: Which) -> bool:
    """Whether a failed link is to be tried again; what a setting forbade is, once it permits it.

    `spoilt` is what this machine or its network did; failures of the moment are the servers' as well.
    """
    kind = result.error_kind or ""
    if which == "all" and kind not in ("excluded", NOT_TRIED):
        return True
    return _is_permitted_now(kind, result.error_message or "", settings) or (
        is_retryable(kind) if which == "of the moment" else was_spoilt(kind)
    )


def _is_permitted_now(kind: str, message: str, settings: "Download") -> bool:
    """Whether the setting that a link failed for, at the limit that the message names, has been loosened."""
    found = re.search(r"\d+(\.\d+)?(e\+\d+)?", message)
    limit = float(found[0]) if found else 0.0
    match kind:
        case "private_address":
            return settings.allow_private and "--allow-private" in message
        case "robots_tag":
            return not {*settings.respected}.intersection(re.findall(r"[\w-]+", message))
        case "too_large":
            return settings.max_bytes > limit > 0
        case "too_many_pixels":
            return settings.max_pixels > limit > 0
        case "too_small":
            return settings.min_image_size < limit
        case "aspect_ratio":
            return limit > 0 and (settings.max_aspect_ratio or float("inf")) > limit
    return False


def _result(row: dict[str, Any]) -> Result:
    dhash = row.get("dhash")
    return Result(
        rank=int(row["key"]),
        url=row["url"],
        status=row["status"],
        error_message=row["error_message"],
        sha256=row["sha256"],
        dhash=None if dhash is None else int(dhash, 16),
    )


def write_downloaded(
    path: Path, candidates: Candidates, results: Sequence[Result], statuses: Mapping[int, str]
) -> None:
    """Write the candidates with `status`, `error_message`, `error_class` and `chosen`.

    `status` is img2dataset's, `not_attempted`, or `not_tried` where there were enough images; `error_class`
    also says why a downloaded image does not count (`duplicate`, `placeholder`). `statuses` are those of
    `choose`.
    """
    count = candidates.count
    status = ["not_attempted"] * count
    message: list[str | None] = [None] * count
    kind = message.copy()
    for result in results:
        status[result.rank] = result.status
        if not result.was_tried:
            continue
        message[result.rank] = result.error_message
        dropped = statuses.get(result.rank)
        kind[result.rank] = result.error_kind or (dropped if dropped not in ("chosen", "spare") else None)
    table = candidates.table
    for name, values in {
        "key": [candidates.key(rank) for rank in range(count)],
        "status": status,
        "error_message": message,
        "error_class": kind,
    }.items():
        table = _with_column(table, name, pa.array(values, pa.string()))
    chosen = [statuses.get(rank) == "chosen" for rank in range(count)]
    with atomic(path) as temporary:
        pq.write_table(_with_column(table, "chosen", pa.array(chosen)), temporary)


def _with_column(table: pa.Table, name: str, values: pa.Array) -> pa.Table:
    position = table.schema.get_field_index(name)
    return table.append_column(name, values) if position < 0 else table.set_column(position, name, values)

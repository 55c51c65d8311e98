"""What a person is told of a download: the line while it is at work, the report at its end."""

import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from visunex.base.progress import Progress, human_time

from ..workers.executor import Done, lines_of_nodes
from .choose import STATUSES_OF_IMAGES
from .messages import ShardProgress
from .plan import Plan
from .results import Results

__all__ = ["DownloadReport", "Effort", "LiveLine", "report_on"]

# Names in `report.json` since the first release.
_JSON_KEYS = {
    "downloaded": "had",
    "status_counts": "classes",
    "images_per_second": "pictures_per_second",
}


@dataclass(frozen=True)
class DownloadReport:
    """What the download did. The `status_counts` add up to `attempted`.

    `left_out` counts, by reason, members of the tar that was looked through, where there was one.
    `withdrawn`: how many `entries` the list of withdrawn links has, how many `matched`, and what
    number of `candidates` they name. `nodes`: of those of a cluster, what each did.
    """

    target: int
    candidates: int
    attempted: int
    downloaded: int
    chosen: int
    min_images: int
    status_counts: dict[str, int]
    shards: int
    shards_made_now: int
    rounds: int
    megabytes: float
    seconds: float
    images_per_second: float
    insecure: bool
    left_out: dict[str, int] = field(default_factory=dict)
    withdrawn: dict[str, int] | None = None
    nodes: dict[str, dict[str, int]] = field(default_factory=dict)

    @property
    def failures(self) -> dict[str, int]:
        """How many links gave no image, by kind of failure, most frequent first."""
        return {name: count for name, count in self.status_counts.items() if name not in STATUSES_OF_IMAGES}

    def as_dict(self) -> dict[str, Any]:
        """The report for JSON."""
        found = {_JSON_KEYS.get(name, name): value for name, value in asdict(self).items()}
        return found if self.nodes else {name: value for name, value in found.items() if name != "nodes"}

    def as_text(self) -> str:
        """The report for a person."""
        lines = [
            f"{self.chosen} of {self.target} pictures: the best that {self.attempted} candidates gave",
            *(f"  {count:>7}  {name}" for name, count in self.status_counts.items()),
            f"{self.shards_made_now} shards made in {human_time(self.seconds)}: "
            f"{self.images_per_second:.0f} pictures/s, {self.megabytes:.1f} MB"
            if self.shards_made_now
            else "nothing was left to fetch",
        ]
        lines += lines_of_nodes(self.nodes)
        lines += [f"{count:>9}  members of the tar left out: {why}" for why, count in self.left_out.items()]
        if self.withdrawn is not None:
            lines.append(
                f"{self.withdrawn['candidates']} candidates are withdrawn: {self.withdrawn['matched']} of "
                f"the {self.withdrawn['entries']} entries of --exclude-urls name some"
            )
        if self.insecure:
            lines.append("TLS certificates were not verified (--insecure).")
        return "\n".join(lines)


@dataclass
class Effort:
    """What one call of the download did itself, whatever earlier ones had done: `received` is in bytes."""

    shards: int = 0
    images: int = 0
    rounds: int = 0
    received: int = 0
    nodes: Done = field(default_factory=dict)
    began: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        """How long it has been at work."""
        return time.monotonic() - self.began


class LiveLine:
    """The line of progress: done / target, rate and time left are `shown`'s; the remark is made here."""

    def __init__(self, shown: Progress, target: int, effort: Effort) -> None:
        self._shown, self._target, self._effort = shown, target, effort
        self._by_shard: dict[int, ShardProgress] = {}
        self._chosen = 0

    def begin_round(self, chosen: int) -> None:
        """Shards are begun; `chosen` images count already."""
        self._by_shard.clear()
        self._chosen = chosen

    def show(self, progress: ShardProgress, open_before: int = 0) -> None:
        """Show how far the round's shards are, one of which has got on.

        `open_before` links could still outrank what is there, which would be enough.
        """
        self._by_shard[progress.shard] = progress
        live = self._by_shard.values()
        tried, downloaded = sum(each.attempted for each in live), sum(each.succeeded for each in live)
        failures = sum((Counter(each.failures) for each in live), Counter[str]())
        megabytes = (self._effort.received + self._received()) / 1e6
        parts = [f"{100 * downloaded / tried:.0f} % of links alive"] if tried else []
        if waited := _waited(live):
            parts.insert(0, f"nothing answers for {human_time(waited)}: waiting for the network")
        if open_before:
            parts.insert(0, f"waiting for {open_before} links that would rank higher")
        parts.append(f"{megabytes / self._effort.seconds:.1f} MB/s")
        parts += [f"{name} {count}" for name, count in failures.most_common(3)]
        self._shown.update(min(self._chosen + downloaded, self._target), ", ".join(parts))

    def end_round(self) -> None:
        """The round's shards are made: what they received is part of the effort."""
        self._effort.received += self._received()
        self._by_shard.clear()

    def end(self, chosen: int) -> None:
        """So many images count in the end."""
        self._shown.update(chosen, "")

    def _received(self) -> int:
        return sum(each.received for each in self._by_shard.values())


def _waited(live: Iterable[ShardProgress]) -> int:
    """Seconds in which nothing answers any of the workers that have something in work."""
    return min((each.waited for each in live if each.open_rows), default=0)


def report_on(
    plan: Plan,
    results: Results,
    statuses: Mapping[int, str],
    effort: Effort,
    left_out: Mapping[str, int],
) -> DownloadReport:
    """The report on all `results`, whose images have these `statuses`."""
    attempted, seconds = [each for each in results.ordered() if each.was_tried], effort.seconds
    counts = Counter(statuses.get(each.rank) or each.error_kind or "unknown" for each in attempted)
    return DownloadReport(
        target=plan.target,
        candidates=plan.candidates.count,
        attempted=len(attempted),
        downloaded=len(statuses),
        chosen=counts["chosen"],
        min_images=plan.settings.min_images,
        status_counts=_in_order(counts),
        shards=len(results.shards),
        shards_made_now=effort.shards,
        rounds=effort.rounds,
        megabytes=round(effort.received / 1e6, 3),
        seconds=round(seconds, 3),
        images_per_second=round(effort.images / seconds, 1),
        insecure=plan.settings.insecure,
        left_out=dict(left_out),
        withdrawn=_withdrawn(plan),
        nodes=effort.nodes,
    )


def _withdrawn(plan: Plan) -> dict[str, int] | None:
    """What the list of withdrawn links did, where there is one."""
    found = plan.candidates.withdrawn
    if found is None:
        return None
    return {"entries": found.entries, "matched": found.matched, "candidates": len(found.ranks)}


def _in_order(counts: Mapping[str, int]) -> dict[str, int]:
    """Images first, then failures by number."""
    order = {name: position for position, name in enumerate(STATUSES_OF_IMAGES)}
    return dict(sorted(counts.items(), key=lambda item: (order.get(item[0], len(order)), -item[1], item[0])))

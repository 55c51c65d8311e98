"""The rounds of a download: shards are handed to worker processes and read back until there is enough."""

import os
import shutil
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING

from visunex.base.progress import Progress
from visunex.images.validate import Limits
from visunex.net.errors import is_retryable
from visunex.net.fetcher import FetchSettings

from ..errors import DownloadError
from ..rundir import RunDir
from ..shards.discard import is_discarded
from ..shards.naming import TAR, shard_name
from .candidates import Candidates
from .choose import Result, choose, is_made, read_shard, round_size
from .messages import EngineSettings, ShardJob, Tally
from .results import DownloadReport, sorted_classes, write_downloaded
from .tar_source import Spool
from .worker_pool import Crew

if TYPE_CHECKING:
    from visunex.recipes import Download

__all__ = ["Attempts", "Plan", "fetch_settings"]

_MOST_PROCESSES = 16  # two per core, as each shard ends with waiting for the slowest of its links
_PATIENCE = 60.0  # seconds beyond the deadline within which some row of a shard must end


@dataclass(frozen=True)
class Plan:
    """What to fetch, and for which run: the best `target` pictures that the `candidates` give."""

    run: RunDir
    settings: "Download"
    candidates: Candidates
    target: int


class Attempts:
    """One download at work: the results of finished shards, and the live counts of those in the making.

    Shards are made in the folder `work`; once `stopping` is set, that ends as by Ctrl-C.
    """

    def __init__(
        self, plan: Plan, work: Path, shown: Progress, stopping: Event, spool: Spool | None = None
    ) -> None:
        self.run, self.settings = plan.run, plan.settings
        self.candidates, self.target = plan.candidates, plan.target
        self._work, self._shown, self._stopping, self._spool = work, shown, stopping, spool
        self._results: dict[int, list[Result]] = {}
        self._live: dict[int, Tally] = {}
        self._made = self._fetched = self._rounds = self._received = 0
        self._began = time.monotonic()

    def work(self, *, again: bool, retry_failed: bool) -> DownloadReport:
        """Rounds until the target is met or there are no more candidates; then the table and the report."""
        with Crew(
            self._engine_settings(), self._processes(), self._prepare, self._patience(), self._stopping
        ) as crew:
            if retry_failed:
                self._read(range(self._made_prefix()))
                self._retry(crew, every_class=True)
            self._rounds_until_enough(crew)
            if again and not retry_failed and self._good() < self.target:
                self._retry(crew, every_class=False)
        return self._finish()

    def _rounds_until_enough(self, crew: Crew) -> None:
        """The same rounds whether or not an earlier process has made some of the shards."""
        size, tried = self.settings.shard_size, 0
        while tried < self.candidates.shards:
            good = self._good(tried)
            if good >= self.target:
                return
            rows = min(tried * size, self.candidates.count)
            upto = min(tried + -(-round_size(self.target, good, rows) // size), self.candidates.shards)
            missing = [shard for shard in range(tried, upto) if not is_made(self.run.shards, shard)]
            self._rounds += 1
            self._make(crew, [self._job(shard) for shard in missing])
            self._read(shard for shard in range(tried, upto) if shard not in self._results)
            tried = upto

    def _made_prefix(self) -> int:
        shards = range(self.candidates.shards)
        return next((shard for shard in shards if not is_made(self.run.shards, shard)), len(shards))

    def _retry(self, crew: Crew, *, every_class: bool) -> None:
        """Make shards again in which failures are worth another try; their pictures are taken over."""
        jobs = [job for shard in sorted(self._results) if (job := self._retry_job(shard, every_class))]
        self._make(crew, jobs)

    def _retry_job(self, shard: int, every_class: bool) -> ShardJob | None:
        if is_discarded(self.run.shards / f"{shard_name(shard)}{TAR}"):
            return None
        failed = [result for result in self._results[shard] if not result.had]
        final = {
            result.rank: result.error_message or "" for result in failed if not _retries(result, every_class)
        }
        if len(final) == len(failed):
            return None
        return self._job(shard, final, earlier=True)

    def _job(self, shard: int, final: Mapping[int, str] | None = None, *, earlier: bool = False) -> ShardJob:
        known = {**(final or {}), **self.candidates.excluded}
        return ShardJob(
            shard,
            self._work / shard_name(shard),
            verdicts=self.candidates.of_shard(known, shard),
            expected=self.candidates.of_shard(self.candidates.expected, shard),
            hash_type=self.candidates.hash_type,
            earlier=earlier,
        )

    def _prepare(self, job: ShardJob) -> None:
        shutil.rmtree(job.folder, ignore_errors=True)
        try:
            job.folder.mkdir()
            self.candidates.write_rows(job.shard, job.folder / "rows.arrow")
        except OSError as error:
            raise DownloadError(f"{job.folder}: {error.strerror or error}; what is done is kept") from None

    def _make(self, crew: Crew, jobs: Sequence[ShardJob]) -> None:
        good, shards = self._good(), [job.shard for job in jobs]
        had_before = self._had(shards)
        self._live.clear()
        crew.run(jobs, lambda tally: self._show(tally, good))
        self._received += sum(tally.received for tally in self._live.values())
        self._made += len(jobs)
        self._live.clear()
        self._read(shards)
        self._fetched += self._had(shards) - had_before

    def _had(self, shards: Iterable[int]) -> int:
        return sum(result.had for shard in shards for result in self._results.get(shard, ()))

    def _read(self, shards: Iterable[int]) -> None:
        self._results.update((shard, read_shard(self.run.shards, shard)) for shard in shards)

    def _ordered(self, shards: int | None = None) -> list[Result]:
        return [
            result
            for shard in sorted(self._results)
            if shards is None or shard < shards
            for result in self._results[shard]
        ]

    def _choose(self, results: Sequence[Result]) -> dict[int, str]:
        settings = self.settings
        return choose(
            results, self.target, settings.dedupe_images, keep_placeholders=settings.keep_placeholders
        )

    def _good(self, shards: int | None = None) -> int:
        """How many pictures count so far, in all finished shards or the first `shards`."""
        return sum(found == "chosen" for found in self._choose(self._ordered(shards)).values())

    def _show(self, tally: Tally, good: int) -> None:
        """Done / target, rate and ETA come from Progress; the rest of the live line from here."""
        self._live[tally.shard] = tally
        live = self._live.values()
        tried, had = sum(tally.attempted for tally in live), sum(tally.succeeded for tally in live)
        failures = sum((Counter(tally.failures) for tally in live), Counter[str]())
        megabytes = (self._received + sum(tally.received for tally in live)) / 1e6
        parts = [f"{100 * had / tried:.0f} % of links alive"] if tried else []
        parts.append(f"{megabytes / (time.monotonic() - self._began):.1f} MB/s")
        parts += [f"{name} {count}" for name, count in failures.most_common(3)]
        self._shown.update(min(good + had, self.target), ", ".join(parts))

    def _finish(self) -> DownloadReport:
        results = self._ordered()
        found = self._choose(results)
        write_downloaded(self.run.downloaded, self.candidates, results, found)
        self._shown.update(sum(name == "chosen" for name in found.values()), "")
        return self._report(results, found)

    def _report(self, results: Sequence[Result], found: Mapping[int, str]) -> DownloadReport:
        classes = Counter(found.get(result.rank) or result.error_class or "unknown" for result in results)
        seconds = time.monotonic() - self._began
        return DownloadReport(
            target=self.target,
            candidates=self.candidates.count,
            attempted=len(results),
            had=len(found),
            chosen=classes["chosen"],
            min_images=self.settings.min_images,
            classes=sorted_classes(classes),
            shards=len(self._results),
            shards_made_now=self._made,
            rounds=self._rounds,
            megabytes=round(self._received / 1e6, 3),
            seconds=round(seconds, 3),
            pictures_per_second=round(self._fetched / seconds, 1),
            insecure=self.settings.insecure,
            left_out={} if self._spool is None else self._spool.left_out,
        )

    def _processes(self) -> int:
        return self.settings.processes or min(2 * (os.cpu_count() or 1), _MOST_PROCESSES)

    def _patience(self) -> float:
        pause = self._processes() / self.settings.host_rate if self.settings.host_rate else 0.0
        return 2 * self.settings.deadline + _PATIENCE + 2 * pause

    def _engine_settings(self) -> EngineSettings:
        settings, processes = self.settings, self._processes()
        return EngineSettings(
            output=self.run.shards,
            columns=self.candidates.columns,
            shard_size=settings.shard_size,
            threads=settings.threads,
            fetch=fetch_settings(settings, processes),
            limits=Limits(
                settings.min_image_size,
                settings.max_pixels,
                settings.max_aspect_ratio,
                settings.check == "decode",
            ),
            resize=settings.resize,
            perceptual_hash=settings.dedupe_images == "near",
            spool=None if self._spool is None else self._spool.folder,
        )


def fetch_settings(settings: "Download", processes: int) -> FetchSettings:
    """A worker's share: the limits of a host hold for all processes together."""
    return FetchSettings(
        deadline=settings.deadline,
        max_bytes=settings.max_bytes,
        retries=settings.retries,
        connections=settings.threads,
        host_connections=max(1, settings.host_connections // processes),
        host_rate=settings.host_rate / processes if settings.host_rate else None,
        allow_private=settings.allow_private,
        insecure=settings.insecure,
        ignore_robots_tag=settings.ignore_robots_tag,
        contact=settings.contact,
    )


def _retries(result: Result, every_class: bool) -> bool:
    kind = result.error_class or ""
    return kind != "excluded" and (every_class or is_retryable(kind))

"""The rounds of a download: which candidates to try next, until there are enough images."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..errors import DownloadError
from ..shards.discard import is_discarded
from ..shards.naming import TAR, shard_name
from .candidates import Candidates
from .choose import round_size
from .messages import ROWS_FILE, ShardJob
from .plan import Plan
from .report import Effort, LiveLine
from .results import Results, Which, is_made, is_worth_a_try
from .worker_pool import WorkerPool

__all__ = ["Rounds", "prepare"]


class Rounds:
    """Has shards made by `pool`, in folders under `work`, and reads them into `results`."""

    def __init__(
        self, plan: Plan, pool: WorkerPool, work: Path, results: Results, effort: Effort, line: LiveLine
    ) -> None:
        self._plan, self._pool, self._work = plan, pool, work
        self._results, self._effort, self._line = results, effort, line
        self._folder, self._shards = plan.run.shards, plan.candidates.shards

    def until_enough(self) -> None:
        """Try further candidates until the target is met or there are none.

        The rounds are the same whether or not an earlier process has made some of the shards.
        """
        tried = 0
        while tried < self._shards:
            chosen = self._results.chosen(tried)
            if chosen >= self._plan.target:
                return
            end = self._end_of_round(tried, chosen)
            self._effort.rounds += 1
            self._make([self._job(shard) for shard in range(tried, end) if not self._is_made(shard)])
            self._results.read(set(range(tried, end)).difference(self._results.shards))
            tried = end

    def read_made(self) -> None:
        """Read the shards that are made up to the first that is not."""
        unmade = (shard for shard in range(self._shards) if not self._is_made(shard))
        self._results.read(range(next(unmade, self._shards)))

    def retry(self, which: Which) -> None:
        """Make shards again in which failures are worth another try; their images are taken over."""
        jobs = (self._retry_job(shard, which) for shard in self._results.shards)
        self._make([job for job in jobs if job is not None])

    def _is_made(self, shard: int) -> bool:
        return is_made(self._folder, shard)

    def _end_of_round(self, tried: int, chosen: int) -> int:
        """The shard before which the next round ends, after `tried` shards gave `chosen` images."""
        size, candidates = self._plan.settings.shard_size, self._plan.candidates
        rows = round_size(self._plan.target, chosen, min(tried * size, candidates.count))
        return min(tried + -(-rows // size), self._shards)

    def _retry_job(self, shard: int, which: Which) -> ShardJob | None:
        if is_discarded(self._folder / f"{shard_name(shard)}{TAR}"):
            return None
        failed = [result for result in self._results.of(shard) if not result.downloaded]
        settings = self._plan.settings
        final = [result for result in failed if not is_worth_a_try(result, settings, which)]
        if len(final) == len(failed):
            return None
        return self._job(shard, {result.rank: result.error_message or "" for result in final}, retry=True)

    def _job(self, shard: int, final: Mapping[int, str] | None = None, *, retry: bool = False) -> ShardJob:
        """A shard to make; `final` rows (rank -> error message) are not fetched."""
        candidates = self._plan.candidates
        not_fetched = {**(final or {}), **candidates.excluded}
        return ShardJob(
            shard,
            self._work / shard_name(shard),
            not_fetched=candidates.of_shard(not_fetched, shard),
            expected=candidates.of_shard(candidates.expected, shard),
            hash_type=candidates.hash_type,
            keep_previous=retry,
        )

    def _make(self, jobs: Sequence[ShardJob]) -> None:
        shards = [job.shard for job in jobs]
        before = self._results.downloaded(shards)
        self._line.begin_round(self._results.chosen())
        self._pool.run(jobs, self._line.show)
        self._line.end_round()
        self._results.read(shards)
        self._effort.shards += len(jobs)
        self._effort.images += self._results.downloaded(shards) - before


def prepare(candidates: Candidates, job: ShardJob) -> None:
    """Make the folder of a job, with its rows in it. Raises DownloadError."""
    shutil.rmtree(job.folder, ignore_errors=True)
    try:
        job.folder.mkdir()
        candidates.write_rows(job.shard, job.folder / ROWS_FILE)
    except OSError as error:
        raise DownloadError(f"{job.folder}: {error.strerror or error}; what is done is kept") from None

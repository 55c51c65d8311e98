"""The rounds of a download: which candidates to try next, until there are enough images."""

import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from ..earlier import Kept
from ..errors import DownloadError
from ..inside.spool import Spool
from ..shards.discard import is_discarded
from ..shards.made import is_made
from ..shards.naming import SHARD_FILES, TAR, shard_name
from .candidates import Candidates
from .choose import FIRST_GUESS, NOT_TRIED, PRECOMPUTED, Result, Search, round_size
from .messages import ROWS_FILE, ShardJob, ShardProgress, Written
from .plan import Plan
from .report import Effort, LiveLine
from .results import Results, Which, is_worth_a_try
from .worker_pool import WorkerPool

__all__ = ["Rounds", "prepare"]

_OF_A_SELECTION = {"excluded", NOT_TRIED, PRECOMPUTED}  # reasons that another one need not have


class Rounds:
    """Has shards made by `pool`, in folders under `work`, and reads them into `results`.

    `spool` has the images where they do not come from the web.
    """

    def __init__(
        self,
        plan: Plan,
        pool: WorkerPool,
        work: Path,
        results: Results,
        effort: Effort,
        line: LiveLine,
        spool: Spool | None = None,
    ) -> None:
        self._plan, self._pool, self._work, self._spool = plan, pool, work, spool
        self._results, self._effort, self._line = results, effort, line
        self._folder, self._shards = plan.run.shards, plan.candidates.shards

    def until_enough(self) -> None:
        """Try further candidates until the target is met or there are none.

        The rounds are the same whether or not an earlier process has made some of the shards. What is in
        flight when it is known which are the best is abandoned.
        """
        self.read_made()
        tried = 0
        while tried < self._shards and not self._search().is_over:
            end = self._end_of_round(tried, self._results.chosen(tried))
            self._effort.rounds += 1
            jobs = [job for shard in range(tried, end) if (job := self._missing(shard)) is not None]
            self._make(jobs, self._search({job.shard for job in jobs}))
            unread = set(range(tried, end)).difference(self._results.shards)
            self._results.read(shard for shard in unread if self._is_made(shard))
            tried = end

    def _missing(self, shard: int) -> ShardJob | None:
        """The job of a shard that is not made, or from which rows were left when there were enough images."""
        if not self._is_made(shard):
            return self._job(shard)
        return self._retry_job(shard, lambda result: not result.was_tried)

    def _search(self, without: Collection[int] = ()) -> Search:
        """The search for the last rank that is needed, by all results `without` those of some shards."""
        settings = self._plan.settings
        search = Search(
            self._plan.target, settings.dedupe_images, keep_placeholders=settings.keep_placeholders
        )
        shards = [shard for shard in self._results.shards if shard not in without]
        search.add(
            each for shard in shards for each in self._results.of(shard) if self._is_settled(shard, each)
        )
        return search

    def _is_settled(self, shard: int, result: Result) -> bool:
        return result.was_tried or self._is_discarded(shard)

    def _is_discarded(self, shard: int) -> bool:
        return is_discarded(self._folder / f"{shard_name(shard)}{TAR}")

    def read_made(self) -> None:
        """Read the shards that are made up to the first that is not."""
        unmade = (shard for shard in range(self._shards) if not self._is_made(shard))
        self._results.read(range(next(unmade, self._shards)))

    def retry(self, which: Which) -> None:
        """Make shards again in which failures are worth another try; their images are taken over."""
        wanted = partial(is_worth_a_try, settings=self._plan.settings, which=which)
        jobs = (self._retry_job(shard, wanted) for shard in self._results.shards)
        self._make([job for job in jobs if job is not None])

    def _is_made(self, shard: int) -> bool:
        return is_made(self._folder, shard)

    def _end_of_round(self, tried: int, chosen: int) -> int:
        """The shard before which the next round ends, after `tried` shards gave `chosen` images."""
        size, candidates = self._plan.candidates.shard_size, self._plan.candidates
        guess = FIRST_GUESS if self._spool is None else 1.0
        rows = round_size(self._plan.target, chosen, min(tried * size, candidates.count), guess)
        return min(tried + -(-rows // size), self._shards)

    def _retry_job(self, shard: int, is_wanted: Callable[[Result], bool]) -> ShardJob | None:
        if self._is_discarded(shard):
            return None
        failed = [result for result in self._results.of(shard) if not result.downloaded]
        final = [result for result in failed if not is_wanted(result)]
        if len(final) == len(failed):
            return None
        return self._job(shard, {result.rank: result.error_message or "" for result in final}, retry=True)

    def _job(self, shard: int, final: Mapping[int, str] | None = None, *, retry: bool = False) -> ShardJob:
        """A shard to make; `final` rows (rank -> error message) are not fetched."""
        candidates = self._plan.candidates
        not_fetched = {**self._failed_before(shard), **(final or {}), **candidates.excluded}
        return ShardJob(
            shard,
            self._work / shard_name(shard),
            not_fetched=candidates.of_shard(not_fetched, shard),
            expected=candidates.of_shard(candidates.expected, shard),
            hash_type=candidates.hash_type,
            keep_previous=retry,
            taken_over=self._taken_over(shard),
        )

    def _taken_over(self, shard: int) -> dict[int, Kept]:
        """By their place in a shard, the images that were fetched for an earlier selection."""
        images = self._plan.earlier.images
        return {row: images[url] for row, url in enumerate(self._urls(shard)) if url in images}

    def _urls(self, shard: int) -> list[str]:
        ranks = self._plan.candidates.ranks(shard)
        return self._plan.candidates.table["url"].slice(ranks.start, len(ranks)).to_pylist()

    def _failed_before(self, shard: int) -> dict[int, str]:
        """By rank, why candidates failed for an earlier selection that are not tried again for this one."""
        tried = {result.rank for result in self._results.of(shard) if result.was_tried}
        ranks, (images, failures) = self._plan.candidates.ranks(shard), self._plan.earlier
        found = (
            Result(rank, url, "failed", failures[url], None, None)
            for rank, url in zip(ranks, self._urls(shard), strict=True)
            if url in failures and url not in images and rank not in tried
        )
        return {each.rank: each.error_message or "" for each in found if self._is_final(each)}

    def _is_final(self, result: Result) -> bool:
        """Whether a link that failed for one selection fails for another, too."""
        kind = result.error_kind in _OF_A_SELECTION
        return not kind and not is_worth_a_try(result, self._plan.settings, "of the moment")

    def _make(self, jobs: Sequence[ShardJob], search: Search | None = None) -> None:
        """Have shards made; when the `search` is over, those and the rows behind it are abandoned."""
        shards = [job.shard for job in jobs]
        before = self._results.downloaded(shards)
        self._line.begin_round(self._results.chosen())
        jobs = jobs if self._spool is None else self._with_held(jobs, self._spool)
        self._pool.run(jobs, partial(self._got_on, search=search))
        self._line.end_round()
        shards = [shard for shard in shards if self._is_whole(shard)]
        self._results.read(shards)
        self._effort.shards += len(shards)
        self._effort.images += self._results.downloaded(shards) - before

    def _with_held(self, jobs: Sequence[ShardJob], spool: Spool) -> list[ShardJob]:
        """The jobs with the pictures of the rows that they have to get."""
        wanted = {job.shard: self._to_get(job) for job in jobs}
        held = spool.take([rank for ranks in wanted.values() for rank in ranks])
        return [
            replace(job, held={rank - self._first(job): held[rank] for rank in wanted[job.shard]})
            for job in jobs
        ]

    def _to_get(self, job: ShardJob) -> list[int]:
        there = {result.rank for result in self._results.of(job.shard) if result.downloaded}
        taken_over = there if job.keep_previous else set()
        ranks = self._plan.candidates.ranks(job.shard)
        return [
            rank for rank in ranks if rank not in taken_over and rank - ranks.start not in job.not_fetched
        ]

    def _first(self, job: ShardJob) -> int:
        return self._plan.candidates.ranks(job.shard).start

    def _got_on(self, progress: ShardProgress, search: Search | None) -> None:
        """Show how far a shard is, and stop when there is enough."""
        if search is None or search.is_over:
            self._line.show(progress)
            return
        search.add(self._result(progress.shard, row) for row in progress.written)
        self._line.show(progress, search.open_before)
        if search.is_over:
            shard, row = divmod(search.needed[-1].rank, self._plan.candidates.shard_size)
            self._pool.leave_from(shard, row + 1)

    def _result(self, shard: int, written: Written) -> Result:
        rank = self._plan.candidates.ranks(shard).start + written.row
        return Result(
            rank=rank,
            url=self._plan.candidates.table["url"][rank].as_py(),
            status="success" if written.error is None else "failed",
            error_message=written.error,
            sha256=written.sha256,
            dhash=None if written.dhash is None else int(written.dhash, 16),
        )

    def _is_whole(self, shard: int) -> bool:
        """Whether a shard is made. One that was abandoned while its files were put in place is not."""
        if self._is_made(shard):
            return True
        for kind in SHARD_FILES:
            (self._folder / f"{shard_name(shard)}{kind}").unlink(missing_ok=True)
        return False


def prepare(candidates: Candidates, job: ShardJob) -> None:
    """Make the folder of a job, with its rows in it. Raises DownloadError."""
    shutil.rmtree(job.folder, ignore_errors=True)
    try:
        job.folder.mkdir()
        candidates.write_rows(job.shard, job.folder / ROWS_FILE)
    except OSError as error:
        raise DownloadError(f"{job.folder}: {error.strerror or error}; what is done is kept") from None

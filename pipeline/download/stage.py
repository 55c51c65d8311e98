"""Selected rows -> WebDataset shards, until as many images are downloaded as were asked for.

img2dataset lays out and writes the shards, in worker processes (`worker`, `shard_maker`); the fetch
is ours (`visunex.net.fetcher`), put in by `img2dataset_adapter`. img2dataset's Reader and process pool are
not used: the one retries a full disk for minutes and loads everything in the parent, the other waits for ever
when a worker dies.
"""

import contextlib
import shutil
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

import click

from visunex.base.files import fingerprint, sha256_file
from visunex.base.progress import Progress
from visunex.net.robots import DIRECTIVES

from ..chain import chooses_after_encode, require_places, require_selection, require_unchanged
from ..earlier import (
    addresses,
    discarded,
    drop_taken_over,
    numbered,
    read_earlier,
    set_aside,
    set_shards_aside,
)
from ..errors import DownloadError, FewerImagesError, UsageError
from ..inside.location import place_of
from ..inside.spool import FileSpool, Spool
from ..metadata.sac import SCHEME
from ..rundir import RunDir
from ..shards.discard import discarded_tars
from ..vectors.store import part_paths
from ..workers.executor import executor_of
from .candidates import Candidates, load_candidates, with_hash_of_set
from .choose import PRECOMPUTED
from .loop import Rounds, prepare
from .plan import Plan, fetch_settings
from .report import DownloadReport, Effort, LiveLine, report_on
from .results import Results, wanted_without_vector, write_downloaded
from .tar_source import TarSpool, places_of
from .worker import fewer_threads, open_files_allowed
from .worker_pool import WorkerPool

if TYPE_CHECKING:
    from visunex.recipes import Download, Recipe

__all__ = ["DownloadReport", "Downloading", "begin_download", "download", "why_not_added"]

_PUBLISHED = "published vectors"  # as messages have it
_HINTS = {  # why pictures were not had: what to do
    "private_address": " (--allow-private permits private addresses)",
    "bad_scheme": " (links of s3:// and hf:// are taken where filter is told so: --image-column url)",
}
_OF_SELECTION = ("selection", "shard_size")  # which decide where pictures lie, not what they are
_SHARDS = "shards"  # of earlier selections
_WORK = "_tmp"  # where shards are made, beside those that are finished


def download(
    run: RunDir,
    recipe: "Recipe",
    *,
    overwrite: bool = False,
    retry_failed: bool = False,
    progress: Progress | None = None,
) -> DownloadReport:
    """Fetch candidates of `run.selected`, best first, until `filter.top` images are downloaded.

    All of them, where images are chosen by their own vectors after encode.

    The caller holds the run's lock. Writes `run.shards` and `run.downloaded`. A shard that is finished is not
    made again; running again after the candidates were used up tries those that failed for reasons of the
    moment, or all with `retry_failed`. A shard whose images were discarded stays as it is.

    Raises FewerImagesError with fewer than `download.min_images` images, everything being kept;
    DownloadError; StaleRunError; UsageError.
    """
    return begin_download(run, recipe, overwrite=overwrite, retry_failed=retry_failed).work(progress)


def begin_download(
    run: RunDir, recipe: "Recipe", *, overwrite: bool = False, retry_failed: bool = False
) -> "Downloading":
    """What `download` does before anything is fetched: from here on the run is one of these candidates."""
    settings = with_hash_of_set(_as_begun(run, recipe.download), recipe.source.data, run.selected)
    require_selection(run, recipe)
    candidates = load_candidates(run.selected, settings)
    before, made_from = run.made_from("download"), _made_from(run, settings)
    if (published := recipe.encode.vectors_place) is not None and not settings.with_images:
        candidates = _without_published(candidates, published)
        made_from |= _made_from_published(published, candidates, before or {})
    if before is not None and not overwrite and _only_loosened(before, made_from):
        run.note("download", made_from)
    if overwrite:
        shutil.rmtree(run.earlier, ignore_errors=True)
    links = frozenset(candidates.table["url"].to_pylist())
    adds = not overwrite and _is_of_another(before, made_from) and not why_not_added(run, recipe, links)
    if adds:
        set_aside(run)
    run.begin("download", made_from, overwrite=overwrite or adds)
    if retry_failed:
        _require_images(run)
    wanted = recipe.filter.candidates if chooses_after_encode(run, recipe) else recipe.filter.top
    executor = executor_of(recipe.engine)
    executor.require(run.path)
    plan = Plan(run, settings, candidates, wanted, executor=executor)
    _set_aside_unencoded(plan)
    earlier = plan.earlier if plan.is_inside else read_earlier(run.earlier / _SHARDS, links)
    if adds and plan.is_inside:
        click.echo("download: pictures are copied out of their files again; vectors are kept", err=True)
    elif adds:
        said = f"{len(earlier.images):,} pictures of the new selection are in {run.path} already, and kept"
        click.echo(f"download: {said}{_to_fetch_again(run, links)}", err=True)
    return Downloading(replace(plan, earlier=earlier), retry_failed)


def _set_aside_unencoded(plan: Plan) -> None:
    """Have discarded shards fetched again of which images are wanted now that had no vector."""
    run, wanted = plan.run, wanted_without_vector(plan) if discarded_tars(plan.run.shards) else {}
    if wanted:
        parts = {shard: part_paths(run.vectors, shard) for shard in wanted}
        files = {shard: filter(None, (part.metadata, part.vectors)) for shard, part in parts.items()}
        set_shards_aside(run, files)
        said = f"{sum(wanted.values()):,} pictures that are wanted now were discarded without a vector"
        click.echo(f"download: {said}: {len(wanted):,} shards are fetched again", err=True)


def why_not_added(run: RunDir, recipe: "Recipe", links: Collection[str]) -> str:
    """Why a run's pictures are not added to for a selection of these `links`; empty where they are.

    They are where it has some of them, or their published vectors, made as `recipe` would have them.
    """
    before = run.made_from("download")
    if not before or not run.selected.exists():
        return "it has no pictures yet, so that --overwrite loses none"
    settings = with_hash_of_set(_as_begun(run, recipe.download), recipe.source.data, run.selected)
    of_selection = {name: before[name] for name in (*_OF_SELECTION, _PUBLISHED) if name in before}
    published = None if settings.with_images else recipe.encode.vectors_place
    now = {**_made_from(run, settings), **of_selection, **({"precomputed": published} if published else {})}
    if now != before and not _only_loosened(before, now):
        changed = sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))
        return f"its pictures were made otherwise ({', '.join(changed)} changed since)"
    there = [*map(addresses, [*numbered(run.earlier / _SHARDS), run.shards])]
    if "precomputed" in before:
        from ..vectors.lookup import links_in

        there.append(links_in(run.vectors))
    if all(each.isdisjoint(links) for each in there):
        return "it has no picture in common with what is asked for now"
    return ""


def _is_of_another(before: Mapping[str, Any] | None, now: Mapping[str, Any]) -> bool:
    """Whether pictures were fetched for another selection, or laid in shards of another size."""
    return before is not None and any(before.get(name) != now.get(name) for name in _OF_SELECTION)


def _to_fetch_again(run: RunDir, links: Collection[str]) -> str:
    """Says how many pictures of these `links` have a vector alone: another selection may have other keys."""
    gone = discarded(run.earlier / _SHARDS) & {*links}
    if not gone:
        return ""
    return f"; {len(gone):,} were discarded, and are fetched again as far as wanted, but not encoded again"


@dataclass(frozen=True)
class Downloading:
    """A download that has begun."""

    plan: Plan
    retry_failed: bool

    def work(self, progress: Progress | None = None, stopping: Event | None = None) -> DownloadReport:
        """Fetch; see `download`. Once `stopping` is set it ends, as by Ctrl-C, with KeyboardInterrupt."""
        run = self.plan.run
        spool = _spool(self.plan)
        with progress or Progress("download", self.plan.target) as shown:
            report = self._fetch(spool, shown, stopping)
        if spool is not None:
            spool.close()
        run.record("download", report.as_dict())
        if report.chosen < report.min_images:
            raise FewerImagesError(_too_few(report))
        return report

    def _fetch(self, spool: Spool | None, shown: Progress, stopping: Event | None) -> DownloadReport:
        """Rounds until the target is met or there are no more candidates; then the table and the report."""
        plan, results, effort = self.plan, Results(self.plan), Effort()
        line = LiveLine(shown, plan.target, effort)
        with _work_folder(plan.run.shards) as work, _worker_pool(plan, spool, stopping) as pool:
            self._try_candidates(Rounds(plan, pool, work, results, effort, line, spool), results)
            effort.nodes = {node: dict(done) for node, done in pool.done.items() if node}
        statuses = results.statuses()
        write_downloaded(plan.run.downloaded, plan.candidates, results.ordered(), statuses)
        drop_taken_over(plan.run.earlier / _SHARDS, plan.run.shards)
        report = report_on(plan, results, statuses, effort, {} if spool is None else spool.left_out)
        line.end(report.chosen)
        return report

    def _try_candidates(self, rounds: Rounds, results: Results) -> None:
        plan = self.plan
        if plan.is_inside and not self.retry_failed:
            rounds.until_enough()  # another time may be luckier, but a file says the same every time
            return
        rounds.read_made()
        again = bool(results.shards)
        if self.retry_failed:
            rounds.retry("all")
        elif results.chosen() < plan.target:
            rounds.retry("spoilt")
        rounds.until_enough()
        if again and not self.retry_failed and results.chosen() < plan.target:
            rounds.retry("of the moment")


def _worker_pool(plan: Plan, spool: Spool | None, stopping: Event | None) -> WorkerPool:
    settings = plan.maker_settings(None if spool is None else spool.path)
    if said := fewer_threads(settings, open_files_allowed()):
        click.echo(f"download: {said}", err=True)
    ready = partial(prepare, plan.candidates)
    return WorkerPool(settings, plan.processes, ready, plan.patience, stopping, plan.executor)


def _require_images(run: RunDir) -> None:
    if discarded_tars(run.shards):
        raise UsageError(
            f"--retry-failed adds to the pictures that shards have, and those of {run.path} were discarded "
            "when they had their vectors; --overwrite starts the download anew"
        )


def _as_begun(run: RunDir, settings: "Download") -> "Download":
    """The settings, with shards of the size that the run has when no other is asked for."""
    size = (run.made_from("download") or {}).get("shard_size")
    return (
        settings.model_copy(update={"shard_size": size}) if settings.shard_size is None and size else settings
    )


def _made_from(run: RunDir, settings: "Download") -> dict[str, Any]:
    """What decides the shards' bytes. Patience, speed and retries only decide how much of the web answers."""
    keys = {"shard_size", "max_bytes", "resize", "check", "min_image_size", "max_pixels", "max_aspect_ratio"}
    decisive = settings.model_dump(include=keys | {"verify_hash", "ignore_robots_tag"})
    withdrawn = Path(settings.exclude_urls) if settings.exclude_urls else None
    return {
        "selection": sha256_file(run.selected),
        "exclude_urls": sha256_file(withdrawn) if withdrawn else None,
        "perceptual_hash": settings.dedupe_images == "near",
        **({} if settings.images is None else {"images": settings.images}),
        **({} if {*DIRECTIVES} == {*settings.respect} else {"respect": sorted(settings.respect)}),
        **({} if settings.resize_mode == "shortest" else {"resize_mode": settings.resize_mode}),
        **decisive,
    }


def _made_from_published(place: str, candidates: Candidates, before: Mapping[str, Any]) -> dict[str, Any]:
    """Where vectors are published, and which candidates have one; the first release noted the place only."""
    if before.get("precomputed") == place and _PUBLISHED not in before:
        return {"precomputed": place}
    ranks = [rank for rank, why in candidates.excluded.items() if why.startswith(PRECOMPUTED)]
    return {"precomputed": place, _PUBLISHED: fingerprint(sorted(ranks))}


_UPPER_LIMITS = ("max_bytes", "max_pixels", "max_aspect_ratio")


def _only_loosened(before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Whether limits alone have changed, and let in more: what is there is within them, too."""
    changed = {name for name in before.keys() | now.keys() if before.get(name) != now.get(name)}
    return bool(changed) and all(_is_looser(name, before.get(name), now.get(name)) for name in changed)


def _is_looser(name: str, before: Any, now: Any) -> bool:
    if name in _UPPER_LIMITS:
        return now is None or (before is not None and now > before)
    if name == "min_image_size":
        return bool(now < before)
    if name == "respect":
        return {*now} < {*(before or DIRECTIVES)} if now is not None else False
    return name == "ignore_robots_tag" and bool(now)


def _without_published(candidates: Candidates, place: str) -> Candidates:
    """The candidates, those excluded whose vectors are published: they need no image."""
    from ..vectors.lookup import look_up

    found = dict.fromkeys(look_up(place, candidates.table).hits, f"{PRECOMPUTED}: its vector is in {place}")
    return replace(candidates, excluded={**found, **candidates.excluded})


def _spool(plan: Plan) -> Spool | None:
    """The candidates' pictures inside files; None when they come from the web."""
    folder, settings, candidates = plan.run.path / ".visunex" / "pictures", plan.settings, plan.candidates
    if candidates.locations is not None:
        places = {place_of(text) for text in candidates.locations if text}
        require_places(plan.run, places)
        made_from = fingerprint(plan.run.made_from("filter"))  # the contents of the files among it
        return FileSpool(
            candidates.locations,
            folder,
            settings.max_bytes,
            made_from,
            settings.max_remote_bytes,
            partial(require_unchanged, plan.run, places),
        )
    urls = candidates.table["url"].to_pylist()
    if settings.images is not None:
        return TarSpool(places_of(settings.images), urls, folder, fetch_settings(settings, 1))
    if any(url and url.startswith(SCHEME) for url in urls[:1]):
        raise DownloadError("these pictures lie in tars, not on the web: name them with --images sac.tar")
    return None


def _too_few(report: DownloadReport) -> str:
    worst = ", ".join(f"{name} {count}" for name, count in list(report.failures.items())[:3])
    hint = "".join(said for name, said in _HINTS.items() if name in report.failures)
    return (
        f"{report.chosen} pictures could be had of {report.attempted} candidates, fewer than min_images = "
        f"{report.min_images}; everything is kept\n"
        f"Reasons: {worst or 'no candidates'}{hint}. Running again retries failures of the moment."
    )


@contextlib.contextmanager
def _work_folder(shards: Path) -> Iterator[Path]:
    """An empty folder for shards in the making, gone at the end. A killed process may have left one."""
    work = shards / _WORK
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)

"""A recipe from start to end. Each stage finds what is already done, so running again goes on."""

import contextlib
import textwrap
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from visunex.base.errors import VisunexError
from visunex.base.files import write_bytes, write_text
from visunex.base.folders import RUNS
from visunex.base.progress import Progress, human_time

from .rundir import RunDir

if TYPE_CHECKING:
    from visunex.recipes import Recipe

    from .download.report import DownloadReport
    from .encode.reports import EncodeReport, PrecomputedReport, VectorsReport
    from .filter.stage import FilterReport

DEMO_SOURCE = "demo"


@dataclass(frozen=True)
class RunReport:
    """What the stages did. Of published vectors an embedding is made without download, or without both.

    `seconds` are those of the whole run; downloading and encoding go on at the same time.
    """

    run: Path
    filter: "FilterReport | None"
    download: "DownloadReport | None"
    encode: "EncodeReport | PrecomputedReport | VectorsReport"
    seconds: float

    def _stages(self) -> "dict[str, Any]":
        stages = {"filter": self.filter, "download": self.download, "encode": self.encode}
        return {name: report for name, report in stages.items() if report is not None}

    def as_dict(self) -> dict[str, Any]:
        """The report for JSON: one entry per stage."""
        stages = {name: report.as_dict() for name, report in self._stages().items()}
        return {"run": str(self.run), "seconds": self.seconds, **stages}

    def as_text(self) -> str:
        """The report for a person: what each stage did, and where the files are."""
        parts = [
            f"{name}\n{textwrap.indent(report.as_text(), '  ')}" for name, report in self._stages().items()
        ]
        where = f"{self.run}/ (open report.html), in {human_time(self.seconds)} altogether"
        return "\n\n".join([*parts, f"files\n  {where}"])


def run_recipe(run: RunDir, recipe: "Recipe", *, overwrite: bool = False) -> RunReport:
    """Filter, download and encode as `recipe` says, in a run folder that the caller holds locked.

    Raises the errors of the three stages; what is done by then is kept.
    """
    from .report import reported

    with reported(run):
        return _run(run, recipe, overwrite)


def _run(run: RunDir, recipe: "Recipe", overwrite: bool) -> RunReport:
    from .encode.published import reduce_published
    from .filter.stage import filter_rows
    from .own import own_vectors
    from .report import reported

    started = time.monotonic()
    if recipe.encode.vectors:
        with _recorded(run, recipe, overwrite):
            report = reduce_published(run, recipe, overwrite=overwrite)
        return RunReport(run.path, None, None, report, round(time.monotonic() - started, 3))
    with served(recipe, run) as metadata:
        own = own_vectors(run, recipe)
        recipe, source = (recipe, metadata) if own is None else own
        with reported(run), _recorded(run, recipe, overwrite):
            _make_baseline(recipe)
            why_not = partial(_why_not_added, run, recipe)
            filtered = filter_rows(run, recipe, overwrite=overwrite, metadata=source, why_not_added=why_not)
        stages = _one_by_one if recipe.encode.precomputed is not None else _overlapped
        downloaded, encoded = stages(run, recipe, overwrite)
    return RunReport(run.path, filtered, downloaded, encoded, round(time.monotonic() - started, 3))


def _why_not_added(run: RunDir, recipe: "Recipe", links: Collection[str]) -> str:
    """Why what a run has is not added to for a selection of these `links`; empty where it is."""
    if recipe.encode.vectors_place is not None and run.made_from("download") is None:
        from .encode import resume

        return resume.why_not_added(run, recipe.encode, links)
    from .download import stage

    return stage.why_not_added(run, recipe, links)


@contextlib.contextmanager
def _recorded(run: RunDir, recipe: "Recipe", overwrite: bool) -> Iterator[None]:
    """The run's recipe is `recipe` from the start of the block, so that its folder alone says how to go on.

    What the run holds keeps its own until it is known that `recipe` asks for the same; and for ever where the
    block refuses what is asked.
    """
    from visunex.recipes import dumps

    results = [path for path in (run.selected, run.embedding) if path.exists()]
    before = run.recipe.read_bytes() if run.recipe.exists() else None
    if before is None or overwrite:
        write_text(run.recipe, dumps(recipe))
    try:
        yield
    except VisunexError:
        if before is not None and results and all(path.exists() for path in results):
            write_bytes(run.recipe, before)
        raise
    write_text(run.recipe, dumps(recipe))


def _overlapped(run: RunDir, recipe: "Recipe", overwrite: bool) -> "tuple[DownloadReport, EncodeReport]":
    """Encode shards while later ones are fetched; then what is missing, and the embedding.

    The image encoder is loaded while the first images come, so that one that cannot be had is known at once.
    """
    from .download.stage import begin_download
    from .encode.stage import EncodeRequest, begin_encode, finish_encode
    from .overlap import background_thread, encode_while_downloading

    begun, request = begin_download(run, recipe, overwrite=overwrite), EncodeRequest(run)
    with Progress("encode", recipe.filter.top) as shown:
        with background_thread(lambda stopping: begun.work(stopping=stopping)) as downloading:
            encoders = begin_encode(request, recipe.encode, overwrite=overwrite)
            early = encode_while_downloading(begun.plan, recipe.encode, encoders, downloading, shown)
            downloaded = downloading.result()
        return downloaded, finish_encode(request, recipe, early, progress=shown)


def _one_by_one(
    run: RunDir, recipe: "Recipe", overwrite: bool
) -> "tuple[DownloadReport | None, PrecomputedReport]":
    """Download what has no published vector, then encode that, and take the vectors that there are.

    Where every row that was selected has one, pictures are downloaded only if they are wanted all the same.
    """
    from .download.stage import download
    from .encode.precomputed import encode_precomputed

    none = recipe.filter.needs_vectors and not recipe.download.with_images
    if none and overwrite:
        run.discard("download")
    downloaded = None if none else download(run, recipe, overwrite=overwrite)
    return downloaded, encode_precomputed(run, recipe, overwrite=overwrite, adds=True)


def _make_baseline(recipe: "Recipe") -> None:
    """Run the shipped recipe that a contrast names as its baseline, beside this run, unless that was done."""
    from visunex.recipes import load, names

    name = recipe.encode.baseline
    baseline = RunDir(RUNS / str(name))
    if name not in names() or Path(name).exists() or baseline.embedding.exists():
        return
    settings = recipe.download.model_dump(include={"images", "allow_private"}, exclude_none=True)
    given = {f"download.{key}": value for key, value in settings.items()} | {
        "source.data": recipe.source.data,
        "encode.model": recipe.encode.model,
        "encode.pretrained": recipe.encode.pretrained,
        "encode.also": recipe.encode.also,
    }
    with baseline.locked():
        run_recipe(baseline, load(name, given))


@contextlib.contextmanager
def served(recipe: "Recipe", run: RunDir) -> Iterator[str | None]:
    """For the demo world: serve it, write its metadata into the run and yield the path; else yield None."""
    if recipe.source.data != DEMO_SOURCE:
        yield None
        return
    from visunex.demo.server import serve
    from visunex.demo.world import metadata_bytes

    with serve() as address:
        path = run.path / ".visunex" / "demo.parquet"
        metadata = metadata_bytes(address)
        if not path.exists() or path.read_bytes() != metadata:  # an untouched file keeps its identity
            write_bytes(path, metadata)
        yield str(path)

"""The whole of it: what is not drawn yet is drawn, all is measured, and the folder's results are written.

Whatever is in the folder already is taken: killed and started again, it ends in the same files.
"""

from collections.abc import Sequence
from typing import Any

from visunex.aesthetic_embeddings import find
from visunex.base.console import quiet_libraries
from visunex.base.files import atomic, write_json, write_text
from visunex.base.progress import Progress
from visunex.demo import TINY_MODEL
from visunex.generate import Sampler

from .encoders import Encoders
from .errors import UsageError
from .folder import Folder
from .judges import OF_DEMO, heads_of, judges_named, wins_of
from .methods import Drawer
from .plan import Request, Setting, prompts_of, settings_of
from .results import Measured, table_of
from .standards import standards_of
from .summary import summary_of

__all__ = ["evaluate"]


def evaluate(request: Request) -> dict[str, Any]:
    """Draw, measure and write; what `report.json` has. Raises what is wrong with the request before it draws.

    UsageError, EmbeddingError, ModelError, CheckpointError, EvaluateError.
    """
    if request.seeds < 1 or request.lr <= 0:
        raise UsageError("give --seeds of 1 or more, and --aesthetic_lr above 0")
    prompts, labels = prompts_of(request.prompts), _labels(request.embeddings)
    settings = settings_of(request, labels)
    judges = judges_named(
        OF_DEMO if request.judges is None and request.model == TINY_MODEL else request.judges or ()
    )
    folder, encoders = Folder(request.outdir), Encoders(request.device)
    with folder.locked():
        standards = standards_of(request, labels, encoders)
        heads, remarks = heads_of(request.scores, standards)
        votes = {each.label: wins_of(request.votes, each.taste) for each in standards if request.votes}
        quiet_libraries()
        sampler = Sampler.load(
            request.model, device=request.device, precision=request.precision, variant=request.variant
        )
        by_label = {each.label: each for each in standards}
        drawer = Drawer(sampler, request, by_label, encoders, folder)
        names = {each: drawer.name(each) for each in settings}
        _draw(request, folder, drawer, names, prompts)
        measured = Measured(request, folder, encoders, judges, heads, names, prompts)
        table = table_of(measured, standards, settings)
        remarks = (*remarks, *(remark for each in standards for remark in each.remarks))
        report = summary_of(request, table, prompts, remarks, votes)
        _write(folder, table, report)
    return report


def _labels(names: Sequence[str]) -> list[str]:
    """What embeddings are called in tables. Raises EmbeddingError for what is none, UsageError for none."""
    from visunex.generate.command.variants import labels_of

    if not names:
        raise UsageError("name a taste: --aesthetic_embedding FILE, a run or a published name")
    once = list(dict.fromkeys(names))
    if len(once) < len(names):
        raise UsageError("an --aesthetic_embedding is named twice")
    for name in once:
        find(name)
    return labels_of(once)


def _draw(
    request: Request, folder: Folder, drawer: Drawer, names: dict[Setting, str], prompts: Sequence[str]
) -> None:
    """Draw what is not there yet, prompt by prompt."""
    seeds = range(request.sampling.seed, request.sampling.seed + request.seeds)
    missing = []
    for setting, name in names.items():
        for prompt in prompts:
            paths = [folder.image(name, prompt, seed) for seed in seeds]
            if not all(path.exists() for path in paths):
                missing.append((setting, prompt, paths))
    with Progress("draw", len(missing) * request.seeds, unit="pictures") as progress:
        for setting, prompt, paths in missing:
            for path, image in zip(paths, drawer.images(setting, prompt), strict=True):
                if not path.exists():
                    folder.write(path, image)
            progress.advance(len(paths))


def _write(folder: Folder, table: Any, report: dict[str, Any]) -> None:
    import pyarrow.parquet as pq

    from .page import page_of

    with atomic(folder.results) as temporary:
        pq.write_table(table, temporary)
    write_json(folder.report, report)
    write_text(folder.page, page_of(table, report))

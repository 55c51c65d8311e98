"""The pipeline from Python: a stage or a whole recipe in one call, on any folder, in a bucket too.

Each stage's function takes a recipe (a name, a path or a `Recipe`), or none, and over it the recipe's keys as
keyword arguments. It holds the run folder's lock while it works, brings `report.html` up to date, and returns
what the stage reports. `curate_run` and `take_out_images` read a run and change nothing in it.
"""

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from visunex.base.files import write_text
from visunex.base.folders import DEFAULT_RUN, RUNS
from visunex.base.proxies import one_way
from visunex.base.storage import stored_output
from visunex.base.suggest import did_you_mean
from visunex.recipes import Download, Encode, Filter, Override, Recipe, dumps, load, override

from .errors import DownloadError, UsageError
from .report import reported
from .rundir import RunDir, beside, run_at
from .score.ratings import Ratings, rated

if TYPE_CHECKING:
    from .curate.curation import Curated
    from .curate.take_out import Form, ResizeMode, TakenOut
    from .download.stage import DownloadReport
    from .encode.reports import EncodeReport, PrecomputedReport, VectorsReport
    from .filter.stage import FilterReport
    from .run import RunReport

__all__ = [
    "curate_run",
    "download_images",
    "encode_images",
    "filter_metadata",
    "run_recipe",
    "take_out_images",
]

RecipeLike: TypeAlias = Recipe | str | Path
Encoded: TypeAlias = "EncodeReport | PrecomputedReport | VectorsReport"

_FILTER_KEYS = {
    **{name: f"filter.{name}" for name in Filter.model_fields},
    **{
        name: f"encode.{name}"
        for name in ("precomputed", "vector_key", "vector_column", "model", "pretrained")
    },  # for likeness
    "columns": "source.columns",
    "made": "source.made",
}
_DOWNLOAD_KEYS = {name: f"download.{name}" for name in Download.model_fields}
_ENCODE_KEYS = {
    **{name: f"encode.{name}" for name in Encode.model_fields},
    "max_remote_bytes": "download.max_remote_bytes",
}
_RECIPE_KEYS = {name: name for name in Recipe.model_fields}


def filter_metadata(
    data: str | Path | None = None,
    *,
    recipe: RecipeLike | None = None,
    run: str | Path = DEFAULT_RUN,
    overwrite: bool = False,
    **settings: Any,
) -> "FilterReport":
    """Choose the rows of a data set's metadata: the candidates, best first, in `run`'s selected.parquet.

    `data` is a file, folder, pattern, address or known name, in place of the recipe's. `settings` are keys of
    the recipe's `[filter]`; `columns` and `made`, mappings of what the source calls its columns and of those
    to put together; and `precomputed`, `model` and `pretrained` of `[encode]`, where pictures are ranked by
    what they show.

    Raises UsageError, RecipeError, SourceError, FilterError (no row passes), StaleRunError (the folder holds
    another selection, and `overwrite` is False), RunBusyError.

    Example: `filter_metadata("m.parquet", run="runs/x", keywords=["flower", "garden"], top=200)`
    """
    base = Recipe(name="custom") if recipe is None else _loaded(recipe)
    source = [] if data is None else [Override("source.data", str(data), "data")]
    given = _overrides("filter_metadata", settings, _FILTER_KEYS)
    return filter_in(run_at(run), override(base, [*source, *given]), overwrite=overwrite)


def download_images(
    run: str | Path = DEFAULT_RUN,
    *,
    recipe: RecipeLike | None = None,
    overwrite: bool = False,
    retry_failed: bool = False,
    **settings: Any,
) -> "DownloadReport":
    """Fetch the pictures that `filter_metadata` chose in `run`, best first, into its shards.

    `settings` are keys of the recipe's `[download]`, which `recipe` stands in for. Calling it again goes on
    where it stopped; `retry_failed` also tries again what failed for good.

    Raises FewerImagesError with fewer than `min_images` pictures, everything being kept; DownloadError,
    StaleRunError, UsageError, RecipeError, RunBusyError.

    Example: `download_images("runs/x", processes=4, deadline=10)`
    """
    folder = run_at(run)
    base = _of_run(folder, recipe, "download")
    if base is None:
        raise DownloadError(f"there is no {folder.recipe}: call filter_metadata(run={str(run)!r}) first")
    changed = override(base, _overrides("download_images", settings, _DOWNLOAD_KEYS))
    return download_in(folder, changed, overwrite=overwrite, retry_failed=retry_failed)


def encode_images(
    images: str | Path | Sequence[str | Path] = (),
    *,
    recipe: RecipeLike | None = None,
    run: str | Path | None = None,
    out: str | Path | None = None,
    device: str = "auto",
    overwrite: bool = False,
    ratings: str | Path | None = None,
    **settings: Any,
) -> Encoded:
    """Turn pictures into CLIP vectors, and those into one aesthetic embedding.

    `images` are pictures, folders, tars, shards or runs, addresses or sets on the Hub; without them those
    that were downloaded into `run` (the default one, if None). The embedding is put into the run, and also
    at `out`; of `images` and `out` without `run` nothing else is kept. `settings` are keys of the recipe's
    `[encode]`. A CSV file of `ratings` (paths, scores) stands in for `images`, with `reduce` "score-contrast"
    or "score-weighted".

    Raises EncodeError (nothing to encode, nothing that can be decoded), ModelError, EmbeddingError,
    StaleRunError, UsageError, RecipeError, RunBusyError.

    Example: `encode_images("my_pictures", out="me.pt", model="ViT-L-14")`
    """
    named = (images,) if isinstance(images, str | Path) else tuple(images)
    places = named if ratings is None else rated(Path(ratings), beside=named)
    published = bool(settings.get("vectors"))
    folder = None if run is None and out is not None and (places or published) else run_at(run or DEFAULT_RUN)
    base = (folder and _of_run(folder, recipe, "encode", "reference")) or (
        Recipe(name="pictures") if recipe is None else _loaded(recipe)
    )
    changed = override(base, _overrides("encode_images", settings, _ENCODE_KEYS))
    with stored_output(out) as target:
        return encode_in(folder, changed, images=places, out=target, overwrite=overwrite, device=device)


def run_recipe(
    recipe: RecipeLike | None = None,
    *,
    run: str | Path | None = None,
    overwrite: bool = False,
    mirror: str | Path | None = None,
    **settings: Any,
) -> "RunReport":
    """Filter, download and encode as a recipe says, in `run` (by default `runs/NAME`, after the recipe).

    `settings` are the recipe's sections as mappings, and its `name` and `source`; what they do not name stays
    as the recipe has it. `mirror` is a folder or address of published embeddings and vectors, in place of
    their own. Stopped at any time, the same call goes on from there, and so does one with `run` alone.

    Raises the errors of the three stages; what is done by then is kept.

    Example: `run_recipe("fantasy", run="runs/small", filter={"top": 500})`
    """
    begun = None if recipe is not None or run is None or settings else run_at(run)
    if begun is not None and begun.recipe.exists():
        recipe, mirror = begun.recipe, mirror or begun.mirror
    base = Recipe(name="custom") if recipe is None else _loaded(recipe)
    changed = override(base, _overrides("run_recipe", settings, _RECIPE_KEYS))
    folder = run_at(RUNS / changed.name if run is None else run)
    return run_in(folder, changed, overwrite=overwrite, mirror=None if mirror is None else str(mirror))


def curate_run(
    run: str | Path,
    out: str | Path,
    *,
    drop: str | Sequence[str] = (),
    drop_groups: Sequence[int] = (),
    keep_groups: Sequence[int] = (),
    drop_atypical: float = 0.0,
    split: bool = False,
    overwrite: bool = False,
) -> "list[Curated]":
    """Reduce a run's vectors anew without some of its pictures; the run stays as it is.

    `run` is a folder, or a name under `runs/`. Dropped are the pictures of these keys, those of groups, those
    of all groups but some, and of what is left the least typical ones, a share of 0 to below 1. The embedding
    goes to `out`, and what was dropped to the JSON file beside it; with `split` each group's to `NAME-0.pt`
    and so on. Keys and groups are those of the run's page. A file that is no embedding of ours is replaced
    with `overwrite` only.

    Raises UsageError (nothing to drop, no such run, key or group, nothing left), EncodeError, EmbeddingError.

    Example: `curate_run("runs/x", "mine.pt", drop=["0012"], drop_atypical=0.1)[0].kept`
    """
    from .curate.curation import Dropping, curate

    keys = (drop,) if isinstance(drop, str) else tuple(drop)
    dropping = Dropping(keys, tuple(drop_groups), tuple(keep_groups), drop_atypical)
    with stored_output(out) as target:
        return curate(os.fspath(run), dropping, target, split=split, overwrite=overwrite)


def take_out_images(
    what: str | Path,
    out: str | Path,
    *,
    form: "Form" = "folder",
    shuffle: int | None = None,
    size: int | None = None,
    mode: "ResizeMode" = "shortest",
    exemplars: int | None = None,
) -> "TakenOut":
    """Copy the pictures that a run has chosen, best first, to a new folder that other programs read.

    `what` is a run's folder or name, or a place that `encode_images` takes, of which all pictures are taken.
    `form` is `"folder"` (with `metadata.jsonl`), `"wds"` (tars) or `"parquet"`; each picture comes with its
    text, score, licence, link and SHA-256. `shuffle` is the seed of another order. With a `size` in pixels
    pictures become JPEG files of at most this size, by `mode`: `"shortest"` or `"longest"` side, or
    `"center-crop"`. What cannot be read is left out, and counted in `failed`. With `exemplars` only the most
    typical picture of each of so many groups is taken.

    Raises UsageError (`out` is not empty, there are no pictures), EncodeError.

    Example: `take_out_images("runs/x", "flowers", size=512).images`
    """
    from .curate.take_out import take_out

    with stored_output(out) as to:
        return take_out(os.fspath(what), form, to, shuffle=shuffle, size=size, mode=mode, exemplars=exemplars)


def filter_in(run: RunDir, recipe: Recipe, *, overwrite: bool = False) -> "FilterReport":
    """Filter as a whole recipe says, in a run folder that nobody has locked yet."""
    from .filter.stage import filter_rows
    from .own import own_vectors

    with _at_work(run):
        own = own_vectors(run, recipe)
        recipe, source = (recipe, None) if own is None else own
        return filter_rows(run, recipe, overwrite=overwrite, metadata=source)


def download_in(
    run: RunDir, recipe: Recipe, *, overwrite: bool = False, retry_failed: bool = False
) -> "DownloadReport":
    """Download as a whole recipe says, which becomes the run's."""
    from .download.stage import download

    with _at_work(run):
        report = download(run, recipe, overwrite=overwrite, retry_failed=retry_failed)
        write_text(run.recipe, dumps(recipe))
    return report


def encode_in(
    run: RunDir | None,
    recipe: Recipe,
    *,
    images: Sequence[str | Path] | Ratings = (),
    out: Path | None = None,
    overwrite: bool = False,
    device: str = "auto",
) -> Encoded:
    """Encode as a whole recipe says, which becomes the run's; without a run, only `out` is written."""
    from visunex.aesthetic_embeddings.artefact import require_replaceable

    from .encode.precomputed import encode_precomputed
    from .encode.published import reduce_published

    if out is not None and out.suffix == ".pt" and not out.is_dir():
        for each in (out, *(beside(out, other.space) for other in recipe.encode.others)):
            require_replaceable(each, overwrite=overwrite)  # before the work, not after it
    with contextlib.nullcontext() if run is None else _at_work(run):
        if recipe.encode.vectors:
            return reduce_published(run, recipe, out=out, overwrite=overwrite)
        report: Encoded
        if run is not None and recipe.encode.precomputed is not None and not images:
            report = encode_precomputed(run, recipe, out=out, overwrite=overwrite, device=device)
        else:
            from .encode.stage import encode  # which loads what pictures need

            report = encode(run, recipe, images=images, out=out, overwrite=overwrite, device=device)
        if run is not None and run.recipe.exists():
            write_text(run.recipe, dumps(recipe))
    return report


def run_in(run: RunDir, recipe: Recipe, *, overwrite: bool = False, mirror: str | None = None) -> "RunReport":
    """Filter, download and encode as a whole recipe says, in a run folder that nobody has locked yet."""
    from visunex.aesthetic_embeddings.fetching import mirrored

    from .run import run_recipe as run_stages

    with _at_work(run), mirrored(mirror):
        if mirror is not None:
            run.note_mirror(mirror)
        return run_stages(run, recipe, overwrite=overwrite)


@contextlib.contextmanager
def _at_work(run: RunDir) -> Iterator[None]:
    with one_way(), run.locked(), reported(run):
        yield


def _loaded(recipe: RecipeLike) -> Recipe:
    return recipe if isinstance(recipe, Recipe) else load(recipe)


def _of_run(run: RunDir, recipe: RecipeLike | None, *sections: str) -> Recipe | None:
    """The run's own recipe, or `recipe`; of both, the run's with these sections of `recipe`."""
    given = None if recipe is None else _loaded(recipe)
    if not run.recipe.exists():
        return given
    own = load(run.recipe)
    return own if given is None else own.model_copy(update={name: getattr(given, name) for name in sections})


def _overrides(function: str, settings: Mapping[str, Any], keys: Mapping[str, str]) -> list[Override]:
    """Keyword arguments as overrides of a recipe's keys, which messages call by the argument's name."""
    for name in settings:
        if name not in keys:
            raise UsageError(
                f"{function}() takes no {name!r}: {did_you_mean(name, keys)}there are {', '.join(keys)}"
            )
    return [each for name, value in settings.items() for each in _flat(keys[name], value, name)]


def _flat(key: str, value: Any, name: str) -> Iterator[Override]:
    """An override for each value of a mapping, so that what it does not name stays."""
    if isinstance(value, Mapping):
        for inner, its in value.items():
            yield from _flat(f"{key}.{inner}", its, f"{name}.{inner}")
    else:
        yield Override(key, _plain(value), name)


def _plain(value: Any) -> Any:
    """Paths as text, and any sequence as a list, as a recipe's file would give them."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return [_plain(item) for item in value] if isinstance(value, list | tuple | set) else value

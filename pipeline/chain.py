"""Whether what a stage reads was made of what is asked for now, through all stages before it."""

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from visunex.base.files import fingerprint, sha256_file

from .errors import SourceError, StaleRunError
from .rundir import RunDir
from .shards.made import is_made
from .shards.naming import TAR, shard_name
from .shards.sidecar import chosen_shards

if TYPE_CHECKING:
    from visunex.recipes import Recipe

__all__ = [
    "broken_shards",
    "chooses_after_encode",
    "require_download",
    "require_places",
    "require_selection",
    "require_unchanged",
]

_CHANGING = ("http://", "https://", "s3://")  # those of the Hub hold a commit
_NAMED = 3  # shards that a message names


def require_selection(run: RunDir, recipe: "Recipe") -> None:
    """Raise StaleRunError where the run's selection is not the one that `recipe` asks for.

    How many images are wanted may differ: a selection holds more candidates than it was made for. Nothing is
    known of files that no filter of ours has made, and so nothing refused.
    """
    noted = run.made_from("filter")
    if noted is None:
        return
    if not run.selected.exists():
        raise StaleRunError(f"the selection of {run.path} was begun anew and is not finished; {_filter(run)}")
    asked = {"source": recipe.source.data, **recipe.filter.model_dump(mode="json", exclude={"top"})}
    if changed := sorted(name for name in asked.keys() & noted.keys() if asked[name] != noted[name]):
        raise StaleRunError(
            f"{run.selected} was made from something else than {run.recipe} asks for ({', '.join(changed)} "
            f"changed since); {_filter(run)}"
        )
    if _has_changed(recipe.source.data, noted.get("contents")):
        raise StaleRunError(
            f"{recipe.source.data} has changed since {run.selected} was made of it; {_filter(run)}"
        )


def _has_changed(source: str, before: Any) -> bool:
    """Whether a source on this machine is another than it was. One that is gone was read once, and is no bar.

    Of large files the time when anything but their contents changed does not count: a run may be copied
    together with its source. What the first release noted is not comparable.
    """
    from .metadata.resolve import local_identity

    if not isinstance(before, list) or not all(_is_comparable(each) for each in before):
        return False
    now = local_identity(source)
    return now is not None and [*map(_contents, now)] != [*map(_contents, before)]


def _is_comparable(file: Any) -> bool:
    return isinstance(file, dict) and bool({"sha256", "mtime_ns", "keys"} & file.keys())


def _contents(file: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in file.items() if name != "ctime_ns"}


def chooses_after_encode(run: RunDir, recipe: "Recipe") -> bool:
    """Whether images are chosen by their own vectors, as no published ones told enough of the selection."""
    return recipe.filter.on_vectors and "precomputed" not in (run.made_from("filter") or {})


def require_places(run: RunDir, places: Collection[str]) -> None:
    """Raise StaleRunError where pictures lie in files that filter did not select from.

    A selection that was changed by hand could name any file of this machine, and any address.
    """
    selected_from = run.places
    if selected_from is None:
        raise StaleRunError(
            f"{run.selected} says where pictures lie (`location`), and was not made by filter; {_filter(run)}"
        )
    if strange := sorted(set(places) - selected_from):
        raise StaleRunError(
            f"{run.selected} was changed since filter made it: its pictures do not lie in "
            f"{strange[0][:200]}; {_filter(run)}"
        )


def require_unchanged(run: RunDir, places: Collection[str]) -> None:
    """Raise StaleRunError where files of the web or of a bucket changed since the selection was made.

    What cannot be looked at now is named when it is read; a file that only its own bytes tell from others is
    not read whole for this.
    """
    from .metadata.resolve import resolve_source

    noted = run.made_from("filter") or {}
    contents = noted.get("contents")
    has_versions = isinstance(contents, list) and not any("sha256" in each for each in contents)
    if not has_versions or not any(place.startswith(_CHANGING) for place in places):
        return
    try:
        now = resolve_source(str(noted["source"]))
    except SourceError:
        return
    is_there = not {*places}.isdisjoint(now.paths)
    if is_there and fingerprint(now.identity) != fingerprint(contents):
        raise StaleRunError(
            f"{noted['source']} has changed since {run.selected} was made of it; {_filter(run)}"
        )


def require_download(run: RunDir, recipe: "Recipe") -> None:
    """Raise StaleRunError where the run's images are not of the selection that `recipe` asks for."""
    require_selection(run, recipe)
    noted = run.made_from("download")
    if noted is None or not run.selected.exists() or not (run.shards.exists() or run.downloaded.exists()):
        return
    if noted.get("selection") != sha256_file(run.selected):
        raise StaleRunError(
            f"the pictures in {run.shards} were downloaded for another selection than {run.selected} is now; "
            f"`visunex-data download --run {run.path} --overwrite` fetches those of this one"
        )
    if not run.downloaded.exists():
        raise StaleRunError(
            f"the download into {run.shards} is not finished; `visunex-data download --run {run.path}` goes "
            f"on with it, `visunex-data encode --images {run.shards}` takes the pictures that are there"
        )
    if broken := broken_shards(run):
        names = ", ".join(f"{shard_name(shard)}{TAR}" for shard in broken[:_NAMED])
        more = f" and {len(broken) - _NAMED} more" if len(broken) > _NAMED else ""
        raise StaleRunError(
            f"{names}{more} in {run.shards} {'is' if len(broken) == 1 else 'are'} not, or no longer, as the "
            f"download made {'it' if len(broken) == 1 else 'them'}; `visunex-data download --run {run.path}` "
            "fetches these pictures again"
        )


def broken_shards(run: RunDir) -> list[int]:
    """The shards with chosen images of a finished download that are not there, or not as they were made."""
    return [shard for shard in sorted(chosen_shards(run.downloaded)) if not is_made(run.shards, shard)]


def _filter(run: RunDir) -> str:
    return (
        f"`visunex-data filter --run {run.path} --overwrite` with what you want makes it anew, "
        f"`visunex-data run --run {run.path} --overwrite` all that {run.recipe} asks for"
    )

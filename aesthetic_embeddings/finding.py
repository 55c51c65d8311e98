"""What a person may call an embedding by: a file, a run, a published name."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from visunex.base.errors import require
from visunex.base.folders import EMBEDDING, RUNS
from visunex.base.proxies import is_offline
from visunex.base.storage import StorageError, is_address, stored_input
from visunex.base.suggest import did_you_mean

from .artefact import Embedding, load
from .catalogue import FOLDER, catalogue, published
from .errors import EmbeddingError
from .fetching import MIRROR_VARIABLE, mirror_given

_OF_RUN = ("groups.parquet",)
_MOST = 64 << 20  # bytes of one of these files in an object store


def fetch(name: str, mirror: str | None = None) -> Embedding:
    """Bring a published embedding, unless it is cached, and check its SHA-256.

    `mirror` (else `$VISUNEX_MIRROR`, else the publisher's own address) is a folder or a URL that holds
    `aesthetic_embeddings/NAME.pt` or `NAME.pt`. Raises EmbeddingError when the name is unknown, the source
    does not answer or answers something else than what was published.
    """
    return load(published(name).file.bring(mirror))


def find(name_or_path: str | Path, mirror: str | None = None, runs: Path = RUNS) -> Embedding:
    """The embedding meant by a file, a run folder, the name of a run under `runs`, or a published name.

    A published name may be written as its file is called, `NAME.pt` or `aesthetic_embeddings/NAME.pt`. The
    file comes from the cache, the mirror (`mirror`, else `$VISUNEX_MIRROR`) or, unless `$HF_HUB_OFFLINE` is
    set, from its publisher, once. Raises EmbeddingError, listing the known names.
    """
    require(
        name_or_path,
        "an embedding's name",
        (str, Path),
        "a name, or the path of a file or run",
        EmbeddingError,
    )
    given = str(name_or_path)
    local = _in_store(given) if is_address(given) else _local_file(given, runs)
    if local is not None:
        return _named(load(local))
    name = published_name(given)
    if name is not None:
        return find_published(name, mirror) if is_offline() else fetch(name, mirror)
    here = [path.parent.name for path in run_files(runs)]
    raise EmbeddingError(
        f"no embedding called {given!r}: {did_you_mean(given, [*catalogue(), *here])}no such file, no "
        f"{runs / given / EMBEDDING}, and not one of the published {', '.join(catalogue())}"
        + (f"; runs here: {', '.join(here)}" if here else "")
    )


def findable(
    mirror: str | None = None, runs: Path = RUNS, folders: tuple[Path, ...] = ()
) -> Iterator[Embedding]:
    """Every embedding that can be had here without the network; files that do not load are left out.

    Published ones in the cache or in a mirror folder, those of the runs, and the `*.pt` files of `folders`.
    """
    paths = [entry.file.cached() or entry.file.in_mirror(mirror) for entry in catalogue().values()]
    paths += run_files(runs)
    paths += [path for folder in folders for path in sorted(folder.glob("*.pt"))]
    seen = set()
    for path in paths:
        if path is not None and path.resolve() not in seen:
            seen.add(path.resolve())
            try:
                yield _named(load(path))
            except EmbeddingError:
                continue


def published_name(given: str) -> str | None:
    """The published embedding meant by its name, or its file's as the original script has it; else None."""
    path = Path(given)
    as_file = path.suffix == ".pt" and path.parent.name in ("", FOLDER)
    name = path.stem if as_file else given
    return name if name in catalogue() else None


def run_files(runs: Path = RUNS) -> list[Path]:
    """The embeddings of the runs under `runs`, by name."""
    return sorted(runs.glob(f"*/{EMBEDDING}"))


def _local_file(given: str, runs: Path) -> Path | None:
    path = Path(given)
    candidates = [path, path / EMBEDDING]
    if "/" not in given and given not in ("", ".", ".."):
        candidates.append(runs / given / EMBEDDING)
    return next((candidate for candidate in candidates if candidate.is_file()), None)


def _in_store(address: str) -> Path:
    """A copy of the file, or of the embedding of the run, at an address in an object store."""
    folder, _, name = address.rstrip("/").rpartition("/")
    if not name.endswith(".pt"):
        folder, name = address, EMBEDDING
    try:
        found = stored_input(folder, name, _MOST, _OF_RUN)
    except StorageError as error:
        raise EmbeddingError(str(error)) from None
    if found is None:
        raise EmbeddingError(f"there is no embedding at {address}: {folder} has no {name}")
    return found


def find_published(name: str, mirror: str | None = None) -> Embedding:
    """A published embedding from the cache or the mirror, whatever files here have its name.

    Nothing else is asked for it. Raises EmbeddingError.
    """
    entry = published(name)
    if (cached := entry.file.cached()) is not None:
        return load(cached)
    if not mirror_given(mirror):
        offline = ", and HF_HUB_OFFLINE is set" if is_offline() else ""
        raise EmbeddingError(
            f"{name} is published but not on this machine{offline}; bring it with `visunex-data embeddings "
            f"fetch {name}`, or name a folder that has {name}.pt with ${MIRROR_VARIABLE}"
        )
    return fetch(name, mirror)


def _named(embedding: Embedding) -> Embedding:
    """A run's file is always called `embedding`; its folder is the name that tells it from others."""
    if embedding.path is not None and embedding.path.name == EMBEDDING:
        return replace(embedding, name=embedding.path.absolute().parent.name)
    return embedding

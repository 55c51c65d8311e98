"""Pictures that were dropped onto the page -> a run of their own, which can be opened as any other."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from visunex.base.errors import UsageError, VisunexError
from visunex.base.files import write_bytes
from visunex.images.errors import ImageError
from visunex.images.validate import Limits, inspect, suffix_of

from .places import Places

__all__ = ["LARGEST", "MOST", "Taken", "taste_of"]

MOST = 1000  # pictures at a time
LARGEST = 64 << 20  # bytes of one
_FOLDER = "pictures"  # in the run


@dataclass(frozen=True)
class Taken:
    """A run that was made of pictures: how many were taken, and why each of the others was not."""

    run: str
    images: int
    refused: tuple[tuple[str, str], ...]


def taste_of(places: Places, name: str, files: Sequence[tuple[str, Path]], model: str) -> Taken:
    """Encode pictures, given by what a person calls them and where they lie, as the run `name`.

    A file is kept only where it is an image whole and sane. Raises UsageError (a name that is taken, no
    picture among the files, more than MOST), EncodeError, ModelError.
    """
    from visunex.pipeline.api import encode_images

    run = places.new_run(name)
    if not files:
        raise UsageError("drop some pictures first")
    if len(files) > MOST:
        raise UsageError(
            f"{len(files):,} files are more than {MOST:,}: `visunex-data encode --images FOLDER`"
        )
    taken, refused = [], []
    for called, path in files:
        try:
            taken.append(_checked(path))
        except (ImageError, OSError, UsageError) as error:
            refused.append((called, str(error)))
    if not taken:
        raise UsageError(f"none of it is a picture that can be read: {refused[0][0]}: {refused[0][1]}")
    for number, (suffix, path) in enumerate(taken):
        write_bytes(run / _FOLDER / f"{number:04d}{suffix}", path.read_bytes())
    try:
        encode_images(run / _FOLDER, run=run, model=model, workers=0)
    except VisunexError:
        _remove(run)
        raise
    return Taken(run.name, len(taken), tuple(refused))


def _checked(path: Path) -> tuple[str, Path]:
    """The ending that a file's contents should have. Raises ImageError, OSError, UsageError."""
    if path.stat().st_size > LARGEST:
        raise UsageError(f"it is larger than {LARGEST >> 20} MB")
    data = path.read_bytes()
    inspect(data, Limits(decode=True))
    return f".{suffix_of(data)}", path


def _remove(run: Path) -> None:
    """Take away a run that was only begun here, so that its name is free again."""
    import shutil

    shutil.rmtree(run, ignore_errors=True)

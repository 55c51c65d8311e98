"""Pictures put into a folder, in their order: copied, linked, or moved there."""

import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from visunex.images.errors import ImageError
from visunex.images.validate import suffix_of

from ..errors import EncodeError, UsageError
from ..shards.places import container_kind
from ..shards.samples import Sample

__all__ = ["How", "put", "require_new_folder"]

How = Literal["move", "copy", "link"]
_LONGEST = 80  # letters of a file's own name that are kept


def require_new_folder(folder: Path, option: str) -> None:
    """Raise UsageError where a folder that is written to is there and not empty."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{option} {folder} is there and not empty: name a new folder")


def put(images: Sequence[Sample], folder: Path, how: How) -> list[Path | None]:
    """Put images into a new or empty folder, their names beginning with their places; where each is now.

    None for one that cannot be read. What lies inside a tar, zip or table is copied only: raises UsageError
    otherwise, before anything is moved.
    """
    require_new_folder(folder, f"--{how}")
    inside = next((each for each in images if container_kind(each.file) is not None), None)
    if how != "copy" and inside is not None:
        done = {"move": "moved", "link": "linked"}[how]
        raise UsageError(
            f"{inside.where} lies inside {inside.file.name}, so it cannot be {done}; --copy {folder} takes "
            "it out"
        )
    folder.mkdir(parents=True, exist_ok=True)
    digits = max(4, len(str(len(images))))
    return [_put(each, folder, f"{place:0{digits}d}-", how) for place, each in enumerate(images, 1)]


def _put(image: Sample, folder: Path, begin: str, how: How) -> Path | None:
    try:
        if how == "copy":
            data = image.read()
            target = folder / f"{begin}{_plain(image)}.{suffix_of(data)}"
            target.write_bytes(data)
            return target
        target = folder / f"{begin}{_plain(image)}{image.file.suffix}"
        if how == "link":
            target.symlink_to(image.file.absolute())
        else:
            shutil.move(image.file, target)
    except ImageError:
        return None
    except OSError as error:
        raise EncodeError(
            f"{image.where} could not be put into {folder} ({error.strerror or error}); those before it are"
            " there"
        ) from None
    return target


def _plain(image: Sample) -> str:
    """A picture's own name without its ending, and without what a file's name may not hold."""
    name = re.split(r"[/\\]", image.where)[-1]
    return re.sub(r"[^\w-]+", "_", name.rpartition(".")[0] or name)[:_LONGEST].strip("_") or "picture"

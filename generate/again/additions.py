"""Files that were added to an image's model, found again by their hashes: where they lay, or beside it."""

from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from visunex.base.errors import first_line

from ..added import AddedFile
from ..additions.files import INVERSION, IP_ADAPTER, LORA, VAE, check_file, digest, file_of_vae
from ..errors import GenerateError, ImageTextError
from .found import Again

__all__ = ["OPTIONS", "with_additions"]

LONGEST = 4096  # of a path
# Of each kind the option, and what it is called; of some there is one.
OPTIONS = {"lora": "lora", "textual_inversion": "textual_inversion", "vae": "vae", "ip_adapter": "adapter"}
KINDS = {"lora": LORA, "textual_inversion": INVERSION, "vae": VAE, "ip_adapter": IP_ADAPTER}
ALONE = ("vae", "ip_adapter")


def with_additions(image: Path, again: Again, named: Collection[str]) -> Again:
    """`again` with the files of each kind as they are found here, but for options that were `named`.

    Raises ImageTextError for one that is not here, or is another one now.
    """
    if again.record is None:
        return again
    found: dict[str, list[str]] = {kind: [] for kind in OPTIONS if OPTIONS[kind] not in named}
    for file in again.record.additions:
        if file.kind in found:
            found[file.kind].append(_called(_place(image, file), file))
    options: dict[str, Any] = {
        OPTIONS[kind]: tuple(places) for kind, places in found.items() if kind not in ALONE
    }
    options |= {OPTIONS[kind]: found[kind][0] for kind in ALONE if found.get(kind)}
    return replace(again, options={**again.options, **options})


def _called(path: Path, file: AddedFile) -> str:
    """A file as its option takes it; a LoRA always with its scale, so that no end of a name is it."""
    return f"{path}:{file.scale!r}" if file.kind == "lora" else str(path)


def _place(image: Path, file: AddedFile) -> Path:
    """Where the file that an image was made with is now. Raises ImageTextError."""
    what, option = KINDS[file.kind], f"--{OPTIONS[file.kind].replace('_', '-')}"
    reason = ""
    for path in _candidates(image, file):
        try:
            place = file_of_vae(path) if file.kind == "vae" else path
            check_file(place, what)
            if digest(place) == file.sha256:
                return path
            reason = f"{path} is another file now"
        except (GenerateError, OSError, ValueError) as error:
            reason = reason or first_line(error)
    raise ImageTextError(
        f"{image} was made with a {what} that is not here, neither where it lay nor beside the picture "
        f"(SHA-256 {file.sha256[:12]}): {reason[:500]}. Name one with {option} to use it all the same"
    )


def _candidates(image: Path, file: AddedFile) -> Iterator[Path]:
    """Where it may be: a stranger's path leads to nothing that has not the hash."""
    if len(file.path) <= LONGEST and "\0" not in file.path:
        yield Path(file.path)
        yield image.absolute().parent / Path(file.path).name

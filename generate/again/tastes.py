"""The embedding of an image, found again by its digest: under its name, where it lay, or beside the image."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from visunex.aesthetic_embeddings import Embedding, EmbeddingError, find, findable
from visunex.aesthetic_embeddings.groups import centres_of, names_groups
from visunex.base.errors import first_line

from ..errors import ImageTextError
from ..output.png_text import TasteRecord
from .found import Again

__all__ = ["called", "with_taste"]

LONGEST = 4096  # of a path


def with_taste(image: Path, again: Again) -> Again:
    """`again` with the embedding as it is found here.

    Raises ImageTextError where ours is not here. Another program's, of which only the name is known, is left
    out then, and that is said.
    """
    if again.record is not None:
        tastes = [taste for taste in again.record.tastes if taste.sha256]
        return _with(again, *(called(_ours(image, taste), taste.weight) for taste in tastes))
    names = again.options.get("aesthetic_embedding")
    if not names:
        return again
    name = names[0]
    for candidate in _beside(image, str(name)):
        if isinstance(_found(candidate), str):
            return _with(again, candidate)
    left_out = (
        f"nothing is personalised, as no embedding {str(name)[:100]} is here: --aesthetic_embedding names one"
    )
    return replace(_with(again), differs=(*again.differs, left_out))


def called(name: str, weight: float) -> str:
    """An embedding and its weight as the option takes them."""
    return name if weight == 1 and "=" not in name else f"{name}={weight!r}"


def _with(again: Again, *names: str) -> Again:
    return replace(again, options={**again.options, "aesthetic_embedding": names})


def _ours(image: Path, taste: TasteRecord) -> str:
    """What the embedding of an image of ours is called here. Raises ImageTextError."""
    others, reason = [], ""
    for candidate in dict.fromkeys((taste.name, *filter(None, [taste.path]), *_beside(image, taste.name))):
        found = _found(candidate)
        if isinstance(found, _Missing):
            reason = reason or found.why
        elif found == taste.sha256:
            return candidate
        else:
            others.append(candidate)
    for each in findable(folders=(image.absolute().parent,)):
        if _digest(each) == taste.sha256:
            return str(each.path)
    what = f"{others[0][:200]} is another one now" if others else reason
    raise ImageTextError(
        f"{image} was made with another embedding: the one with digest {str(taste.sha256)[:12]} is not here, "
        f"neither beside the picture nor among runs and published ones; {what}. Name one with "
        "--aesthetic_embedding to use it all the same"
    )


def _beside(image: Path, name: str) -> Iterator[str]:
    """What the embedding may be called beside an image, by its last name: a stranger's path is not used."""
    last = Path(name).name
    yield last.removesuffix(".pt")
    yield str(image.absolute().parent / f"{last.removesuffix('.pt')}.pt")


@dataclass(frozen=True)
class _Missing:
    """Why there is no embedding of a name."""

    why: str


def _found(name: str) -> str | _Missing:
    """The digest of the embedding of that name or path, or why there is none."""
    if len(name) > LONGEST:
        return _Missing("its name is too long")
    try:
        if names_groups(name):
            return hashlib.sha256(centres_of(name)[1].tobytes()).hexdigest()
        return _digest(find(name))
    except (EmbeddingError, OSError, ValueError) as error:
        return _Missing(first_line(error))


def _digest(embedding: Embedding) -> str:
    return hashlib.sha256(embedding.vector.tobytes()).hexdigest()

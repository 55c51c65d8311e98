"""What an embedding says of the vectors it was made of: how long, and whether it is a difference."""

from collections.abc import Sequence
from math import inf

from visunex.base.files import sha256_file

from .artefact import Embedding
from .catalogue import catalogue

__all__ = ["image_norm", "is_contrast", "of_mixture"]


def image_norm(embedding: Embedding) -> float | None:
    """The mean length of its images' raw vectors, where its provenance has it."""
    checks = (embedding.provenance or {}).get("checks")
    norm = checks.get("image_norm") if isinstance(checks, dict) else None
    return float(norm) if isinstance(norm, int | float) and 0 < norm < inf else None


def is_contrast(embedding: Embedding) -> bool:
    """Whether it is a mean minus that of a baseline, by its provenance or as published."""
    if (embedding.provenance or {}).get("reduction") == "contrast":
        return True
    if embedding.path is None:
        return False
    contrasts = {entry.sha256 for entry in catalogue().values() if entry.kind == "contrast"}
    return sha256_file(embedding.path) in contrasts


def of_mixture(parts: Sequence[tuple[float | None, bool]]) -> tuple[float | None, bool]:
    """The same of a mixture, by what its parts say of themselves: the mean of their images' lengths where all
    say it; a difference where all are."""
    norms = [norm for norm, _ in parts if norm is not None]
    mean = sum(norms) / len(norms) if norms and len(norms) == len(parts) else None
    return mean, all(contrast for _, contrast in parts)

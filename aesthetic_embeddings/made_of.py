"""What an embedding says of the vectors it was made of: how long, and whether it is a difference."""

from math import inf

from visunex.base.files import sha256_file

from .artefact import Embedding
from .catalogue import catalogue

__all__ = ["image_norm", "is_contrast"]


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

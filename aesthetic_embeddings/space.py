"""Which CLIP's space an embedding lies in, as far as it says so: two spaces are never mixed or compared.

Vectors of two models may have equally many dimensions and have nothing to do with one another.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from visunex.base.files import sha256_file

from .artefact import Embedding
from .catalogue import catalogue
from .errors import EmbeddingError

__all__ = ["Space", "require_one_space", "space_of", "space_said"]

_PUBLISHED = {"name": "ViT-L-14", "pretrained": "openai"}  # what all published embeddings are of
_FOLDER = "local-dir:"  # a model by the path of its folder
_QUICK = "-quickgelu"  # OpenAI's weights under open_clip's other name


@dataclass(frozen=True)
class Space:
    """A model by name and weights' name; `weights` is the SHA-256 of their file where it is known."""

    name: str
    pretrained: str
    weights: str | None = None

    def __str__(self) -> str:
        return f"{self.name} {self.pretrained}".strip()

    def as_model(self) -> dict[str, str]:
        """The space as the `model` of a provenance."""
        said = {"name": self.name, "pretrained": self.pretrained, "weights": self.weights}
        return {key: value for key, value in said.items() if value}

    def differs(self, other: "Space") -> bool:
        """Whether they are certainly two spaces; a folder's name says nothing, its weights do."""
        if self.weights is not None and self.weights == other.weights:
            return False
        if self._is_folder and other._is_folder:
            return None not in (self.weights, other.weights)
        if self._is_folder or other._is_folder:
            return False  # a folder may hold the weights that the other names
        return (self.name, self.pretrained) != (other.name, other.pretrained)

    @property
    def _is_folder(self) -> bool:
        return self.name.startswith(_FOLDER)


def space_of(embedding: Embedding) -> Space | None:
    """The space of an embedding by its provenance, or as it is published; None where nothing says so."""
    said = space_said((embedding.provenance or {}).get("model"))
    if said is not None or embedding.path is None:
        return said
    published = {entry.sha256 for entry in catalogue().values()}
    return space_said(_PUBLISHED) if sha256_file(embedding.path) in published else None


def space_said(model: Any) -> Space | None:
    """The space that a provenance's `model` names; None where it is none of ours."""
    if not isinstance(model, Mapping) or not isinstance(name := model.get("name"), str) or not name:
        return None
    pretrained, weights = model.get("pretrained"), model.get("weights")
    folder = name.startswith(_FOLDER)
    plain = name if folder else name.replace("/", "-").removesuffix(_QUICK)
    text = pretrained if isinstance(pretrained, str) else ""
    return Space(plain, text, weights if isinstance(weights, str) else None)


def require_one_space(named: Iterable[tuple[str, Space | None]]) -> None:
    """Raise EmbeddingError where two of the embeddings, by name, say that they are of different models."""
    given = [(name, space) for name, space in named if space is not None]
    for at, (name, space) in enumerate(given):
        for first, other in given[:at]:
            if space.differs(other):
                raise EmbeddingError(
                    f"{first} is of {other} and {name} of {space}: vectors of different models cannot be "
                    "compared or put together, even of equally many dimensions"
                )

"""A taste: an aesthetic embedding, and how far prompts are moved towards it."""

import contextlib
import glob
import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from visunex.base.errors import UsageError, described, numbers, require_number

if TYPE_CHECKING:
    from torch import Tensor

    from visunex.aesthetic_embeddings import Embedding
    from visunex.aesthetic_embeddings.space import Space

__all__ = ["LR", "STEPS", "Taste", "space_named"]

STEPS, LR = 10, 1e-4  # the paper's rate (arXiv 2209.12330)


@dataclass(frozen=True, eq=False, repr=False)
class Taste:
    """An aesthetic embedding `[1, D_proj]` under a name, the Adam steps to take towards it, and their rate.

    Of several vectors `[K, D_proj]`, such as those of a run's groups, the nearest to a prompt counts.

    `steps` 0 leaves prompts as they are; `path` is where its file lies, where the name does not say so,
    `space` which CLIP's it is, where that is known. `others` are the same taste in other CLIPs' spaces, for
    models with several text encoders. The embedding's direction is all that counts: a tensor, an array, a
    list or an `Embedding`. Models that take an image's vector itself are told by `image_norm` how long one
    is, where that is known, and by `is_contrast` that this is the difference of two means and no image's.
    Raises UsageError for what is no embedding, or steps that are no number.
    """

    name: str
    embedding: "Tensor"
    steps: int = STEPS
    lr: float = LR
    path: str | None = None
    space: "Space | None" = None
    others: "tuple[Taste, ...]" = ()
    image_norm: float | None = None
    is_contrast: bool = False

    def __post_init__(self) -> None:
        import torch

        require_number(self.steps, "steps", "a whole number, 0 or more", whole=True)
        require_number(self.lr, "lr", "a positive number such as 0.0001")
        given: Any = self.embedding
        given = given.tensor() if hasattr(given, "provenance") else given
        wanted = "one vector, D or 1xD: a tensor, an array, a list, or what load() returns; or several, KxD"
        vector = numbers(given, "embedding", wanted, UsageError)
        if vector.ndim not in (1, 2) or not vector.size or vector.shape[-1] < 2:
            raise UsageError(f"embedding is {described(vector)}: give {wanted}")
        if not isinstance(given, torch.Tensor):
            object.__setattr__(self, "embedding", torch.from_numpy(vector.astype("f4")))

    @classmethod
    def load(
        cls,
        name: str | Path,
        *,
        steps: int = STEPS,
        lr: float = LR,
        space: "str | Space | None" = None,
        others: "Iterable[Taste]" = (),
    ) -> "Taste":
        """The taste called `name`: a file, a run's folder or name, or the name of a published embedding;
        `RUN#groups` are the centres of a run's groups, of which the nearest to a prompt counts.

        What `encode --also` made beside it by other encoders comes along as `others`. `space` says of which
        CLIP it is, as `ViT-bigG-14:laion2b_s39b_b160k`, where the file does not. Raises EmbeddingError,
        listing the names there are, for what is not there or no embedding, or where the file names another
        space; UsageError for a `space` that is no model and its weights.
        """
        from visunex.aesthetic_embeddings import find
        from visunex.aesthetic_embeddings.groups import names_groups
        from visunex.aesthetic_embeddings.space import require_one_space, space_of

        if names_groups(str(name)):
            return cls._of_groups(str(name), steps, lr, space_named(space))
        found, named = find(name), space_named(space)
        said = space_of(found)
        require_one_space([("space=", named), (str(name), said)])
        place = _place(str(name), found.path)
        others = (*others, *(cls._beside(found.path, steps, lr) if found.path else ()))
        return replace(cls.of(found, str(name), steps, lr), path=place, space=said or named, others=others)

    @classmethod
    def _of_groups(cls, name: str, steps: int, lr: float, named: "Space | None") -> "Taste":
        """The centres of a run's groups, of which the nearest counts."""
        import torch

        from visunex.aesthetic_embeddings.groups import centres_of
        from visunex.aesthetic_embeddings.space import require_one_space, space_of

        found, centres = centres_of(name)
        said = space_of(found)
        require_one_space([("space=", named), (name, said)])
        place = None if found.path is None else f"{os.path.abspath(found.path)}#groups"  # noqa: PTH100
        return cls(name, torch.from_numpy(centres), steps, lr, place, said or named)

    @classmethod
    def of(cls, found: "Embedding", name: str = "", steps: int = STEPS, lr: float = LR) -> "Taste":
        """The taste that an embedding is, with what the embedding says of itself."""
        from visunex.aesthetic_embeddings.made_of import image_norm, is_contrast
        from visunex.aesthetic_embeddings.space import space_of

        return cls(
            name or found.name,
            found.tensor(),
            steps,
            lr,
            space=space_of(found),
            image_norm=image_norm(found),
            is_contrast=is_contrast(found),
        )

    @classmethod
    def _beside(cls, path: Path, steps: int, lr: float) -> "Iterator[Taste]":
        """The same taste by further encoders, as `encode --also` names and describes their files."""
        from visunex.aesthetic_embeddings import EmbeddingError, load
        from visunex.aesthetic_embeddings.space import space_of

        for file in sorted(path.parent.glob(f"{glob.escape(path.stem)}-*.pt")):
            with contextlib.suppress(EmbeddingError):  # whatever else is called so
                found = load(file)
                space = space_of(found)
                if space is not None and file.stem == f"{path.stem}-{space.name}-{space.pretrained}":
                    yield cls.of(found, str(file), steps, lr)

    def require_space(self, model: str, clip: Mapping[str, str] | None) -> None:
        """Raise EmbeddingError where the embedding certainly is of another CLIP than the model's.

        `clip` names that by `name` and `pretrained`; None where nothing says which it is.
        """
        from visunex.aesthetic_embeddings.space import require_one_space, space_said

        require_one_space([(f"the model {model}", space_said(clip)), (self.name, self.space)])

    @property
    def digest(self) -> str:
        """SHA-256 of the embedding's float32 bytes, as lower-case hex."""
        values = self.embedding.detach().cpu().float().contiguous().numpy()
        return hashlib.sha256(values.tobytes()).hexdigest()

    def __repr__(self) -> str:
        size = "x".join(map(str, self.embedding.shape))
        return f"Taste({self.name!r}, {size}, steps={self.steps}, lr={self.lr:g})"


def space_named(space: "str | Space | None") -> "Space | None":
    """The space called `NAME:PRETRAINED`, as open_clip calls models and weights; UsageError for no such."""
    if space is None or not isinstance(space, str):
        return space
    from visunex.aesthetic_embeddings.space import space_said

    name, _, pretrained = space.partition(":")
    found = space_said({"name": name.strip(), "pretrained": pretrained.strip()})
    if found is None or not found.pretrained:
        raise UsageError(f"space is {space!r}: give a model and its weights, as 'ViT-L-14:openai'")
    return found


def _place(name: str, path: Path | None) -> str | None:
    """The absolute path of an embedding's file; None for a published one, and where the name says it."""
    from visunex.aesthetic_embeddings.catalogue import catalogue

    if path is None or "://" in name or Path(name).stem in catalogue():
        return None
    place = os.path.abspath(path)  # noqa: PTH100 # links are kept
    return None if place == name else place

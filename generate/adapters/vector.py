"""An aesthetic embedding as the raw vector of one image, which is what these models were trained on.

CLIP's vectors are not normalised there, and the mean of many is shorter than each of them; so an embedding is
given the length of one image's vector.
"""

from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from visunex.aesthetic_embeddings import Embedding
from visunex.aesthetic_embeddings.space import Space
from visunex.base.errors import UsageError, numbers, require_number

from ..errors import EmbeddingSizeError, SteeringError
from ..taste import Taste

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Given", "ImageVector", "blend", "image_vector", "require_weight"]

Given: TypeAlias = "str | Path | Embedding | Taste | Tensor"

# The encoders that models of today take vectors of, by the size of their joint space.
ENCODERS = {
    768: Space("ViT-L-14", "openai"),
    1024: Space("ViT-H-14", "laion2b_s32b_b79k"),
    1280: Space("ViT-bigG-14", "laion2b_s39b_b160k"),
}
# The mean length of the six published embeddings that are means of raw ViT-L/14 vectors (13.5 to 18.6): a
# mean is shorter than its images, so this is at the low end for one of them.
PUBLISHED_LENGTH = 16.0
_LENGTH = "a positive number: the length of one image's raw vector"
_LONGEST = 1e6  # what is said to be longer is no CLIP's


@dataclass(frozen=True, eq=False)
class ImageVector:
    """A direction `unit` `[1, D]` in fp32, and the `length` of one image's vector where it is known.

    `is_contrast`: it is a difference of two means, which points somewhere and is no image's vector.
    """

    name: str
    unit: "Tensor"
    length: float | None
    is_contrast: bool

    def raw(self, otherwise: float | None = None) -> "Tensor":
        """The vector `[1, D]` at one image's length, else `otherwise`. Raises UsageError for neither."""
        length = otherwise if self.length is None else self.length
        if length is None:
            raise UsageError(
                f"nothing says how long one image's vector of {self.name}'s CLIP is: give an embedding that "
                "`visunex-data encode` made, whose .json says it (image_norm), or in Python length="
            )
        return self.unit * length

    def image(self, otherwise: float | None = None) -> "Tensor":
        """`raw`, for a model that takes nothing but an image's vector. Raises UsageError for a contrast."""
        if self.is_contrast:
            raise UsageError(
                f"{self.name} is a contrast: the direction from one taste to another, and no image's vector, "
                "which is what this model takes; use an embedding of `--reduce mean`, or steer with it"
            )
        return self.raw(otherwise)


def image_vector(given: Given, dimension: int, *, wanted_by: str, length: float | None = None) -> ImageVector:
    """The embedding `given`, for a model that takes vectors of this dimension.

    `given` is a name, a file, a run, an `Embedding`, a `Taste` (of whose vectors the one of this dimension
    is taken) or a tensor. The length is `length`, else what the embedding's provenance says of its images,
    else, for OpenAI's ViT-L/14, that of the published means. Raises EmbeddingSizeError for a vector of
    another CLIP than `wanted_by`, the model or adapter, takes; EmbeddingError, UsageError.
    """
    import torch

    _require_length(length)
    taste = _of_dimension(_as_taste(given), dimension)
    vector = numbers(taste.embedding, taste.name, "one vector, D or 1xD", UsageError)
    if vector.size != vector.shape[-1]:
        raise UsageError(
            f"{taste.name} has {len(vector)} vectors, of which steering takes the nearest, and an image's is "
            "one: give the run's embedding"
        )
    _require_fits(taste.name, vector.size, taste.space, dimension, wanted_by)
    tensor = torch.from_numpy(vector.astype("f8")).reshape(1, -1)
    unit = (tensor / _norm(taste.name, tensor)).float()
    default = PUBLISHED_LENGTH if dimension == 768 else None
    return ImageVector(taste.name, unit, length or taste.image_norm or default, taste.is_contrast)


def _as_taste(given: Given) -> Taste:
    if isinstance(given, Taste):
        return given
    if isinstance(given, str | Path):
        return Taste.load(given)
    if isinstance(given, Embedding):
        return Taste.of(given)
    return Taste("this embedding", given)


def _of_dimension(taste: Taste, dimension: int) -> Taste:
    """The taste itself, or where it has another dimension the one of its `others` that has this."""
    every = (taste, *taste.others)
    return next((each for each in every if each.embedding.shape[-1] == dimension), taste)


def _require_length(length: float | None) -> None:
    if length is not None:
        require_number(length, "length", _LENGTH)
        if not 0 < length < _LONGEST:
            raise UsageError(f"length is {length}: give {_LENGTH}")


def _norm(name: str, vector: "Tensor") -> float:
    norm = float(vector.norm())
    if not 0 < norm < inf:
        raise SteeringError(f"{name} is all zeros or not finite: it points nowhere")
    return norm


def blend(own: "Tensor", taste: ImageVector, weight: float, otherwise: float | None = None) -> "Tensor":
    """A model's `own` vector `[N, D]` for a prompt and the taste's, `weight` of the latter; in `own`'s dtype.

    A contrast is added to the prompt's own vector, `weight` times as long, and the sum keeps that one's
    length. Weight 0 gives `own` itself.
    """
    import torch

    if weight == 0:
        return own
    plain = own.float()
    lengths = plain.norm(dim=-1, keepdim=True)
    if taste.is_contrast:
        turned = plain + weight * lengths * taste.unit.to(own.device)
        blended = turned * (lengths / turned.norm(dim=-1, keepdim=True))
    else:
        raw = taste.raw(float(lengths.mean()) if otherwise is None else otherwise).to(own.device)
        blended = torch.lerp(plain, raw.expand_as(plain), weight)
    return blended.to(own.dtype)


def require_weight(weight: float) -> None:
    """Raise UsageError for a weight that is no number from 0 to 1."""
    wanted = "a number from 0 (the prompt alone) to 1 (the taste alone)"
    require_number(weight, "weight", wanted)
    if not 0 <= weight <= 1:
        raise UsageError(f"weight is {weight}: give {wanted}")


def _require_fits(name: str, size: int, space: Space | None, dimension: int, wanted_by: str) -> None:
    wanted = ENCODERS.get(dimension)
    if size == dimension and not (wanted and space and _is_catalogued(space) and space.differs(wanted)):
        return
    of = f" of {space or ENCODERS[size]}" if space or size in ENCODERS else ""
    model = f" of {wanted}" if wanted else ""
    how = f": `visunex-data encode --model {wanted.name}:{wanted.pretrained}` makes one" if wanted else ""
    raise EmbeddingSizeError(f"{name} is 1x{size}{of}, {wanted_by} takes 1x{dimension}{model}{how}")


def _is_catalogued(space: Space) -> bool:
    """Whether a space's name is one that others use too; a folder's or the demo's is not."""
    return not space.name.startswith(("local-dir:", "visunex-"))

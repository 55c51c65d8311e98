"""What the sections of a recipe are made of, and those that are no stage's."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Text = Annotated[str, Field(min_length=1)]
Count = Annotated[int, Field(ge=1, le=1_000_000_000)]
Number = Annotated[int, Field(ge=0, le=1_000_000_000)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Cosine = Annotated[float, Field(ge=-1, le=1)]
Positive = Annotated[float, Field(gt=0)]


class Section(BaseModel):
    """A frozen table of a recipe that refuses keys it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True, allow_inf_nan=False)


class Reference(Section):
    """The published embedding that the recipe reproduces, for comparison after a run."""

    name: Text = Field(description="Name of the published embedding.")
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = Field(
        default=None, description="SHA-256 of the published file."
    )
    tolerance: Positive | None = Field(
        default=None, description="Largest difference that counts as reproduced."
    )


class Generate(Section):
    """Defaults that `visunex-generate --recipe` takes for pictures in this taste."""

    model: Text | None = Field(
        default=None, description="Diffusion model: a Hub name, a folder or visunex-tiny."
    )
    prompt: Text | None = Field(default=None, description="What the picture shows.")
    aesthetic_steps: Number | None = Field(
        default=None, description="Steps the text tower is moved towards the taste."
    )
    aesthetic_lr: Positive | None = Field(default=None, description="Length of each such step.")
    ddim_steps: Count | None = Field(default=None, description="Steps of the sampler.")
    scale: float | None = Field(default=None, description="Guidance scale.")
    seed: int | None = Field(default=None, description="Seed of the noise.")

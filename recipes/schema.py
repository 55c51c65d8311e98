"""What a recipe says: one section per stage. Unknown keys are errors; see `README.md` for the table of keys."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

Match = Literal["substring", "word", "regex"]
Dedupe = Literal["url", "caption", "hash", "none"]
Reduction = Literal["mean", "unit-mean", "score-weighted", "median", "contrast"]
Precision = Literal["auto", "fp32", "bf16", "fp16"]

Keyword = Annotated[str, Field(min_length=1)]
Count = Annotated[int, Field(ge=1)]
Fraction = Annotated[float, Field(ge=0, le=1)]


class Section(BaseModel):
    """A frozen table of a recipe that refuses keys it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)


class Columns(Section):
    """The source's own column names, where they cannot be recognised."""

    url: str | None = None
    caption: str | None = None
    score: str | None = None
    width: str | None = None
    height: str | None = None
    similarity: str | None = None
    punsafe: str | None = None
    pwatermark: str | None = None
    hash: str | None = None


class Source(Section):
    """Where the metadata lies: a catalogue name, a path, a glob, or an https://, s3:// or hf:// address."""

    data: str = "improved_aesthetics_6.5plus"
    columns: Columns = Columns()


class Filter(Section):
    """Which rows are wanted, and how many."""

    keywords: tuple[Keyword, ...] = ()
    match: Match = "substring"
    exclude: tuple[Keyword, ...] = ()
    min_score: float | None = None
    max_score: float | None = None
    min_width: Count | None = None
    min_height: Count | None = None
    min_similarity: float | None = None
    max_punsafe: Fraction | None = None
    max_pwatermark: Fraction | None = None
    where: str | None = None
    dedupe: Dedupe = "url"
    top: Count = 2000
    reserve: Count | None = Field(default=None, description="candidates in all; four times top when absent")

    @property
    def candidates(self) -> int:
        """How many rows to keep for the download stage: the top ones and the reserve behind them."""
        return self.reserve if self.reserve is not None else 4 * self.top

    @model_validator(mode="after")
    def _reserve_holds_top(self) -> "Filter":
        if self.reserve is not None and self.reserve < self.top:
            raise ValueError(f"reserve is the number of candidates in all; {self.reserve} is less than top = {self.top}")
        return self


class Download(Section):
    """How the pictures are fetched and stored."""

    min_images: Annotated[int, Field(ge=0)] = 1
    shard_size: Literal[10, 100, 1000, 10000] = 1000
    processes: Count | None = None
    threads: Count = 32
    deadline: Annotated[float, Field(gt=0, description="seconds for one picture, everything included")] = 30
    retries: Annotated[int, Field(ge=0)] = 2
    resize: Count | None = Field(default=None, description="re-encode with this shorter side; absent: original bytes")
    min_image_size: Annotated[int, Field(ge=0)] = 0
    allow_private: bool = False


class Encode(Section):
    """The CLIP image tower, and how its vectors become one."""

    model: str = "ViT-L-14"
    pretrained: str | None = "openai"
    precision: Precision = "auto"
    batch_size: Count | None = None
    workers: Annotated[int, Field(ge=0)] | None = None
    reduce: Reduction = "unit-mean"
    baseline: str | None = None

    @model_validator(mode="after")
    def _contrast_has_baseline(self) -> "Encode":
        if (self.reduce == "contrast") != (self.baseline is not None):
            raise ValueError('reduce = "contrast" and baseline belong together: one without the other means nothing')
        return self


class Reference(Section):
    """The published embedding that the recipe reproduces, for comparison after a run."""

    name: str
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    tolerance: Annotated[float, Field(gt=0)] | None = None


class Generate(Section):
    """Defaults that `visunex-generate --recipe` takes for pictures in this taste."""

    model: str | None = None
    prompt: str | None = None
    aesthetic_steps: Annotated[int, Field(ge=0)] | None = None
    aesthetic_lr: Annotated[float, Field(gt=0)] | None = None
    ddim_steps: Count | None = None
    scale: float | None = None
    seed: int | None = None


class Recipe(Section):
    """Everything needed to make one aesthetic embedding, and to make it again."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    description: str = ""
    source: Source = Source()
    filter: Filter = Filter()
    download: Download = Download()
    encode: Encode = Encode()
    reference: Reference | None = None
    generate: Generate = Generate()

    @field_validator("source", mode="before")
    @classmethod
    def _bare_source(cls, value: object) -> object:
        """`source = "name"` is short for `[source] data = "name"`."""
        return {"data": value} if isinstance(value, str) else value

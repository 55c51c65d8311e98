"""The section of a recipe that says which rows of the metadata are wanted, and how many."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from .section import Cosine, Count, Fraction, Positive, Section, Text

Match = Literal["substring", "word", "regex"]
Dedupe = Literal["url", "caption", "hash", "none"]
Score = Literal["mean", "median", "any"]
Rank = Literal["likeness", "score", "random"]
Predictor = Literal["V1", "V2", "people"]
ScoredWith = Literal["V1", "V2", "sac"]

_LIMIT = re.compile(r"[^=]*[^=\s]\s*=\s*[1-9][0-9]{0,8}")
_LIKE = ("like", "like_images", "unlike", "unlike_images")
_LISTS = ("keywords", "exclude", "license", "max_per", *_LIKE)


class Filter(Section):
    """Which rows are wanted, and how many."""

    keywords: tuple[Text, ...] = Field(
        default=(),
        description="Keep captions with any of these; comma-separated or repeated (regex: repeated only).",
    )
    match: Match = Field(
        default="substring",
        description="How keywords match: anywhere, as a whole word, or as a regular expression.",
    )
    exclude: tuple[Text, ...] = Field(
        default=(), description="Drop captions with any of these, matched as keywords are."
    )
    min_score: float | None = Field(default=None, description="Lowest aesthetic score.")
    max_score: float | None = Field(default=None, description="Highest aesthetic score.")
    predictor: Predictor | None = Field(
        default=None,
        description="Whose scores the thresholds mean: LAION's predictor V1 or V2, or people's.",
    )
    score: Score = Field(
        default="mean",
        description="Which score of pictures that people rated (SAC): the ratings' mean, median or highest.",
    )
    min_ratings: Count | None = Field(default=None, description="Fewest people who rated the picture (SAC).")
    min_width: Count | None = Field(default=None, description="Smallest width in pixels.")
    min_height: Count | None = Field(default=None, description="Smallest height in pixels.")
    min_similarity: float | None = Field(
        default=None, description="Lowest CLIP similarity of picture and caption."
    )
    max_punsafe: Fraction | None = Field(
        default=None, description="Highest probability of being unsafe, 0 to 1."
    )
    max_pwatermark: Fraction | None = Field(
        default=None, description="Highest probability of a watermark, 0 to 1."
    )
    license: tuple[Text, ...] = Field(
        default=(),
        description="Keep pictures under one of these licences: as the source's column spells them, whatever "
        "the case, or Creative Commons' by name (CC0, CC BY; any version unless one is named); "
        "comma-separated or repeated.",
    )
    where: Text | None = Field(
        default=None, description="A further condition: an SQL expression over the source's own columns."
    )
    score_with: ScoredWith | None = Field(
        default=None,
        description="Rank by this predictor's scores of the vectors: of precomputed ones; where there are "
        "none, of the pictures' own, chosen after encode from all candidates.",
    )
    max_unsafe: Fraction | None = Field(
        default=None,
        description="Highest score by LAION's detector of unsafe pictures, of the same vectors.",
    )
    like: tuple[Text, ...] = Field(
        default=(),
        description="Rank by what pictures show: likeness to this text, by precomputed vectors; repeat.",
    )
    like_images: tuple[Text, ...] = Field(
        default=(), description="The same by a picture's file; repeat, or combine with like, to average."
    )
    unlike: tuple[Text, ...] = Field(
        default=(), description="And by how unlike pictures are to this text; repeat."
    )
    unlike_images: tuple[Text, ...] = Field(
        default=(), description="The same by a picture's file; repeat, or combine with unlike, to average."
    )
    unlike_weight: Positive = Field(
        default=0.5, description="How much what is unliked counts against what is liked."
    )
    min_likeness: Cosine | None = Field(
        default=None, description="Lowest likeness: the cosine of the two vectors, -1 to 1."
    )
    rank: Rank | None = Field(
        default=None,
        description="What the best rows are best in; random: drawn by lot, by seed and link (default: "
        "likeness with like, else score, else random).",
    )
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] = Field(
        default=0, description="Which draw rank = random is: the same seed, the same rows."
    )
    dedupe: Dedupe = Field(default="url", description="Keep only the best of rows that share this.")
    max_per: tuple[Text, ...] = Field(
        default=(),
        description="COLUMN=N: no more than N rows of one value, such as host=20 (of the link), artist=5; "
        "comma-separated or repeated. Rows without a value are not limited.",
    )
    dedupe_vectors: Annotated[float, Field(gt=0, le=1)] | None = Field(
        default=None,
        description="Leave out near copies: pictures whose vector (as above) has this cosine or more to that "
        "of a better one (0.95 for CLIP ViT-L/14; other encoders differ).",
    )
    top: Count = Field(default=2000, description="How many pictures are wanted: the best ones.")
    reserve: Count | None = Field(
        default=None, description="Candidates to keep in all, for dead links (default: four times top)."
    )

    @property
    def candidates(self) -> int:
        """How many rows to keep for the download stage: the top ones and the reserve behind them."""
        return self.reserve if self.reserve is not None else 4 * self.top

    @property
    def by_likeness(self) -> bool:
        """Whether rows are compared by what their pictures show."""
        return bool(self.like or self.like_images or self.unlike or self.unlike_images)

    @property
    def by_vectors(self) -> bool:
        """Whether anything is asked that rows' published vectors tell."""
        return self.by_likeness or self.on_vectors

    @property
    def on_vectors(self) -> bool:
        """Whether conditions are set that an image's own vector tells as well as a published one."""
        return any(each is not None for each in (self.score_with, self.max_unsafe, self.dedupe_vectors))

    @property
    def needs_vectors(self) -> bool:
        """Whether no row is selected without a vector, where these are published."""
        return self.by_likeness or self.score_with is not None or self.max_unsafe is not None

    @property
    def limits(self) -> dict[str, int]:
        """How many rows of one value are kept, by column."""
        pairs = (each.rpartition("=") for each in self.max_per)
        return {name.strip(): int(most) for name, _, most in pairs}

    @property
    def ranked_by(self) -> Rank:
        """The column of the selection that says which rows are the best; `score` where there is one."""
        return self.rank or ("likeness" if self.by_likeness else "score")

    @model_validator(mode="before")
    @classmethod
    def _comma_separated(cls, value: Any) -> Any:
        """`keywords = "a, b"` is short for `["a", "b"]`; a regular expression and a sentence keep theirs."""
        if not isinstance(value, Mapping):
            return value
        whole = value.get("match") == "regex"
        texts = {key: value[key] for key in _LISTS if isinstance(value.get(key), str)}
        split = {key: split_keywords(text, whole=whole or key in _LIKE) for key, text in texts.items()}
        return {**value, **split}

    @model_validator(mode="after")
    def _bounds_leave_something(self) -> "Filter":
        if self.reserve is not None and self.reserve < self.top:
            raise ValueError(
                f"reserve = {self.reserve} counts all candidates, so it cannot be below top = {self.top}"
            )
        if self.min_score is not None and self.max_score is not None and self.min_score > self.max_score:
            raise ValueError(f"min_score = {self.min_score} is above max_score = {self.max_score}")
        return self

    @field_validator("max_per")
    @classmethod
    def _limits_are_numbers(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for each in value:
            if not _LIMIT.fullmatch(each):
                raise ValueError(f"{each!r} is no COLUMN=N, such as host=20")
        return value

    @model_validator(mode="after")
    def _thresholds_are_of_one_predictor(self) -> "Filter":
        if None not in (self.score_with, self.predictor) and self.score_with != self.predictor:
            raise ValueError(
                f"score_with = {self.score_with!r} gives scores of another scale than the thresholds mean "
                f"(predictor = {self.predictor!r})"
            )
        return self

    @model_validator(mode="after")
    def _likeness_is_to_something(self) -> "Filter":
        if not self.by_likeness and (self.min_likeness is not None or self.rank == "likeness"):
            needs = (
                'rank = "likeness"' if self.min_likeness is None else f"min_likeness = {self.min_likeness}"
            )
            raise ValueError(f"{needs} needs like or like_images: likeness to what?")
        return self


def split_keywords(text: str, *, whole: bool = False) -> tuple[str, ...]:
    """The keywords of one comma-separated text; `whole` (for regular expressions) leaves commas alone."""
    return (text,) if whole else tuple(part.strip() for part in text.split(","))

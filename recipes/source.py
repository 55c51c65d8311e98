"""The section of a recipe that says where the metadata lies and what its columns are."""

from typing import Annotated

from pydantic import Field, field_validator

from .section import Section, Text


class Columns(Section):
    """The source's own column names, where they cannot be recognised."""

    url: Text | None = Field(default=None, description="Column with the picture's address.")
    image: Text | None = Field(
        default=None,
        description="Column with the picture itself, where a row has several, or with the path of its file "
        "under the folder of the metadata.",
    )
    caption: Text | None = Field(
        default=None,
        description="Column with the caption: texts, or lists of these; several (by commas) are joined.",
    )
    score: Text | None = Field(default=None, description="Column with the aesthetic score.")
    width: Text | None = Field(default=None, description="Column with the picture's width in pixels.")
    height: Text | None = Field(default=None, description="Column with the picture's height in pixels.")
    similarity: Text | None = Field(
        default=None, description="Column with the CLIP similarity of picture and caption."
    )
    punsafe: Text | None = Field(default=None, description="Column with the probability of being unsafe.")
    pwatermark: Text | None = Field(default=None, description="Column with the probability of a watermark.")
    hash: Text | None = Field(default=None, description="Column with a hash of the picture or row.")
    ratings: Text | None = Field(
        default=None, description="Column with the number of people who rated the picture."
    )
    license: Text | None = Field(default=None, description="Column with the picture's licence.")

    @field_validator("caption", mode="before")
    @classmethod
    def _several(cls, value: object) -> object:
        """`caption = ["artist", "title"]` is `"artist,title"`."""
        is_list = isinstance(value, list | tuple) and all(isinstance(each, str) for each in value)
        return ",".join(map(str, value)) if is_list and isinstance(value, list | tuple) else value


class Made(Section):
    """Columns put together from others, whose names stand in braces; a row that lacks a part has none."""

    url: Text | None = Field(
        default=None, description="The picture's address from other columns: 'https://host/{image_id}.jpg'."
    )
    caption: Text | None = Field(
        default=None, description="The caption from other columns: '{title}, {artist}'."
    )
    image: Text | None = Field(
        default=None,
        description="The picture's file under the folder of the metadata, or a member of a zip there: "
        "'part-{part_id:06}.zip#member={image_name}'.",
    )

    @property
    def templates(self) -> dict[str, str]:
        """Those that are asked for, by role."""
        return self.model_dump(exclude_none=True)


class Source(Section):
    """Where the metadata lies and what its columns are called."""

    data: Text = Field(
        default="improved_aesthetics_6.5plus",
        description="Metadata: a known name, a path, glob or folder, OWNER/NAME of a data set, or an "
        "https://, s3://, hf:// or datasets:// address.",
    )
    column_names: tuple[Text, ...] = Field(
        default=(),
        description="The columns' names, in order, of CSV or TSV files whose first line does not name them.",
    )
    max_bytes: Annotated[int, Field(ge=1, description="Most bytes fetched to convert a file.")] = 64 << 30
    columns: Columns = Columns()
    made: Made = Made()

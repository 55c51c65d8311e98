"""Records of text read by pyarrow, where they can be read in one way only: as csv.py reads them, and fast."""

import re
from collections.abc import Mapping, Sequence

import polars as pl
import pyarrow as pa
import pyarrow.csv as pc

from .records import Texts

__all__ = ["columns_of", "is_plain", "whole_records"]

# A field in quotes as everybody writes it: from the start of the field to its end, quotes in it doubled.
_QUOTED = re.compile(r'(?:\A|(?<=[,\n]))"[^"]*(?:""[^"]*)*"(?=[,\n]|\Z)')


def whole_records(lines: Sequence[str]) -> int:
    """How many of the lines end with a record of CSV, where quotes come in pairs; 0: none so far."""
    count = len(lines)
    if "".join(lines).count('"') % 2:
        while count and lines[count - 1].count('"') % 2 == 0:
            count -= 1
        count -= 1
    return max(count, 0)


def is_plain(text: str) -> bool:
    """Whether every quote in lines of CSV begins or ends a field, or is one of two in such a field."""
    return '"' not in text or '"' not in _QUOTED.sub("", text)


def columns_of(text: str, names: Sequence[str], separator: str) -> Mapping[str, Texts] | None:
    """The columns of lines with as many fields as there are names; None where they are not that simple.

    With commas they should be plain (see `is_plain`), with tabs a quote is a letter. Empty fields are null.
    """
    if "\r" in text or "\0" in text or text.startswith("\ufeff"):  # pyarrow would take that for a mark
        return None
    data = text.encode()
    places = [str(number) for number in range(len(names))]
    quoted = separator == "," and '"' in text
    try:
        table = pc.read_csv(
            pa.py_buffer(data),
            pc.ReadOptions(column_names=places, block_size=len(data) + 1, use_threads=False),
            pc.ParseOptions(
                delimiter=separator,
                quote_char='"' if quoted else False,
                newlines_in_values=quoted,
                ignore_empty_lines=True,
                invalid_row_handler=lambda _: "error",
            ),
            pc.ConvertOptions(
                column_types=dict.fromkeys(places, pa.string()), null_values=[""], strings_can_be_null=True
            ),
        )
    except pa.ArrowException:
        return None
    return {
        name: Texts(pl.Series(name, table.column(place), pl.String))
        for name, place in zip(names, places, strict=True)
    }

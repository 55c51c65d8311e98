"""Where a picture lies inside a file, as a text: what `selected.parquet` has in the column `location`."""

import re
import urllib.parse
from dataclasses import dataclass

__all__ = ["LOCATION", "ROW_DIGITS", "Location", "parse", "row_affixes"]

LOCATION = "location"  # the column of tables and selections that says where a row's picture lies
ROW_DIGITS = _OFFSET_DIGITS = (
    14  # of a row's number and an offset, so that texts are in the order of the file
)
_ROW = re.compile(r"row=(\d{1,18})&column=([^&#]+)")
_PLACE = re.compile(r"(bytes|zip)=(\d{1,18})\+(\d{1,18})(&packed=deflate)?&name=([^&#]*)")


@dataclass(frozen=True)
class Location:
    """A picture in a `file` (a path, or an https://, hf:// or s3:// address).

    In a table it stands in a `row` of a `column` (`jpg`, `image.bytes`); in a tar it is `size` bytes from
    `offset` on, of a member called `name`; in a zip (`zipped`) the member's own header lies at `offset`, and
    the bytes behind it may be `deflated`. Without any of these it is the file.
    """

    file: str
    row: int | None = None
    column: str | None = None
    offset: int = 0
    size: int | None = None
    zipped: bool = False
    deflated: bool = False
    name: str = ""

    def __str__(self) -> str:
        if self.row is not None:
            before, after = row_affixes(self.file, self.column or "")
            return f"{before}{self.row:0{ROW_DIGITS}d}{after}"
        if self.size is None:
            return self.file
        kind, packed = "zip" if self.zipped else "bytes", "&packed=deflate" if self.deflated else ""
        name = urllib.parse.quote(self.name, errors="replace")
        return f"{self.file}#{kind}={self.offset:0{_OFFSET_DIGITS}d}+{self.size}{packed}&name={name}"


def row_affixes(file: str, column: str) -> tuple[str, str]:
    """What stands before and behind the row's number in the text of a place in a table."""
    return f"{file}#row=", f"&column={urllib.parse.quote(column)}"


def parse(text: str) -> Location:
    """The location that a text names; one without a known form is a whole file."""
    file, mark, inside = text.rpartition("#")
    if mark and (found := _ROW.fullmatch(inside)):
        return Location(file, int(found[1]), urllib.parse.unquote(found[2]))
    if mark and (found := _PLACE.fullmatch(inside)):
        kind, begin, size, packed, name = found.groups()
        return Location(
            file,
            offset=int(begin),
            size=int(size),
            zipped=kind == "zip",
            deflated=packed is not None,
            name=urllib.parse.unquote(name),
        )
    return Location(text)

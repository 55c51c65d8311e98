"""Where a picture lies inside a file, as a text: what `selected.parquet` has in the column `location`."""

import re
import urllib.parse
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from visunex.images.errors import ImageError
from visunex.net.errors import FetchError

__all__ = [
    "LOCATION",
    "ROW_DIGITS",
    "Location",
    "Taken",
    "below",
    "parse",
    "place_of",
    "row_affixes",
    "taken",
]

LOCATION = "location"  # the column of tables and selections that says where a row's picture lies
ROW_DIGITS = _OFFSET_DIGITS = (
    14  # of a row's number and an offset, so that texts are in the order of the file
)
_FILE, _MEMBER = "#file=", "#member="
_ROW = re.compile(r"row=(\d{1,18})&column=([^&#]+)")
_PLACE = re.compile(r"(bytes|zip)=(\d{1,18})\+(\d{1,18})(&packed=deflate)?&name=([^&#]*)")


@dataclass(frozen=True)
class Location:
    """A picture in a `file` (a path, or an https://, hf:// or s3:// address).

    In a table it stands in a `row` of a `column` (`jpg`, `image.bytes`); in a tar it is `size` bytes from
    `offset` on, of a member called `name`; in a zip (`zipped`) the member's own header lies at `offset`, and
    the bytes behind it may be `deflated`. Without any of these it is the file.

    Where metadata names pictures by paths, `file` is what it says, under the `folder` of the metadata, and
    `member` the name of a member where that is a zip. Nothing of what it says is checked here.
    """

    file: str
    row: int | None = None
    column: str | None = None
    offset: int = 0
    size: int | None = None
    zipped: bool = False
    deflated: bool = False
    name: str = ""
    folder: str | None = None
    member: str | None = None

    @property
    def is_named(self) -> bool:
        """Whether the picture is known by what metadata calls it."""
        return self.folder is not None or self.member is not None

    def __str__(self) -> str:
        if self.is_named:
            before = "" if self.folder is None else f"{self.folder}{_FILE}"
            return f"{before}{self.file}{'' if self.member is None else f'{_MEMBER}{self.member}'}"
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


def below(folder: str) -> str:
    """What stands before a path in the text of a place that metadata in a folder names so."""
    return f"{folder}{_FILE}"


def parse(text: str) -> Location:
    """The location that a text names; one without a known form is a whole file."""
    folder, mark, path = text.partition(_FILE)
    named, inside_zip, member = (path if mark else text).partition(_MEMBER)
    if mark or inside_zip:
        return Location(named, folder=folder if mark else None, member=member if inside_zip else None)
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


def place_of(text: str) -> str:
    """The file that a location is in, or the folder under which metadata names it by a path."""
    found = parse(text)
    return found.file if found.folder is None else found.folder


Taken = tuple[Location, bytes | ImageError]


def taken(wanted: Sequence[Location], found: Iterable[bytes | ImageError]) -> Iterator[Taken]:
    """The picture at each location, as they are found one after another, or why there is none.

    What a parser of hostile bytes raises on the way is said of those that are left. Raises FetchError.
    """
    count = 0
    try:
        for each in found:
            yield wanted[count], each
            count += 1
        fault = "the file has fewer rows now"
    except FetchError:
        raise
    except Exception as error:  # parsers of hostile bytes raise anything
        fault = str(error)[:200] or type(error).__name__
    for location in wanted[count:]:
        yield location, ImageError("unreadable", fault)

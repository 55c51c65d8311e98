"""Pictures that metadata names by paths: files under the folder of the metadata, members of zips there."""

import urllib.parse
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from visunex.images.errors import ImageError
from visunex.net.errors import FetchError
from visunex.net.range_file import CONNECTIONS, as_file

from ..shards.image_tables import without_bytes
from ..shards.members import LeftOut, Member, bad_name, path_under
from ..shards.zips import listed_members
from .amount import Amount
from .location import Location
from .opened import is_remote, opened_file
from .reading import ImageFile, Taken

__all__ = ["NamedImages", "with_named"]

_LONGEST = 1 << 16  # bytes of a path
_STORES = ("hf://", "s3://")  # where the user's own keys are used; what lies on the web is for links


class _File:
    """A file that metadata names, opened once. Raises ImageError where it may not lie there."""

    def __init__(self, folder: str | None, name: str) -> None:
        self.address = _address(folder, name)
        self._opened = ImageFile(opened_file(self.address))

    @cached_property
    def _members(self) -> Mapping[str, Member]:
        """The members of a zip by their names, which its directory lists. Raises ImageError, FetchError."""
        try:
            found = listed_members(as_file(self._opened.file), LeftOut())
            return {each.name: each for each in found}
        except FetchError:
            raise
        except Exception as error:  # a hostile directory provokes anything
            raise ImageError("unreadable", f"no whole zip: {str(error)[:200]}") from None

    def _places(self, wanted: Sequence[Location]) -> dict[Location, Location]:
        """Where in the file those that are wanted lie."""
        places = {}
        for each in wanted:
            if each.member is None:
                places[Location(self.address)] = each
            elif (member := self._members.get(each.member)) is not None:
                offset, size = member.offset, member.size
                zipped = Location(self.address, None, None, offset, size, True, member.deflated, member.name)
                places[zipped] = each
        return places

    def images(self, wanted: Sequence[Location], most: int) -> Iterator[Taken]:
        """The picture at each location, or why there is none. Raises ImageError, FetchError."""
        places = self._places(wanted)
        for place, found in self._opened.images(list(places), most):
            yield places[place], found

    def amount(self, wanted: Sequence[Location], most: int) -> Amount:
        """How many bytes at most `images` moves. Raises ImageError, FetchError."""
        return self._opened.amount(list(self._places(wanted)), most)


class NamedImages:
    """The pictures at locations that metadata names, of at most so many bytes each."""

    def __init__(self, wanted: Sequence[Location], most: int) -> None:
        self._most = most
        self._by_file: dict[tuple[str, str], list[Location]] = {}
        for each in wanted:
            self._by_file.setdefault((each.folder or "", each.file), []).append(each)
        self._files: dict[tuple[str, str], _File] = {}

    def amount(self) -> Amount:
        """How much at most is moved from other machines. Raises FetchError."""
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            return sum(pool.map(self._amount_of, self._by_file), Amount())

    def images(self) -> Iterator[Taken]:
        """The picture at each location, or why there is none.

        Raises FetchError where a server does not say whether a file is there.
        """
        for name, wanted in sorted(self._by_file.items()):
            waiting = {str(each): each for each in wanted}
            fault = ImageError("missing", "the zip has no such member")
            try:
                for location, found in self._file(name).images(wanted, self._most):
                    yield waiting.pop(str(location)), found
            except ImageError as error:
                fault = error
            except FetchError as error:
                fault = _of_missing(error)
            for location in waiting.values():
                yield location, fault

    def _file(self, name: tuple[str, str]) -> _File:
        """Raises ImageError, FetchError."""
        found = self._files.get(name) or _File(name[0] or None, name[1])
        if is_remote(found.address):  # a file here is opened again for nothing
            self._files[name] = found
        return found

    def _amount_of(self, name: tuple[str, str]) -> Amount:
        try:
            file = self._file(name)
            return file.amount(self._by_file[name], self._most) if is_remote(file.address) else Amount()
        except ImageError:  # it is said when it is looked for
            return Amount()
        except FetchError as error:
            _of_missing(error)
            return Amount()


def _of_missing(error: FetchError) -> ImageError:
    """Why there is no picture where a server has no such file. Raises any other error again."""
    if error.status not in (404, 410):
        raise error
    return ImageError("missing", error.message)


def with_named(
    taken: Iterator[Taken], opened: ImageFile, file: str, most: int, allow: Callable[[Amount], None]
) -> Iterator[Taken]:
    """What was taken of an `opened` file; what of a table has no bytes, from the file that its `path` names.

    Hugging Face's `image: {bytes, path}` is so where the pictures were not put into the table, but lie beside
    it. `allow` is told how much is to be moved for them. Raises FetchError, and what `allow` does.
    """
    empty: list[Location] = []
    for location, found in taken:
        by_path = (location.column or "").endswith(".bytes")
        if by_path and isinstance(found, ImageError) and found.kind == "empty":
            empty.append(location)
        else:
            yield location, found
    paths = {replace(each, column=f"{(each.column or '').rpartition('.')[0]}.path"): each for each in empty}
    folder = file.rpartition("/")[0] or "/"
    named: dict[Location, list[Location]] = {}
    for place, found in opened.images(list(paths), _LONGEST) if paths else ():
        if isinstance(found, ImageError) or not found:
            yield paths[place], ImageError("empty", "the row has no bytes, and no path")
        else:
            path = Location(found.decode("utf-8", errors="replace"), folder=folder)
            named.setdefault(path, []).append(paths[place])
    images = NamedImages(list(named), most)
    allow(images.amount())
    for path, found in images.images():
        said = without_bytes(found) if isinstance(found, ImageError) else found
        yield from ((each, said) for each in named[path])


def _address(folder: str | None, name: str) -> str:
    """Where the file lies that metadata names. Raises ImageError where it may not lie there."""
    if folder is None or (name.startswith(_STORES) and _store(name) == _store(folder)):
        return name
    if "://" in name:
        option = "--image-column" if name.startswith(_STORES) else "--url-column"
        raise ImageError("address", f"{name[:100]!r} is an address: name its column with {option}")
    if not is_remote(folder):
        return str(path_under(Path(folder), name))
    if (reason := bad_name(name)) is not None:
        raise ImageError(reason, f"{name[:100]!r} does not lie under {folder}")
    return f"{folder}/{name if folder.startswith(_STORES) else urllib.parse.quote(name)}"


def _store(address: str) -> str:
    """The bucket of an `s3://` address, the repository of an `hf://` one whatever its revision."""
    parts = address.split("/")
    return "/".join(parts[: 3 if address.startswith("s3://") else 5]).partition("@")[0]

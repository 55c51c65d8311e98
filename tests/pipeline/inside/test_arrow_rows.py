"""Rows of Arrow files behind addresses: the right values, and few bytes beside them."""

import contextlib
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from standin import Page, StandIn, serving

from visunex.images.errors import ImageError
from visunex.net.errors import FetchError
from visunex.pipeline.inside.location import Location
from visunex.pipeline.inside.opened import opened_file
from visunex.pipeline.inside.reading import ImageFile

ROWS, BATCH, SIZE = 300, 100, 2000
OTHERS: dict[str, list[Any]] = {
    "number": [1, None, 3], "text": ["a", "bc", None], "flag": [True, None, False], "nothing": [None] * 3,
    "list": [[1, 2], None, []], "struct": [{"a": 1, "b": ["x"]}, None, {"a": 2, "b": []}],
}  # fmt: skip


@pytest.fixture
def web() -> Iterator[StandIn]:
    with serving({}) as server:
        yield server


def values() -> list[bytes | None]:
    chance = random.Random(0)
    found: list[bytes | None] = [chance.randbytes(chance.randrange(SIZE // 2, SIZE)) for _ in range(ROWS)]
    found[5], found[6], found[205] = None, b"", None
    return found


def written(path: Path, found: list[bytes | None], form: str, **options: Any) -> Path:
    images: Any = [None if data is None else {"path": "a.jpg", "bytes": data} for data in found]
    if form == "large":
        images = pa.array(found, pa.large_binary())
    columns = {name: each * (ROWS // 3) for name, each in OTHERS.items()}
    if form == "dictionary":
        columns["text"] = pa.array(columns["text"]).dictionary_encode()
    table = pa.table({**columns, "jpg" if form == "large" else "image": images, "last": range(ROWS)})
    new = pa.ipc.new_file if form == "file" else pa.ipc.new_stream
    with new(str(path), table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table, max_chunksize=BATCH)
    return path


def read(address: str, column: str, rows: list[int]) -> tuple[list[Any], int]:
    """The values, or why there is none; and how many bytes were said to be moved."""
    file = ImageFile(opened_file(address))
    wanted = [Location(address, row, column) for row in rows]
    said = file.amount(wanted, 1 << 20).bytes
    found = [data for _, data in file.images(wanted, 1 << 20)]
    return [each.described if isinstance(each, ImageError) else each for each in found], said


@pytest.mark.parametrize("form", ["stream", "file", "large", "dictionary", "packed"])
def test_only_the_values_are_moved_unless_they_are_packed(form: str, web: StandIn, tmp_path: Path) -> None:
    found, column = values(), "jpg" if form == "large" else "image.bytes"
    options = {"compression": "lz4"} if form == "packed" else {}
    web.pages["/a.arrow"] = Page(written(tmp_path / "a.arrow", found, form, **options).read_bytes())
    address, rows = f"{web.address}/a.arrow", [0, 4, 99, 100, 299]
    assert read(address, column, [*rows, 300])[0] == [
        *(found[row] for row in rows), "unreadable: the file has fewer rows now",
    ]  # fmt: skip
    assert read(address, column, [5, 6, 205])[0] == [
        "empty: the row has no bytes",
        b"",
        "empty: the row has no bytes",
    ]
    assert read(address, column, [*range(7, 200)])[0] == found[7:200]
    before, own = web.sent, sum(len(found[row] or b"") for row in rows)
    _, said = read(address, column, rows)
    heads = 3 * 3 * 16 * 1024  # what each batch says of itself, bits and offsets
    if form == "packed":
        assert said > ROWS * SIZE / 2
    else:
        assert said == own
        assert own < web.sent - before < own + heads


def test_files_that_are_broken_give_pictures_or_reasons(web: StandIn, tmp_path: Path) -> None:
    whole, chance = written(tmp_path / "a.arrow", values(), "stream").read_bytes(), random.Random(5)
    starts = [at for at in range(0, len(whole), 8) if whole[at : at + 4] == b"\xff\xff\xff\xff"]
    for _ in range(60):
        broken = bytearray(whole)
        for _ in range(chance.choice([1, 20])):  # where messages say what they are
            at = chance.choice(starts) + chance.randrange(1500)
            broken[min(at, len(broken) - 1)] = chance.randrange(256)
        web.pages["/a.arrow"] = Page(
            bytes(broken[: chance.choice([len(broken), chance.randrange(len(broken))])])
        )
        with contextlib.suppress(FetchError):
            read(f"{web.address}/a.arrow", "image.bytes", [0, 99, 150, 299])

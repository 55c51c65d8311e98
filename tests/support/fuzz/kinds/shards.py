"""Tars, zips and parquet files with pictures inside; the files beside a tar that say what is in it."""

import contextlib
import io
import json
import zipfile
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from shard_files import JPEG, img2dataset_shard, tar

from ..loader import Seed, loader

_MEMBERS = {
    "a.jpg": JPEG,
    "a.json": b'{"score": 1, "caption": "a", "url": "https://h/1"}',
    "a.txt": b"a caption",
    "b.2.jpg": JPEG,
    "c": b"",
    "long" * 40 + ".jpg": JPEG,
}


def _checked(data: bytes) -> bytes:
    """A tar whose headers have the right check sums again, so that what they say is believed."""
    fixed = bytearray(data)
    for at in range(0, len(fixed) - 511, 512):
        if fixed[at + 257 : at + 262] == b"ustar":
            fixed[at + 148 : at + 156] = b" " * 8
            fixed[at + 148 : at + 156] = b"%06o\0 " % sum(fixed[at : at + 512])
    return bytes(fixed)


def _tars(folder: Path) -> Iterable[Seed]:
    data = tar(folder / "made.tar", _MEMBERS).read_bytes()
    for each in (data, 2 * data):
        yield Seed("x.tar", each)
        yield Seed("x.tar", each, _checked)
    headers = b"".join(
        data[at : at + 512] for at in range(0, len(data), 512) if data[at + 257 : at + 262] == b"ustar"
    )
    yield Seed("x.tar", headers, _checked)


def _zips(_: Path) -> Iterable[Seed]:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for number, (name, data) in enumerate(_MEMBERS.items()):
            kind = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)[number % 4]
            archive.writestr(name, data, kind)
    whole = buffer.getvalue()
    yield Seed("x.zip", whole)
    index = whole.index(b"PK\x01\x02")  # the list of members at the end, where zip readers begin
    yield Seed("x.zip", whole[index:], lambda bent: whole[:index] + bent)


def _tables(_: Path) -> Iterable[Seed]:
    images = [{"bytes": JPEG, "path": "p"}] * 3
    for table in (
        pa.table({"key": ["1", "2", "3"], "image": images, "caption": ["a", None, "c"]}),
        pa.table({"jpg": [JPEG, JPEG, None], "key": [1, 2, 3], "score": [1.0, None, 3.0]}),
    ):
        buffer = io.BytesIO()
        pq.write_table(table, buffer)
        yield Seed("x.parquet", buffer.getvalue())


def _read(path: Path) -> None:
    from visunex.images.errors import ImageError
    from visunex.pipeline.shards.members import LeftOut
    from visunex.pipeline.shards.samples import samples, sources

    left_out = LeftOut()
    found = list(samples(sources([path]), left_out))
    assert len(found) <= 100
    for sample in found:
        with contextlib.suppress(ImageError):
            assert len(sample.read()) < 2**20
    assert all(left_out.damaged.values())


for _name, _seeds in (("tar", _tars), ("zip", _zips), ("pictures in parquet", _tables)):
    loader(_name, _seeds)(_read)


def _beside(folder: Path) -> Iterable[Seed]:
    shard = img2dataset_shard(folder / "shards", 0, 3, failed=1)
    for suffix in (".parquet", "_stats.json", ".tar"):
        path = shard.with_name(shard.stem + suffix)
        data = path.read_bytes() if suffix != "_stats.json" else _stats(folder)
        yield Seed(f"shards/{path.name}", data)


def _stats(folder: Path) -> bytes:
    from visunex.pipeline.shards.made import note_files

    stats = folder / "shards" / "00000_stats.json"
    stats.write_text(json.dumps({"count": 4, "successes": 3, "status_dict": {"success": 3}}))
    note_files(stats, folder / "shards" / "00000.tar", folder / "shards" / "00000.parquet")
    return stats.read_bytes()


@loader("beside a shard", _beside)
def _read_beside(path: Path) -> None:
    from visunex.pipeline.shards.made import is_made
    from visunex.pipeline.shards.sidecar import hashes_beside

    folder = path.parent
    is_made(folder, 0)
    hashes_beside(folder / "00000.tar")
    _read(folder / "00000.tar")

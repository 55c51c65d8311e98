"""Mutated tars, zips, parquet files: pictures, or a named failure. A fixed seed; VISUNEX_FUZZ: how many."""

import contextlib
import os
import random
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from shard_files import JPEG, tar

from visunex.images.errors import ImageError
from visunex.pipeline.errors import EncodeError
from visunex.pipeline.shards.members import LeftOut
from visunex.pipeline.shards.samples import samples, sources

COUNT = int(os.environ.get("VISUNEX_FUZZ", "1500"))

pytestmark = pytest.mark.fuzz


def seeds(folder: Path) -> dict[str, bytes]:
    members = {
        "a.jpg": JPEG,
        "a.json": b'{"score": 1}',
        "b.2.jpg": JPEG,
        "c": b"",
        "long" * 40 + ".jpg": JPEG,
    }
    whole = {"x.tar": 2 * tar(folder / "x.tar", members).read_bytes()}
    with zipfile.ZipFile(folder / "x.zip", "w") as archive:
        for number, (name, data) in enumerate(members.items()):
            archive.writestr(name, data, zipfile.ZIP_DEFLATED if number % 2 else zipfile.ZIP_STORED)
    images = [{"bytes": JPEG, "path": "p"}] * 3
    pq.write_table(pa.table({"key": ["1", "2", "3"], "image": images}), folder / "x.parquet")
    return whole | {name: (folder / name).read_bytes() for name in ("x.zip", "x.parquet")}


def mutated(data: bytes, dice: random.Random) -> bytes:
    bent = bytearray(data)
    for _ in range(dice.randint(1, 6)):
        # Tars and members' headers at the start, the indexes of zip and parquet at the end.
        at = int(len(bent) * dice.choice([dice.random(), 1 - 0.1 * dice.random()]))
        match dice.randrange(3):
            case 0:
                bent[at : at + 1] = dice.randbytes(1)
            case 1:
                bent[at : at + 4] = dice.choice([b"\0" * 4, b"\xff" * 4, b"\x7f\xff\xff\xff"])
            case _:
                del bent[at : at + dice.randint(1, 600)]
    return bytes(bent)


def test_mutated_containers_give_pictures_or_a_named_failure(tmp_path: Path) -> None:
    dice, whole = random.Random(14), seeds(tmp_path)
    for number in range(COUNT):
        name = dice.choice(sorted(whole))
        path = tmp_path / name
        path.write_bytes(mutated(whole[name], dice))
        left_out = LeftOut()
        with contextlib.suppress(EncodeError):
            found = list(samples(sources([path]), left_out))
            assert len(found) <= 10, number
            for sample in found:
                with contextlib.suppress(ImageError):
                    assert len(sample.read()) < 2**20
        assert all(left_out.damaged.values()), number

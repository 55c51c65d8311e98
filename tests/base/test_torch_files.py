"""Files of torch.save from strangers: what they ask for is known before anything takes memory or runs."""

import contextlib
import io
import os
import pickle
import random
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from visunex.aesthetic_embeddings import EmbeddingError, load
from visunex.generate.checkpoint.reader import read_weights
from visunex.generate.errors import CheckpointError

INPUTS = int(os.environ.get("VISUNEX_FUZZ", "400"))
GIGABYTES = struct.pack("<i", 2**31 - 1)
BYTEARRAY = b"cbuiltins\nbytearray\nJ" + GIGABYTES + b"\x85R"


def saved(value: object, **options: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, **options)
    return buffer.getvalue()


def archive_of(pickled: bytes, *, compression: int = zipfile.ZIP_STORED, comment: bytes = b"") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        archive.writestr("archive/data.pkl", pickled)
        archive.writestr("archive/version", "3\n")
        archive.comment = comment
    return buffer.getvalue()


def legacy_of(pickled: bytes) -> bytes:
    parts = (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})
    return b"".join(pickle.dumps(part, 2) for part in parts) + pickled + pickle.dumps([], 2)


def packed(text: bytes, codec: bytes, times: int) -> bytes:
    """A text of which `_codecs.encode` makes bytes, by latin1 and then so many times by `codec`."""

    def word(value: bytes) -> bytes:
        return b"X" + struct.pack("<I", len(value)) + value

    call = b"c_codecs\nencode\n("
    return call * (times + 1) + word(text) + word(b"latin1") + b"tR" + (word(codec) + b"tR") * times


PLAIN = torch.linspace(-1, 1, 768)
BOMBS = {
    "a bare pickle": b"\x80\x02" + BYTEARRAY + b".",
    "in an archive": archive_of(b"\x80\x02](" + BYTEARRAY * 2 + b"e."),
    "in the old format": legacy_of(b"\x80\x02" + BYTEARRAY + b"."),
    "in place of the old format's version": pickle.dumps(0x1950A86A20F9469CFC6C, 2)
    + b"\x80\x02"
    + BYTEARRAY
    + b".",
    "a storage that is called": archive_of(b"\x80\x02ctorch\nTensor\nJ" + GIGABYTES + b"\x85R."),
    "a compressed archive": archive_of(b"\x80\x02N." + b"\0" * 4_000_000, compression=zipfile.ZIP_DEFLATED),
    "a second directory in a comment": archive_of(b"\x80\x02N.", comment=b"PK\x05\x06" + b"\0" * 18),
    "a name put together": archive_of(
        b"\x80\x04\x8c\x08builtins\x8c\tbytearray\x93J" + GIGABYTES + b"\x85R."
    ),
    "bytes doubled again and again": archive_of(b"\x80\x02" + packed(b"a" * 9, b"hex", 40) + b"."),
    "a long text encoded again and again": archive_of(
        b"\x80\x02" + packed(b"a" * 2**20, b"latin1", 2000) + b"."
    ),
    "a name of Python 2": archive_of(b"\x80\x02ccommands\ngetoutput\nX\x02\0\0\0id\x85R."),
    "nothing": b"",
    "a cut one": saved(PLAIN)[:-40],
}
MEASURE = """
import resource, sys
from visunex.aesthetic_embeddings import EmbeddingError, load
import torch
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    load(sys.argv[1])
except EmbeddingError as error:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.parametrize("case", BOMBS)
def test_what_asks_for_more_than_tensors_is_refused(tmp_path: Path, case: str) -> None:
    (tmp_path / "a.pt").write_bytes(BOMBS[case])
    (tmp_path / "a.ckpt").write_bytes(BOMBS[case])
    with pytest.raises(EmbeddingError):
        load(tmp_path / "a.pt")
    with pytest.raises(CheckpointError):
        read_weights(tmp_path / "a.ckpt")


def test_a_bomb_takes_no_memory(tmp_path: Path) -> None:
    (tmp_path / "a.pt").write_bytes(BOMBS["in an archive"])
    command = [sys.executable, "-c", MEASURE, tmp_path / "a.pt"]
    done = subprocess.run(command, capture_output=True, encoding="utf-8")
    assert int(done.stdout) < 100_000, done.stderr  # KiB; it took 4 GB


def quantised() -> torch.Tensor:
    return torch.quantize_per_tensor(PLAIN, 0.1, 0, torch.qint8)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: torch.empty(768, device="meta"), "meta"),
        (lambda: torch.nested.nested_tensor([torch.ones(3), torch.ones(4)]), "nested"),
        (quantised, "quantised"),
        (lambda: torch.ones(4, 4).to_sparse(), "sparse"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_tensors_without_plain_numbers_are_named(
    tmp_path: Path, make: Callable[[], torch.Tensor], said: str
) -> None:
    (tmp_path / "a.pt").write_bytes(saved(make()))
    with pytest.raises(EmbeddingError, match=said):
        load(tmp_path / "a.pt")
    (tmp_path / "a.ckpt").write_bytes(saved({"state_dict": {"a": make()}}))
    with pytest.raises(CheckpointError, match=said):
        read_weights(tmp_path / "a.ckpt")


def test_a_view_that_claims_to_be_huge_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.ckpt").write_bytes(saved({"a": torch.ones(1).expand(10**12)}))
    with pytest.raises(CheckpointError, match="without all of its numbers"):
        read_weights(tmp_path / "a.ckpt")
    (tmp_path / "a.pt").write_bytes(saved(torch.ones(1).expand(10**12)))
    with pytest.raises(EmbeddingError, match="shape"):
        load(tmp_path / "a.pt")


def test_what_a_trainer_leaves_beside_the_weights_does_no_harm(tmp_path: Path) -> None:
    import argparse
    import datetime

    content = {
        "state_dict": {"a": PLAIN, "steps": torch.tensor(3)},
        "best": np.float64(0.25),
        "history": np.arange(4),
        "options": argparse.Namespace(lr=1e-4),
        "began": datetime.datetime(2022, 8, 1),
        "seen": {1, 2},
    }
    for name, zipped in (("new.ckpt", True), ("old.ckpt", False), ("odd.safetensors", True)):
        (tmp_path / name).write_bytes(saved(content, _use_new_zipfile_serialization=zipped))
        found = read_weights(tmp_path / name)
        assert found.keys() == {"a", "steps"}
        assert torch.equal(found["a"], PLAIN)


def test_a_dictionary_that_holds_itself_is_read_once(tmp_path: Path) -> None:
    content: dict[str, object] = {"a": PLAIN}
    content["state_dict"] = content
    (tmp_path / "a.ckpt").write_bytes(saved(content))
    assert read_weights(tmp_path / "a.ckpt").keys() == {"a"}


def test_what_is_in_a_file_decides_whatever_it_is_called(tmp_path: Path) -> None:
    from safetensors.torch import save

    (tmp_path / "a.ckpt").write_bytes(save({"a": PLAIN}))
    assert torch.equal(read_weights(tmp_path / "a.ckpt")["a"], PLAIN)


@pytest.mark.fuzz
@pytest.mark.filterwarnings("ignore")
def test_mutated_files_load_or_are_refused(tmp_path: Path) -> None:
    chance = random.Random(7)
    originals = [
        saved(PLAIN),
        saved(PLAIN, _use_new_zipfile_serialization=False),
        saved({"state_dict": {"a": PLAIN, "n": np.float32(1)}}),
        *BOMBS.values(),
    ]
    for _ in range(INPUTS):
        data = bytearray(chance.choice(originals))
        for _ in range(chance.randint(1, 6)):
            if data:
                data[chance.randrange(len(data))] = chance.randrange(256)
        if chance.random() < 0.2:
            data = data[: chance.randrange(len(data) + 1)]
        path = tmp_path / "a.pt"
        path.write_bytes(data)
        for read, error in ((load, EmbeddingError), (read_weights, CheckpointError)):
            with contextlib.suppress(error):
                read(path)

"""The `.pt` file written and read without torch: what torch itself, and the web UI's check, make of it."""

import io
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from visunex.aesthetic_embeddings import catalogue, load, save
from visunex.aesthetic_embeddings.tensorfile import read_plain, tensor_bytes

# The names that the web UI lets a .pt file hold: its first rule (2022), and the two that followed.
WEB_UI = (
    r"archive/(data/\d+|version|data\.pkl)",
    r"[^/]+/(data/\d+|version|data\.pkl)",
    r"[^/]+/(data/\d+|version|byteorder|.data/serialization_id|data\.pkl)",
)


def members(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def by_torch(tensor: torch.Tensor) -> bytes:
    buffer = io.BytesIO()
    torch.save(tensor, buffer)
    return buffer.getvalue()


@pytest.mark.parametrize("size", [2, 255, 256, 512, 768, 65535, 65536])
@pytest.mark.parametrize("rows", [1, None])
def test_each_member_is_what_torch_saves(size: int, rows: int | None) -> None:
    vector = np.linspace(-1, 1, size, dtype=np.float32).reshape((size,) if rows is None else (rows, size))
    data = tensor_bytes(vector)
    ours, theirs = members(data), members(by_torch(torch.from_numpy(vector.copy())))
    assert list(ours) == ["archive/data.pkl", "archive/data/0", "archive/version"]
    assert ours == {name: theirs[name] for name in ours}
    for weights_only in (True, False):
        back = torch.load(io.BytesIO(data), weights_only=weights_only)
        assert (back.shape, back.dtype) == (vector.shape, torch.float32)
        assert torch.equal(back, torch.from_numpy(vector))


def test_the_numbers_lie_where_torch_aligns_them_and_can_be_mapped(tmp_path: Path) -> None:
    for size in range(2, 300, 7):
        data = tensor_bytes(np.arange(1, size + 1, dtype=np.float32))
        for member in zipfile.ZipFile(io.BytesIO(data)).infolist():
            name, extra = (int.from_bytes(data[member.header_offset + at :][:2], "little") for at in (26, 28))
            assert (member.header_offset + 30 + name + extra) % 64 == 0
            assert (member.compress_type, member.date_time[0]) == (zipfile.ZIP_STORED, 1980)
    save(tmp_path / "a.pt", np.arange(1, 769, dtype=np.float32), {})
    assert torch.load(tmp_path / "a.pt", weights_only=True, mmap=True)[0, 767] == 768


@pytest.mark.parametrize("rule", WEB_UI)
def test_the_web_uis_check_lets_it_pass(rule: str) -> None:
    assert all(re.fullmatch(rule, name) for name in members(tensor_bytes(np.ones((1, 768), np.float32))))


@pytest.mark.parametrize("name", list(catalogue()))
def test_published_files_have_the_same_members_and_need_no_torch(reference: Path, name: str) -> None:
    data = (reference / f"aesthetic_embeddings/{name}.pt").read_bytes()
    assert list(members(data)) == list(members(tensor_bytes(np.ones((1, 768), np.float32))))
    values = read_plain(data)
    assert values is not None
    assert torch.equal(torch.from_numpy(values.copy()), torch.load(io.BytesIO(data), map_location="cpu"))


def test_what_todays_torch_saves_needs_no_torch_either() -> None:
    for kind in (torch.float16, torch.float32, torch.float64):
        values = read_plain(by_torch(torch.linspace(-1, 1, 768).to(kind)))
        assert values is not None
        assert torch.equal(torch.from_numpy(values.copy()), torch.linspace(-1, 1, 768).to(kind))


def test_anything_else_is_left_to_torch() -> None:
    vector = torch.ones(1, 768)
    others = (
        torch.nn.Parameter(vector),
        vector.repeat(2, 1),
        vector.repeat(2, 1)[1:],
        vector.bfloat16(),
        [vector],
    )
    assert [read_plain(by_torch(other)) for other in others] == [None] * len(others)  # type: ignore[arg-type]
    big = members(by_torch(vector)) | {"archive/byteorder": b"big"}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in big.items():
            archive.writestr(name, data)
    assert read_plain(buffer.getvalue()) is None


GOOD = tensor_bytes(np.linspace(-1, 1, 16, dtype=np.float32))


@given(position=st.integers(0, len(GOOD) - 1), value=st.integers(0, 255))
def test_a_changed_byte_leaves_the_numbers_as_they_were_or_unread(position: int, value: int) -> None:
    data = bytearray(GOOD)
    data[position] = value
    values = read_plain(bytes(data))
    assert values is None or (values == np.linspace(-1, 1, 16, dtype=np.float32)).all()


def test_saving_comparing_and_loading_do_not_load_torch(tmp_path: Path) -> None:
    program = (
        "import sys, numpy; from visunex.aesthetic_embeddings import compare, load, save\n"
        "save('a.pt', numpy.ones(768), {}); assert compare(load('a.pt'), load('a.pt')) == 1\n"
        "assert load('a.pt').provenance\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=False).returncode == 0
    assert load(tmp_path / "a.pt").dimension == 768

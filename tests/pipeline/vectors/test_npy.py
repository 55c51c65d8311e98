"""Headers of .npy files that are damaged or lie: each reader of vectors names the file."""

from pathlib import Path

import numpy as np
import pytest
from pages import served
from published_vectors import published

from visunex.pipeline.errors import EncodeError
from visunex.pipeline.vectors.catalog import read_published
from visunex.pipeline.vectors.lookup import Hit, read_rows
from visunex.pipeline.vectors.npy import as_float32
from visunex.pipeline.vectors.remote_store import open_folder
from visunex.pipeline.vectors.store import read_vectors


def headed(text: str, version: bytes = b"\1\0", length: int | None = None) -> bytes:
    size = len(text) if length is None else length
    return (
        b"\x93NUMPY" + version + size.to_bytes(2 if version < b"\2" else 4, "little") + text.encode("latin1")
    )


def of(shape: str, kind: str = "'<f4'", more: str = "") -> str:
    return f"{{'descr': {kind}, 'fortran_order': False, 'shape': {shape}, {more}}}\n"


HEADERS = {
    "six bytes": b"\x93NUMPY",
    "no length": b"\x93NUMPY\1\0",
    "an unknown version": headed(of("(5, 768)"), b"\x09\0"),
    "longer than the file": headed(of("(5, 768)"), length=60_000),
    "4 GB": headed(of("(5, 768)"), b"\2\0", 0xFFFFFFF0),
    "TokenError": headed("{'a':((((((((((((\n"),
    "a text that never ends": headed("{'descr': '<f4\n"),
    "deep": headed("(" * 9000 + ")" * 9000 + "\n"),
    "OverflowError": headed(of("(99999999999999999999999, 768)")),
    "a product beyond a machine's": headed(of("(4611686018427387904, 768)")),
    "below nothing": headed(of("(-5, 768)")),
    "terabytes": headed(of("(999999999, 768)")),
    "texts for sizes": headed(of("('5', 768)")),
    "no sizes": headed(of("None")),
    "objects": headed(of("(5, 768)", "'|O'")),
    "no type": headed(of("(5, 768)", "'<f3'")),
    "a type of types": headed(of("(5, 768)", "[" * 50 + "('a', '<f4')" + "]" * 50)),
    "a key too many": headed(of("(5, 768)", more="'x': 1")),
    "not latin": headed("\xff\xfe" * 20),
    "a bound name": headed(of("(5, 768)", "__import__('os').abort()")),
}


@pytest.mark.parametrize("name", HEADERS)
def test_a_damaged_header_is_an_error_with_the_files_name(name: str, tmp_path: Path) -> None:
    published(tmp_path / "v", (5,))
    path = tmp_path / "v/img_emb/img_emb_0.npy"
    path.write_bytes(HEADERS[name])
    with pytest.raises(EncodeError, match=r"img_emb_0\.npy "):
        read_vectors(tmp_path / "v")
    with pytest.raises(EncodeError, match=r"img_emb_0\.npy "):
        read_published(str(path))
    pages = {f"/v/{file.relative_to(tmp_path / 'v')}": file for file in (tmp_path / "v").rglob("*.*")}
    with served(pages) as address:
        for place in (f"{address}/v", str(tmp_path / "v")):
            with pytest.raises(EncodeError, match=r"img_emb_0\.npy "):
                read_rows(open_folder(place), [Hit(0, 3, None)])


def test_every_float16_is_the_same_in_float32() -> None:
    halves = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    with np.errstate(all="raise"):
        finite = halves[np.isfinite(halves)]
        assert np.array_equal(as_float32(finite).view(np.uint32), finite.astype(np.float32).view(np.uint32))
        assert np.array_equal(as_float32(finite.astype(">f2")), finite.astype(np.float32))
        assert as_float32(finite[:0]).shape == (0,)
        assert np.array_equal(as_float32(finite[:9].reshape(3, 3)[:, ::2]), finite[:9].reshape(3, 3)[:, ::2])
    assert np.array_equal(as_float32(halves), halves.astype(np.float32), equal_nan=True)

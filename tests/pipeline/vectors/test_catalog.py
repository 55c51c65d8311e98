"""Published vectors by name: from a mirror or a file of one's own, checked; an error says what is wrong."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from pages import served

from visunex.pipeline.errors import EncodeError
from visunex.pipeline.vectors.catalog import catalogue, read_published


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("VISUNEX_MIRROR", raising=False)


def test_a_mirror_may_be_an_address_and_what_it_sends_is_checked(
    reference: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = (reference / "laion_ratings_vit_l_14/rating7.npy").read_bytes()
    pages = {"/m/laion_ratings_vit_l_14/rating7.npy": file, "/m/laion_ratings_vit_l_14/rating8.npy": file}
    with served(pages) as address:
        monkeypatch.setenv("VISUNEX_MIRROR", f"{address}/m")
        assert read_published("laion_ratings_vit_l_14/rating7").vectors.shape == (1, 768)
        with pytest.raises(EncodeError, match="is not the published laion_ratings_vit_l_14/rating8"):
            read_published("laion_ratings_vit_l_14/rating8")
        with pytest.raises(EncodeError, match="404"):
            read_published("laion_ratings_vit_l_14/rating9")
    assert read_published("laion_ratings_vit_l_14/rating7").vectors.shape == (1, 768)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no array"),
        (b"<html>", "no array"),
        (b"\x93NUMPY", "no array"),
        (b"\x93NUMPY\x01\x00\x10\x00{'a':((((((((((((", "no array"),
        (
            b"\x93NUMPY\x01\x00\x76\x00{'descr': '<f4', 'fortran_order': False, 'shape': (999999999, 768), }",
            "no array",
        ),
        (np.array(["text"]), "floats"),
        (np.array([{"a": 1}], dtype=object), "no array"),
        (np.zeros((0, 8)), "no vectors"),
        (np.zeros((2, 8)), "not zero"),
        (np.full((1, 8), np.nan), "none that is finite"),
        (np.zeros((2, 2, 2)), "floats"),
    ],
)
def test_files_that_hold_no_vectors_are_named(content: object, said: str) -> None:
    if isinstance(content, bytes):
        Path("bad.npy").write_bytes(content)
    else:
        np.save("bad", content, allow_pickle=True)  # type: ignore[arg-type]
    with pytest.raises(EncodeError, match=rf"bad\.npy .*{said}"):
        read_published("bad.npy")


def test_the_catalogue_names_what_is_in_the_reference_data(reference: Path) -> None:
    for name, entry in catalogue().items():
        assert hashlib.sha256((reference / f"{name}.npy").read_bytes()).hexdigest() == entry.sha256
        assert entry.url.startswith("https://raw.githubusercontent.com/LAION-AI/aesthetic-predictor/")

"""Loading what anyone may have saved, refusing what is no embedding, saving the same bytes each time."""

import contextlib
import io
import json
import os
import pickle
import re
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from visunex import aesthetic_embeddings
from visunex.aesthetic_embeddings import Embedding, EmbeddingError, catalogue, load, save

VECTOR = np.linspace(-1, 1, 768, dtype=np.float32)


class Evil:
    """A pickle that would create a file when it is loaded the ordinary way."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.target}",)


def saved(path: Path, value: object) -> Path:
    torch.save(value, path)
    return path


@pytest.mark.parametrize("name", list(catalogue()))
def test_all_published_files_load(reference: Path, name: str) -> None:
    entry = catalogue()[name]
    embedding = load(reference / "aesthetic_embeddings" / f"{name}.pt")
    assert embedding.vector.shape == (1, 768)
    assert embedding.vector.dtype == np.float32
    assert embedding.shape == entry.shape
    assert embedding.name == name
    facts = next(
        line for line in (reference / "README.md").read_text().splitlines() if line.startswith(f"| {name} |")
    )
    _, _, _, dtype, norm, *_ = facts.split("|")
    assert embedding.norm == pytest.approx(float(norm), abs=5e-4)
    assert embedding.dtype == dtype.strip().replace("fp", "float")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(768,), (1, 768), (1, 512)])
def test_floats_of_any_width_and_both_shapes_load(
    tmp_path: Path, dtype: torch.dtype, shape: tuple[int, ...]
) -> None:
    tensor = torch.linspace(-1, 1, shape[-1], dtype=torch.float64).reshape(shape).to(dtype)
    embedding = load(saved(tmp_path / "a.pt", tensor))
    assert torch.equal(embedding.tensor(), tensor.float().reshape(1, -1))
    assert (embedding.dtype, embedding.shape) == (str(dtype)[6:], shape)


def test_parameters_views_and_the_old_file_format_load(tmp_path: Path) -> None:
    tensor = torch.from_numpy(VECTOR.copy())
    assert np.array_equal(load(saved(tmp_path / "p.pt", torch.nn.Parameter(tensor))).vector[0], VECTOR)
    assert np.array_equal(load(saved(tmp_path / "v.pt", tensor.repeat(4, 1)[2:3])).vector[0], VECTOR)
    torch.save(tensor, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    assert np.array_equal(load(tmp_path / "old.pt").vector[0], VECTOR)


def zip_of(pickled: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", pickled)
        archive.writestr("archive/version", "3\n")
    return buffer.getvalue()


def bomb() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"x")
        archive.writestr("archive/data/0", bytes(64 * 1024**2))
    return buffer.getvalue()


GOOD = io.BytesIO()
torch.save(torch.from_numpy(VECTOR.copy()), GOOD)

BAD_BYTES = {
    "empty": (b"", "empty file"),
    "web page": (b"\n<!DOCTYPE html><html><body>404</body></html>", "web page"),
    "git-lfs pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git-lfs"),
    "truncated": (GOOD.getvalue()[:1500], "cut off"),
    "one byte short": (GOOD.getvalue()[:-1], "cut off"),
    "noise": (bytes(range(256)) * 8, "not a file that torch.save wrote"),
    "huge": (bytes(9 * 1024**2), "larger than 8 MB"),
    "zip bomb": (bomb(), "compressed archive"),
    "bare pickle": (pickle.dumps({"a": 1}), "not a"),
}


@pytest.mark.parametrize("case", list(BAD_BYTES))
def test_files_that_are_no_embedding_are_refused_with_a_sentence(tmp_path: Path, case: str) -> None:
    data, sentence = BAD_BYTES[case]
    path = tmp_path / "x.pt"
    path.write_bytes(data)
    assert_refused(path, sentence)


BAD_VALUES: dict[str, tuple[Any, str]] = {
    "two rows": (torch.ones(2, 768), "shape 2x768"),
    "three axes": (torch.ones(1, 1, 768), "shape 1x1x768"),
    "a number": (torch.tensor(1.0), "single number"),
    "no elements": (torch.ones(1, 0), "shape 1x0"),
    "one element": (torch.ones(1, 1), "shape 1x1"),
    "a tensor that claims to be huge": (torch.ones(1).expand(1, 10**12), "shape 1x1000000000000"),
    "NaN": (torch.tensor([[1.0, float("nan")]]), "NaN"),
    "infinity": (torch.tensor([[1.0, float("inf")]]), "infinity"),
    "zeros": (torch.zeros(1, 768), "all zeros"),
    "integers": (torch.ones(1, 768, dtype=torch.int64), "int64"),
    "complex": (torch.ones(1, 768, dtype=torch.complex64), "complex64"),
    "dict": ({"weight": torch.ones(1, 768)}, "a dict"),
    "list": ([1.0, 2.0], "a list"),
    "text": ("an embedding", "a str"),
    "nothing": (None, "NoneType"),
    "fp64 beyond fp32": (torch.full((1, 4), 1e300, dtype=torch.float64), "infinity"),
}


@pytest.mark.parametrize("case", list(BAD_VALUES))
def test_values_that_are_no_embedding_are_refused_with_a_sentence(tmp_path: Path, case: str) -> None:
    value, sentence = BAD_VALUES[case]
    assert_refused(saved(tmp_path / "x.pt", value), sentence)


def test_sparse_tensors_are_refused(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = saved(tmp_path / "x.pt", torch.eye(1, 768).to_sparse())
        assert_refused(path, "sparse")


@pytest.mark.parametrize("new", [True, False])
def test_code_in_a_pickle_is_refused_and_not_run(tmp_path: Path, new: bool) -> None:
    target, path = tmp_path / "ran", tmp_path / "evil.pt"
    torch.save([torch.ones(1, 768), Evil(target)], path, _use_new_zipfile_serialization=new)
    assert_refused(path, "asks for code to be run")
    path.write_bytes(pickle.dumps(Evil(target)))
    assert_refused(path, "asks for code to be run|not a file that torch.save wrote")
    path.write_bytes(zip_of(pickle.dumps(Evil(target))))
    assert_refused(path, "asks for code to be run|broken or cut off")
    assert not target.exists()


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    assert_refused(tmp_path / "none.pt", "No such file")
    assert_refused(tmp_path, "Is a directory")


@given(st.binary(max_size=3000))
def test_no_bytes_raise_anything_else(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "random.pt"
    path.write_bytes(data)
    with pytest.raises(EmbeddingError):
        load(path)


@given(position=st.integers(0, len(GOOD.getvalue()) - 1), value=st.integers(0, 255))
def test_a_flipped_byte_loads_or_is_refused(
    tmp_path_factory: pytest.TempPathFactory, position: int, value: int
) -> None:
    data = bytearray(GOOD.getvalue())
    data[position] = value
    path = tmp_path_factory.getbasetemp() / "flipped.pt"
    path.write_bytes(data)
    with contextlib.suppress(EmbeddingError):
        assert load(path).vector.shape[0] == 1


def assert_refused(path: Path, sentence: str) -> None:
    with pytest.raises(EmbeddingError, match=sentence) as caught:
        load(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@given(hnp.arrays(np.float32, st.integers(2, 40), elements=st.floats(-100, 100, width=32).filter(bool)))
def test_saved_vectors_come_back_bit_for_bit(tmp_path_factory: pytest.TempPathFactory, vector: Any) -> None:
    path = tmp_path_factory.getbasetemp() / "round.pt"
    save(path, vector, {})
    back = torch.load(path, weights_only=True)
    assert back.shape == (1, len(vector))
    assert back.dtype == torch.float32
    assert back.untyped_storage().nbytes() == 4 * len(vector)
    assert np.array_equal(load(path).vector[0], vector)


def test_the_same_vector_gives_the_same_bytes_under_any_name(tmp_path: Path) -> None:
    save(tmp_path / "a.pt", VECTOR, {"when": 1})
    save(tmp_path / "b" / "another.pt", VECTOR[None], {"when": 2})
    assert (tmp_path / "a.pt").read_bytes() == (tmp_path / "b" / "another.pt").read_bytes()


def test_provenance_stands_beside_its_own_file_only(tmp_path: Path) -> None:
    made = save(tmp_path / "a.pt", VECTOR, {"images": 3})
    assert isinstance(made, Embedding)
    assert (load(tmp_path / "a.pt").provenance or {})["images"] == 3
    assert json.loads((tmp_path / "a.json").read_text())["sha256"]
    saved(tmp_path / "a.pt", torch.ones(1, 768))
    assert load(tmp_path / "a.pt").provenance is None
    (tmp_path / "a.json").write_text("[]")
    assert load(tmp_path / "a.pt").provenance is None
    assert Embedding("memory", VECTOR[None]).provenance is None


def test_what_has_no_direction_is_not_saved(tmp_path: Path) -> None:
    for bad in (np.zeros(768), np.full(768, np.nan)):
        with pytest.raises(EmbeddingError):
            save(tmp_path / "a.pt", bad, {})
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(EmbeddingError, match="cannot be written"):
        save(tmp_path / "file" / "a.pt", VECTOR, {})


def test_vectors_are_read_only_and_tensors_are_copies(tmp_path: Path) -> None:
    embedding = save(tmp_path / "a.pt", VECTOR, {})
    with pytest.raises(ValueError, match="read-only"):
        embedding.vector[0, 0] = 1
    embedding.tensor()[0, 0] = 5
    assert embedding.vector[0, 0] == VECTOR[0]
    assert float(np.linalg.norm(embedding.unit)) == pytest.approx(1)


def test_the_public_surface_is_small_and_documented() -> None:
    assert len(aesthetic_embeddings.__all__) <= 16
    for name in aesthetic_embeddings.__all__:
        assert re.search(r"\w", getattr(aesthetic_embeddings, name).__doc__ or "")


def test_an_embedding_says_in_a_line_what_it_is() -> None:
    vector = np.zeros((1, 768), np.float32)
    vector[0, :2] = 3, 4
    assert repr(Embedding("fantasy", vector)) == "<Embedding 'fantasy': 1x768, norm 5>"

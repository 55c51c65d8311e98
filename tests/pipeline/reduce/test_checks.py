"""What the figures of an embedding say, and its comparison with the published one."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from visunex.aesthetic_embeddings import save
from visunex.pipeline.reduce.checks import Checks, ReferenceCheck, check, check_reference
from visunex.pipeline.vectors.store import read_vectors
from visunex.recipes.schema import Reference


def test_a_reference_that_is_not_here_is_only_a_note() -> None:
    check = ReferenceCheck(
        "fantasy", note="it is not on this machine", downloaded=1873, wanted=2000, tolerance=1e-3
    )
    check.require_reproduced()
    assert check.lines() == [
        "  not compared to fantasy: it is not on this machine, 1,873 of the 2,000 wanted images were had"
    ]


def test_json_has_the_keys_that_files_had_before() -> None:
    check = ReferenceCheck("fantasy", cosine=0.9, downloaded=3, wanted=4)
    said = Checks(1.5, None, check).as_dict()
    assert list(said) == ["norm", "mean_pairwise_cosine", "reference", "image_norm"]
    names = "name cosine largest_difference tolerance note low high had wanted"
    assert list(said["reference"]) == names.split()
    assert (said["norm"], said["reference"]["had"]) == (1.5, 3)
    assert Checks(1.5, None).as_dict()["reference"] is None


def test_a_reference_of_another_model_is_not_compared(tmp_path: Path) -> None:
    theirs = save(tmp_path / "theirs.pt", np.ones(4), {"model": {"name": "ViT-L-14", "pretrained": "openai"}})
    reference = Reference(name=str(theirs.path))
    ones = np.ones((1, 4), np.float32)
    assert check_reference(ones, reference).cosine == pytest.approx(1)
    other = check_reference(ones, reference, {"name": "ViT-L-14", "pretrained": "laion2b_s32b_b82k"})
    assert other.cosine is None
    assert "of different models" in other.note


@pytest.mark.parametrize(("norms", "expected"), [([3.0, 4.0], 3.5), ([3.0, None], None), (None, None)])
def test_how_long_the_images_own_vectors_were_is_said_where_it_is_recorded(
    tmp_path: Path, norms: list[float | None] | None, expected: float | None
) -> None:
    (tmp_path / "img_emb").mkdir()
    np.save(tmp_path / "img_emb" / "img_emb_0.npy", np.eye(2, 4, dtype=np.float32))
    (tmp_path / "metadata").mkdir()
    columns = {"key": ["a", "b"]} | ({} if norms is None else {"norm": norms})
    pq.write_table(pa.table(columns), tmp_path / "metadata" / "metadata_0.parquet")
    vectors = read_vectors(tmp_path)
    assert check(np.ones((1, 4), np.float32), vectors, "unit-mean").image_norm == expected

"""What the figures of an embedding say, and its comparison with the published one."""

from pathlib import Path

import numpy as np
import pytest

from visunex.aesthetic_embeddings import save
from visunex.pipeline.reduce.checks import Checks, ReferenceCheck, check_reference
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
    assert list(said) == ["norm", "mean_pairwise_cosine", "reference"]
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

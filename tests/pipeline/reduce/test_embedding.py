"""Where an embedding is saved, and what is said beside it."""

from pathlib import Path

import numpy as np
import pytest

from visunex.aesthetic_embeddings import load
from visunex.base.errors import UsageError
from visunex.pipeline.reduce.checks import Checks
from visunex.pipeline.reduce.embedding import RecipeIdentity, provenance, require_target, save_embedding
from visunex.pipeline.rundir import RunDir
from visunex.recipes import Encode, Recipe


def test_the_same_recipe_has_the_same_identity_and_another_has_not() -> None:
    one, other = Recipe(name="one"), Recipe(name="one", encode=Encode(reduce="mean"))
    assert RecipeIdentity.of(one) == RecipeIdentity.of(Recipe(name="one"))
    assert RecipeIdentity.of(one).hash != RecipeIdentity.of(other).hash


def test_an_embedding_is_saved_in_the_run_and_beside_with_how_it_was_made(tmp_path: Path) -> None:
    made = provenance(RecipeIdentity("mine", "0" * 64), {"reduction": "mean"}, Checks(1.0, None))
    assert list(made) == ["recipe", "recipe_hash", "reduction", "checks", "libraries"]
    run, out = RunDir(tmp_path / "run"), tmp_path / "x.pt"
    assert save_embedding(np.ones((1, 4), np.float32), made, run, out) == str(out)
    assert run.embedding.read_bytes() == out.read_bytes()
    assert (load(run.embedding).provenance or {})["checks"]["norm"] == 1


def test_an_embedding_needs_a_place() -> None:
    require_target(None, Path("x.pt"))
    with pytest.raises(UsageError, match="nowhere to put"):
        require_target(None, None)

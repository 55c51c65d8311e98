"""Where the vectors of a contrast's baseline are looked for."""

from pathlib import Path

import pytest
from published_vectors import published

from visunex.base.errors import UsageError
from visunex.pipeline.encode.baseline import baseline_place, published_baseline


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_path_counts_before_a_run_of_that_name() -> None:
    Path("runs/both").mkdir(parents=True)
    assert baseline_place("both") == Path("runs/both")
    Path("both").mkdir()
    assert baseline_place("both") == Path("both")
    assert baseline_place("neither") == Path("neither")


@pytest.mark.parametrize("place", ["v", "r", "named"])
def test_vectors_are_found_in_a_folder_a_run_and_a_run_by_name(place: str) -> None:
    for folder in ("v", "r/vectors", "runs/named/vectors"):
        published(Path(folder), (3,))
    found = published_baseline(place)
    assert found is not None
    assert len(found) == 3


def test_published_vectors_stand_against_vectors_alone() -> None:
    assert published_baseline(None) is None
    Path("pictures").mkdir()
    with pytest.raises(UsageError, match="pictures has none"):
        published_baseline("pictures")

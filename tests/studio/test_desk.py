"""A run laid out to be curated: what is dropped changes what is left, as the command `curate` does it."""

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from visunex.aesthetic_embeddings import load
from visunex.base.errors import UsageError
from visunex.pipeline.cli import main
from visunex.pipeline.curate.curation import Dropping
from visunex.studio.work.desk import Desk, lay_out
from visunex.studio.work.registry import Desks


@pytest.fixture
def desk(here: Path) -> Desk:
    return lay_out("garden")


def test_what_is_left_is_the_run_until_something_is_dropped(desk: Desk) -> None:
    whole = desk.standing(Dropping())
    assert (whole.kept, whole.total, whole.left_out) == (60, 60, frozenset())
    assert whole.cosine == pytest.approx(1, abs=1e-6)
    assert len(whole.words) == 8
    less = desk.standing(Dropping(keys=(str(desk.images[0].key),), atypical=0.5))
    assert (less.kept, len(less.left_out)) == (30, 30)
    assert less.cosine < 1
    assert [each.cosine for each in less.words] != [each.cosine for each in whole.words]


def test_pictures_lie_by_group_and_typicality(desk: Desk) -> None:
    sections = desk.sections("atypical")
    assert [each.group for each in sections] == desk.group_numbers
    assert sum(each.total for each in sections) == 60
    for section, turned in zip(sections, desk.sections("typical"), strict=True):
        cosines = [shot.cosine for shot in section.shots]
        assert cosines == sorted(cosines)
        assert {shot.key for shot in section.shots} == {shot.key for shot in turned.shots}
        assert section.words
    assert desk.thumbnail(0) is not None
    assert desk.thumbnail(-1) is None
    assert desk.thumbnail(999) is None


def test_a_group_left_out_is_what_the_page_marks(desk: Desk) -> None:
    group = desk.group_numbers[0]
    keys = {shot.key for shot in desk.sections("best")[0].shots}
    assert desk.standing(Dropping(groups=(group,))).left_out == keys


def test_saved_is_what_the_command_that_is_shown_makes(desk: Desk, here: Path) -> None:
    dropping = Dropping(keys=(str(desk.images[3].key),), groups=(0,), atypical=0.2)
    desk.save(dropping, Path("tastes/mine.pt"))
    words = desk.command(dropping, "tastes/same.pt").split()
    assert words[:3] == ["visunex-data", "curate", "garden"]
    result = CliRunner().invoke(main, words[1:])
    assert result.exit_code == 0, result.output
    mine, same = load("tastes/mine.pt"), load("tastes/same.pt")
    assert np.array_equal(mine.vector, same.vector)
    assert mine.provenance == same.provenance
    standing = desk.standing(dropping)
    assert (mine.provenance or {})["images"]["used"] == standing.kept


def test_nothing_dropped_is_not_saved_and_all_dropped_is_told(desk: Desk) -> None:
    with pytest.raises(UsageError, match="nothing is left out yet"):
        desk.save(Dropping(), Path("tastes/mine.pt"))
    with pytest.raises(UsageError, match="nothing is left"):
        desk.standing(Dropping(groups=tuple(desk.group_numbers)))
    assert not Path("tastes").exists()


def test_desks_are_known_by_number_and_the_last_few_stay(here: Path) -> None:
    desks = Desks()
    numbers = [desks.open("garden") for _ in range(9)]
    assert desks.of(numbers[-1]).name == "garden"
    with pytest.raises(UsageError, match="open it again"):
        desks.of(numbers[0])

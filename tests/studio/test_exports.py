"""A taste as files for other programs, from the studio's buttons."""

import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from visunex.aesthetic_embeddings import load, save
from visunex.base.errors import UsageError
from visunex.export import gradient_words, lora, prompt_set, tokens, word_search
from visunex.export.cli import main
from visunex.export.output import KINDS as MADE
from visunex.studio.work.exports import KINDS, export, file_of
from visunex.studio.work.places import Places

TINY = "visunex-tiny"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Little is steered, learnt and searched, so that a test takes seconds."""
    monkeypatch.setattr(lora, "STEPS", {"imitate": 2, "cosine": 2})
    monkeypatch.setattr(tokens, "STEPS", 2)
    monkeypatch.setattr(gradient_words, "STEPS", 2)
    monkeypatch.setattr(word_search, "SIFTED", ((1, 4), (2, 2)))
    for part in ("TRAINED", "CHOSEN", "JUDGED"):
        monkeypatch.setattr(prompt_set, part, 4)


def test_there_is_a_button_for_every_kind_that_the_command_makes() -> None:
    assert set(KINDS) == set(MADE)


def test_every_kind_is_made_as_by_the_command_that_is_shown(here: Path, quick: None) -> None:
    for kind in KINDS:
        made = export(Places(), "garden", kind, TINY)
        assert made.path == file_of(Places(), made.path.name)
        assert made.said
        program, *words = shlex.split(made.command)
        before = made.path.read_bytes()
        made.path.unlink()
        done = CliRunner().invoke(main, words)
        assert (program, done.exit_code) == ("visunex-export", 0), done.output
        assert made.path.read_bytes() == before


def test_a_file_of_what_the_taste_was_before_is_made_anew(here: Path) -> None:
    save(here / "tastes" / "mine.pt", load("runs/garden/embedding.pt").vector, {})
    first = export(Places(), "tastes/mine.pt", "webui", TINY).path
    save(here / "tastes" / "mine.pt", -load("runs/garden/embedding.pt").vector, {})
    second = export(Places(), "tastes/mine.pt", "webui", TINY).path
    assert first == second == Path("exports/mine-webui.pt")
    assert load(second).vector.tobytes() == load(here / "tastes" / "mine.pt").vector.tobytes()


@pytest.mark.parametrize("name", ["none.pt", "../tastes/mine.pt", ".hidden", "", "a/b"])
def test_only_files_that_were_made_are_given_out(here: Path, name: str) -> None:
    (here / "exports").mkdir()
    (here / "exports" / ".hidden").write_text("unfinished")
    with pytest.raises(UsageError, match="no file"):
        file_of(Places(), name)

"""What the page asks for is what the command draws: the same files, the same text in them."""

import shlex
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from visunex.aesthetic_embeddings.errors import EmbeddingError
from visunex.base.errors import UsageError
from visunex.generate.added import AddedFile
from visunex.generate.cli import main
from visunex.generate.output.png_text import read_record
from visunex.studio.work.drawing import Artist, Drawn, Form, Progress, arguments, command_line, options_of
from visunex.studio.work.gallery import form_of, gallery, made_of, small
from visunex.studio.work.places import Places

FEW = 4  # steps of the sampler


def form(**given: object) -> Form:
    asked = {"prompt": "a castle at night", "model": "visunex-tiny", "sampler_steps": FEW, **given}
    return Form(**asked)  # type: ignore[arg-type]


def drawn(artist: Artist, asked: Form, places: Places | None = None) -> Drawn:
    *_, last = artist.draw(asked, places or Places())
    assert isinstance(last, Drawn)
    return last


@pytest.fixture(scope="module")
def artist() -> Artist:
    return Artist()


def test_only_what_differs_from_the_command_is_written() -> None:
    assert command_line(arguments(Form(prompt="it's", seed=42), Path("outputs"))) == (
        "visunex-generate --prompt 'it'\"'\"'s'"
    )
    asked = form(taste="garden", sweep="0, 5", negative="-x", weighted=True, width=64, lr=2e-4)
    words = arguments(asked, Path("o"))
    assert " ".join(words[2:]) == (
        "--negative_prompt -x --prompt-syntax webui --model visunex-tiny --ddim_steps 4 --W 64 "
        "--aesthetic_embedding garden "
        "--sweep-steps 0,5 --aesthetic_lr 0.0002 --outdir o"
    )
    options = options_of(words)
    assert (options.negative_prompt, options.sweep_steps, options.width) == ("-x", (0, 5), 64)


def test_how_a_taste_is_used_is_written_and_read_again(here: Path, artist: Artist) -> None:
    asked = form(
        taste="garden=0.7", further="garden=-0.2", weights="0, 1", steps=2, slerp=True, text="fog", away=True,
        angle=0.3, begin=0.25, clip_skip=2,
    )  # fmt: skip
    words = " ".join(arguments(asked, Path("o")))
    assert "--aesthetic_embedding garden=0.7 --aesthetic_embedding garden=-0.2 --sweep-weights 0,1" in words
    found = drawn(artist, asked)
    assert [name for name, _ in found.columns] == ["untouched", "weight 1"]
    (_, (whole,)) = found.columns[1]
    again = form_of(made_of(Path("outputs"), whole.name))
    for name in (
        "taste",
        "further",
        "steps",
        "slerp",
        "text",
        "away",
        "angle",
        "begin",
        "clip_skip",
        "weight",
    ):
        assert getattr(again, name) == getattr(asked, name), name


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"prompt": " "}, "the prompt is empty"),
        ({"sampler_steps": 0}, "ddim_steps"),
        ({"scheduler": "eulr"}, "did you mean"),
        ({"taste": "garden", "sweep": "some"}, "not a list of numbers"),
        ({"model": "nonsense"}, "no model 'nonsense'"),
        ({"seed": -2}, "seed"),
    ],
)
def test_what_cannot_be_drawn_is_said_before_a_model_is_loaded(
    here: Path, wrong: dict[str, object], why: str
) -> None:
    with pytest.raises(Exception, match=why) as error:
        next(Artist().draw(form(**wrong), Places()))
    assert type(error.value).__module__.startswith("visunex.")
    assert not Path("outputs").exists()


def test_a_taste_that_is_not_there_is_said(here: Path) -> None:
    with pytest.raises(EmbeddingError, match="no embedding called 'gone'"):
        next(Artist().draw(form(taste="gone"), Places()))


def test_the_untouched_lies_beside_the_steered_as_the_command_draws_them(here: Path, artist: Artist) -> None:
    made = drawn(artist, form(taste="garden", steps=3, seed=-1))
    assert [name for name, _ in made.columns] == ["untouched", "3 steps"]
    words = shlex.split(made.command)
    assert "--seed" in words
    result = CliRunner().invoke(main, [*words[1:], "--outdir", "again"])
    assert result.exit_code == 0, result.output
    ours = [file for _, files in made.columns for file in files]
    assert [file.name for file in ours] == ["00000.png", "00001.png"]
    for file in (*ours, *made.grids):
        assert file.read_bytes() == (Path("again") / file.relative_to("outputs")).read_bytes()


def test_progress_is_told_to_its_end(here: Path, artist: Artist) -> None:
    news = list(artist.draw(form(taste="garden", steps=2), Places()))
    steps = [each for each in news if isinstance(each, Progress)]
    assert steps
    assert all(each.total in (0, 2 * FEW) for each in steps)
    assert [each.done for each in steps] == sorted(each.done for each in steps)
    assert isinstance(news[-1], Drawn)


def test_stopped_the_pictures_that_were_done_are_kept(here: Path, artist: Artist) -> None:
    asked = form(taste="garden", sweep="0,1", sampler_steps=40)
    news = artist.draw(asked, Places())
    last: Progress | Drawn | None = None
    for last in news:
        if isinstance(last, Progress) and last.done > 40:
            artist.stop()
    assert isinstance(last, Drawn)
    assert last.stopped
    assert [(name, len(files)) for name, files in last.columns] == [("untouched", 1)]
    assert not last.grids
    assert drawn(artist, form()).columns[0][0] == "untouched"  # the next one is not stopped


def test_where_nobody_looks_any_more_the_drawing_ends(here: Path, artist: Artist) -> None:
    before = threading.active_count()
    news = artist.draw(form(sampler_steps=500), Places())
    next(news)
    news.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before
    assert gallery(Path("outputs")) == []


def test_the_gallery_says_what_made_each_and_asks_for_it_again(here: Path, artist: Artist) -> None:
    asked = form(taste="garden", steps=3, weighted=True, negative="fog", seed=5, samples=2, scale=3.0)
    drawn(artist, asked)
    (here / "outputs" / "samples" / "99999.png").write_bytes(b"no picture")
    (here / "outputs" / "samples" / "mine.png").write_bytes(b"not ours")
    found = gallery(Path("outputs"))
    assert [each.about for each in found] == [
        *("garden, 3 steps · seed 6", "garden, 3 steps · seed 5", "untouched · seed 6", "untouched · seed 5")
    ]
    vae = AddedFile(kind="vae", path="/models/other.vae.pt", sha256="0" * 64, short_hash="0")
    lora = AddedFile(kind="lora", path="/models/ink.safetensors", sha256="1" * 64, short_hash="1", scale=0.7)
    added = form_of(replace(found[0], record=replace(found[0].record, additions=(lora, vae))))
    assert (added.loras, added.words, added.vae) == (
        "/models/ink.safetensors:0.7",
        "",
        "/models/other.vae.pt",
    )
    assert "--lora /models/ink.safetensors:0.7 --vae /models/other.vae.pt" in " ".join(
        arguments(added, Path("o"))
    )
    with pytest.raises(UsageError, match="drawn with --method pooled, which the page does not do"):
        form_of(replace(found[0], record=replace(found[0].record, method="pooled")))
    again = form_of(found[0])
    assert (again.prompt, again.negative, again.seed, again.scale) == ("a castle at night", "fog", 6, 3.0)
    assert again.weighted
    made = drawn(artist, again)
    last = made.columns[1][1][0]
    assert last.name != found[0].name
    first = Path("outputs/samples") / found[0].name
    assert read_record(last).taste == read_record(first).taste
    assert read_record(last).settings.prompt_syntax == "webui"
    assert small(Path("outputs"), found[0].name)[8:12] == b"WEBP"


@pytest.mark.parametrize("name", ["../x.png", "00000.PNG", "mine.png", "99998.png", ""])
def test_only_drawn_pictures_are_given_out(here: Path, name: str) -> None:
    folder = here / "outputs" / "samples"
    folder.mkdir(parents=True)
    for each in ("mine.png", "../x.png"):
        (folder / each).write_bytes(b"secret")
    with pytest.raises(UsageError, match="there is no picture"):
        made_of(Path("outputs"), name)

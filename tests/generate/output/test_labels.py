"""Labels of any script: drawn in a font that has their letters, or spelt in Latin ones and said."""

import os
from pathlib import Path

import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from PIL import Image, ImageDraw, ImageFont

from visunex.generate.output import fonts
from visunex.generate.output.grid import labelled_grid
from visunex.generate.output.labels import Scribe, remark

CYRILLIC, HAN, HEBREW = "мирзамок", "世界城", "אבגד"


def make_font(path: Path, letters: str) -> Path:
    """A font in which each of `letters` is a triangle of its own."""
    names = {ord(letter): f"letter{number}" for number, letter in enumerate(letters)}
    builder = FontBuilder(1000)
    builder.setupGlyphOrder([".notdef", *names.values()])
    builder.setupCharacterMap(names)
    heights = {".notdef": 700, **{name: 300 + 5 * number for number, name in enumerate(names.values())}}
    builder.setupGlyf({name: triangle(height) for name, height in heights.items()})
    builder.setupHorizontalMetrics(dict.fromkeys(heights, (600, 50)))
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": path.stem, "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    path.parent.mkdir(parents=True, exist_ok=True)
    builder.save(path)
    return path


def triangle(height: int) -> object:
    pen = TTGlyphPen(None)
    pen.moveTo((50, 0))
    pen.lineTo((300, height))
    pen.lineTo((550, 0))
    pen.closePath()
    return pen.glyph()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The one folder of fonts, empty; and no fontconfig, unless a test puts a program there."""
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(fonts, "_folders", lambda: [tmp_path / "fonts"])
    (tmp_path / "bin").mkdir()
    return tmp_path / "fonts"


def program(folder: Path, script: str) -> None:
    path = folder.parent / "bin" / "fc-list"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def stems(scribe: Scribe, text: str) -> list[tuple[str, str]]:
    """The runs of a label from left to right: their texts and their fonts' names."""
    return [(run.text, run.face.font.getname()[0]) for run in scribe.label(text, 1000).runs]


def test_pillows_own_font_is_used_where_it_has_all_letters(folder: Path) -> None:
    program(folder, f"touch {folder.parent / 'asked'}")
    picture = Image.new("RGB", (200, 352), "blue")
    grid = labelled_grid([[picture]], ["0 steps · a {castle}"], ["night"])
    assert not grid.spelt
    assert not (folder.parent / "asked").exists()
    font = ImageFont.load_default(size=22)
    line = round(font.getbbox("Ájgy")[3]) + 4
    plain = Image.new("RGB", (208, 4 + line + line + 352 + 4), "white")
    left = 4 + (200 - font.getlength("0 steps · a {castle}")) / 2
    ImageDraw.Draw(plain).text((left, 2), "0 steps · a {castle}", fill="black", font=font)
    ImageDraw.Draw(plain).text((4, 4 + line), "night", fill="black", font=font)
    plain.paste(picture, (4, 4 + 2 * line))
    assert np.array_equal(np.asarray(grid.image), np.asarray(plain))


def test_a_label_is_drawn_in_as_many_fonts_as_it_needs(folder: Path) -> None:
    make_font(folder / "deep" / "Cyrillic.ttf", CYRILLIC)
    make_font(folder / "Han.otf", HAN + "mix")
    make_font(folder / "Han-Bold.ttf", HAN)
    make_font(folder / "LastResort.ttf", CYRILLIC + HAN)
    (folder / "Broken.ttf").write_bytes(b"not a font")
    os.mkfifo(folder / "Pipe.ttf")
    scribe = Scribe(["мир 世界 ok", "мир", "mi世"], 20)
    assert stems(scribe, "мир 世界 ok") == [("мир ", "Cyrillic"), ("世界 ", "Han"), ("ok", "Aileron")]
    assert stems(scribe, "мир") == [("мир", "Cyrillic")]
    assert stems(scribe, "mi世") == [("mi世", "Han")]  # one font rather than two
    assert not scribe.spelt
    picture = Image.new("RGB", (200, 320), "blue")
    grid = labelled_grid([[picture]], ["мир 世界 ok"])
    ink = (np.asarray(grid.image)[:-324] < 100).all(axis=2)
    assert ink[:, :100].sum() > 30
    assert not grid.spelt


@pytest.mark.parametrize(
    ("text", "from_left"),
    [
        ("ab אב cd", "ab בא cd"),
        ("ab אב (1) cd", "ab (1) בא cd"),
        ("ab (אב) 12", "ab (בא) 12"),
        ("אב ab גד", "דג ab בא"),
        ("אב 12", "12 בא"),
        ("(אבג)", "(גבא)"),
    ],
)
def test_what_runs_from_right_to_left_stands_so(
    folder: Path, text: str, from_left: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_font(folder / "Hebrew.ttf", HEBREW)
    with_libraqm = [run.text for run in Scribe([text], 20).label(text, 1000).runs]
    monkeypatch.setattr(fonts.Face, "shapes", False)  # as without it: letters are turned here
    runs = Scribe([text], 20).label(text, 1000).runs
    assert "".join(run.shown for run in runs) == from_left
    assert [run.text for run in runs] == with_libraqm


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("замок", "zamok"),
        ("城堡 at night", "ChengBao at night"),
        ("château", "chateau"),
        ("\ue000", "<U+E000>"),
        ("🏰", ":european_castle:"),
        ("قلعة", "ql`h"),
    ],
)
def test_what_no_font_has_is_spelt_in_latin_letters(folder: Path, text: str, written: str) -> None:
    picture = Image.new("RGB", (200, 320), "blue")
    grid, plain = labelled_grid([[picture]], [text]), labelled_grid([[picture]], [written])
    assert grid.image.tobytes() == plain.image.tobytes()
    assert grid.spelt == {text: written}
    assert f"{text} is {written}" in remark(grid.spelt)
    assert not plain.spelt


@pytest.mark.parametrize(
    "script",
    [
        "exec /bin/sleep 60",
        "exit 1",
        "printf 'no font\\n/nowhere/x.ttf\\tnone\\n'; exit 3",
        "printf '\\377' >&2; kill $$",
    ],
)
def test_fontconfig_that_does_not_answer_is_done_without(
    folder: Path, script: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fonts, "SECONDS", 2.0)
    program(folder, script)
    make_font(folder / "Cyrillic.ttf", CYRILLIC)
    assert stems(Scribe(["мир"], 20), "мир") == [("мир", "Cyrillic")]


def test_fontconfig_is_asked_for_the_letters(folder: Path, tmp_path: Path) -> None:
    path = make_font(tmp_path / "elsewhere" / "Cyrillic.ttf", CYRILLIC)
    broken = "/nowhere/gone.ttf\\t0\\nnonsense\\n/bin\\t0\\n"
    program(folder, f'[ "$3" = ":charset=440 438 43c" ] && printf \'{broken}{path}\\t65536\\n\'')
    assert stems(Scribe(["рим 5"], 20), "рим 5") == [("рим ", "Cyrillic"), ("5", "Aileron")]


def test_a_search_that_takes_too_long_ends(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fonts, "SECONDS", 0.0)
    make_font(folder / "Cyrillic.ttf", CYRILLIC)
    scribe = Scribe(["мир"], 20)
    scribe.label("мир", 100)
    assert scribe.spelt == {"мир": "mir"}


def test_pictures_of_one_size_are_scaled(folder: Path) -> None:
    path = make_font(folder / "Emoji.ttf", "🏰5")
    face = fonts.Face(ImageFont.truetype(str(path), 80), 20)
    assert (face.has_one_size, face.has("🏰"), face.has("5")) == (True, True, False)
    scribe = Scribe(["a"], 20)
    scribe.faces.append(face)
    label = scribe.label("🏰5", 100)
    assert [run.text for run in label.runs] == ["🏰", "5"]
    assert label.runs[0].width == pytest.approx(12, abs=0.5)
    image = Image.new("RGB", (60, 30), "white")
    label.draw(image, 2, 22)
    assert (np.asarray(image)[:, :14] < 200).any()


def test_a_long_label_is_cut_between_letters(folder: Path) -> None:
    make_font(folder / "Marks.ttf", "ก\u0e49.")
    scribe = Scribe(["ก\u0e49" * 100_000], 20)
    label = scribe.label("ก\u0e49" * 100_000, 200)
    text = "".join(run.text for run in label.runs)
    assert text.endswith("\u0e49...")
    assert 150 < label.width <= 200
    assert scribe.label("a\x07\u202eb\udc80\nc", 100).runs[0].text == "ab c"

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from visunex.generate.controls import Controls
from visunex.generate.errors import ImageTextError, OutputError
from visunex.generate.output.files import Writer
from visunex.generate.output.grid import labelled_grid, tile
from visunex.generate.output.png_text import (
    ImageRecord,
    ModelRecord,
    TasteRecord,
    as_json,
    read_record,
    web_ui_text,
)
from visunex.generate.settings import Settings

RECORD = ImageRecord(
    prompts=("a castle at night", "a ship"),
    position=0,
    batch=3,
    settings=Settings(seed=332, scheduler="plms", height=512, width=768, samples=2, rng="cpu"),
    model=ModelRecord(
        name="models/finetune.safetensors",
        fingerprint="0123456789abcdef",
        text_encoder="model",
        precision="float32",
        device="cpu",
        lowvram=False,
    ),
    tastes=(TasteRecord(name="flower_plant", sha256="ab", steps=15, lr=1e-4),),
    controls=Controls(),
    versions={"torch": "2"},
)
# As the first release wrote it: pictures that have it are to be read for ever.
FIRST_RELEASE = (
    '{"prompts": ["a castle at night", "a ship"], "position": 0, "batch": 3, "negative_prompt": "", '
    '"seed": 332, "scheduler": "plms", "ddim_steps": 50, "ddim_eta": 0.0, "scale": 7.5, "height": 512, '
    '"width": 768, "n_samples": 2, "fixed_code": false, "rng": "cpu", '
    '"model": "models/finetune.safetensors", "model_fingerprint": "0123456789abcdef", '
    '"text_encoder": "model", "precision": "float32", "device": "cpu", "lowvram": false, '
    '"aesthetic_embedding": "flower_plant", "aesthetic_sha256": "ab", "aesthetic_steps": 15, '
    '"aesthetic_lr": 0.0001, "versions": {"torch": "2"}}'
)


def changed(**settings: object) -> ImageRecord:
    return replace(RECORD, settings=replace(RECORD.settings, **settings))


def picture(shade: int = 90, size: tuple[int, int] = (16, 16)) -> Image.Image:
    return Image.new("RGB", size, (shade, 20, 200))


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def test_pictures_and_grids_are_numbered_on_from_what_is_there(tmp_path):
    first = Writer(tmp_path)
    assert first.sample(picture(), RECORD) == tmp_path / "samples" / "00000.png"
    assert first.sample(picture(), RECORD).name == "00001.png"
    assert first.grid(picture(), "x").name == "grid-0000.png"
    (tmp_path / "samples" / "00000.png").unlink()
    (tmp_path / "samples" / "00041.png").touch()
    (tmp_path / "samples" / "notes.txt").touch()
    second = Writer(tmp_path)
    assert second.sample(picture(), RECORD).name == "00042.png"
    assert second.grid(picture(), "x").name == "grid-0001.png"


def test_the_web_ui_reads_what_it_needs(tmp_path):
    path = Writer(tmp_path).sample(picture(), changed(negative_prompt="fog, rain", eta=0.5))
    with Image.open(path) as image:
        text = image.text["parameters"]
    assert text.splitlines() == [
        "a castle at night",
        "Negative prompt: fog, rain",
        "Steps: 50, Sampler: PLMS, CFG scale: 7.5, Seed: 332, Size: 768x512, Model hash: 0123456789, "
        "Model: finetune, Eta: 0.5, Batch size: 2, Batch pos: 0, Aesthetic embedding: flower_plant, "
        "Aesthetic steps: 15, Aesthetic LR: 0.0001, Aesthetic weight: 1, Aesthetic slerp: False, "
        "Aesthetic text negative: False, Aesthetic slerp angle: 0.1",
    ]


def test_values_with_separators_are_quoted_as_the_web_ui_does():
    taste = TasteRecord(name="runs/a, b/embedding.pt", sha256="ab", steps=15, lr=1e-4)
    assert 'Aesthetic embedding: "a, b"' in web_ui_text(replace(RECORD, tastes=(taste,)))


@settings(max_examples=30, deadline=None)
@given(prompt=st.text(st.characters(codec="utf-8"), min_size=1), seed=st.integers(0, 2**64 - 1))
def test_what_a_picture_says_of_itself_survives(tmp_path_factory, prompt, seed):
    record = replace(changed(seed=seed), prompts=(prompt,))
    path = Writer(tmp_path_factory.mktemp("out")).sample(picture(), record)
    assert read_record(path) == record
    assert np.array_equal(pixels(path), np.asarray(picture()))


OTHER = TasteRecord(name="gloom", sha256="cd", steps=15, lr=1e-4, weight=-0.3)
CONTROLS = Controls(until="+0.1", blend=0.5, slerp=True, text="fog", text_negative=True, begin=0.2, end=0.7)


@pytest.mark.parametrize(
    ("tastes", "controls"),
    [(RECORD.tastes, Controls()), ((*RECORD.tastes, OTHER), CONTROLS), ((), None)],
)
def test_every_setting_is_in_what_a_picture_says(tmp_path, tastes, controls):
    others = Settings(
        negative_prompt="fog",
        seed=1,
        scheduler="ddim",
        steps=3,
        eta=0.5,
        guidance_scale=2.0,
        height=64,
        width=32,
        samples=5,
        fixed_code=True,
        rng="device",
        prediction="v",
        clip_skip=2,
        prompt_syntax="webui",
    )
    assert all(
        getattr(others, name) != getattr(RECORD.settings, name)
        for name in vars(others).keys() - {"iterations"}
    )
    record = replace(RECORD, settings=others, tastes=tastes, controls=controls)
    assert read_record(Writer(tmp_path).sample(picture(), record)) == record


def test_what_pictures_say_is_what_they_said_in_the_first_release(tmp_path):
    assert read_record(noted(tmp_path / "x.png", visunex=FIRST_RELEASE)) == RECORD
    with Image.open(Writer(tmp_path).sample(picture(), RECORD)) as image:
        assert image.text["visunex"] == FIRST_RELEASE
        assert list(image.text) == ["parameters", "visunex"]


def noted(path: Path, **text: str) -> Path:
    notes = PngImagePlugin.PngInfo()
    for key, value in text.items():
        notes.add_text(key, value)
    picture().save(path, pnginfo=notes)
    return path


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ({}, "does not say how it was made"),
        ({"visunex": "{"}, "cannot read"),
        ({"visunex": json.dumps({"prompts": ["a"]})}, "cannot read"),
        ({"visunex": json.dumps(as_json(replace(RECORD, position=2)))}, "cannot read"),
        ({"visunex": json.dumps(as_json(RECORD) | {"seed": "many"})}, "cannot read"),
        ({"visunex": json.dumps(as_json(RECORD) | {"position": -1})}, "cannot read"),
        ({"visunex": json.dumps(as_json(RECORD) | {"batch": -1})}, "cannot read"),
        ({"visunex": json.dumps(as_json(RECORD) | {"rng": "dice"})}, "cannot read"),
        *(
            ({"visunex": json.dumps(as_json(RECORD) | {key: value})}, "cannot read")
            for key in ("best_of", "aesthetic_tastes")
            for value in (3, "many", [3], {"cosines": 3}, {"cosines": ["near"]})
        ),
        ({"visunex": "[" * 100_000}, "cannot read"),
        ({"visunex": "[1]"}, "cannot read"),
    ],
)
def test_a_picture_that_does_not_say_how_it_was_made(tmp_path, text, said):
    with pytest.raises(ImageTextError, match=said):
        read_record(noted(tmp_path / "x.png", **text))


def test_a_file_that_is_no_picture(tmp_path):
    (tmp_path / "x.png").write_text("hello")
    with pytest.raises(ImageTextError, match="cannot be read as a picture"):
        read_record(tmp_path / "x.png")
    with pytest.raises(ImageTextError, match="no picture"):
        read_record(tmp_path / "y.png")
    picture().save(tmp_path / "x.jpg")
    with pytest.raises(ImageTextError, match="does not say"):
        read_record(tmp_path / "x.jpg")


def test_a_file_that_cannot_be_written_leaves_no_trace_and_keeps_the_others(tmp_path, small_files_only):
    writer = Writer(tmp_path)
    writer.grid(picture(), "x")
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype="uint8")
    small_files_only(2000)
    with pytest.raises(OutputError, match=r"no picture could be written.*the 1 written before are kept"):
        writer.grid(Image.fromarray(noise), "x")
    assert [path.name for path in tmp_path.iterdir()] == ["grid-0000.png"]
    assert pixels(tmp_path / "grid-0000.png").shape == (16, 16, 3)


def test_a_file_in_place_of_the_folder(tmp_path):
    (tmp_path / "out").write_text("I am a file")
    with pytest.raises(OutputError, match="no picture could be written"):
        Writer(tmp_path / "out").sample(picture(), RECORD)


def test_a_grid_is_laid_out_as_the_originals():
    grid = tile([picture(shade) for shade in (10, 20, 30)], per_row=2)
    assert grid.size == (2 * 18 + 2, 2 * 18 + 2)
    assert grid.getpixel((1, 1)) == (0, 0, 0)
    assert grid.getpixel((2, 2)) == (10, 20, 200)
    assert grid.getpixel((20, 2)) == (20, 20, 200)
    assert grid.getpixel((2, 20)) == (30, 20, 200)
    assert grid.getpixel((30, 30)) == (0, 0, 0)
    assert tile([picture()], per_row=5).size == (20, 20)


def test_a_labelled_grid_holds_every_picture_untouched():
    rows = [[picture(10 * (row + 3 * column)) for column in range(3)] for row in range(2)]
    grid = np.asarray(
        labelled_grid(rows, ["0 steps", "a label far too long for its picture", ""], ["up", "down"]).image
    )
    for row in rows:
        for image in row:
            found = (grid == np.asarray(image)[0, 0]).all(axis=2).sum()
            assert found == 16 * 16
    assert (grid < 100).all(axis=2).sum() > 30  # ink


def test_rows_without_labels_take_no_room():
    rows = [[picture(), picture()]]
    plain, labelled = labelled_grid(rows, ["a", "b"]), labelled_grid(rows, ["a", "b"], ["row"])
    assert plain.image.height < labelled.image.height

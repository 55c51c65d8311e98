"""`--from-image`: pictures of other programs, and a stranger's."""

import json
import re
import struct
import time
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image, PngImagePlugin

from visunex.generate.again import read
from visunex.generate.again.prompts import of_comfyui, of_novelai, of_web_ui
from visunex.generate.again.web_ui import scheduler_of
from visunex.generate.cli import main
from visunex.generate.errors import ImageTextError
from visunex.generate.output.infotext import parse
from visunex.generate.output.png_text import as_json, read_record
from visunex.generate.output.texts import texts_in
from visunex.generate.sampling.schedulers import canonical

INFOTEXT = (
    "(masterpiece:1.2), a castle \\(by night\\), ((flowers)) <lora:detail_tweaker:0.8>\n"
    "second line, [owl]\n"
    "Negative prompt: fog, (rain:1.4)\n"
    "Steps: 20, Sampler: Euler a, Schedule type: Automatic, CFG scale: 7, Seed: 965400086, Size: 512x768, "
    "Model hash: 45dee52b12, Model: dreamshaper_8, Denoising strength: 0.55, Clip skip: 2, ENSD: 31337, "
    'Hires upscale: 2, Hires steps: 20, Hires upscaler: Latent, Lora hashes: "detail_tweaker: 7c6bad76eb54", '
    "Version: v1.10.1"
)
COMMENT = {
    "steps": 28,
    "sampler": "k_euler_ancestral",
    "seed": 7,
    "scale": 11.0,
    "uc": "lowres",
    "width": 512,
    "height": 768,
    "n_samples": 1,
    "cfg_rescale": 0.4,
}
GRAPH = {
    "3": {
        "class_type": "KSampler",
        "inputs": {
            **{
                "seed": 8,
                "steps": 20,
                "cfg": 8.0,
                "sampler_name": "euler",
                "scheduler": "normal",
                "denoise": 1,
            },
            **{"model": ["10", 0], "positive": ["6", 0], "negative": ["7", 0], "latent_image": ["5", 0]},
        },
    },
    "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "v1-5.safetensors"}},
    "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 640, "height": 512, "batch_size": 1}},
    "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a castle", "clip": ["4", 1]}},
    "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "fog", "clip": ["4", 1]}},
    "10": {"class_type": "LoraLoader", "inputs": {"lora_name": "x", "model": ["4", 0]}},
}


def png(path: Path, **text: str) -> Path:
    texts = PngImagePlugin.PngInfo()
    for key, value in text.items():
        texts.add_text(key, value)
    Image.new("RGB", (16, 16)).save(path, pnginfo=texts)
    return path


def with_comment(path: Path, comment: bytes, **how: object) -> Path:
    """A picture with this comment in its EXIF."""
    exif = Image.Exif()
    exif[0x0112] = 1  # Pillow writes none that is empty but for its parts
    exif.get_ifd(0x8769)[0x9286] = comment
    Image.new("RGB", (16, 16)).save(path, exif=exif, **how)
    return path


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def with_chunks(path: Path, *chunks: bytes) -> Path:
    """A PNG with these chunks behind its pixels."""
    Image.new("RGB", (16, 16)).save(path)
    path.write_bytes(path.read_bytes()[:-12] + b"".join(chunks) + chunk(b"IEND", b""))
    return path


def test_a_picture_of_the_web_ui_is_repeated_as_far_as_possible(tmp_path):
    again = read(png(tmp_path / "x.png", parameters=INFOTEXT))
    assert again.options == {
        "prompt": "(masterpiece:1.2), a castle \\(by night\\), ((flowers))\nsecond line, [owl]",
        "negative_prompt": "fog, (rain:1.4)",
        "prompt_syntax": "webui",
        "ddim_steps": "20",
        "scheduler": again.options["scheduler"],
        "scale": "7",
        "seed": "965400086",
        "width": "512",
        "height": "768",
        "n_samples": "1",
        "clip_skip": "2",
    }
    assert canonical(again.options["scheduler"]) == "EulerAncestralDiscrete"
    said = again.said(tmp_path / "x.png")
    for each in ("lora detail_tweaker", "hires fix, 2", "ENSD: 31337"):
        assert each in said
    assert "dreamshaper_8 (45dee52b12)" in said
    assert "--model" in said


@pytest.mark.parametrize(
    ("name", "comment"),
    [
        ("x.jpg", b"UNICODE\0" + INFOTEXT.encode("utf-16-be")),
        ("x.jpg", b"UNICODE\0" + INFOTEXT.encode("utf-16-le")),
        ("x.webp", b"UNICODE\0" + INFOTEXT.encode("utf-16")),
        ("x.webp", b"ASCII\0\0\0" + INFOTEXT.encode()),
        ("x.jpg", b"UNICODE\0" + INFOTEXT.encode()),
        ("x.jpg", b"UNICODE\0" + INFOTEXT.encode("utf-16-be") + b"x"),
        ("x.png", b"\0" * 8 + INFOTEXT.encode()),
    ],
)
def test_the_text_in_exif(tmp_path, name, comment):
    expected = read(png(tmp_path / "text.png", parameters=INFOTEXT))
    assert read(with_comment(tmp_path / name, comment)) == expected


def test_a_text_in_another_script_in_exif(tmp_path):
    text = "夜の城、花\nNegative prompt: 霧\nSteps: 9, Seed: 1"
    again = read(with_comment(tmp_path / "x.jpg", b"UNICODE\0" + text.encode("utf-16-be")))
    assert (again.options["prompt"], again.options["negative_prompt"]) == ("夜の城、花", "霧")


def test_pictures_of_novelai(tmp_path):
    path = png(
        tmp_path / "x.png",
        Software="NovelAI",
        Description="{{castle}}, [fog]",
        Source="Stable Diffusion 1D44365E",
        Comment=json.dumps(COMMENT),
    )
    again = read(path)
    assert again.options["prompt"] == "((castle:1.05):1.05), (fog:0.952381)"
    assert "emphasis is laid on as the web UI does, not as NovelAI" in again.said(path)
    assert canonical(again.options["scheduler"]) == "EulerAncestralDiscrete"
    assert {name: again.options[name] for name in ("seed", "ddim_steps", "scale", "height")} == {
        "seed": 7,
        "ddim_steps": 28,
        "scale": 11.0,
        "height": 768,
    }
    assert "cfg_rescale: 0.4" in again.said(path)
    assert "1D44365E" in again.said(path)


def test_pictures_of_comfyui(tmp_path):
    path = png(tmp_path / "x.png", prompt=json.dumps(GRAPH), workflow="{}")
    again = read(path)
    assert again.options["prompt"] == "a castle"
    assert again.options["negative_prompt"] == "fog"
    assert (again.options["width"], again.options["seed"]) == (640, 8)
    assert "LoraLoader" in again.said(path)
    assert "v1-5.safetensors" in again.said(path)
    for graph in (
        "{}",
        json.dumps(GRAPH | {"9": GRAPH["3"]}),
        '{"3": {"class_type": "KSampler", "inputs": {}}}',
    ):
        with pytest.raises(ImageTextError, match="was made with ComfyUI"):
            read(png(path, prompt=graph, workflow="{}"))


@pytest.mark.parametrize(
    ("read_as", "prompt", "expected", "said"),
    [
        (of_web_ui, "a (b:1.2) ((c)) [d] \\(e BREAK f", "a (b:1.2) ((c)) [d] \\(e BREAK f", ""),
        (
            of_web_ui,
            "[day:night:0.5] [cow|horse]",
            "day cow",
            "words that change on the way, alternating words",
        ),
        (of_web_ui, "<lora:x:1>a AND b", "a , b", "lora x, AND between prompts"),
        (of_comfyui, "(a:1.2) \\(b\\)", "(a:1.2) \\(b\\)", "not as ComfyUI"),
        (of_comfyui, "[a|b] BREAK AND AND1", "\\[a|b\\] break and AND1", ""),
        (of_novelai, "{a}, [b] (c) d\\", "(a:1.05), (b:0.952381) \\(c\\) d\\\\", "not as NovelAI"),
        (of_novelai, "1.2::a, {b}:: c, -1::d::", "(a, (b:1.05):1.2) c, (d:-1)", "not as NovelAI"),
        (of_novelai, "{a] :: 3::b }c AND", "{a\\] :: 3::b }c and", ""),
    ],
)
def test_the_prompts_of_other_programs(read_as, prompt, expected, said):
    text, differs = read_as(prompt)
    assert text == expected
    assert said in " ".join(differs)
    assert bool(differs) == bool(said)


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ('Steps: 1, A: "x, \\"y\\": z", B: 2', {"Steps": "1", "A": 'x, "y": z', "B": "2"}),
        ("Steps: 1, A: , B: 2", {"Steps": "1", "A": "", "B": "2"}),
        ('Steps: 1, A: "open, B: 2', {"Steps": "1", "A": '"open', "B": "2"}),
        ("Steps: 1, junk, B: 2,", {"Steps": "1", "B": "2"}),
        ("just a castle: at night", {}),
        ("at night, Steps: 1, Seed: 2", {"Steps": "1", "Seed": "2"}),
    ],
)
def test_the_settings_of_a_text(text, fields):
    assert parse("a castle\n" + text).fields == fields


def test_a_text_takes_time_by_its_length_alone(tmp_path):
    began = time.process_time()
    for text in (
        "a:" * 500_000,
        "(" * 500_000 + ")" * 500_000,
        '"' * 500_000,
        "[a:" * 300_000,
        "<lora:" * 300_000,
    ):
        parse("x\nSteps: 1, " + text)
        for read_as in (of_web_ui, of_comfyui, of_novelai):
            read_as(text[: 1 << 16])
            read_as((text[: 1 << 14] + "}" * (1 << 14)).replace("(", "{"))
    assert time.process_time() - began < 20


@pytest.mark.parametrize(
    ("sampler", "schedule", "ours", "said"),
    [
        ("DDIM", "", "ddim", False),
        ("PLMS", "Automatic", "plms", False),
        ("UniPC", "", "UniPCMultistep", False),
        ("DPM++ 2M", "Karras", "DPM++ 2M Karras", False),
        ("DPM++ 2M SDE Karras", "", "DPM++ 2M SDE Karras", False),
        ("No Such", "Karras", "ddim", True),
        ("", "", "ddim", True),
    ],
)
def test_samplers_of_the_web_ui(sampler, schedule, ours, said):
    name, differs = scheduler_of(sampler, schedule)
    assert canonical(name) == ours
    assert bool(differs) == said


@pytest.mark.parametrize("kind", [b"zTXt", b"iTXt", b"tEXt"])
def test_a_bomb_of_text(tmp_path, kind):
    text = b"a" * (64 << 20)
    data = {
        b"zTXt": b"parameters\0\0" + zlib.compress(text),
        b"iTXt": b"parameters\0\1\0\0\0" + zlib.compress(text),
        b"tEXt": b"parameters\0" + text,
    }[kind]
    with pytest.raises(ImageTextError, match="more text than a picture needs"):
        read(with_chunks(tmp_path / "x.png", chunk(kind, data)))
    with pytest.raises(ImageTextError, match="more text than a picture needs"):
        read(with_chunks(tmp_path / "x.png", *[chunk(b"tEXt", b"%d\0a" % n) for n in range(200)]))


def test_a_picture_without_text_says_so(tmp_path):
    Image.new("RGB", (16, 16)).save(tmp_path / "x.webp")
    with pytest.raises(ImageTextError, match="does not say how it was made"):
        read(tmp_path / "x.webp")
    with pytest.raises(ImageTextError, match="does not say how it was made"):
        read(png(tmp_path / "x.png", parameters="a holiday", Comment="{}", prompt="[]"))
    with pytest.raises(ImageTextError, match="JSON of another program"):
        read(png(tmp_path / "x.png", parameters='{"sui_image_params": {}}'))
    (tmp_path / "cut.png").write_bytes((tmp_path / "x.png").read_bytes()[:40])
    with pytest.raises(ImageTextError, match="ends too early"):
        read(tmp_path / "cut.png")
    with pytest.raises(ImageTextError, match="InvokeAI"):
        read(png(tmp_path / "x.png", invokeai_metadata="{}"))


@pytest.fixture
def generate(tmp_path, monkeypatch, model_folder):
    """Run the command in a folder and with a cache of its own; `model` names the tiny one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def run(*options: object, model: bool = True) -> Result:
        tiny = ["--model", str(model_folder), "--device", "cpu"] if model else []
        return CliRunner().invoke(main, [*tiny, *map(str, options)])

    return run


def refused(result: Result, *said: str) -> None:
    assert result.exit_code in (1, 2), result.output
    assert all(text in result.output for text in said), result.output
    assert "Loading" not in result.output
    assert "Traceback" not in result.output
    assert "fault in VisuNex" not in result.output


@pytest.fixture
def ours(generate, tmp_path):
    """A picture of ours, and a way to change what it says."""
    assert generate("--prompt", "a castle", "--ddim_steps", 1).exit_code == 0
    record = as_json(read_record(Path("outputs/samples/00000.png")))

    def changed(**values: object) -> Path:
        return png(tmp_path / "strange.png", visunex=json.dumps(record | values))

    return changed


def test_a_strangers_numbers_are_checked_as_options_are(generate, ours):
    """Each is refused before a model is loaded, with the option that says it otherwise."""
    for values, said in [
        ({"height": 60_000, "width": 60_000}, "--n_samples, --H and --W"),
        ({"n_samples": 10_000}, "--n_samples, --H and --W"),
        ({"aesthetic_embedding": "x", "aesthetic_steps": 10**9}, "steps towards a taste"),
        ({"aesthetic_embedding": "x", "aesthetic_steps": -1}, "--aesthetic_steps"),
        ({"ddim_steps": 0}, "--ddim_steps"),
        ({"seed": -5}, "--seed"),
        ({"seed": 2**64}, "--seed"),
        ({"scale": float("nan")}, "--scale"),
        ({"scale": float("inf")}, "--scale"),
        ({"ddim_eta": -1.0}, "--ddim_eta"),
        ({"scheduler": "__class__"}, "unknown scheduler"),
        ({"n_samples": 0}, "--n_samples"),
        ({"batch": 10**12}, "batch 1000000000000"),
        ({"prompts": ["x"] * 1000}, "1000 prompts"),
        ({"prompts": ["x" * 100_000]}, "--prompt"),
        ({"prompts": [" "]}, "prompt is empty"),
        ({"text_encoder": "other"}, "cannot read"),
        ({"ddim_steps": "1"} | {"ddim_steps": [1]}, "cannot read"),
    ]:
        refused(generate("--from-image", ours(**values), model=False), said)
    fixed = generate("--from-image", ours(scale=float("nan")), "--scale", 3, model=False)
    assert fixed.exit_code == 0, fixed.output


def test_no_model_is_loaded_because_a_picture_names_it(generate, ours, tmp_path):
    for model in ("someone/else", "/net/host/share/x.safetensors", "../x.ckpt", "\x1b[2J", "x" * 5000):
        refused(generate("--from-image", ours(model=model), model=False), "--model", "has not been used here")
    assert generate("--from-image", ours(), model=False).exit_code == 0
    assert generate("--from-image", ours(model="someone/else")).exit_code == 0
    (tmp_path / "cache" / "visunex" / "generate" / "models.json").write_text("{")
    refused(generate("--from-image", ours(), model=False), "has not been used here")


@pytest.mark.parametrize(
    ("comment", "said"),
    [
        ({"steps": {}, "seed": 1}, "--ddim_steps"),
        ({"steps": 1, "seed": []}, "--seed"),
        ({"steps": 1, "seed": 1, "width": True, "height": 64}, "--W"),
        ({"steps": 1, "seed": 1.5}, "--seed"),
        ({"steps": 1, "seed": 1, "width": 60, "height": 64}, "--W is 60"),
    ],
)
def test_values_of_another_type(generate, comment, said):
    path = png(Path("x.png"), Description="a castle", Comment=json.dumps(comment))
    result = generate("--from-image", path)
    assert result.exit_code in (1, 2)
    assert said in result.output
    assert "fault in VisuNex" not in result.output


def test_a_value_that_is_nothing_is_the_options_own(generate):
    comment = {"steps": 1, "seed": 1, "scale": None, "width": 64, "height": 64}
    path = png(Path("x.png"), Description="a castle", Comment=json.dumps(comment))
    assert generate("--from-image", path).exit_code == 0
    assert read_record(Path("outputs/samples/00000.png")).settings.guidance_scale == 7.5


def test_a_picture_of_the_web_ui_is_made_again(generate):
    text = INFOTEXT.replace("512x768", "64x64").replace("Steps: 20", "Steps: 2")
    result = generate("--from-image", png(Path("x.png"), parameters=text))
    assert result.exit_code == 0, result.output
    record = read_record(Path("outputs/samples/00000.png"))
    assert record.settings.clip_skip == 2
    assert (record.settings.seed, record.settings.steps) == (965400086, 2)
    assert not Path("outputs/grid-0000.png").exists()
    several = generate("--from-image", "x.png", "--n_samples", 2, "--seed", 3, "--ddim_steps", 1)
    assert several.exit_code == 0, several.output
    assert read_record(Path("outputs/samples/00002.png")).settings.seed == 3
    for bad, said in (("Seed: x", "--seed"), ("Size: 90000x90000", "--H"), ("Steps: 9999999", "1 to 1000")):
        changed = re.sub(rf"\b{bad.partition(':')[0]}: [^,]*", bad, text)
        refused_text = generate("--from-image", png(Path("y.png"), parameters=changed))
        assert refused_text.exit_code != 0, changed
        assert said in refused_text.output, refused_text.output


def test_the_seed_that_a_picture_shows_makes_it_again(generate):
    """But for the last bit of some values: products of larger matrices are summed in another order."""
    castle = ("--prompt", "a castle", "--ddim_steps", 2)
    assert generate(*castle, "--n_samples", 2, "--n_iter", 2, "--seed", 5).exit_code == 0
    for number, path in enumerate(sorted(Path("outputs/samples").iterdir())):
        seed = parse(texts_in(path)["parameters"]).fields["Seed"]
        assert int(seed) == 5 + number
        assert generate(*castle, "--seed", seed, "--outdir", seed).exit_code == 0
        one, other = (np.asarray(Image.open(each), int) for each in (path, f"{seed}/samples/00000.png"))
        assert np.abs(one - other).max() <= 1


def test_ours_in_a_batch_with_another_number_of_pictures_is_a_new_run(generate, ours):
    assert (
        generate("--prompt", "a castle", "--ddim_steps", 1, "--n_samples", 2, "--outdir", "two").exit_code
        == 0
    )
    result = generate(
        "--from-image", "two/samples/00001.png", "--n_samples", 1, "--outdir", "one", model=False
    )
    assert result.exit_code == 0, result.output
    assert len(list(Path("one/samples").iterdir())) == 1
    assert replace(read_record(Path("one/samples/00000.png")), versions={}).position == 0


def test_a_picture_finds_its_taste_again(generate, tmp_path, monkeypatch, embedding_file):
    """By digest: from another folder, beside the picture, or not at all where the file holds another."""
    (tmp_path / "mine.pt").write_bytes(embedding_file.read_bytes())
    castle = ("--prompt", "a castle", "--ddim_steps", 1, "--aesthetic_steps", 1)
    assert generate(*castle, "--aesthetic_embedding", "mine.pt").exit_code == 0
    made = tmp_path / "outputs" / "samples" / "00000.png"
    assert read_record(made).taste.path == str(tmp_path / "mine.pt")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    again = generate("--from-image", made, "--outdir", "a", model=False)
    assert again.exit_code == 0, again.output
    assert np.array_equal(Image.open(made), Image.open("a/samples/00000.png"))
    torch.save(torch.ones(1, 64), tmp_path / "mine.pt")
    result = generate("--from-image", made, model=False)
    refused(result, "made with another embedding", "mine.pt is another one now", "--aesthetic_embedding")
    (made.parent / "another name.pt").write_bytes(embedding_file.read_bytes())
    assert generate("--from-image", made, "--outdir", "b", model=False).exit_code == 0
    (made.parent / "another name.pt").unlink()
    (tmp_path / "mine.pt").unlink()
    refused(generate("--from-image", made, model=False), "is not here")
    sweep = generate("--from-image", made, "--sweep-embeddings", embedding_file, "--outdir", "c", model=False)
    assert sweep.exit_code == 0, sweep.output


def test_a_taste_that_the_web_ui_names(generate, embedding_file):
    text = (
        "a castle\nSteps: 1, Sampler: DDIM, Seed: 1, Size: 64x64, Aesthetic LR: 0.0001, Aesthetic steps: 2, "
    )
    path = png(Path("x.png"), parameters=text + "Aesthetic embedding: belle, Aesthetic weight: 0.9")
    result = generate("--from-image", path)
    assert result.exit_code == 0, result.output
    assert "no embedding belle is here" in result.stderr
    Path("belle.pt").write_bytes(embedding_file.read_bytes())
    assert generate("--from-image", path).exit_code == 0
    record = read_record(Path("outputs/samples/00001.png"))
    assert (Path(record.taste.name).name, record.taste.steps) == ("belle.pt", 2)
    assert record.controls.blend == 0.9


def test_a_folder_that_cannot_be_written_to_is_told_before_the_model_is_loaded(generate, tmp_path):
    (tmp_path / "file").write_text("I am a file")
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "samples").write_text("so am I")
    for folder in ("file", "file/below", "half", "x" * 300, "/proc/visunex"):
        refused(
            generate("--prompt", "a castle", "--outdir", folder), "no picture could be written", "--outdir"
        )
    assert generate("--prompt", "a castle", "--outdir", "new/deep", "--device", "warp").exit_code == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "half"]

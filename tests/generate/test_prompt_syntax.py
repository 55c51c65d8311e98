"""`--prompt-syntax webui` on the command line, and pictures that are made again with it."""

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image, PngImagePlugin

from visunex.generate.cli import main
from visunex.generate.output.png_text import as_json, read_record

LONG = "a (castle:1.4), " + "far away " * 40 + "BREAK [fog]"


@pytest.fixture
def generate(tmp_path, monkeypatch, clip_folder):
    """Run the command in a folder of its own on a tiny model with CLIP's words."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    tiny = ["--model", str(clip_folder), "--device", "cpu", "--ddim_steps", "2"]

    def run(*options: object) -> Result:
        result = CliRunner().invoke(main, [*tiny, *map(str, options)])
        assert "Traceback" not in result.output
        return result

    return run


def made(folder: str) -> list[np.ndarray]:
    return [np.asarray(Image.open(path)) for path in sorted(Path(folder, "samples").iterdir())]


def test_a_picture_with_weights_and_chunks_is_made_again(generate, embedding_file):
    taste = ("--aesthetic_embedding", embedding_file, "--aesthetic_steps", 2)
    result = generate("--prompt", LONG, "--negative_prompt", "(rain:0.5)", "--prompt-syntax", "webui", *taste)
    assert result.exit_code == 0, result.output
    assert "left out" not in result.output
    record = read_record(Path("outputs/samples/00000.png"))
    assert (record.settings.prompt_syntax, as_json(record)["prompt_syntax"]) == ("webui", "webui")
    again = generate("--from-image", "outputs/samples/00000.png", "--outdir", "again")
    assert again.exit_code == 0, again.output
    assert np.array_equal(*made("outputs"), *made("again"))
    plain = generate(
        "--from-image", "outputs/samples/00000.png", "--outdir", "plain", "--prompt-syntax", "plain"
    )
    assert "tokens are left out" in plain.output
    assert not np.array_equal(*made("outputs"), *made("plain"))
    assert "prompt_syntax" not in as_json(read_record(Path("plain/samples/00000.png")))


def test_lines_of_a_file_have_their_own_syntax(generate):
    Path("prompts.txt").write_text(
        "a (fox:1.4)\na (fox:1.4) --prompt-syntax webui\na fox --prompt_syntax webui\na fox --s 2"
    )
    assert generate("--from-file", "prompts.txt").exit_code == 0
    first, second, third, fourth = made("outputs")
    assert np.array_equal(third, fourth)
    assert not np.array_equal(first, second)
    assert not np.array_equal(second, third)


@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        ("a [day:night:0.5]", "the prompt holds words that change on the way"),
        ("a [cow|horse] <lora:x:1>", "lora x, alternating words, which --prompt-syntax webui does not do"),
        ("a (castle:99999999)", "the weights of 'castle' in the prompt multiply to 1e+08"),
        ("(" * 200, "more than 100 brackets"),
    ],
)
def test_what_is_not_done_is_named_before_a_model_is_loaded(generate, prompt, said):
    for options in (("--prompt", prompt), ("--prompt", "a fox", "--negative_prompt", prompt)):
        result = generate(*options, "--prompt-syntax", "webui")
        assert result.exit_code == 2, result.output
        assert said in result.output
        assert "Loading" not in result.output
    assert generate("--prompt", prompt).exit_code == 0


def test_a_picture_of_the_web_ui_is_made_with_its_weights(generate):
    text = PngImagePlugin.PngInfo()
    text.add_text(
        "parameters",
        f"{LONG}, <lora:x:1>\nNegative prompt: (rain:1.4)\n"
        "Steps: 2, Sampler: DDIM, CFG scale: 7.5, Seed: 9, Size: 64x64",
    )
    Image.new("RGB", (16, 16)).save("theirs.png", pnginfo=text)
    result = generate("--from-image", "theirs.png")
    assert result.exit_code == 0, result.output
    assert "the prompt is read without lora x" in result.output
    how = ("--prompt-syntax", "webui", "--seed", 9, "--outdir", "ours")
    ours = generate("--prompt", LONG, "--negative_prompt", "(rain:1.4)", *how)
    assert ours.exit_code == 0, ours.output
    assert np.array_equal(*made("outputs"), *made("ours"))

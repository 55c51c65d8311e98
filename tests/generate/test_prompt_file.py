"""`--from-file` with options in its lines, as a person uses it."""

import shlex
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from visunex.generate.cli import main
from visunex.generate.output.png_text import read_record


@pytest.fixture
def generate(tmp_path, monkeypatch, model_folder):
    """Run the command in a folder of its own on the tiny model, with two steps where a line says nothing."""
    monkeypatch.chdir(tmp_path)
    tiny = ["--model", str(model_folder), "--device", "cpu", "--ddim_steps", "2"]

    def run(*options: object) -> Result:
        result = CliRunner().invoke(main, [*tiny, *map(str, options)])
        assert "Traceback" not in result.output
        return result

    return run


@pytest.fixture
def prompts(tmp_path):
    """A prompt file of these lines."""

    def write(*lines: str) -> Path:
        (tmp_path / "prompts.txt").write_text("\n".join(lines), encoding="utf-8")
        return Path("prompts.txt")

    return write


def made(folder: str) -> list[np.ndarray]:
    return [np.asarray(Image.open(path)) for path in sorted(Path(folder, "samples").iterdir())]


def test_a_file_with_options_equals_the_separate_commands(generate, prompts, embedding_file):
    taste = f'--aesthetic_embedding "{embedding_file}" --aesthetic_steps 2'
    file = prompts(
        "# what is only said",
        "a castle --n fog, (rain) --d 7 --s 3 --w 64 --h 128 --l 5",
        f'a moat {taste} --seed 5 --negative_prompt "blurry --n" --plms',
        "",
        "a garden, it's --n_samples 2 --n_iter 2",
        '--prompt "a lake" --steps 1 --cfg_scale 3 --width 128 --sampler_name "Euler a" --batch_size 2',
        "a plain line",
    )
    result = generate("--from-file", file, "--outdir", "file", "--scale", 4)
    assert result.exit_code == 0, result.output
    assert "seeds 7, 5, 42, 42, 42" in result.stdout
    separate = [
        "--prompt 'a castle' --negative_prompt 'fog, (rain)' --seed 7 --ddim_steps 3 --H 128 --scale 5",
        f"--prompt 'a moat' {taste} --seed 5 --plms --negative_prompt 'blurry --n'",
        """--prompt "a garden, it's" --n_samples 2 --n_iter 2""",
        "--prompt 'a lake' --ddim_steps 1 --scale 3 --W 128 --scheduler 'Euler a' --n_samples 2",
        "--prompt 'a plain line'",
    ]
    for command in separate:
        each = generate("--scale", 4, *shlex.split(command), "--outdir", "separate")
        assert each.exit_code == 0, each.output
    ours, theirs = made("file"), made("separate")
    assert len(ours) == len(theirs) == 9
    assert all(np.array_equal(one, other) for one, other in zip(ours, theirs, strict=True))
    assert len(list(Path("file").glob("grid-*.png"))) == 2  # of the lines of several pictures


def test_every_picture_of_a_file_with_options_is_made_again(generate, prompts):
    file = prompts("a castle --d 7 --n fog", "a moat --n_samples 2 --rng cpu")
    assert generate("--from-file", file).exit_code == 0
    for path in sorted(Path("outputs/samples").iterdir()):
        again = generate(
            "--from-image", path, "--outdir", f"again/{path.stem}", "--model", read_record(path).model.name
        )
        assert again.exit_code == 0, again.output
        assert np.array_equal(made(f"again/{path.stem}")[0], np.asarray(Image.open(path)))


def test_lines_without_a_prompt_take_the_commands(generate, prompts):
    assert generate("--from-file", prompts("--d 1", "a moat --d 2"), "--prompt", "a castle").exit_code == 0
    records = [read_record(path) for path in sorted(Path("outputs/samples").iterdir())]
    assert [(each.prompt, each.seed) for each in records] == [("a castle", 1), ("a moat", 2)]


def test_a_file_of_plain_lines_is_one_run(generate, prompts):
    file = prompts("# a hash", "a castle -- at night", "word--word --n,x")
    assert generate("--from-file", file, "--n_samples", 2, "--seed", 3).exit_code == 0
    records = [read_record(path) for path in sorted(Path("outputs/samples").iterdir())]
    assert [(each.prompt, each.seed) for each in records] == [
        ("# a hash", 3),
        ("a castle -- at night", 4),
        ("word--word --n,x", 5),
    ]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("a --aesthetic_step 3", "there is no option --aesthetic_step: did you mean --aesthetic_steps?"),
        ("a --v 5", "there is no option --v:"),
        ("a --ar 3:2 --n fog", "there is no option --ar"),
        ("a --outdir elsewhere", "--outdir is of the whole run: give it on the command line"),
        ("a --model x", "--model is of the whole run"),
        ("a --lowvram", "--lowvram is of the whole run"),
        ("a --d 1,2", "--seed: "),
        ("a --s 0", "--ddim_steps: "),
        ("a --w 65", "--W is 65"),
        ("a --plms 5", "--plms takes no value"),
        ("a --s 5 --ddim_steps 5", "--ddim_steps is there twice"),
        ('a --n "fog', "the quote that begins the value of --n does not end"),
        ("a --scheduler none_such", "unknown scheduler"),
        ("a --aesthetic_embedding none_such", "no embedding called 'none_such'"),
        ("a --plms --ddim_eta 1", "--ddim_eta must be 0 with --plms"),
        ("--s 5", "the prompt is empty"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(generate, prompts, line, said):
    result = generate("--from-file", prompts("a castle --d 1", "", line))
    assert result.exit_code in (1, 2), result.output
    assert "Error: prompts.txt, line 3: " in result.output
    assert said in result.output
    assert "Loading" not in result.output
    assert not Path("outputs").exists()


def test_options_of_a_line_that_change_nothing_are_named_with_it(generate, prompts):
    result = generate("--from-file", prompts("a castle --aesthetic_lr 1", "a moat --s 1"))
    assert result.exit_code == 0, result.output
    assert "prompts.txt, line 1: --aesthetic_lr has no effect without --aesthetic_embedding." in result.stderr
    assert "line 2" not in result.stderr

import hashlib
import json
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image
from safetensors.torch import save_file

from visunex.aesthetic_embeddings import Published, catalogue, save
from visunex.generate.cli import main
from visunex.generate.output.files import Writer
from visunex.generate.output.png_text import read_record

COMMAND = [sys.executable, "-m", "visunex.generate.cli"]


@pytest.fixture
def generate(tmp_path, monkeypatch, model_folder):
    """Run the command in a folder of its own on the tiny model, with four steps unless told otherwise."""
    monkeypatch.chdir(tmp_path)
    tiny = ["--model", str(model_folder), "--device", "cpu", "--ddim_steps", "4"]

    def run(*options: object, model: bool = True) -> Result:
        return CliRunner().invoke(main, [*(tiny if model else []), *map(str, options)])

    return run


def pixels(path: str | Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def refused(result: Result, code: int, *said: str) -> None:
    """It ended with this code and a sentence of at most a few lines, no traceback."""
    assert result.exit_code == code, result.output
    for text in said:
        assert text in result.output
    assert "Traceback" not in result.output
    assert not Path("outputs").exists()


def test_a_prompt_becomes_pictures_and_a_grid(generate, embedding_file):
    result = generate(
        "--prompt", "a castle", "--n_samples", 2, "--n_iter", 2, "--aesthetic_embedding", embedding_file
    )
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in Path("outputs").iterdir()) == ["grid-0000.png", "samples"]
    assert len(list(Path("outputs/samples").iterdir())) == 4
    assert pixels("outputs/grid-0000.png").shape == (2 * 66 + 2, 2 * 66 + 2, 3)
    assert "4 pictures" in result.stdout
    assert "outputs/samples/00000.png to outputs/samples/00003.png" in result.stdout
    assert "Sampling: 8/8 steps" in result.stderr
    record = read_record(Path("outputs/samples/00002.png"))
    assert (record.batch, record.position, record.taste.steps) == (1, 0, 10)


def test_hyphens_do_as_well(generate):
    assert (
        generate(
            "--prompt", "a castle", "--n-samples", 2, "--skip-grid", "--negative-prompt", "fog"
        ).exit_code
        == 0
    )
    assert read_record(Path("outputs/samples/00001.png")).settings.negative_prompt == "fog"
    assert not Path("outputs/grid-0000.png").exists()


def test_the_report_as_json(generate):
    result = generate("--prompt", "a castle", "--json", "--outdir", "pictures", "--skip_save")
    report = json.loads(result.stdout)
    assert report["pictures"] == 1
    assert report["samples"] == []
    assert report["grids"] == ["pictures/grid-0000.png"]


@pytest.mark.parametrize(
    "how",
    [
        ("--plms",),
        ("--ddim_eta", 0.7, "--n_samples", 2),
        ("--ddim_eta", 0.7, "--n_samples", 2, "--seed-of", "run"),
        ("--scheduler", "euler-ancestral-discrete", "--rng", "cpu"),
        ("--fixed_code", "--negative_prompt", "fog", "--W", 96, "--scale", 3),
    ],
)
@pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")
def test_a_picture_is_made_again_bit_for_bit(generate, embedding_file, how):
    taste = ("--aesthetic_embedding", embedding_file, "--aesthetic_steps", 2, "--aesthetic_lr", 1e-3)
    first = generate("--prompt", "a castle", "--n_iter", 2, "--seed", 9, *taste, *how)
    assert first.exit_code == 0, first.output
    last = sorted(Path("outputs/samples").iterdir())[-1]
    result = generate("--from-image", last, "--outdir", "again", model=False)
    assert result.exit_code == 0, result.output
    assert Path("again/samples/00000.png").read_bytes() == last.read_bytes()
    assert [path.name for path in Path("again").iterdir()] == ["samples"]


def test_a_prompt_ends_where_its_line_does(generate):
    prompts = ["a castle\u2028by night", "a ship\x0cat sea", "a fox\x85asleep", "an owl\x0b", "a\rcat"]
    Path("prompts.txt").write_bytes(b"\xef\xbb\xbf" + "\r\n".join([*prompts, "", "a dog\n"]).encode())
    generate("--from-file", "prompts.txt", "--ddim_steps", 1)
    samples = sorted(Path("outputs/samples").iterdir())
    assert [read_record(path).prompt for path in samples] == [*prompts, "a dog"]


def test_a_picture_of_a_file_of_prompts_is_made_again(generate):
    Path("prompts.txt").write_text("a castle\n\na ship\na fox\n", encoding="utf-8")
    generate("--from-file", "prompts.txt", "--n_samples", 2, "--n_iter", 2)
    samples = sorted(Path("outputs/samples").iterdir())
    assert [read_record(path).prompt for path in samples] == ["a castle", "a ship", "a fox"] * 2
    for number in (1, 5):
        generate("--from-image", samples[number], "--outdir", f"again{number}", model=False)
        assert Path(f"again{number}/samples/00000.png").read_bytes() == samples[number].read_bytes()


def test_a_picture_made_again_with_something_changed(generate, embedding_file):
    generate("--prompt", "a castle", "--n_samples", 2)
    generate("--from-image", "outputs/samples/00001.png", "--prompt", "a ship", "--outdir", "other")
    made = read_record(Path("other/samples/00000.png"))
    assert (made.prompt, made.position) == ("a ship", 1)
    generate(
        "--from-image",
        "outputs/samples/00001.png",
        "--aesthetic_embedding",
        embedding_file,
        "--sweep-steps",
        "0,2",
    )
    assert np.array_equal(pixels("outputs/samples/00002.png"), pixels("outputs/samples/00001.png"))
    assert pixels("outputs/grid-0001.png").shape[1] == 2 * 68 + 4


def test_another_model_or_embedding_under_the_same_name_is_refused(
    generate, embedding_file, unprojected_folder
):
    mine = Path("mine.pt")
    mine.write_bytes(embedding_file.read_bytes())
    assert generate("--prompt", "a castle", "--aesthetic_embedding", mine, "--outdir", "first").exit_code == 0
    torch.save(torch.ones(1, 64), mine)
    image = "first/samples/00000.png"
    refused(generate("--from-image", image, model=False), 1, "made with another embedding")
    assert (
        generate("--from-image", image, "--aesthetic_embedding", mine, "--outdir", "b", model=False).exit_code
        == 0
    )
    noted = read_record(Path(image)).model
    assert noted.fingerprint
    Path("model").symlink_to(noted.name)
    assert generate("--prompt", "a castle", "--model", "model", "--outdir", "second").exit_code == 0
    Path("model").unlink()
    Path("model").symlink_to(unprojected_folder)
    again = generate("--from-image", "second/samples/00000.png", model=False)
    refused(again, 1, "made with another model")


def test_a_published_taste_is_fetched_once_and_checked(generate, embedding_file, tmp_path, monkeypatch):
    (tmp_path / "mirror").mkdir()
    mirrored = Path(shutil.copy(embedding_file, tmp_path / "mirror" / "meadow.pt"))
    digest = hashlib.sha256(mirrored.read_bytes()).hexdigest()
    entry = Published("meadow", "http://127.0.0.1:9/meadow.pt", digest, (1, 64), "mean", "meadows")
    monkeypatch.setitem(catalogue(), "meadow", entry)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    asked = ("--prompt", "a castle", "--aesthetic_embedding", "meadow")
    refused(generate(*asked), 1, "HF_HUB_OFFLINE is set", "visunex-data embeddings fetch meadow")
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    refused(generate(*asked), 1, "127.0.0.1:9/meadow.pt cannot be fetched", "--mirror")
    assert generate(*asked, "--mirror", tmp_path / "mirror", "--outdir", "a").exit_code == 0
    shutil.rmtree(mirrored.parent)
    assert generate("--prompt", "a castle", "--aesthetic_embedding", "meadow.pt").exit_code == 0
    assert read_record(Path("outputs/samples/00000.png")).taste.sha256 is not None


def test_a_sweep_of_steps_is_one_labelled_grid_over_the_same_noise(generate, embedding_file):
    result = generate(
        "--prompt",
        "a castle",
        "--sweep-steps",
        "0,2,5",
        "--aesthetic_embedding",
        embedding_file,
        "--n_samples",
        2,
        "--aesthetic_lr",
        1e-3,
    )
    assert result.exit_code == 0, result.output
    samples = sorted(Path("outputs/samples").iterdir())
    assert [read_record(path).taste.steps for path in samples] == [0, 0, 2, 2, 5, 5]
    grid = pixels("outputs/grid-0000.png")
    assert grid.shape[1] == 3 * 68 + 4
    top = grid.shape[0] - 2 * 68
    for column in range(3):
        for row in range(2):
            y, x = top + row * 68, 4 + column * 68
            assert np.array_equal(grid[y : y + 64, x : x + 64], pixels(samples[2 * column + row]))
    generate("--prompt", "a castle", "--n_samples", 2, "--outdir", "plain")
    assert np.array_equal(pixels("plain/samples/00001.png"), pixels(samples[1]))


def test_a_sweep_of_embeddings(generate, embedding_file):
    Path("runs/night").mkdir(parents=True)
    torch.save(torch.randn(1, 64), "runs/night/embedding.pt")
    result = generate(
        "--prompt", "a castle", "--sweep-embeddings", f"{embedding_file}, night", "--aesthetic_steps", 2
    )
    assert result.exit_code == 0, result.output
    assert [read_record(path).taste.name for path in sorted(Path("outputs/samples").iterdir())] == [
        str(embedding_file),
        "night",
    ]
    both = generate(
        "--prompt",
        "a castle",
        "--sweep-embeddings",
        f"{embedding_file},night",
        "--sweep-steps",
        "0,1",
        "--skip_save",
    )
    assert both.exit_code == 0, both.output
    assert pixels("outputs/grid-0001.png").shape[1] == 2 * 68 + 4


def test_a_sweeps_columns_are_those_of_its_heading(generate, embedding_file):
    """Steps that are named twice are drawn once; embeddings of one file name are two."""
    for folder in ("day", "night"):
        Path(folder).mkdir()
        torch.save(torch.randn(1, 64), f"{folder}/fantasy.pt")
    sweep = ("--prompt", "a castle", "--ddim_steps", 2)
    result = generate(*sweep, "--sweep-steps", "0,0,5", "--aesthetic_embedding", embedding_file)
    assert result.exit_code == 0, result.output
    samples = sorted(Path("outputs/samples").iterdir())
    assert [read_record(path).taste.steps for path in samples] == [0, 5]
    assert pixels("outputs/grid-0000.png").shape[1] == 2 * 68 + 4
    Path("\ue000").mkdir()  # which no font has
    shutil.copy("night/fantasy.pt", "\ue000/fantasy.pt")
    both = generate(*sweep, "--sweep-embeddings", "day/fantasy.pt,\ue000/fantasy.pt,day/fantasy.pt")
    assert both.exit_code == 0, both.output
    assert both.stderr.count("\ue000/fantasy is <U+E000>/fantasy") == 1
    assert pixels("outputs/grid-0001.png").shape[1] == 2 * 68 + 4


@pytest.mark.parametrize(
    ("names", "labels"),
    [
        (["a/fantasy.pt", "b/fantasy.pt"], ["a/fantasy", "b/fantasy"]),
        (["x/a/fantasy.pt", "y/a/fantasy.pt", "z.pt"], ["x/a/fantasy", "y/a/fantasy", "z"]),
        (["runs/night/embedding.pt", "fantasy"], ["night", "fantasy"]),
        (["a.pt", "a.bin"], ["a.pt", "a.bin"]),
        ([""], [""]),
    ],
)
def test_embeddings_are_told_apart_in_a_grid(names, labels):
    from visunex.generate.command.variants import labels_of

    assert labels_of(names) == labels


def test_a_picture_says_what_its_unet_was_taken_to_estimate(generate):
    generate("--prompt", "a castle", "--ddim_steps", 2, "--prediction", "v")
    made = Path("outputs/samples/00000.png")
    assert read_record(made).settings.prediction == "v"
    assert generate("--from-image", made, "--outdir", "again", model=False).exit_code == 0
    assert Path("again/samples/00000.png").read_bytes() == made.read_bytes()
    generate("--prompt", "a castle", "--ddim_steps", 2, "--outdir", "plain")
    assert not np.array_equal(pixels("plain/samples/00000.png"), pixels(made))


def test_a_negative_prompt_that_is_cut_is_said(generate):
    result = generate("--prompt", "a castle", "--ddim_steps", 1, "--negative_prompt", "fog " * 90)
    assert "tokens are left out" in result.output


def test_a_recipe_gives_defaults(generate, embedding_file):
    Path("runs/gardens").mkdir(parents=True)
    Path("runs/gardens/embedding.pt").write_bytes(embedding_file.read_bytes())
    Path("gardens.toml").write_text(
        'name = "gardens"\n[source]\ndata = "metadata.parquet"\n[filter]\nkeywords = ["flower"]\n'
        '[generate]\nprompt = "a castle"\naesthetic_steps = 3\nscale = 5.0\nddim_steps = 30\n',
        encoding="utf-8",
    )
    result = generate("--recipe", "gardens.toml", "--scale", 4)
    assert result.exit_code == 0, result.output
    made = read_record(Path("outputs/samples/00000.png"))
    assert (made.prompt, made.taste.name, made.taste.steps) == ("a castle", "gardens", 3)
    assert (made.settings.guidance_scale, made.settings.steps) == (4.0, 4)


def test_tokens_beyond_the_text_encoders_length_are_named(generate):
    result = generate("--prompt", "word " * 80)
    assert result.exit_code == 0
    assert re.search(r"The last \d+ tokens are left out, the model takes no more: word", result.stderr)


def test_the_safety_checker_blacks_out(generate, tmp_path, model_folder):
    from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
    from transformers import CLIPConfig, CLIPImageProcessor

    guarded = shutil.copytree(model_folder, tmp_path / "guarded")
    vision = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    vision |= {"image_size": 32, "patch_size": 8}
    checker = StableDiffusionSafetyChecker(CLIPConfig(vision_config=vision, projection_dim=32))
    with torch.no_grad():
        checker.concept_embeds_weights.fill_(-2)  # any cosine is above: it objects to everything
    checker.save_pretrained(guarded / "safety_checker")
    size = {"height": 32, "width": 32}
    CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=size).save_pretrained(
        guarded / "feature_extractor"
    )
    result = generate("--prompt", "a castle", "--safety_checker", "--model", guarded)
    assert result.exit_code == 0, result.output
    assert pixels("outputs/samples/00000.png").max() == 0
    assert "1 blacked out" in result.stdout
    generate("--prompt", "a castle", "--model", guarded, "--outdir", "open")
    assert pixels("open/samples/00000.png").max() > 0


def test_faults_in_what_is_asked_for(generate, embedding_file):
    castle = ("--prompt", "a castle")
    refused(generate(), 2, "the prompt is empty")
    refused(generate("--prompt", "  "), 2, "the prompt is empty")
    refused(generate(*castle, "--aesthetic_steps", -1), 2, "-1")
    refused(generate(*castle, "--aesthetic_lr", 0), 2, "--aesthetic_lr is 0")
    refused(generate(*castle, "--H", 500), 2, "--H is 500", "496 or 504")
    refused(generate(*castle, "--f", 16), 2, "--f is 16", "has 8")
    refused(generate(*castle, "--C", 3), 2, "--C is 3", "has 4")
    refused(
        generate(*castle, "--scheduler", "fancy"),
        2,
        "unknown scheduler 'fancy'",
        "ddim, plms",
        "EulerDiscrete",
    )
    refused(generate(*castle, "--plms", "--ddim_eta", 0.5), 2, "--ddim_eta must be 0")
    refused(generate(*castle, "--ddim_steps", 2000), 2, "1 to 1000")
    refused(generate(*castle, "--sweep-steps", "0,5"), 2, "--aesthetic_embedding")
    refused(generate(*castle, "--sweep-steps", "5,x"), 2, "0,5,8,20")
    refused(generate(*castle, "--device", "warp"), 2, "no device 'warp'")
    refused(generate(*castle, "--device", "gpu"), 2, "no device 'gpu' here: cpu, cuda")
    refused(generate("--prompt", "a\udcff"), 2, "--prompt is not UTF-8 text")
    refused(generate(*castle, "--negative_prompt", "\udcff"), 2, "--negative_prompt is not UTF-8 text")
    refused(generate("a", "castle"), 2, "--prompt, in quotes")
    refused(generate(*castle, "--model", ""), 1, "name of the model is empty")
    refused(generate(*castle, "--outdir", ""), 2, "'--outdir': it is empty")
    refused(generate(*castle, "--sweep-embeddings", ","), 2, "',' is not a list of names")
    refused(generate(*castle, "--n_samples", 1_000_000), 2, "1<=x<=10000")
    refused(generate(*castle, "--W", -8), 2, "-8")
    refused(generate(*castle, "--seed", 1.5), 2, "'1.5' is not a valid integer.")
    refused(generate(*castle, "--scale", "x"), 2, "'x' is not a number")
    refused(generate(*castle, "--ddim_eta", -1), 2, "'-1' is less than 0")
    refused(generate("--from-file", "missing.txt"), 2, "missing.txt")
    Path("empty.txt").write_text("\n\n", encoding="utf-8")
    refused(generate("--from-file", "empty.txt"), 2, "holds no prompt")
    Path("binary.txt").write_bytes(b"\xff\xfe\x00")
    refused(generate("--from-file", "binary.txt"), 2, "UTF-8")


def test_things_that_are_not_there_or_do_not_fit(generate, embedding_file):
    castle = ("--prompt", "a castle")
    missing = generate(*castle, "--aesthetic_embedding", "flowr")
    refused(missing, 1, "no embedding called 'flowr'", "sac_8plus", "flower_plant")
    torch.save(torch.randn(1, 1024), "h.pt")
    refused(
        generate(*castle, "--aesthetic_embedding", "h.pt"),
        1,
        "h.pt is 1x1024 (ViT-H-14)",
    )
    save("l.pt", np.ones(768), {"model": {"name": "ViT-L-14", "pretrained": "openai"}})
    refused(
        generate(*castle, "--aesthetic_embedding", "l.pt", "--model", "visunex-tiny"),
        1,
        "visunex-tiny's text_encoder is of visunex-tiny and l.pt of ViT-L-14 openai",
    )
    Path("broken.ckpt").write_text("junk", encoding="utf-8")
    refused(generate(*castle, "--model", "broken.ckpt"), 1, "broken.ckpt cannot be read as a checkpoint")
    refused(generate(*castle, "--model", "nowhere/at/all"), 1, "no model 'nowhere/at/all'")
    refused(generate("--from-image", "missing.png"), 1, "no picture missing.png")
    refused(generate(*castle, "--safety_checker"), 1, "safety checker", "hf download")
    refused(generate(*castle, "--text-encoder", "openai"), 1, "openai/clip-vit-large-patch14")


def test_help_has_examples_and_loads_nothing_heavy():
    command = [sys.executable, "-X", "importtime", "-m", "visunex.generate.cli", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "visunex-generate --prompt" in done.stdout
    assert "\nThe taste:\n  --aesthetic_embedding" in done.stdout
    assert "None" not in done.stdout
    loaded = {line.split("|")[-1].strip() for line in done.stderr.splitlines()}
    assert not {"torch", "diffusers", "transformers", "numpy", "PIL"} & loaded


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (("--aesthetic_embedding", "flower_plan"), 1, "did you mean flower_plant?"),
        (("--sweep-embeddings", "mine.pt,nope"), 1, "no embedding called 'nope'"),
        (("--scheduler", "Eular a"), 2, "did you mean Euler a or Euler?"),
        (("--model", "missing.ckpt"), 1, "there is no such file"),
        (("--model", "visunex_tiny"), 1, "did you mean visunex-tiny?"),
        (("--device", "cudaa"), 2, "did you mean cuda?"),
        (("--promt", "a ship"), 2, "--prompt"),
        (("--ddim_steps", "many"), 2, "many"),
        (("--from-file", "missing.txt"), 2, "missing.txt"),
        (("--from-image", "missing.png"), 1, "missing.png"),
        (("--config", "v1.yaml"), 2, "--config is not needed"),
        (("--laion400m",), 2, "older than Stable Diffusion"),
        (("--steps", "9"), 2, "--steps is --ddim_steps here"),
        (("--model", "visunex-tiny", "--W", "513"), 2, "--W is 513: it must be a multiple of 4"),
        (("--model", "visunex-tiny", "--ddim_steps", "1001"), 2, "--ddim_steps is 1001: give 1 to 1000"),
        (("--model", "visunex-tiny", "--f", "9"), 2, "--f is 9"),
        (("--model", "some/one", "--aesthetic_embedding", "mine.pt"), 1, "some/one is not on this machine"),
        (
            ("--model", "lora.safetensors"),
            1,
            "is a LoRA, but only Stable Diffusion 1.x, 2.x, XL, 3.x and FLUX.1 models",
        ),
        (
            ("--model", "flux"),
            1,
            "is a FLUX.2 model, whose text encoder is no CLIP, but only Stable Diffusion 1.x",
        ),
    ],
)
def test_what_is_mistyped_is_told_before_torch_is_loaded(
    generate, embedding_file, monkeypatch, options, code, said
):
    shutil.copy(embedding_file, "mine.pt")
    save_file({"lora_unet_x.lora_down.weight": torch.zeros(2, 2)}, "lora.safetensors")
    Path("flux").mkdir()
    Path("flux/model_index.json").write_text('{"_class_name": "Flux2Pipeline"}', encoding="utf-8")
    program = (
        "import atexit, sys; from visunex.generate.cli import main\n"
        "atexit.register(lambda: print({'torch', 'diffusers', 'transformers'} & set(sys.modules)))\n"
        "main(prog_name='visunex-generate')"
    )
    command = [sys.executable, "-c", program, "--prompt", "a castle", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == "set()\n"


def test_a_random_seed_is_told_and_makes_the_picture_again(generate):
    seeds = [
        json.loads(generate("--prompt", "a castle", "--seed", -1, "--ddim_steps", 1, "--json").stdout)["seed"]
        for _ in range(2)
    ]
    assert seeds[0] != seeds[1]
    assert read_record(Path("outputs/samples/00001.png")).settings.seed == seeds[1]
    again = generate("--prompt", "a castle", "--seed", seeds[1], "--ddim_steps", 1, "--outdir", "again")
    assert f"seed {seeds[1]}" in again.stdout
    assert np.array_equal(pixels("again/samples/00000.png"), pixels("outputs/samples/00001.png"))


def test_an_option_without_effect_is_said(generate, embedding_file):
    Path("prompts.txt").write_text("a ship\n", encoding="utf-8")
    plain = generate("--prompt", "a castle", "--ddim_steps", 1)
    assert "no effect" not in plain.output
    idle = ("--aesthetic_steps", 5, "--plms", "--scheduler", "Euler a", "--fixed_code", "--n_rows", 2)
    result = generate("--prompt", "a castle", "--from-file", "prompts.txt", "--skip_grid", *idle)
    assert result.exit_code == 0, result.output
    for said in (
        "--aesthetic_steps has no effect without --aesthetic_embedding.",
        "--scheduler has no effect beside --plms.",
        "--prompt has no effect beside --from-file.",
        "--n_rows has no effect with --skip_grid.",
    ):
        assert said in result.stderr
    assert "--fixed_code" not in result.stderr  # more prompts may be more batches


def test_every_option_of_the_table_is_one():
    from visunex.generate.command.unused import TABLE

    fields = {parameter.name for parameter in main.params}
    assert {field for row in TABLE for field in row[0]} <= fields


@pytest.mark.parametrize(
    ("place", "calls", "said"),
    [
        ("visunex.generate.sampling.sampler.decode", 2, "--seed 44 goes on"),
        ("visunex.generate.job.tile", 0, "the run does not fit into the memory of cpu: try --skip_grid"),
    ],
)
def test_memory_that_runs_out_keeps_what_was_made(generate, monkeypatch, place, calls, said):
    module, _, name = place.rpartition(".")
    whole, called = getattr(sys.modules[module], name), []

    def fails(*given, **named):
        called.append(1)
        if len(called) > calls:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return whole(*given, **named)

    monkeypatch.setattr(place, fails)
    result = generate("--prompt", "a castle", "--n_iter", 3, "--ddim_steps", 1)
    assert result.exit_code == 1
    kept = len(list(Path("outputs/samples").iterdir()))
    assert kept == (calls or 3)
    assert f"{kept} pictures in outputs from before are kept" in result.stderr
    assert said in result.stderr


def test_the_safety_checkers_memory_is_its_own(monkeypatch, tmp_path):
    from visunex.generate.errors import MemoryShortageError
    from visunex.generate.sampling import safety

    def fails(*_, **__):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    model = SimpleNamespace(name="x", device="cpu", lowvram=False)
    monkeypatch.setattr(safety, "_load", fails)
    with pytest.raises(
        MemoryShortageError, match=r"the safety checker does not fit .* leaving --safety_checker"
    ):
        safety.load_checker(model)
    monkeypatch.setattr(safety, "_load", lambda name: (torch.nn.Identity(), fails))
    with pytest.raises(MemoryShortageError, match="a smaller --n_samples"):
        safety.load_checker(model)((Image.new("RGB", (8, 8)),))


def test_a_full_disk_keeps_what_was_made(generate, monkeypatch, small_files_only):
    write = Writer.sample

    def filling(writer, image, record):
        if len(writer.written) == 2:
            small_files_only(1000)
        return write(writer, image, record)

    monkeypatch.setattr(Writer, "sample", filling)
    result = generate("--prompt", "a castle", "--n_iter", 4)
    assert result.exit_code == 1
    assert "no picture could be written" in result.stderr
    assert "the 2 written before are kept, the last is outputs/samples/00001.png" in result.stderr
    assert "--seed 44 begins with the picture that was not" in result.stderr
    assert sorted(path.name for path in Path("outputs/samples").iterdir()) == ["00000.png", "00001.png"]


def test_ctrl_c_keeps_what_was_made(tmp_path, model_folder):
    options = [
        "--model",
        model_folder,
        "--device",
        "cpu",
        "--ddim_steps",
        "2",
        "--prompt",
        "a castle",
        "--n_iter",
        "9999",
    ]
    with subprocess.Popen([*COMMAND, *options], cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        third = tmp_path / "outputs/samples/00002.png"  # its number is taken while it is written
        deadline = time.monotonic() + 300
        while not third.exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=120)
    assert process.returncode == 130, errors
    assert "Interrupted" in errors
    assert "Traceback" not in errors
    made = sorted((tmp_path / "outputs/samples").iterdir())
    assert len(made) >= 2
    assert all(pixels(path).shape == (64, 64, 3) for path in made)

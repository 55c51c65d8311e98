"""The best of several pictures."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from visunex.aesthetic_embeddings import save
from visunex.clip import load_image_encoder
from visunex.demo.colours import FLOWERS_FROM, flower_share
from visunex.demo.judge import Judge
from visunex.demo.scenes import Scene, render
from visunex.generate import Settings
from visunex.generate.best_of import Nearness, candidates, nearest_of
from visunex.generate.cli import main
from visunex.generate.output.png_text import read_record
from visunex.pipeline.curate.rank import rank

COSINES = st.lists(st.sampled_from([-0.5, 0.0, 0.25, 0.5]), min_size=1, max_size=24)


@given(COSINES, st.integers(1, 5), st.integers(1, 5))
def test_the_choice_is_that_of_trying_all_however_they_come(cosines, count, size):
    cosines = cosines[: len(cosines) // count * count]
    batches = [list(range(len(cosines)))[at : at + size] for at in range(0, len(cosines), size)]
    found = list(nearest_of(batches, lambda batch: [cosines[place] for place in batch], count))
    groups = [cosines[at : at + count] for at in range(0, len(cosines), count)]
    assert [each for chosen in found for each in chosen] == [
        (number * count + group.index(max(group)), tuple(group)) for number, group in enumerate(groups)
    ]
    for batch, chosen in zip(batches, found, strict=True):  # as soon as they can be told
        assert all(place // count * count + count - 1 in batch for place, _ in chosen)


def test_one_prompt_is_drawn_so_many_times_a_list_each_so_often():
    settings = Settings(samples=2, iterations=3)
    assert candidates("a", settings, 4) == ("a", Settings(samples=2, iterations=12))
    assert candidates(("a", "b"), settings, 2) == (("a", "a", "b", "b"), settings)
    assert candidates("a", settings, 1) == ("a", settings)


@pytest.mark.parametrize("size", [64, 150])
def test_cosines_are_those_by_which_files_are_ranked(tmp_path, size):
    vector = np.random.default_rng(1).normal(size=768).astype("f4")
    save(tmp_path / "taste.pt", vector, {"model": {"name": "visunex-tiny"}})
    images = [
        render(Scene(subject, "day", garden=False, seed=1), size) for subject in ("ship", "tree", "moon")
    ]
    (tmp_path / "pictures").mkdir()
    for number, image in enumerate(images):
        image.save(tmp_path / "pictures" / f"{number}.png")
    tiny = load_image_encoder("visunex-tiny", device="cpu")
    found = Nearness(((tiny, vector, 1.0),)).of(images)
    ranked = rank(str(tmp_path / "pictures"), str(tmp_path / "taste.pt"), 9, device="cpu").rows
    assert {Path(row["image_path"]).stem: pytest.approx(row["cosine"], abs=1e-6) for row in ranked} == {
        str(number): cosine for number, cosine in enumerate(found)
    }
    both = Nearness(((tiny, vector, 1.0), (tiny, vector[::-1].copy(), -3.0))).of(images)
    away = Nearness(((tiny, vector[::-1].copy(), 1.0),)).of(images)
    assert both == pytest.approx([(one - 3 * other) / 4 for one, other in zip(found, away, strict=True)])


TINY = ("--model", "visunex-tiny", "--device", "cpu", "--ddim_steps", "3", "--skip_grid")


@pytest.fixture(scope="module")
def flowers(tmp_path_factory):
    path = tmp_path_factory.mktemp("tastes") / "flowers.pt"
    save(path, Judge().flower_embedding(60).numpy(), {"model": {"name": "visunex-tiny"}})
    return path


@pytest.fixture
def draw(tmp_path, monkeypatch, flowers):
    """Run the command in a folder of its own; its report, and the bytes of its pictures' pixels."""
    monkeypatch.chdir(tmp_path)

    def run(*options, outdir="outputs", taste=flowers):
        whole = (*TINY, "--aesthetic_embedding", taste, "--outdir", outdir, *options, "--json")
        done = CliRunner().invoke(main, list(map(str, whole)))
        assert done.exit_code == 0, done.output
        said = json.loads(done.stdout)
        return said, [Image.open(path).tobytes() for path in said["samples"]]

    return run


@pytest.mark.parametrize(("samples", "iterations", "steps"), [(2, 2, 3), (1, 1, 0)])
def test_what_is_kept_is_what_trying_every_seed_finds(draw, flowers, samples, iterations, steps):
    prompt = (
        "--prompt",
        "a castle at night",
        "--seed",
        7,
        "--aesthetic_steps",
        steps,
        "--n_samples",
        samples,
    )
    count = samples * iterations
    said, kept = draw(*prompt, "--n_iter", iterations, "--best-of", 3)
    every, pixels = draw(*prompt, "--n_iter", 3 * iterations, outdir="every")
    ranked = rank("every/samples", str(flowers), 99, device="cpu").rows
    cosines = {Path(row["image_path"]).name: row["cosine"] for row in ranked}
    drawn = [cosines[Path(path).name] for path in every["samples"]]
    assert len(kept) == count
    for number, (image, choice, path) in enumerate(zip(kept, said["best_of"], said["samples"], strict=True)):
        group = drawn[3 * number : 3 * number + 3]
        place = 3 * number + group.index(max(group))
        assert image == pixels[place]
        assert choice["cosines"] == pytest.approx(group, abs=1e-5)
        record = read_record(Path(path))
        assert (record.seed, record.cosines) == (7 + place, tuple(choice["cosines"]))
        assert choice == {"drawn": 3, "cosine": max(record.cosines), "cosines": list(record.cosines)}


def test_one_of_one_is_todays_picture_and_a_kept_one_is_made_again(draw):
    prompt = ("--prompt", "a ship by day", "--aesthetic_steps", 2)
    _, plain = draw(*prompt)
    _, one = draw(*prompt, "--best-of", 1, outdir="one")
    assert one == plain
    assert Path("one/samples/00000.png").read_bytes() == Path("outputs/samples/00000.png").read_bytes()
    said, best = draw(*prompt, "--best-of", 4, "--n_samples", 3, outdir="best")
    again = CliRunner().invoke(main, ["--from-image", said["samples"][1], "--outdir", "again", "--json"])
    assert again.exit_code == 0, again.output
    assert Image.open("again/samples/00000.png").tobytes() == best[1]


def test_the_more_are_drawn_the_more_of_those_kept_have_flowers(draw):
    """Flowers are told by colour, which knows nothing of CLIP."""
    prompt = ("--prompt", "a ship at dusk", "--aesthetic_steps", 13, "--ddim_steps", 8)
    kept = []
    for number in (1, 2):
        said, _ = draw(*prompt, "--n_samples", 4, "--best-of", number, outdir=f"of-{number}")
        kept.append(sum(flower_share(Image.open(path)) > FLOWERS_FROM for path in said["samples"]))
    assert kept[0] < kept[1], kept


def test_each_prompt_of_a_file_has_its_own_best(draw):
    Path("prompts.txt").write_text("a castle at night\na ship by day\na tree in winter\n")
    said, _ = draw("--from-file", "prompts.txt", "--n_samples", 2, "--best-of", 2, "--aesthetic_steps", 0)
    records = [read_record(Path(path)) for path in said["samples"]]
    assert [record.prompt for record in records] == Path("prompts.txt").read_text().splitlines()
    assert [len(each["cosines"]) for each in said["best_of"]] == [2, 2, 2]


def refused(*options):
    done = CliRunner().invoke(main, [*TINY, "--prompt", "a castle", "--best-of", "2", *map(str, options)])
    assert done.exit_code in (1, 2), done.output
    assert "Traceback" not in done.output
    assert not Path("outputs").exists()
    return done.output


def test_what_cannot_be_chosen_by_is_told_before_anything_is_drawn(tmp_path, monkeypatch, flowers):
    monkeypatch.chdir(tmp_path)
    assert "give --aesthetic_embedding" in refused()
    assert "leave --fixed_code out" in refused("--aesthetic_embedding", flowers, "--fixed_code")
    away = {"model": {"name": "ViT-L-14", "pretrained": "laion2b_s32b_b82k"}}
    save(tmp_path / "away.pt", np.ones(768), away)
    steps = ("--aesthetic_steps", 0, "--aesthetic_embedding", tmp_path / "away.pt")
    assert "the image encoder of ViT-L-14 laion2b_s32b_b82k, the CLIP that" in (said := refused(*steps))
    assert "Loading" not in said
    save(tmp_path / "odd.pt", np.ones(512), {})
    odd = ("--aesthetic_steps", 0, "--aesthetic_embedding", tmp_path / "odd.pt")
    assert "own CLIP with --aesthetic_space" in refused(*odd)


def test_one_batch_of_candidates_is_held_at_a_time():
    import weakref

    held = []

    class Image:
        pass

    def batches():
        for _ in range(6):
            made = [Image(), Image()]
            held.append([weakref.ref(each) for each in made])
            yield made
            del made
            assert sum(ref() is not None for refs in held for ref in refs) <= 3  # this batch and the best

    chosen = [len(each) for each in nearest_of(batches(), lambda made: [0.5, 0.1], 12)]
    assert chosen == [0, 0, 0, 0, 0, 1]

"""Stable Diffusion 2.x from a folder and from one file: what diffusers draws, and tastes of ViT-H."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import web_ui_rule
from click.testing import CliRunner
from safetensors.torch import save_file
from sd2_models import as_trainers_fill, in_one_file, random_sd2
from small_pipelines import a_vector, moved_plainly, quiet
from torch import Tensor

from visunex.generate import Taste, steered
from visunex.generate.cli import main
from visunex.generate.errors import CheckpointError, UsageError
from visunex.generate.families.loading import load
from visunex.generate.families.outline import check_model, outline
from visunex.generate.sampling.noise import Noise
from visunex.generate.sampling.sampler import Sampler, build_scheduler
from visunex.generate.settings import Settings
from visunex.generate.taste import space_named
from visunex.generate.tokens import clip_tokenizer

# Of some schedulers.
pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")

SPACE = "ViT-H-14:laion2b_s32b_b79k"
H, TINY = 1024, 64  # ViT-H's width, by which a folder is told, and that of the file here
PROMPT = "a castle at night"
Weights = dict[str, Tensor]
Put = Callable[[Any], None]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tokenizer: Any) -> tuple[Path, Any]:
    place = tmp_path_factory.mktemp("sd2") / "folder"
    return place, random_sd2(place, tokenizer, H, prediction_type="v_prediction")


@pytest.fixture(scope="module")
def sampler(folder: tuple[Path, Any]) -> Sampler:
    return Sampler.load(folder[0], device="cpu")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    place = tmp_path_factory.mktemp("sd2") / "small"
    return place, random_sd2(place, clip_tokenizer(pad="!"), TINY)


@pytest.fixture(scope="module")
def weights(small: tuple[Path, Any]) -> Weights:
    return in_one_file(*small)


def saved(weights: Weights, folder: Path) -> str:
    save_file(weights, folder / "a.safetensors")
    return str(folder / "a.safetensors")


def by_diffusers(sampler: Sampler, settings: Settings, **given: Any) -> Any:
    """diffusers' own picture of the folder's parts, of the noise that ours is of."""
    scheduler = build_scheduler(sampler.model, settings)
    pipe = quiet(sampler.model.pipeline(scheduler=type(scheduler).from_config(scheduler.config)))
    noise = Noise(settings.seed, "cpu", "cpu")
    return np.asarray(
        pipe(
            **given,
            latents=noise.draw((1, 4, 8, 8)),
            generator=noise.branch(0),
            num_inference_steps=settings.steps,
            guidance_scale=settings.guidance_scale,
        ).images[0]
    )


def drawn(sampler: Sampler, settings: Settings, taste: Taste | None = None) -> Any:
    (batch,) = sampler.sample(PROMPT, settings, taste)
    return np.asarray(batch.images[0])


@pytest.mark.parametrize("name", ["ddim", "Euler a", "DPM++ 2M Karras"])
def test_a_folder_draws_what_diffusers_draws(folder: Any, sampler: Sampler, name: str) -> None:
    assert (check_model(str(folder[0])), sampler.model.size) == ("sd2", (64, 64))
    settings = Settings(scheduler=name, steps=3, seed=7, negative_prompt="an old ship")
    assert build_scheduler(sampler.model, settings).config.prediction_type == "v_prediction"
    theirs = by_diffusers(sampler, settings, prompt=PROMPT, negative_prompt="an old ship")
    assert np.array_equal(drawn(sampler, settings), theirs)


def test_a_taste_of_vit_h_moves_it_as_steered_does(folder: Any, sampler: Sampler, in_the_cache: Put) -> None:
    in_the_cache(folder[1])
    settings = Settings(steps=2, seed=7)
    taste = Taste("gardens", a_vector(H), steps=3, lr=1e-3, space=space_named(SPACE))
    pipe = sampler.model.pipeline()
    theirs = by_diffusers(sampler, settings, **steered(pipe, PROMPT, a_vector(H), steps=3, lr=1e-3))
    ours = drawn(sampler, settings, taste)
    assert np.array_equal(ours, theirs)
    assert not np.array_equal(ours, drawn(sampler, settings))


def test_the_command_repeats_its_picture(
    folder: Any, in_the_cache: Put, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_the_cache(folder[1])
    monkeypatch.chdir(tmp_path)
    torch.save(a_vector(H), "gardens.pt")
    taste = ("--aesthetic_embedding", "gardens.pt", "--aesthetic_steps", "2", "--aesthetic_space", SPACE)
    asked = ("--model", str(folder[0]), "--device", "cpu", "--ddim_steps", "2", "--prompt", PROMPT, *taste)
    for given in (asked, ("--from-image", "outputs/samples/00000.png", "--outdir", "again")):
        result = CliRunner().invoke(main, given)
        assert result.exit_code == 0, result.output
    ours, again = (Path(each, "samples/00000.png").read_bytes() for each in ("outputs", "again"))
    assert ours == again


def test_one_file_is_the_folder_with_its_last_layer_and_projection(
    small: Any, weights: Weights, tmp_path: Path
) -> None:
    found: Any = load(saved(weights, tmp_path), device="cpu")
    folder, whole = small
    theirs = load_parts(folder)
    for part, other in theirs.items():
        own = getattr(found, part).state_dict()
        assert all(torch.equal(own[name], value) for name, value in other.state_dict().items()), part
    assert found.size == (512, 512)
    settings = {name: found.unet.config[name] for name in ("attention_head_dim", "use_linear_projection")}
    assert settings == {"attention_head_dim": [1, 2], "use_linear_projection": True}
    (room,) = Sampler(found).conditioner.rooms
    assert torch.equal(room.projection(), whole.text_projection.weight)
    assert found.tokenizer.pad_token_id == 0


def load_parts(folder: Path) -> dict[str, Any]:
    from diffusers import StableDiffusionPipeline

    pipe = StableDiffusionPipeline.from_pretrained(folder, safety_checker=None)
    return {part: getattr(pipe, part) for part in ("unet", "vae", "text_encoder")}


def test_and_a_taste_moves_by_the_files_own(small: Any, weights: Weights, tmp_path: Path) -> None:
    conditioner = Sampler.load(saved(weights, tmp_path), device="cpu").conditioner
    whole, target = small[1], a_vector(TINY)
    found = conditioner.prompt(PROMPT, Taste("gardens", target, steps=3, lr=1e-3)).hidden
    ids = conditioner.tokens(PROMPT)
    end = ids[0].tolist().index(conditioner.model.tokenizer.eos_token_id)
    moved = moved_plainly(whole, ids, end, whole.text_projection.weight.detach(), target, 3, 1e-3)
    with torch.no_grad():
        states = moved(ids, output_hidden_states=True).hidden_states[-2]
        wanted = moved.text_model.final_layer_norm(states)
    change = float((wanted - conditioner.prompt(PROMPT).hidden).abs().max())
    assert change > 1e-3
    assert (found - wanted).abs().max() < min(1e-4, change / 100)


def test_prompts_with_weights_are_the_web_uis(weights: Weights, tmp_path: Path) -> None:
    sampler = Sampler.load(saved(weights, tmp_path), device="cpu")
    conditioner, text = sampler.conditioner, "a (castle:1.4) BREAK [fog]"
    ((tokenizer, encoder),) = sampler.model.readers
    encoder.final_layer_norm.bias.data += 0.3  # a mean, as trained models have
    wanted = web_ui_rule.conditioning(encoder, tokenizer, text)
    torch.testing.assert_close(conditioner.prompt(text, syntax="webui").hidden, wanted, atol=1e-5, rtol=1e-5)
    assert torch.equal(conditioner.prompt(PROMPT, syntax="webui").hidden, conditioner.prompt(PROMPT).hidden)
    taste = Taste("gardens", a_vector(TINY), steps=3, lr=1e-3)
    moved = conditioner.prompt(f"{PROMPT} BREAK", taste, syntax="webui").hidden
    torch.testing.assert_close(moved, conditioner.prompt(PROMPT, taste).hidden)


def test_what_trainers_fill_in_is_not_taken(weights: Weights, tmp_path: Path) -> None:
    found: Any = load(saved(as_trainers_fill(weights), tmp_path), device="cpu")
    assert (found.last_layer, found.own_projection) == (None, None)
    with pytest.raises(CheckpointError, match="is 64 wide, ViT-H's is 1024"):
        found.family.encoders[0].published(TINY)


@pytest.mark.parametrize(("marker", "side"), [((), 512), (("v_pred",), 768)])
def test_what_a_file_says_of_its_estimate_and_size(
    weights: Weights, tmp_path: Path, marker: tuple[str, ...], side: int, caplog: pytest.LogCaptureFixture
) -> None:
    path = saved(weights | {name: torch.ones(1) for name in marker}, tmp_path)
    told, found = outline(path), load(path, device="cpu")
    assert told is not None
    assert (told.kind, told.size, found.size) == ("sd2", (side, side), (side, side))
    said = found.scheduler_config.get("prediction_type")
    assert said == ("v_prediction" if marker else None)
    assert ("give --prediction v" in caplog.text) == (not marker)


@pytest.mark.parametrize(
    ("lacking", "said"),
    [
        ("cond_stage_model.model.t", "token_embedding.weight is missing"),
        ("cond_stage_model.model.ln_final", "not a whole Stable Diffusion 2.x checkpoint"),
        ("first_stage_model.", "holds no VAE"),
    ],
)
def test_a_file_that_is_not_whole_is_refused(
    weights: Weights, tmp_path: Path, lacking: str, said: str
) -> None:
    there = {name: value for name, value in weights.items() if not name.startswith(lacking)}
    with pytest.raises(CheckpointError, match=said):
        load(saved(there, tmp_path), device="cpu")


def test_openais_encoder_is_for_others(folder: Any) -> None:
    with pytest.raises(UsageError, match="is of the family Stable Diffusion 2"):
        Sampler.load(folder[0], device="cpu", text_encoder="openai")

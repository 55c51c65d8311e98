"""`--prompt-syntax webui`: what conditions, against the web UI's rule written down plainly."""

from dataclasses import replace

import pytest
import torch
import web_ui_rule
from sdxl_models import G, L
from small_pipelines import a_projection, a_vector, sd1_pipe, sdxl_pipe
from transformer_pipelines import flux_pipe, sd3_pipe

from visunex.generate import Taste, steered
from visunex.generate.controls import Controls, Steering
from visunex.generate.errors import UsageError
from visunex.generate.sampling.sampler import Sampler
from visunex.generate.settings import Settings
from visunex.generate.syntax import chunks_of, sections_of

LONG = "a (castle:1.3) at [night], " + "far away " * 34 + ", " + "(grey towers, " * 3 + "BREAK \\(a\\) moat"
WEB_UI = {"syntax": "webui"}


@pytest.fixture(scope="module")
def sd1(clip_folder):
    return loaded(clip_folder)


@pytest.fixture(scope="module")
def sdxl(xl_folder):
    return loaded(xl_folder)


def loaded(folder):
    sampler = Sampler.load(str(folder), device="cpu")
    for _, encoder in sampler.model.readers:
        give_a_mean(encoder)
    return sampler


def give_a_mean(encoder):
    """States whose mean is not zero, as those of trained models are."""
    (norm,) = (each for name, each in encoder.named_modules() if name.endswith("final_layer_norm"))
    norm.bias.data += torch.rand(norm.bias.shape, generator=torch.Generator().manual_seed(3))


def taste(size, **changes):
    vector = torch.randn(1, size, generator=torch.Generator().manual_seed(size))
    return Taste("gardens", vector, **{"steps": 3, "lr": 1e-3, **changes})


@pytest.mark.parametrize("text", ["(fox:1.5), a ((ship)) [at night", LONG, "BREAK a (fox:0)"])
def test_weights_and_chunks_of_sd1_are_the_rules(sd1, text):
    (tokenizer, encoder), *_ = sd1.model.readers
    expected = web_ui_rule.conditioning(encoder, tokenizer, text)
    for found in (sd1.conditioner.prompt(text, **WEB_UI), sd1.conditioner.negative(text, **WEB_UI)):
        torch.testing.assert_close(found.hidden, expected, atol=1e-5, rtol=1e-5)


def test_weights_and_chunks_of_sdxl_are_the_rules(sdxl):
    found = sdxl.conditioner.prompt(LONG, **WEB_UI)
    expected = [
        web_ui_rule.conditioning(encoder, tokenizer, LONG, 1) for tokenizer, encoder in sdxl.model.readers
    ]
    torch.testing.assert_close(found.hidden, torch.cat(expected, dim=-1), atol=1e-5, rtol=1e-5)
    tokenizer, encoder = sdxl.model.readers[1]
    first = chunks_of(sections_of(LONG), tokenizer, 77)[0]
    assert first.words == 74
    with torch.no_grad():
        assert torch.equal(found.pooled, encoder(torch.tensor([first.ids])).text_embeds)


@pytest.mark.parametrize("name", ["sd1", "sdxl"])
def test_a_short_prompt_of_words_is_the_plain_one_bit_for_bit(name, request):
    sampler = request.getfixturevalue(name)
    conditioner = sampler.conditioner
    for text in ("a castle at night, it's late", "", " "):
        for plain, ours in (
            (conditioner.prompt(text), conditioner.prompt(text, **WEB_UI)),
            (conditioner.prompt(text, clip_skip=2), conditioner.prompt(text, clip_skip=2, **WEB_UI)),
            (conditioner.negative(text), conditioner.negative(text, **WEB_UI)),
        ):
            assert torch.equal(plain.hidden, ours.hidden)
            assert plain.pooled is ours.pooled is None or torch.equal(plain.pooled, ours.pooled)


@pytest.mark.parametrize(("name", "size"), [("sd1", 64), ("sdxl", L), ("sdxl", G)])
def test_each_chunk_is_moved_by_itself_and_an_empty_one_never(name, size, request):
    conditioner = request.getfixturevalue(name).conditioner
    own = taste(size)
    found = conditioner.prompt("BREAK a (castle:1.4) BREAK a fox", own, **WEB_UI)
    empty, castle, fox = found.hidden.split(77, dim=1)
    assert torch.equal(empty, conditioner.prompt("").hidden)
    torch.testing.assert_close(castle, conditioner.prompt("a (castle:1.4)", own, **WEB_UI).hidden)
    torch.testing.assert_close(fox, conditioner.prompt("a fox", own).hidden)
    assert (fox - conditioner.prompt("a fox").hidden).abs().max() > 1e-3
    assert len(found.climbs[0]) == 2
    if found.pooled is not None:
        assert torch.equal(found.pooled, conditioner.prompt("").pooled)


def test_weights_act_on_what_a_taste_gives(sd1):
    conditioner = sd1.conditioner
    moved, text = conditioner.prompt("a fox", taste(64)).hidden, "a (fox:1.5)"
    weights = torch.ones(77)
    weights[2] = 1.5
    laid = moved * weights[:, None]
    found = conditioner.prompt(text, taste(64), **WEB_UI).hidden
    torch.testing.assert_close(found, laid * (moved.mean() / laid.mean()), atol=1e-5, rtol=1e-5)
    still = Steering.of(taste(64))
    still = replace(still, controls=Controls(blend=0.0))
    assert torch.equal(
        conditioner.prompt(text, still, **WEB_UI).hidden, conditioner.prompt(text, **WEB_UI).hidden
    )


@pytest.mark.parametrize("name", ["sd1", "sdxl"])
def test_pictures_of_prompts_of_several_lengths(name, request):
    """The shorter ones are filled up with empty chunks: writing them out gives the same picture."""
    sampler = request.getfixturevalue(name)
    settings = Settings(steps=2, samples=2, prompt_syntax="webui", height=64, width=64)

    def images(*prompts, negative=""):
        own = replace(settings, negative_prompt=negative)
        return next(sampler.sample(prompts, own)).images

    assert images("a fox", LONG) == images("a fox BREAK BREAK", LONG)
    assert images("a fox", "a ship", negative="fog BREAK rain") == images(
        "a fox BREAK BREAK", "a ship BREAK BREAK", negative="fog BREAK rain"
    )
    assert images("a fox BREAK b", "a ship", negative="fog") == images(
        "a fox BREAK b", "a ship", negative="fog BREAK BREAK"
    )
    assert images("a fox", "a ship") != images("a fox BREAK b", "a ship")


@pytest.mark.parametrize("make", [sd1_pipe, sdxl_pipe])
def test_steered_reads_the_web_uis_prompts_for_diffusers_pipelines(words, make):
    pipe = make(words if make is sdxl_pipe else words())
    encoder = pipe.text_encoder_2 if make is sdxl_pipe else pipe.text_encoder
    give_a_mean(pipe.text_encoder)
    size = encoder.config.projection_dim if make is sdxl_pipe else 24
    more = {} if make is sdxl_pipe else {"text_projection": a_projection(32, 24)}
    texts = ["a (castle:1.4) BREAK the [sea]", "one fox"]
    how = {"prompt_syntax": "webui", "steps": 2, "lr": 1e-3, **more}
    found = steered(pipe, texts, a_vector(size), negative_prompt="a ship", **how)
    still = steered(pipe, texts, a_vector(size), negative_prompt="a ship", **how | {"steps": 0})
    for name, tensor in still.items():
        assert tensor.shape[:2] == ((2, 154) if tensor.ndim == 3 else tensor.shape[:2])
        assert torch.equal(tensor, found[name]) == name.startswith("negative_")
    asked = {"prompt": "one fox", "device": "cpu", "num_images_per_prompt": 1}
    asked |= {"do_classifier_free_guidance": True}
    plain = pipe.encode_prompt(**asked, negative_prompt="a ship")
    assert torch.equal(still["prompt_embeds"][1:, :77], plain[0])
    assert torch.equal(still["negative_prompt_embeds"][1:, :77], plain[1])
    first = web_ui_rule.conditioning(pipe.text_encoder, pipe.tokenizer, texts[0], make is sdxl_pipe)
    torch.testing.assert_close(still["prompt_embeds"][:1, :, : first.shape[-1]], first, atol=1e-5, rtol=1e-5)
    nothing = steered(pipe, "one fox", a_vector(size), **how)["negative_prompt_embeds"]
    assert torch.equal(nothing, pipe.encode_prompt(**asked)[1])
    picture = pipe(**found, num_inference_steps=1, output_type="np", height=32, width=32).images
    assert picture.shape[0] == 2


def test_other_families_are_refused_by_name(words):
    for pipe, name in ((sd3_pipe(words), "Stable Diffusion 3"), (flux_pipe(words), "FLUX.1")):
        with pytest.raises(UsageError, match=f"webui is not for {name}"):
            steered(pipe, "a fox", a_vector(32), prompt_syntax="webui")


def test_what_is_not_done_is_named(sd1):
    with pytest.raises(UsageError, match="words that change on the way, which --prompt-syntax webui"):
        sd1.conditioner.prompt("a [day:night:0.5]", **WEB_UI)

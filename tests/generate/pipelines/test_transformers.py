"""`steered` for Stable Diffusion 3 and FLUX.1: against the plain method, and in diffusers' own pipelines."""

import pytest
import torch
from diffusers import FluxImg2ImgPipeline, FluxInpaintPipeline, StableDiffusion3Img2ImgPipeline
from diffusers import StableDiffusion3InpaintPipeline as StableDiffusion3Inpaint
from small_pipelines import a_projection, a_vector, moved_plainly
from transformer_pipelines import flux_pipe, sd3_pipe

from visunex.generate import steered
from visunex.generate.errors import CheckpointError, SteeringError, UsageError

LR = 1e-3
LENGTHS = {1: "fox", 20: "a castle at night by the sea " * 3, 75: "one red fox, an old ship " * 20}


@pytest.fixture
def sd3(words):
    return sd3_pipe(words)


@pytest.fixture
def flux(words):
    return flux_pipe(words)


def by_hand(encoder, tokenizer, text, projection, target, skip):
    """States `[L, D]` and the pooled row `[D]` of an encoder, moved plainly where there is a target."""
    ids = tokenizer(text, padding="max_length", max_length=77, truncation=True, return_tensors="pt").input_ids
    end = ids[0].tolist().index(tokenizer.eos_token_id)
    moved = encoder if target is None else moved_plainly(encoder, ids, end, projection, target, 3, LR)
    with torch.no_grad():
        said = moved(ids, output_hidden_states=True)
    return said.hidden_states[-1 - skip][0], said.last_hidden_state[0, end]


def assert_close(found, wanted, unmoved):
    """Within 1e-4 and within 1 % of what the steps move."""
    moved = (wanted - unmoved).abs().max()
    assert moved > 1e-3
    assert (found - wanted).abs().max() < min(1e-4, float(moved) / 100)


@pytest.mark.parametrize("tokens", LENGTHS)
@pytest.mark.parametrize("clip_skip", [None, 1])
def test_sd3_is_steered_as_by_the_plain_method_and_t5_stays(sd3, tokens, clip_skip):
    text, vectors = LENGTHS[tokens], (a_vector(32), a_vector(40))
    found = steered(sd3, text, list(vectors), steps=3, lr=LR, clip_skip=clip_skip)
    before = steered(sd3, text, list(vectors), steps=0, clip_skip=clip_skip)
    column = at = 0
    for number, vector in enumerate(vectors):
        part = "text_encoder" + "_2" * number
        encoder, tokenizer = getattr(sd3, part), getattr(sd3, part.replace("text_encoder", "tokenizer"))
        own = encoder.text_projection.weight.detach()
        given = (encoder, tokenizer, text, own)
        states, pooled = by_hand(*given, vector, 1 + (clip_skip or 0))
        plain_states, plain_pooled = by_hand(*given, None, 1 + (clip_skip or 0))
        width, size = states.shape[1], len(own)
        assert_close(found["prompt_embeds"][0, :77, column : column + width], states, plain_states)
        assert_close(found["pooled_prompt_embeds"][0, at : at + size], own @ pooled, own @ plain_pooled)
        column, at = column + width, at + size
    assert torch.equal(found["prompt_embeds"][:, 77:], before["prompt_embeds"][:, 77:])
    assert torch.equal(found["prompt_embeds"][:, :77, column:], before["prompt_embeds"][:, :77, column:])


@pytest.mark.parametrize("tokens", LENGTHS)
def test_flux_is_steered_as_by_the_plain_method_and_t5_stays(flux, tokens):
    text, projection = LENGTHS[tokens], a_projection(32, 24)
    found = steered(flux, text, a_vector(24), steps=3, lr=LR, text_projection=projection)
    before = steered(flux, text, a_vector(24), steps=0, text_projection=projection)
    given = (flux.text_encoder, flux.tokenizer, text, projection)
    assert_close(
        found["pooled_prompt_embeds"][0], by_hand(*given, a_vector(24), 0)[1], by_hand(*given, None, 0)[1]
    )
    assert torch.equal(found["prompt_embeds"], before["prompt_embeds"])


def test_without_steps_it_is_the_pipelines_own_conditioning_bit_for_bit(sd3, flux):
    found = steered(sd3, ["a castle", "fox"], a_vector(40), steps=0, negative_prompt="night", clip_skip=1)
    with torch.no_grad():
        wanted = sd3.encode_prompt(
            ["a castle", "fox"], None, None, negative_prompt=["night"] * 2, clip_skip=1
        )
    assert len(found) == 4
    assert all(torch.equal(each, own) for each, own in zip(found.values(), wanted, strict=True))

    how = {"text_projection": a_projection(32, 24), "steps": 0, "max_sequence_length": 32}
    found = steered(flux, "a castle", a_vector(24), prompt_2="sea", negative_prompt="night", **how)
    with torch.no_grad():
        wanted = flux.encode_prompt("a castle", "sea", max_sequence_length=32)[:2]
        negative = flux.encode_prompt("night", max_sequence_length=32)[:2]
    assert list(found) == [
        "prompt_embeds",
        "pooled_prompt_embeds",
        "negative_prompt_embeds",
        "negative_pooled_prompt_embeds",
    ]
    assert all(torch.equal(each, own) for each, own in zip(found.values(), (*wanted, *negative), strict=True))
    assert len(steered(flux, "a castle", a_vector(24), **how)) == 2


@pytest.mark.parametrize("family", ["sd3", "flux"])
def test_diffusers_own_pipelines_take_what_comes_back(request, family):
    pipe = request.getfixturevalue(family)
    image = torch.full((1, 3, 16, 16), 0.5)
    to_image, inpaint = (
        (StableDiffusion3Img2ImgPipeline, StableDiffusion3Inpaint)
        if family == "sd3"
        else (FluxImg2ImgPipeline, FluxInpaintPipeline)
    )
    how = {"num_inference_steps": 2, "output_type": "pt", "height": 16, "width": 16}
    size, projection = (40, None) if family == "sd3" else (24, a_projection(32, 24))
    for each, beside in (
        (pipe, {}),
        (to_image(**pipe.components), {"image": image, "strength": 0.9}),
        (inpaint(**pipe.components), {"image": image, "mask_image": image[:, :1] + 0.5, "strength": 0.9}),
    ):
        each.set_progress_bar_config(disable=True)

        def made(each=each, beside=beside, **given):
            return each(**given, **beside, **how, generator=torch.Generator().manual_seed(1)).images

        plain, moved = (
            steered(each, "a castle", a_vector(size), steps=steps, lr=LR, text_projection=projection)
            for steps in (0, 3)
        )
        own = made(prompt="a castle")
        assert torch.equal(made(**plain), own), type(each).__name__
        assert not torch.equal(made(**moved), own), type(each).__name__


def test_an_identity_for_sd3s_projection_is_no_projection(sd3):
    """What diffusers writes where a file has none: the pipeline's feature, but not the loss's."""
    with torch.no_grad():
        sd3.text_encoder.text_projection.weight.copy_(torch.eye(32))
    with pytest.raises(CheckpointError):
        steered(sd3, "fox", a_vector(32), steps=1)
    projection = a_projection(32, 24)
    found = steered(sd3, "fox", a_vector(24), steps=3, lr=LR, text_projection=projection)
    _, pooled = by_hand(sd3.text_encoder, sd3.tokenizer, "fox", projection, a_vector(24), 1)
    _, unmoved = by_hand(sd3.text_encoder, sd3.tokenizer, "fox", projection, None, 1)
    assert_close(found["pooled_prompt_embeds"][0, :32], pooled, unmoved)


def test_flux_says_that_it_is_an_experiment_and_takes_no_clip_skip(flux, caplog):
    how = {"text_projection": a_projection(32, 24)}
    steered(flux, "fox", a_vector(24), steps=0, **how)
    assert "experiment" in caplog.text
    with pytest.raises(UsageError, match="FluxPipeline takes no clip_skip"):
        steered(flux, "fox", a_vector(24), clip_skip=1, **how)


def test_other_families_are_named_as_what_they_are(flux):
    class ZImagePipeline(type(flux)):
        pass

    parts = {
        name: part for name, part in flux.components.items() if name not in ("transformer", "text_encoder")
    }
    pipe = ZImagePipeline(**parts, transformer=None, text_encoder=None)
    with pytest.raises(
        SteeringError, match=r"ZImagePipeline reads prompts by T5EncoderModel: .* has none\. What"
    ):
        steered(pipe, "fox", a_vector(24))

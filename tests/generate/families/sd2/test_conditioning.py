"""Stable Diffusion 2.x: a text encoder without its last layer, which ViT-H's published file has."""

import copy

import huggingface_hub
import pytest
import torch
from small_pipelines import a_vector, moved_plainly, sd1_pipe, text_encoder

from visunex.generate import steered
from visunex.generate.errors import CheckpointError
from visunex.generate.families.sd2 import text_encoder as published

LR, WIDTH = 1e-4, 1024


@pytest.fixture
def encoder(tokenizer):
    """As ViT-H, with three layers in the place of 24."""
    torch.manual_seed(4)
    return text_encoder(tokenizer, WIDTH, WIDTH, 3, hidden_act="gelu", intermediate_size=256)


def pipe_of(encoder, tokenizer):
    """A pipeline whose text encoder ends one layer early, with its own final norm."""
    pipe = sd1_pipe(tokenizer, WIDTH, 2, hidden_act="gelu", intermediate_size=256)
    values = {name.removeprefix("text_model."): value for name, value in encoder.state_dict().items()}
    pipe.text_encoder.load_state_dict(values, strict=False)
    with torch.no_grad():
        pipe.text_encoder.final_layer_norm.weight.mul_(1.5)
    return pipe


@pytest.mark.parametrize("clip_skip", [None, 1])
def test_the_loss_is_on_the_missing_layers_feature(encoder, tokenizer, in_the_cache, clip_skip):
    in_the_cache(encoder)
    pipe, target = pipe_of(encoder, tokenizer), a_vector(WIDTH)
    found = steered(pipe, "a castle", target, steps=3, lr=LR, clip_skip=clip_skip)

    reference = copy.deepcopy(encoder)
    reference.text_model.final_layer_norm = copy.deepcopy(pipe.text_encoder.final_layer_norm)
    ids = tokenizer("a castle", padding="max_length", max_length=77, return_tensors="pt").input_ids
    end = ids[0].tolist().index(tokenizer.eos_token_id)
    moved = moved_plainly(reference, ids, end, encoder.text_projection.weight.detach(), target, 3, LR)
    with torch.no_grad():
        states = moved(ids, output_hidden_states=True).hidden_states[-2 - (clip_skip or 0)]
        wanted = moved.text_model.final_layer_norm(states)
    before = steered(pipe, "a castle", target, steps=0, clip_skip=clip_skip)["prompt_embeds"]
    change = float((wanted - before).abs().max())
    assert change > 1e-3
    assert (found["prompt_embeds"] - wanted).abs().max() < min(1e-4, change / 100)


@pytest.mark.usefixtures("in_the_cache")
def test_without_vit_h_it_is_said_how_to_bring_it(encoder, tokenizer, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    pipe = pipe_of(encoder, tokenizer)
    with pytest.raises(CheckpointError, match=r"leaves out the last text layer of .*hf download laion"):
        steered(pipe, "a castle", a_vector(WIDTH))
    with torch.no_grad():
        own = pipe.encode_prompt("a castle", "cpu", 1, True)[0]
    assert torch.equal(steered(pipe, "a castle", a_vector(WIDTH), steps=0)["prompt_embeds"], own)


@pytest.mark.usefixtures("in_the_cache")
def test_an_encoder_that_has_all_layers_needs_no_other(tokenizer):
    config = text_encoder(tokenizer, 32, None, 3).config
    assert published.last_layer(config) == {}
    config.num_hidden_layers = 5
    with pytest.raises(CheckpointError, match="has 5 layers"):
        published.last_layer(config)

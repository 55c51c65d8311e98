"""A taste moves the text encoder of its size, as a plain reference does it, and the other's part stays."""

import copy
import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from sdxl_models import G, L
from torch import Tensor

from visunex.generate.errors import EmbeddingSizeError
from visunex.generate.sampling.sampler import Sampler
from visunex.generate.taste import Taste

STEPS, LR = 3, 1e-3


@pytest.fixture(scope="module")
def sampler(xl_folder: Path) -> Sampler:
    return Sampler.load(str(xl_folder), device="cpu")


def taste(size: int, **changes: Any) -> Taste:
    vector = torch.randn(1, size, generator=torch.Generator().manual_seed(size))
    return Taste("gardens", vector, steps=STEPS, lr=LR, **changes)


def moved(
    encoder: Any, projection: Tensor, ids: Tensor, end: int, embedding: Tensor
) -> tuple[Tensor, Tensor]:
    """The penultimate states and the projected feature after Adam's steps on the whole encoder."""
    encoder = copy.deepcopy(encoder).requires_grad_()
    text_model = getattr(encoder, "text_model", encoder)
    adam = torch.optim.Adam(text_model.parameters(), lr=LR)
    for _ in range(STEPS):
        feature = encoder(input_ids=ids).last_hidden_state[:, end] @ projection.T
        adam.zero_grad()
        (-torch.cosine_similarity(feature, embedding).sum()).backward()
        adam.step()
    with torch.no_grad():
        found = encoder(input_ids=ids, output_hidden_states=True)
        return found.hidden_states[-2], found.last_hidden_state[:, end] @ projection.T


@pytest.mark.parametrize("text", ["a castle at night", "fox " * 90])
@pytest.mark.parametrize("number", [0, 1])
def test_each_encoder_is_moved_as_by_the_plain_method(sampler: Sampler, number: int, text: str) -> None:
    model: Any = sampler.model
    tokenizer, encoder = model.readers[number]
    ids = tokenizer(text, padding="max_length", max_length=77, truncation=True, return_tensors="pt").input_ids
    end = ids[0].tolist().index(49407)
    own = taste((L, G)[number])
    projection = sampler.conditioner.rooms[number].projection()
    hidden, feature = moved(encoder, projection, ids, end, own.embedding)
    plain, ours = sampler.conditioner.prompt(text), sampler.conditioner.prompt(text, own)
    mine, other = (slice(0, L), slice(L, L + G))[:: -1 if number else 1]
    way = (ours.hidden - plain.hidden)[..., mine].abs().max()
    assert way > 1e-3
    assert (ours.hidden[..., mine] - hidden).abs().max() < 0.01 * way
    assert torch.equal(ours.hidden[..., other], plain.hidden[..., other])
    assert ours.pooled is not None
    if number:
        torch.testing.assert_close(ours.pooled, feature, atol=1e-4, rtol=0)
    else:  # the pooled vector is the second encoder's
        assert plain.pooled is not None
        assert torch.equal(ours.pooled, plain.pooled)


def test_the_model_and_the_negative_prompt_are_as_they_were(sampler: Sampler) -> None:
    before = sampler.model.fingerprint, sampler.conditioner.negative("fog").hidden
    model: Any = sampler.model
    weights = [{name: value.clone() for name, value in part.state_dict().items()} for part in model.networks]
    Sampler(model).conditioner.prompt("a ship", taste(G))
    for part, expected in zip(model.networks, weights, strict=True):
        assert all(torch.equal(value, expected[name]) for name, value in part.state_dict().items())
    assert torch.equal(before[1], Sampler(model).conditioner.negative("fog").hidden)


def test_the_empty_prompt_and_no_steps_move_nothing(sampler: Sampler) -> None:
    for text, own in (("", taste(L)), ("a fox", Taste("gardens", torch.ones(1, G), steps=0))):
        assert torch.equal(
            sampler.conditioner.prompt(text, own).hidden, sampler.conditioner.prompt(text).hidden
        )


def test_an_embedding_of_neither_size_is_refused(sampler: Sampler) -> None:
    with pytest.raises(
        EmbeddingSizeError,
        match=f"is 1x512 .ViT-B-32., .* takes 1x{L} .text_encoder. and 1x{G} .text_encoder_2.",
    ):
        sampler.conditioner.prompt("a fox", taste(512))


def test_added_tokens_do_not_move_where_the_text_ends(sampler: Sampler) -> None:
    """The configurations' legacy end of text, 2, has transformers read at the highest token."""
    model: Any = copy.deepcopy(sampler.model.text_encoder_2)  # type: ignore[attr-defined]
    tokenizer = copy.deepcopy(sampler.model.tokenizer_2)  # type: ignore[attr-defined]
    tokenizer.add_tokens(["<mine>"])
    model.resize_token_embeddings(len(tokenizer))
    changed = dataclasses.replace(sampler.model, text_encoder_2=model, tokenizer_2=tokenizer)  # type: ignore[call-arg]
    conditioner = Sampler(changed).conditioner
    ids = tokenizer("a <mine> fox", padding="max_length", max_length=77, return_tensors="pt").input_ids
    assert int(ids.max()) == 49408
    end = ids[0].tolist().index(49407)
    with torch.no_grad():
        expected = model.text_projection(model(input_ids=ids).last_hidden_state[:, end])
    found = conditioner.prompt("a <mine> fox").pooled
    assert found is not None
    assert torch.equal(found, expected)

"""Every public function with arguments of the wrong kind says in a sentence what it wants."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from visunex.aesthetic_embeddings import Embedding, compare, fetch, find, load, mix, reduce, save
from visunex.base.errors import VisunexError
from visunex.generate import Sampler, Settings, Taste, personalise

WRONG: tuple[Any, ...] = (
    None,
    True,
    1.5,
    -3,
    "nonsense",
    b"bytes",
    {"a": 1},
    object(),
    [[1, 2], [3]],
    np.array(["a"]),
    torch.zeros(2, 3, 4),
    torch.zeros(3, device="meta"),
    torch.tensor([1j]),
    math.nan,
)


@pytest.fixture(scope="module")
def given(small_text_encoder: Any, prompt: Any) -> dict[str, Any]:
    vectors = torch.randn(65, 64, generator=torch.Generator().manual_seed(4))
    return {
        "text_encoder": small_text_encoder,
        "text_projection": vectors[:64],
        "input_ids": prompt(small_text_encoder, 5),
        "embedding": vectors[64:],
        "steps": 1,
        "lr": 1e-3,
    }


def says(call: Callable[[], Any], *kept: type[BaseException]) -> str:
    """What a call says that is refused."""
    with pytest.raises((VisunexError, *kept)) as caught:
        call()
    said = str(caught.value)
    assert said
    assert "fault in VisuNex" not in said
    return said


@pytest.mark.parametrize("name", ["text_encoder", "text_projection", "input_ids", "embedding", "steps", "lr"])
@pytest.mark.parametrize("wrong", WRONG, ids=range(len(WRONG)))
def test_personalise_says_what_it_wants(given: dict[str, Any], name: str, wrong: Any) -> None:
    if name == "lr" and type(wrong) is float and wrong == 1.5:
        return  # a number, if a large one
    said = says(lambda: personalise(**given | {name: wrong}))
    assert name in said or (name == "embedding" and "this embedding is" in said)


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("text_projection", lambda value: value[:, :32], r"give \\[D_proj, 64\\]"),
        ("input_ids", lambda value: value.float(), "input_ids is a Tensor of float32"),
        ("input_ids", lambda value: value + 10**6, "take its own tokenizer"),
        ("input_ids", lambda value: value.repeat(1, 2), "154 tokens, this text encoder takes 77"),
        ("embedding", lambda value: value[:, :48], "this embedding is 1x48, the model needs 1x64"),
    ],
)
def test_wrong_shapes_and_types_are_told_with_the_expected_ones(
    given: dict[str, Any], name: str, change: Callable[[Any], Any], said: str
) -> None:
    import re

    assert re.search(
        said.replace("\\\\", "\\"), says(lambda: personalise(**given | {name: change(given[name])}))
    )


def test_what_libraries_hand_over_is_taken(given: dict[str, Any]) -> None:
    expected = personalise(**given)
    vector = given["embedding"].numpy()
    layer = torch.nn.Linear(64, 64, bias=False)
    layer.weight.data = given["text_projection"]
    wrapper = torch.nn.Module()
    wrapper.text_model = given["text_encoder"]
    taken = {
        "embedding": [vector, vector.astype(np.float64)[0], vector.tolist(), Embedding("a", vector)],
        "text_projection": [layer, given["text_projection"].numpy()],
        "input_ids": [given["input_ids"].tolist(), {"input_ids": given["input_ids"]}],
        "text_encoder": [wrapper],
    }
    for name, values in taken.items():
        for value in values:
            assert torch.allclose(personalise(**given | {name: value}), expected, atol=1e-6)
    assert Taste("a", vector.tolist()).digest == Taste("a", given["embedding"]).digest


@pytest.mark.parametrize("wrong", WRONG, ids=range(len(WRONG)))
def test_the_other_functions_say_what_they_want(wrong: Any, tmp_path: Any, model_folder: Any) -> None:
    whole = Embedding("a", np.ones((1, 64), np.float32))
    for call in (
        lambda: load(wrong),
        lambda: find(wrong),
        lambda: fetch(wrong),
        lambda: compare(whole, wrong),
        lambda: mix(wrong),
        lambda: mix([wrong]),
        lambda: mix([(wrong, 1.0)]),
        lambda: save(tmp_path / "a.pt", wrong, {}),
        lambda: save(tmp_path / "a.pt", [1, 2], 5 if isinstance(wrong, dict) else wrong),
        lambda: reduce([[1.0, 2.0]], wrong),
        lambda: reduce([wrong, np.ones((1, 7))]),
        lambda: Taste("a", wrong),
        lambda: Sampler.load(wrong),
    ):
        says(call)


@pytest.mark.parametrize("wrong", [5, None, {"samples": 1}, b"a", ["a", 3]])
def test_sampling_says_what_it_wants(model_folder: Any, wrong: Any) -> None:
    sampler = Sampler.load(model_folder, device="cpu")
    says(lambda: next(sampler.sample(wrong)))
    if wrong is not None:
        says(lambda: next(sampler.sample("a", wrong)))
        says(lambda: next(sampler.sample("a", Settings(), wrong)))

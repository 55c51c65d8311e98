"""Comparing and mixing embeddings."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from visunex.aesthetic_embeddings import Embedding, EmbeddingError, catalogue, compare, load, mix, save


def named(*values: float) -> Embedding:
    return Embedding("x", np.array([values], dtype=np.float32))


def test_cosines_of_the_published_ones_fall_into_their_two_kinds(reference: Path) -> None:
    loaded = {name: load(reference / "aesthetic_embeddings" / f"{name}.pt") for name in catalogue()}
    means = [name for name, entry in catalogue().items() if entry.kind == "mean"]
    for name in means:
        assert all(0.66 < compare(loaded[name], loaded[other]) < 0.92 for other in means if other != name)
        assert compare(loaded["sac_8plus"], loaded[name]) < 0.65
        assert compare(loaded[name], loaded[name]) == pytest.approx(1)


@given(st.lists(st.floats(-100, 100, width=32).filter(lambda x: abs(x) > 1e-3), min_size=2, max_size=9))
def test_cosine_ignores_length_and_stays_within_one(values: list[float]) -> None:
    a, b = named(*values), named(*(3 * value for value in values))
    assert compare(a, b) == pytest.approx(1)
    assert abs(compare(a, b)) <= 1


def test_mixing_weighs_directions_not_lengths() -> None:
    long, short = named(100, 0), named(0, 0.1)
    assert mix([(long, 1), (short, 1)])[0] == pytest.approx([0.5**0.5, 0.5**0.5])
    assert mix([(long, 1), (short, -1)])[0] == pytest.approx([0.5**0.5, -(0.5**0.5)])
    assert mix([(short, 5)])[0] == pytest.approx([0, 1])


def test_what_cannot_be_put_together_is_refused() -> None:
    with pytest.raises(EmbeddingError, match="different image towers"):
        compare(named(1, 2), named(1, 2, 3))
    with pytest.raises(EmbeddingError, match="different image towers"):
        mix([(named(1, 2), 1), (named(1, 2, 3), 1)])
    with pytest.raises(EmbeddingError, match="cancel"):
        mix([(named(1, 2), 1), (named(2, 4), -1)])
    with pytest.raises(EmbeddingError, match="nothing to mix"):
        mix([])
    with pytest.raises(EmbeddingError, match="finite"):
        mix([(named(1, 2), float("nan"))])


def test_two_models_are_never_compared_or_mixed_where_both_say_what_they_are(tmp_path: Path) -> None:
    def made(file: str, **model: str) -> Embedding:
        return save(tmp_path / f"{file}.pt", np.ones(8), {"model": model} if model else {})

    openai, laion = (
        made("a", name="ViT-L-14", pretrained="openai"),
        made("b", name="ViT-L-14", pretrained="laion2b"),
    )
    quick, silent = made("c", name="ViT-L-14-quickgelu", pretrained="openai"), made("d")
    mine, yours = (
        made("e", name="local-dir:x", weights="1" * 64),
        made("f", name="local-dir:x", weights="2" * 64),
    )
    for pair in ((openai, laion), (mine, yours)):
        with pytest.raises(EmbeddingError, match="of different models"):
            compare(*pair)
        with pytest.raises(EmbeddingError, match="of different models"):
            mix([(pair[0], 1), (silent, 1), (pair[1], 1)])
    for pair in ((openai, quick), (openai, silent), (openai, mine)):
        assert compare(*pair) == pytest.approx(1)

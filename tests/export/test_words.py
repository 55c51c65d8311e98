"""Words for a taste: searched among phrases, found by gradients, measured on prompts not searched with."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from visunex.aesthetic_embeddings import load
from visunex.export import encoder, gradient_words, prompt_set, word_search
from visunex.generate import Taste

Export = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def side(flowers: Path) -> encoder.TextSide:
    (found,) = encoder.load("visunex-tiny", Taste.load(flowers), device="cpu")
    return found


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A small search of a few phrases, so that a test takes seconds."""
    monkeypatch.setattr(gradient_words, "STEPS", 30)
    monkeypatch.setattr(word_search, "SIFTED", ((1, 20), (2, 8), (4, 4)))
    few = [phrase for phrase in word_search.phrases_of([]) if len(phrase) < 7][:40]
    monkeypatch.setattr(word_search, "phrases_of", lambda _: ["flower", "in a garden", "night sky", *few])


def test_words_bring_prompts_nearer_and_a_negative_takes_them_away(
    export: Export, flowers: Path, scenes: Path, quick: None
) -> None:
    given = (flowers, "--to", "prompt", "--model", "visunex-tiny", "--device", "cpu", "--prompts", scenes)
    said = export(*given, "--words", 2, "--out", "x")["report"]
    cosines = [each["cosine"] for each in said["best"]]
    assert cosines == sorted(cosines, reverse=True)
    assert cosines[0] > said["cosine_plain"] + 0.3
    assert {each["by"] for each in said["best"]} <= {"search", "gradients"}
    assert said["negative"][0]["cosine"] < said["cosine_plain"]
    assert "flower" in said["best"][0]["words"]
    lines = Path("x.txt").read_text().splitlines()
    assert lines[1] == f"{cosines[0]:.4f}\t{said['best'][0]['words']}"
    banned = ("--ban", "flower, flowers", "--ban", "garden")
    other = export(*given, "--words", 2, "--by", "gradients", *banned, "--out", "y")["report"]
    assert {each["by"] for each in other["best"]} == {"gradients"}
    words = " ".join(each["words"] for each in (*other["best"], *other["negative"]))
    assert not {"flower", "flowers", "garden"} & set(words.replace(",", "").split())


def test_the_first_beam_is_what_trying_all_finds(side: encoder.TextSide, flowers: Path, scenes: Path) -> None:
    prompts = prompt_set.load(scenes, 0)
    scores = word_search.Scores(side, prompts)
    phrases = word_search.phrases_of([])[-90::3]
    texts = [word_search.joined(prompt, phrase) for phrase in phrases for prompt in prompts.train]
    rows = side.rows([side.words(text) for text in texts])
    features = side.features(side.states(rows)).detach()
    unit = torch.nn.functional.normalize(load(flowers).tensor()[0], dim=0)
    every = (features @ unit).reshape(len(phrases), -1).mean(dim=1)
    assert torch.allclose(scores.of(phrases, prompts.train), every, atol=1e-5)
    assert word_search.search(scores, phrases, 1)[0] == phrases[int(every.argmax())]


def test_what_gradients_find_is_read_back_as_the_tokens_that_were_found(
    side: encoder.TextSide, flowers: Path, scenes: Path, quick: None
) -> None:
    prompts = prompt_set.load(scenes, 0)
    texts = gradient_words.found(side, prompts, 3, 0, lambda text: "castle" not in text)
    assert all(len(side.words(text)) == 3 and "castle" not in text for text in texts)
    scores = word_search.Scores(side, prompts)
    plain, best = scores.of(["", texts[0]], prompts.judge).tolist()
    assert best > plain + 0.2
    assert gradient_words.found(side, prompts, 3, 0, lambda text: "castle" not in text) == texts


def test_phrases_of_a_runs_captions_are_searched_too(tmp_path: Path) -> None:
    captions = [
        "The moonlit heath of \x1b[31mDrenthe",
        "a moonlit heath, at night",
        "moonlit heath!",
        None,
    ] * 2
    pq.write_table(pa.table({"caption": captions, "key": np.arange(8)}), tmp_path / "selected.parquet")
    phrases = word_search.phrases_of([tmp_path])
    assert {"moonlit", "heath", "moonlit heath"} <= set(phrases)
    assert not any("\x1b" in phrase or phrase.split()[0] in ("the", "a") for phrase in phrases)
    text = tmp_path / "captions.txt"
    text.write_text("\n".join(f"a blue barn, {number}" for number in range(4)))
    assert "blue barn" in word_search.phrases_of([text])


def test_captions_that_cannot_be_had_and_a_ban_on_everything_are_named(
    refuse: Callable[..., str], flowers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = (flowers, "--to", "prompt", "--model", "visunex-tiny", "--device", "cpu", "--out", "x")
    assert "cannot be read" in refuse(*given, "--captions", tmp_path / "none.txt")
    pq.write_table(pa.table({"key": [1]}), tmp_path / "t.parquet")
    assert "no column caption" in refuse(*given, "--captions", tmp_path / "t.parquet")
    monkeypatch.setattr(word_search, "phrases_of", lambda _: ["flower", "in a garden"])
    assert "ban fewer" in refuse(*given, "--ban", "Flower,Garden")


def test_the_shipped_vocabulary_has_no_phrase_twice_and_no_sentence() -> None:
    phrases = prompt_set.read(word_search.SHIPPED)
    assert 250 <= len(phrases) == len(set(phrases))
    assert max(len(phrase.split()) for phrase in phrases) <= 4

"""Questions that vectors alone answer: how many pictures, wrong ones, and where a look lies."""

import random
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from benchmarks.evidence import tastes
from benchmarks.evidence.study import Answer, Study, intervals, middle
from benchmarks.evidence.tastes import Rows, reductions, unit
from visunex.aesthetic_embeddings import reduce
from visunex.clip import load_text_encoder
from visunex.demo import JUDGE_MODEL, TINY_MODEL
from visunex.demo.captions import PHRASES, caption

__all__ = ["BY_VECTORS", "reach_of"]

COUNTS = (1, 3, 10, 30, 100, 300, 1000)
DRAWS, FEW_DRAWS = 200, 40
AXES, CAPTIONS = 64, 600
NOUNS = ("a castle", "a ship", "a tree", "a house", "a mountain")


def settling(study: Study) -> Answer:
    """The cosine of the mean of any n pictures to the mean of 1000 others, by either model."""
    rng = np.random.default_rng(0)
    found: Answer = {}
    for model in (TINY_MODEL, JUDGE_MODEL):
        rows, target = unit(study.flowers(model)), reduce([study.vectors.of("other flowers", model)])[0]
        for count in COUNTS:
            drawn = [rows[rng.integers(0, len(rows), count)].mean(axis=0) for _ in range(DRAWS)]
            cosines = unit(np.stack(drawn)) @ target
            low, high = np.quantile(cosines, [0.025, 0.975])
            found[f"{model}, {count}"] = [round(float(each), 4) for each in (cosines.mean(), low, high)]
    return found


def spoiling(study: Study) -> Answer:
    """The cosine of 200 pictures, drawn again and again, to the same reduction of 1000 others."""
    found: Answer = {}
    others = reductions(study.vectors, lambda model: study.vectors.of("other flowers", model))
    for model in (TINY_MODEL, JUDGE_MODEL):
        target = {name: unit(make(model))[0] for name, make in others.items()}
        for wrong_ones in (0, 40):
            rng = np.random.default_rng(0)
            cosines: dict[str, list[float]] = {name: [] for name in others}
            for _ in range(FEW_DRAWS):
                rows = _drawn(study, model, rng, wrong_ones)
                for name, make in reductions(study.vectors, lambda _, rows=rows: rows).items():
                    cosines[name].append(float(unit(make(model))[0] @ target[name]))
            for name, values in cosines.items():
                found[f"{model}, {name}, {wrong_ones}"] = middle(values)
    return found


def _drawn(study: Study, model: str, rng: np.random.Generator, wrong_ones: int) -> Rows:
    """200 pictures' vectors, so many of them of another taste."""
    right, wrong = study.flowers(model), study.vectors.of("wrong", model)
    places = rng.integers(0, len(right), 200 - wrong_ones), rng.integers(0, len(wrong), wrong_ones)
    return np.concatenate([right[places[0]], wrong[places[1]]])


def reach(study: Study) -> Answer:
    """Is a look in the image vectors at all, does it lie where texts can get, and what are its words?"""
    looks = {"tint": ("tinted", "plain"), "flowers": ("flowers", "plain")}
    words = random.Random(4)
    texts = [caption(scene, words) for scene in tastes.scenes(22, CAPTIONS, lambda _: True)]
    phrases = {each: f"{{}} {each}" for each in (*(each[0] for each in PHRASES.values()), "with flowers")}
    found: Answer = {}
    for model in (TINY_MODEL, JUDGE_MODEL):
        pairs = {
            look: [unit(study.vectors.of(name, model))[:400] for name in names]
            for look, names in looks.items()
        }
        found |= {f"{model}, {look}": each for look, each in reach_of(model, pairs, texts, phrases).items()}
    return found


def reach_of(
    model: str,
    pairs: Mapping[str, Sequence[Rows]],
    texts: Sequence[str],
    phrases: Mapping[str, str],
    *,
    paired: bool = False,
) -> Answer:
    """For each look, of unit vectors with it and without: can it be told, and do texts get there?

    By a least-squares probe on unseen pictures; as the share of the direction's length that lies in the span
    of the first 64 principal directions of captions' vectors; and by the cosine to what one of the phrases
    adds to a prompt, the highest of all. `paired` says that both are of the same pictures, in order.
    """
    rng = np.random.default_rng(0)
    encoder = load_text_encoder(model, device="cpu")
    captions = unit(encoder.encode(list(texts)))
    _, _, axes = np.linalg.svd(captions - captions.mean(axis=0), full_matrices=False)
    ways = _added_by(phrases, lambda given: unit(encoder.encode(given)))
    found: Answer = {}
    for look, pair in pairs.items():
        directions = unit(np.stack([_between(pair, rng, paired=paired) for _ in range(DRAWS)]))
        nearest, cosines = max(
            ((name, directions @ way) for name, way in ways.items()), key=lambda each: each[1].mean()
        )
        found[look] = {
            "told apart": _probe(pair, rng),
            "within texts": middle(np.linalg.norm(directions @ axes[:AXES].T, axis=1).tolist()),
            "nearest words": nearest,
            "cosine": middle(cosines.tolist()),
        }
    return found


def _between(pair: Sequence[Rows], rng: np.random.Generator, *, paired: bool) -> Rows:
    """The way from the pictures without a look to those with it, of pictures drawn again."""
    places = [rng.integers(0, len(rows), len(rows)) for rows in pair]
    with_it, without = (
        rows[at].mean(axis=0) for rows, at in zip(pair, places[:1] * 2 if paired else places, strict=True)
    )
    return with_it - without


def _added_by(phrases: Mapping[str, str], encode: Callable[[list[str]], Rows]) -> dict[str, Rows]:
    """What each phrase, by its place beside a prompt, adds to the prompt's vector: unit vectors."""
    plain = encode(list(NOUNS)).mean(axis=0)
    return {
        name: unit((encode([phrase.format(noun) for noun in NOUNS]).mean(axis=0) - plain)[None])[0]
        for name, phrase in phrases.items()
    }


def _probe(pair: Sequence[Rows], rng: np.random.Generator) -> list[float]:
    """The share of unseen vectors that a linear map tells apart, with its interval."""
    rows = np.concatenate(pair).astype(np.float64)
    signs = np.repeat([1.0, -1.0], [len(each) for each in pair])
    order = rng.permutation(len(rows))
    seen, unseen = order[::2], order[1::2]
    padded = np.c_[rows, np.ones(len(rows))]
    gram = padded[seen].T @ padded[seen] + 1e-2 * np.eye(padded.shape[1])
    weights = np.linalg.solve(gram, padded[seen].T @ signs[seen])
    right = (np.sign(padded[unseen] @ weights) == signs[unseen]).astype(np.float64)
    return intervals(right.tolist())


BY_VECTORS: dict[str, Callable[[Study], Answer]] = {
    "settling": settling,
    "spoiling": spoiling,
    "reach": reach,
}

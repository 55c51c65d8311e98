"""The questions: which tastes and settings each compares, and what is told by vectors alone."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.evidence import tastes
from benchmarks.evidence.tastes import Rows, Vectors, reductions, unit, written
from visunex.aesthetic_embeddings import reduce
from visunex.aesthetic_embeddings.space import Space
from visunex.demo import JUDGE_MODEL, TINY_MODEL
from visunex.demo.captions import PHRASES, caption, label
from visunex.demo.colours import flowers, warmth
from visunex.demo.scenes import Scene, render
from visunex.evaluate import Request, evaluate, interval
from visunex.evaluate.encoders import Encoders
from visunex.evaluate.measures import likeness
from visunex.generate import Sampler, Settings
from visunex.generate.additions import Additions, added

PROMPTS, SEEDS, SAMPLED, GUIDANCE, FIRST_SEED = 12, 3, 12, 4.0, 1000
COUNTS = (1, 3, 10, 30, 100, 300, 1000)
DRAWS, FEW_DRAWS = 200, 40
Answer = dict[str, Any]
JUDGE = Space(JUDGE_MODEL, "")


@dataclass(frozen=True)
class Study:
    """Where all is kept, and the vectors."""

    folder: Path
    vectors: Vectors

    def request(self, *names: str, flowers: bool = False, **more: Any) -> Request:
        """A request of these tastes' files."""
        path = self.folder / f"prompts-{flowers}.txt"
        path.write_text("\n".join(tastes.prompts(flowers, PROMPTS)), encoding="utf-8")
        sampling = Settings(steps=SAMPLED, guidance_scale=GUIDANCE, seed=FIRST_SEED)
        given = {"steps": (10,), "judges": ("flowers", "warmth", "darkness"), **more}
        return Request(
            embeddings=names,
            outdir=self.folder / "drawn",
            model=TINY_MODEL,
            prompts=str(path),
            seeds=SEEDS,
            sampling=sampling,
            device="cpu",
            **given,
        )

    def asked(self, request: Request) -> Answer:
        """What was measured, by taste and setting."""
        found = evaluate(request)["tastes"]
        return {
            f"{label}, {each['setting']}": each["measures"]
            for label, taste in found.items()
            for each in taste["settings"]
        }

    def flowers(self, model: str, count: int = tastes.MOST) -> Rows:
        """The first so many pictures' vectors of the taste."""
        return self.vectors.of("flowers", model)[:count]

    def taste(self, name: str, make: tastes.Make) -> str:
        """The file of a taste."""
        return written(self.folder / "tastes", name, make)


def steps(study: Study) -> Answer:
    """How far: a curve of steps, and of rates."""
    name = study.taste("flowers", lambda model: reduce([study.flowers(model)], "unit-mean"))
    found = study.asked(study.request(name, steps=(5, 10, 20, 40)))
    other = study.asked(study.request(name, lr=3e-4))
    return {**found, "flowers, steer 10 at rate 0.0003": other["flowers, steer 10"]}


def how(study: Study) -> Answer:
    """Reductions of the same 1000 pictures."""
    made = reductions(study.vectors, study.flowers)
    return study.asked(study.request(*(study.taste(name, make) for name, make in made.items())))


def how_many(study: Study) -> Answer:
    """Pictures drawn with the mean of 1, 10 and 100 pictures."""
    names = [
        study.taste(f"of-{count}", lambda model, n=count: reduce([study.flowers(model, n)], "unit-mean"))
        for count in (1, 10, 100)
    ]
    return study.asked(study.request(*names))


def wrong(study: Study) -> Answer:
    """A fifth of 200 pictures are of another taste."""
    made = reductions(study.vectors, lambda model: tastes.spoilt(study.vectors, model))
    names = [study.taste(f"spoilt-{name}", make) for name, make in made.items() if name != "mean"]
    return study.asked(study.request(*names))


def away(study: Study) -> Answer:
    """Away from a taste, on prompts that ask for it."""
    made = reductions(study.vectors, study.flowers)
    names = [
        study.taste(f"away-from-{name}", lambda model, m=made[name]: -m(model))
        for name in ("unit-mean", "contrast")
    ]
    return study.asked(study.request(*names, flowers=True, steps=(10, 20)))


def together(study: Study) -> Answer:
    """Two tastes in one: flowers and night, at equal weights."""

    def night(model: str) -> Rows:
        return reduce([study.vectors.of("night", model)], "unit-mean")

    def both(model: str) -> Rows:
        return unit(reduce([study.flowers(model)], "unit-mean") + night(model))

    names = [study.taste("night", night), study.taste("flowers-and-night", both)]
    return study.asked(study.request(*names, steps=(10, 20)))


def nameless(study: Study) -> Answer:
    """A tint that no caption mentions, by every method."""

    def look(model: str) -> Rows:
        rows = (unit(study.vectors.of(name, model)) for name in ("tinted", "plain"))
        return reduce([next(rows)], "contrast", baseline=[next(rows)])

    plain = study.taste("tint", lambda model: reduce([study.vectors.of("tinted", model)], "unit-mean"))
    contrast = study.taste("tint-contrast", look)
    found: Answer = {}
    others = study.request(contrast, steps=(20,), methods=("best-of", "lora", "token", "prompt"))
    for request in (study.request(plain, contrast, steps=(10, 20)), others):
        for name, measures in study.asked(request).items():
            found[name] = {**measures, **_autumn(study, name)}
    return found


def negative(study: Study) -> Answer:
    """The LoRA of `nameless` on the prompt alone, and on the negative prompt as well, as others do it."""
    base = Sampler.load(TINY_MODEL, device="cpu")
    file = max((study.folder / "drawn" / "learnt").glob("tint-contrast-lora-20-*.safetensors"))
    both, alone = (Sampler(added(base.model, Additions.of(loras=[file]))) for _ in range(2))
    alone.conditioner.negative = base.conditioner.negative  # type: ignore[method-assign]
    plain = _drawn_by(study, base)["warmth"]["by prompt"]
    found: Answer = {}
    for name, sampler in (("on both prompts", both), ("on the prompt alone", alone)):
        measures = _drawn_by(study, sampler)
        change = np.array(measures["warmth"]["by prompt"]) - np.array(plain)
        measures["warmth"]["change"] = _interval(change.tolist())
        found[f"lora 20 {name}"] = measures
    return found


def _drawn_by(study: Study, sampler: Sampler) -> Answer:
    """What the judges say of what a sampler draws of the prompts."""
    settings = replace(study.request().sampling, samples=SEEDS)
    prompts = tastes.prompts(False, PROMPTS)
    lots = [list(next(iter(sampler.sample(prompt, settings))).images) for prompt in prompts]
    return _judged(lots, tuple(prompts))


def _autumn(study: Study, name: str) -> Answer:
    """The share of a setting's pictures, drawn last, that the judge takes for autumn of all lights."""
    import pyarrow.parquet as pq

    taste, _, setting = name.partition(", ")
    rows = pq.read_table(study.folder / "drawn" / "results.parquet").to_pylist()
    rows = [row for row in rows if (row["embedding"], row["setting"]) == (taste, setting)]
    images = [Image.open(study.folder / "drawn" / row["image"]).convert("RGB") for row in rows]
    scenes = tastes.every_scene()
    texts = _texts(tuple(label(scene) for scene in scenes))
    nearest = (_encoders().images(JUDGE, images) @ texts.T).argmax(axis=1)
    seen = np.array([scenes[place].palette == "autumn" for place in nearest], np.float64)
    return {"autumn": {"mean": _interval(seen.reshape(-1, SEEDS).mean(axis=1).tolist())}}


@cache
def _encoders() -> Encoders:
    return Encoders("cpu")


@cache
def _texts(texts: tuple[str, ...]) -> Rows:
    return _encoders().texts(JUDGE, texts)


QUESTIONS: dict[str, Callable[[Study], Answer]] = {
    "steps": steps,
    "how": how,
    "wrong": wrong,
    "nameless": nameless,
    "negative": negative,
    "together": together,
    "away": away,
    "how many": how_many,
}


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
                found[f"{model}, {name}, {wrong_ones}"] = _middle(values)
    return found


def _drawn(study: Study, model: str, rng: np.random.Generator, wrong_ones: int) -> Rows:
    """200 pictures' vectors, so many of them of another taste."""
    right, wrong = study.flowers(model), study.vectors.of("wrong", model)
    places = rng.integers(0, len(right), 200 - wrong_ones), rng.integers(0, len(wrong), wrong_ones)
    return np.concatenate([right[places[0]], wrong[places[1]]])


def _middle(values: Sequence[float]) -> list[float]:
    """The mean, and the ends of the middle 95 %."""
    low, high = np.quantile(values, [0.025, 0.975])
    return [round(float(each), 4) for each in (np.mean(values), low, high)]


def reach(study: Study) -> Answer:
    """Is a look in the image vectors at all, does it lie where texts can get, and what are its words?

    By a least-squares probe on unseen pictures; as the share of the direction's length that lies in the span
    of the first 64 principal directions of 600 captions' vectors; and by the cosine to what one phrase of the
    world adds to a prompt, the highest of all.
    """
    from visunex.clip import load_text_encoder

    rng = np.random.default_rng(0)
    found: Answer = {}
    looks = {"tint": ("tinted", "plain"), "flowers": ("flowers", "plain")}
    words = random.Random(4)
    texts = [caption(scene, words) for scene in tastes.scenes(22, 600, lambda _: True)]
    for model in (TINY_MODEL, JUDGE_MODEL):
        encoder = load_text_encoder(model, device="cpu")
        captions = unit(encoder.encode(texts))
        _, _, axes = np.linalg.svd(captions - captions.mean(axis=0), full_matrices=False)
        phrases = _phrases(lambda given, encoder=encoder: unit(encoder.encode(given)))
        for look, (with_it, without) in looks.items():
            pair = [unit(study.vectors.of(name, model))[:400] for name in (with_it, without)]
            directions = unit(np.stack([_between(pair, rng) for _ in range(DRAWS)]))
            nearest, cosines = max(
                ((name, directions @ way) for name, way in phrases.items()), key=lambda each: each[1].mean()
            )
            found[f"{model}, {look}"] = {
                "told apart": _probe(pair, rng),
                "within texts": _middle(np.linalg.norm(directions @ axes[:64].T, axis=1).tolist()),
                "nearest words": nearest,
                "cosine": _middle(cosines.tolist()),
            }
    return found


def _between(pair: Sequence[Rows], rng: np.random.Generator) -> Rows:
    """The way from the pictures without a look to those with it, of pictures drawn again."""
    with_it, without = (rows[rng.integers(0, len(rows), len(rows))].mean(axis=0) for rows in pair)
    return with_it - without


def _phrases(encode: Callable[[list[str]], Rows]) -> dict[str, Rows]:
    """What each phrase for a light, and flowers, add to the vector of a prompt: unit vectors."""
    nouns = ["a castle", "a ship", "a tree", "a house", "a mountain"]
    given = [*(each[0] for each in PHRASES.values()), "with flowers"]
    plain = encode(nouns).mean(axis=0)
    return {
        each: unit((encode([f"{noun} {each}" for noun in nouns]).mean(axis=0) - plain)[None])[0]
        for each in given
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
    return _interval(right.tolist())


def drawn(_study: Study) -> Answer:
    """What the judges say of the world's own pictures of the prompts: as asked for, and with a garden."""
    scenes = tastes.subjects_of(PROMPTS)
    gardens = [replace(scene, garden=True) for scene in scenes]
    names = ("the world's own, as asked for", "the world's own, with a garden")
    return dict(zip(names, (_own(each, render) for each in (scenes, gardens)), strict=True))


def tinted(_study: Study) -> Answer:
    """The same, as asked for and in the warm light."""
    names = ("the world's own, as asked for", "the world's own, in the warm light")
    plain, warm = (
        _own(tastes.subjects_of(PROMPTS), draw)
        for draw in (render, lambda scene: tastes.tinted(render(scene)))
    )
    for each in (plain, warm):
        change = np.array(each["warmth"]["by prompt"]) - np.array(plain["warmth"]["by prompt"])
        each["warmth"] = {**each["warmth"], "change": _interval(change.tolist())}
    return dict(zip(names, (plain, warm), strict=True))


def _own(scenes: Sequence[Scene], draw: Callable[[Scene], Image.Image]) -> Answer:
    """What the judges say of drawn scenes, by the prompts of the same scenes without a garden."""
    lots = [[draw(replace(scene, seed=seed)) for seed in range(SEEDS)] for scene in scenes]
    return _judged(lots, tuple(label(replace(scene, garden=False)) for scene in scenes))


def _judged(lots: Sequence[list[Image.Image]], prompts: tuple[str, ...]) -> Answer:
    """Flowers, warmth and the prompt kept of each prompt's images."""
    pairs = zip(lots, _texts(prompts), strict=True)
    by_prompt = {
        "flowers": [float(np.mean(flowers(lot, ()))) for lot in lots],
        "warmth": [float(np.mean(warmth(lot, ()))) for lot in lots],
        f"clip_t:{JUDGE_MODEL}": [
            float(likeness(_encoders().images(JUDGE, lot), text).mean()) for lot, text in pairs
        ],
    }
    return {
        name: {"mean": _interval(values), "by prompt": [round(each, 6) for each in values]}
        for name, values in by_prompt.items()
    }


def _interval(values: Sequence[float]) -> list[float]:
    found = interval(np.array(values))
    assert found is not None
    return found.as_list()


BY_VECTORS: dict[str, Callable[[Study], Answer]] = {
    "settling": settling,
    "spoiling": spoiling,
    "reach": reach,
    "drawn": drawn,
    "tinted": tinted,
}

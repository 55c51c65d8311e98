"""The questions that pictures of visunex-tiny answer: which tastes and settings each compares."""

import re
from collections.abc import Callable, Mapping

import numpy as np
from PIL import Image

from benchmarks.evidence import tastes
from benchmarks.evidence.study import JUDGE, PROMPTS, SEEDS, Answer, Study, encoders, intervals, judged, texts
from benchmarks.evidence.tastes import Rows, reductions, unit
from visunex.aesthetic_embeddings import reduce
from visunex.demo import TINY_MODEL
from visunex.demo.captions import label
from visunex.generate import Controls, Sampler, Steering, Taste
from visunex.generate.additions import Additions, added

__all__ = ["QUESTIONS"]

# Steps at each rate: the front of the taste against the prompt.
RATES = {1e-4: (5, 8, 10, 12, 15, 20, 40), 3e-4: (3, 5, 7, 10), 3e-5: (20, 40, 60)}
BLENDS = (0.3, 0.5, 0.6, 0.7, 0.8, 0.9)
PARTS = ((0.0, 0.25), (0.0, 0.5), (0.25, 1.0), (0.5, 1.0))  # of the sampling, from and to
SHARES = ((1.0, 0.5), (1.0, 1.0), (0.5, 1.0), (0.25, 1.0))  # of flowers and of night
AWAYS = (-0.5, -1.0)


def flower_taste(study: Study) -> str:
    """The file of the taste that most questions are about."""
    return study.taste("flowers", lambda model: reduce([study.flowers(model)], "unit-mean"))


def night_of(study: Study, model: str) -> Rows:
    """The mean of pictures at night."""
    return reduce([study.vectors.of("night", model)], "unit-mean")


def steps(study: Study) -> Answer:
    """How far: a curve of steps at each of three rates."""
    found: Answer = {}
    for rate, counts in RATES.items():
        for name, measures in study.asked(study.request(flower_taste(study), steps=counts, lr=rate)).items():
            found.setdefault(name if name.endswith("plain") else f"{name} at {plain_number(rate)}", measures)
    return found


def plain_number(value: float) -> str:
    """0.00003, and not 3e-05."""
    return f"{value:f}".rstrip("0")


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

    def both(model: str) -> Rows:
        return unit(reduce([study.flowers(model)], "unit-mean") + night_of(study, model))

    names = [
        study.taste("night", lambda model: night_of(study, model)),
        study.taste("flowers-and-night", both),
    ]
    return study.asked(study.request(*names, steps=(10, 20)))


def blends(study: Study) -> Answer:
    """Between the plain conditioning and the moved one, and a part of the sampling, at 20 steps."""
    taste = Taste.load(flower_taste(study), steps=20)
    weights: dict[str, Controls] = {f"weight {each:g}": Controls(blend=each) for each in BLENDS}
    weights |= {f"weight {each:g}, slerp": Controls(blend=each, slerp=True) for each in BLENDS[1::2]}
    weights |= {f"from {a:g} to {b:g}": Controls(begin=a, end=b) for a, b in PARTS}
    weights["all of it"] = Controls()
    return compared(study, {name: Steering(((taste, 1.0),), each) for name, each in weights.items()})


def weighted(study: Study) -> Answer:
    """Two tastes with weights, at 20 steps."""
    both = two_tastes(study)
    return compared(
        study,
        {f"flowers={a:g} night={b:g}": Steering(tuple(zip(both, (a, b), strict=True))) for a, b in SHARES},
    )


def negative_weights(study: Study) -> Answer:
    """A taste with a weight below zero, on prompts that ask for what it is of; alone, and beside another."""
    flowers, night = two_tastes(study)
    settings = {f"flowers={each:g}": Steering(((flowers, each),)) for each in AWAYS}
    settings["night=0.5 flowers=-0.5"] = Steering(((night, 0.5), (flowers, -0.5)))
    return compared(study, settings, flowers=True)


def two_tastes(study: Study) -> tuple[Taste, Taste]:
    """Flowers and night, of 20 steps each."""
    night = study.taste("night", lambda model: night_of(study, model))
    return Taste.load(flower_taste(study), steps=20), Taste.load(night, steps=20)


def compared(study: Study, settings: Mapping[str, Steering], *, flowers: bool = False) -> Answer:
    """What the judges say of each steering, and of none."""
    sampler = Sampler.load(TINY_MODEL, device="cpu")
    prompts = tastes.prompts(flowers, PROMPTS)
    found: Answer = {}
    plain = None
    for name, steering in {"as it is, plain": None, **settings}.items():
        kept = re.sub(r"[^a-z0-9.=-]+", "-", name)
        measures = judged(study.drawn(kept, sampler, prompts, steering), prompts, plain)
        plain = plain or measures
        found[name] = measures
    return found


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
    prompts = tastes.prompts(False, PROMPTS)
    plain = judged(study.drawn("plain", base, prompts), prompts)
    settings = {"on both prompts": ("lora-on-both", both), "on the prompt alone": ("lora-alone", alone)}
    return {
        f"lora 20 {name}": judged(study.drawn(kept, sampler, prompts), prompts, plain)
        for name, (kept, sampler) in settings.items()
    }


def _autumn(study: Study, name: str) -> Answer:
    """The share of a setting's pictures, drawn last, that the judge takes for autumn of all lights."""
    import pyarrow.parquet as pq

    taste, _, setting = name.partition(", ")
    rows = pq.read_table(study.folder / "drawn" / "results.parquet").to_pylist()
    rows = [row for row in rows if (row["embedding"], row["setting"]) == (taste, setting)]
    images = [Image.open(study.folder / "drawn" / row["image"]).convert("RGB") for row in rows]
    scenes = tastes.every_scene()
    labels = texts(tuple(label(scene) for scene in scenes))
    nearest = (encoders().images(JUDGE, images) @ labels.T).argmax(axis=1)
    seen = np.array([scenes[place].palette == "autumn" for place in nearest], np.float64)
    return {"autumn": {"mean": intervals(seen.reshape(-1, SEEDS).mean(axis=1).tolist())}}


QUESTIONS: dict[str, Callable[[Study], Answer]] = {
    "steps": steps,
    "how": how,
    "wrong": wrong,
    "nameless": nameless,
    "negative": negative,
    "blends": blends,
    "together": together,
    "weighted": weighted,
    "away": away,
    "negative weights": negative_weights,
    "how many": how_many,
}

"""Looks without a name, on models that have seen them: in the vectors, in texts' reach, in pictures?"""

from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

import numpy as np
from diffusers import AutoencoderKL
from PIL import Image

from benchmarks.evidence import marks, pixels, tastes
from benchmarks.evidence.by_rendering import round_trip
from benchmarks.evidence.by_vectors import reach_of
from benchmarks.evidence.looks import HINTS, LOOKS, OUTLINED_LIGHTS, caption_of, hints_in, put_on, seen
from benchmarks.evidence.marks import MARKS
from benchmarks.evidence.study import GUIDANCE, JUDGES, PROMPTS, SEEDS, Answer, Study, intervals
from benchmarks.evidence.tastes import Rows, unit
from visunex.aesthetic_embeddings import reduce, save
from visunex.demo import JUDGE_MODEL
from visunex.demo.captions import PHRASES
from visunex.demo.tiny import SD_FOLDER
from visunex.generate import Sampler, Steering, Taste

__all__ = ["BY_LOOKS", "MODELS"]

MODELS = Path("runs/evidence/models")
CLIP, SD = f"local-dir:{MODELS / 'clip'}", str(MODELS / "sd")
ROUND_TRIPS = 100  # pictures through an autoencoder
LOTS = 4  # of which best-of chooses
COUNTED = 20_000  # captions, to know what goes along with a look
LOOK_JUDGES = tuple(pixels.JUDGES[name] for name in LOOKS)
MARK_JUDGES = tuple(f"benchmarks.evidence.marks:{mark}" for mark in MARKS.values() if mark not in JUDGES)
MEASURED = {
    *LOOKS,
    *MARKS.values(),
    "subject",
    "light",
    f"clip_t:{JUDGE_MODEL}",
    "taste",
    f"taste:{JUDGE_MODEL}",
}
WORDS = {
    **{each[0]: f"{{}} {each[0]}" for each in PHRASES.values()},
    "with flowers": "{} with flowers",
    **{each.strip(): f"{each}{{}}" for each in HINTS["media"]},
    **{each.strip(" ,-"): f"{{}}{each}" for each in HINTS["tails"]},
    **{each: f"{{}} {each}" for each in HINTS["stray"]},
}


def looks_alone(_study: Study) -> Answer:
    """How often the world itself has each look: under any caption, and under those that go along with it."""
    rng = Random(61)
    rows = [(each, caption_of(each, rng)[0].lower()) for each in (seen(rng) for _ in range(COUNTED))]
    hints = np.array([hints_in(text) for _, text in rows])
    lights = np.array([each.scene.palette in OUTLINED_LIGHTS for each, _ in rows])
    groups = {
        "any caption": hints >= 0,
        "no hint": hints == 0,
        "one hint": hints == 1,
        "two hints": hints == 2,
        "three hints or more": hints > 2,
        "by day or in winter": lights,
        "in another light": ~lights,
    }
    has = {look: np.array([look in each.looks for each, _ in rows], np.float64) for look in LOOKS}
    return {
        group: {look: round(float(values[rows_of].mean()), 4) for look, values in has.items()}
        for group, rows_of in groups.items()
    }


def looks_kept(_study: Study) -> Answer:
    """How much of each look's mark an autoencoder gives back: the shipped one, and the one of these looks."""
    images = tastes.pool("plain")[:ROUND_TRIPS]
    found: Answer = {}
    for called, folder in (("shipped", SD_FOLDER), ("trained with looks", Path(SD))):
        vae = AutoencoderKL.from_pretrained(folder / "vae").float()
        plain = _through(vae, images)
        for look in LOOKS:
            mark = getattr(marks, MARKS[look])
            looking = [put_on(image, {look}) for image in images]
            given = np.array(mark(looking, ())) - np.array(mark(images, ()))
            after = np.array(mark(_through(vae, looking), ())) - np.array(mark(plain, ()))
            found[f"{called}, {look}"] = intervals((after / given.mean()).tolist())
    return found


def _through(vae: AutoencoderKL, images: Sequence[Image.Image]) -> list[Image.Image]:
    """The images through an autoencoder and back."""
    given = pixels.tensor_of(np.stack([np.asarray(each) for each in images]))
    found = (round_trip(vae, given) * 255).round().byte().permute(0, 2, 3, 1).numpy()
    return [Image.fromarray(each) for each in found]


def looks_reach(study: Study) -> Answer:
    """The looks in the vectors of the CLIP that has seen them, and of the judge, which has not."""
    rng = Random(62)
    texts = [caption_of(seen(rng), rng)[0] for _ in range(600)]
    found: Answer = {}
    for model, called in ((CLIP, "trained with looks"), (JUDGE_MODEL, JUDGE_MODEL)):
        pairs = {look: [unit(each) for each in _pair(study, look, model)] for look in LOOKS}
        reached = reach_of(model, pairs, texts, WORDS, paired=True)
        found |= {f"{called}, {look}": each for look, each in reached.items()}
    return found


def looks(study: Study) -> Answer:
    """Every look by every method."""
    found: Answer = {}
    for look in LOOKS:
        found |= by_every_method(study, look)
    return found


def by_every_method(study: Study, look: str) -> Answer:
    """One look: steered 10 and 20 steps, and by what stands for 20."""
    found: Answer = {}
    for more in ({"steps": (10, 20)}, {"steps": (20,), "methods": ("lora", "token", "prompt", "best-of")}):
        request = study.request(
            _taste(study, look),
            model=SD,
            encoder=CLIP,
            outdir=study.folder / "looks" / look,
            judges=(*JUDGES, *LOOK_JUDGES, *MARK_JUDGES),
            **more,
        )
        for name, measures in study.asked(request).items():
            found[name] = {each: values for each, values in measures.items() if each in MEASURED}
    return found


def looks_without_guidance(study: Study) -> Answer:
    """Guidance draws what is usual: each look with it and without, plain, with two hints, and steered."""
    sampler = Sampler.load(SD, device="cpu")
    prompts = tastes.prompts(False, PROMPTS)
    hinted = [f"{HINTS['media'][0]}{prompt}{HINTS['tails'][0]}" for prompt in prompts]
    found: Answer = {}
    for guidance, behind in ((GUIDANCE, ""), (1.0, ", without guidance")):
        for name, given in (("plain", prompts), ("two hints", hinted)):
            lots = study.drawn(f"looks-{name.replace(' ', '-')}", sampler, given, guidance=guidance)
            found[f"{name}{behind}"] = _judged(lots, prompts)
    lots = study.drawn("looks-plain-more", sampler, prompts, seeds=SEEDS * LOTS)
    found[f"plain, {SEEDS * LOTS} seeds: what best of {LOTS} is chosen from"] = _judged(lots, prompts)
    for look in LOOKS:
        steering = Steering(((Taste.load(_taste(study, look), steps=20), 1.0),))
        lots = study.drawn(f"looks-{look}", sampler, prompts, steering, guidance=1.0)
        found[f"{look}, steer 20, without guidance"] = _judged(lots, prompts)
    return found


def _judged(lots: Sequence[list[Image.Image]], prompts: Sequence[str]) -> Answer:
    """What the classifier says of each prompt's images."""
    judges = {name: getattr(pixels, name) for name in (*LOOKS, "subject", "light")}
    pairs = list(zip(lots, prompts, strict=True))
    return {
        name: {"mean": intervals([float(np.mean(judge(lot, [text] * len(lot)))) for lot, text in pairs])}
        for name, judge in judges.items()
    }


def _pair(study: Study, look: str, model: str) -> Sequence[Rows]:
    """Vectors of the same pictures with a look, and without any."""
    return [study.vectors.of(name, model) for name in (f"look {look}", "plain")]


def _taste(study: Study, look: str) -> str:
    """The file of a look's taste: its pictures against the same without it; the judge's beside it."""
    folder = study.folder / "tastes"
    for model, behind in ((CLIP, ""), (JUDGE_MODEL, f"-{JUDGE_MODEL}")):
        with_it, without = (unit(each) for each in _pair(study, look, model))
        about = {"model": {"name": model}} if behind else {}
        save(folder / f"{look}{behind}.pt", reduce([with_it], "contrast", baseline=[without]), about)
    return str(folder / f"{look}.pt")


BY_LOOKS: dict[str, Callable[[Study], Answer]] = {
    "looks alone": looks_alone,
    "looks kept": looks_kept,
    "looks reach": looks_reach,
    "looks": looks,
    "looks without guidance": looks_without_guidance,
}

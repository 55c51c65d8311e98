"""What all questions share: where pictures are kept, who judges them, and intervals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.evidence import pixels, tastes
from benchmarks.evidence.tastes import Rows, Vectors, written
from visunex.aesthetic_embeddings.space import Space
from visunex.base.files import fingerprint
from visunex.demo import JUDGE_MODEL, TINY_MODEL
from visunex.demo.colours import darkness, flowers, warmth
from visunex.evaluate import Request, evaluate, interval
from visunex.evaluate.encoders import Encoders
from visunex.evaluate.folder import Folder
from visunex.evaluate.measures import likeness
from visunex.generate import Sampler, Settings, Steering

__all__ = [
    "JUDGES",
    "PROMPTS",
    "SEEDS",
    "Answer",
    "Study",
    "encoders",
    "intervals",
    "judged",
    "middle",
    "texts",
]

PROMPTS, SEEDS, SAMPLED, GUIDANCE, FIRST_SEED = 12, 3, 12, 4.0, 1000
JUDGE = Space(JUDGE_MODEL, "")
JUDGES = ("flowers", "warmth", "darkness", pixels.JUDGES["subject"], pixels.JUDGES["light"])
OWN = {"flowers": flowers, "warmth": warmth, "darkness": darkness}
OWN |= {"subject": pixels.subject, "light": pixels.light}
Answer = dict[str, Any]


@dataclass(frozen=True)
class Study:
    """Where all is kept, and the vectors."""

    folder: Path
    vectors: Vectors

    def request(self, *names: str, flowers: bool = False, **more: Any) -> Request:
        """A request of these tastes' files."""
        path = self.folder / f"prompts-{flowers}.txt"
        path.write_text("\n".join(tastes.prompts(flowers, PROMPTS)), encoding="utf-8")
        given = {
            "steps": (10,),
            "judges": JUDGES,
            "model": TINY_MODEL,
            "outdir": self.folder / "drawn",
            "prompts": str(path),
            "seeds": SEEDS,
            **more,
        }
        return Request(embeddings=names, sampling=SAMPLING, device="cpu", **given)

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

    def drawn(
        self,
        name: str,
        sampler: Sampler,
        prompts: Sequence[str],
        steering: Steering | None = None,
        guidance: float = GUIDANCE,
        seeds: int = SEEDS,
    ) -> list[list[Image.Image]]:
        """So many pictures of each prompt under a setting of this name, kept; the noise is `request`'s."""
        folder = Folder(self.folder / "steered")
        settings = replace(SAMPLING, samples=seeds, guidance_scale=guidance)
        name = f"{name}-{made_of(sampler, settings, steering)[:8]}"
        lots = []
        for prompt in prompts:
            paths = [folder.image(name, prompt, FIRST_SEED + seed) for seed in range(seeds)]
            if not all(path.exists() for path in paths):
                (batch,) = sampler.sample(prompt, settings, steering)
                for path, image in zip(paths, batch.images, strict=True):
                    folder.write(path, image)
            lots.append(folder.read(paths))
        return lots


SAMPLING = Settings(steps=SAMPLED, guidance_scale=GUIDANCE, seed=FIRST_SEED)


def made_of(sampler: Sampler, settings: Settings, steering: Steering | None) -> str:
    """A hash of all that pictures are drawn with, the prompt and the seed aside."""
    towards = None if steering is None else (steering.key, steering.controls)
    return fingerprint([sampler.model.fingerprint, *map(repr, (sampler.model.additions, settings, towards))])


@cache
def encoders() -> Encoders:
    """The encoders that judge."""
    return Encoders("cpu")


@cache
def texts(given: tuple[str, ...]) -> Rows:
    """The judge's unit vectors of texts."""
    return encoders().texts(JUDGE, given)


def judged(
    lots: Sequence[list[Image.Image]], prompts: Sequence[str], plain: Mapping[str, Any] | None = None
) -> Answer:
    """What the judges say of each prompt's images: means over prompts, and their change from `plain`."""
    pairs = list(zip(lots, prompts, strict=True))
    by_prompt = {
        name: [float(np.mean(judge(lot, [prompt] * len(lot)))) for lot, prompt in pairs]
        for name, judge in OWN.items()
    }
    by_prompt[f"clip_t:{JUDGE_MODEL}"] = [
        float(likeness(encoders().images(JUDGE, lot), text).mean())
        for lot, text in zip(lots, texts(tuple(prompts)), strict=True)
    ]
    found = {
        name: {"mean": intervals(values), "by prompt": [round(each, 6) for each in values]}
        for name, values in by_prompt.items()
    }
    for name, each in found.items():
        change = np.array(each["by prompt"]) - np.array((plain or found)[name]["by prompt"])
        each["change"] = intervals(change.tolist())
    return found


def intervals(values: Sequence[float]) -> list[float]:
    """The mean of values, and its interval when they are drawn again."""
    found = interval(np.array(values))
    assert found is not None
    return found.as_list()


def middle(values: Sequence[float]) -> list[float]:
    """The mean, and the ends of the middle 95 %."""
    low, high = np.quantile(values, [0.025, 0.975])
    return [round(float(each), 4) for each in (np.mean(values), low, high)]

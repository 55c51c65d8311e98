"""Pictures drawn with a conditioning and what they show, kept for a run that is interrupted."""

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from benchmarks._travel_world import green
from benchmarks.steering import GUIDANCE, load
from visunex.demo.judge import Judge

SEEDS, FIRST_SEED, SAMPLED = 8, 5000, 12


@dataclass(frozen=True)
class Seen:
    """What one picture shows; `cosines` of its vector to the tastes, by name."""

    subject: str
    palette: str
    flowers: bool
    green: float
    cosines: Mapping[str, float]


class Drawn:
    """Pictures by the conditioning that they were drawn with; each line of the file holds those of one.

    Equal conditioning is not drawn again: a run that was interrupted goes on, and what did not change stays.
    """

    def __init__(self, file: Path, judge: Judge, tastes: Mapping[str, Tensor]) -> None:
        self.file, self.judge = file, judge
        self.tastes = {name: normalize(vector, dim=-1) for name, vector in tastes.items()}
        self.pipeline = load()
        lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
        self.kept: dict[str, dict[str, Any]] = {}
        for line in lines:
            if line.endswith("}"):  # the last may be half of one
                found = json.loads(line)
                self.kept[found["of"]] = found

    @property
    def seconds(self) -> float:
        """What drawing took of the processor, over all starts."""
        return sum(found["seconds"] for found in self.kept.values())

    def of(self, conditioning: Tensor) -> list[Seen]:
        """What the pictures with the `SEEDS` seeds show, whose conditioning is [1, L, D]."""
        key = self._key(conditioning)
        if key not in self.kept:
            began = time.process_time()
            seen = self._seen(self._images(conditioning))
            took = time.process_time() - began
            self.kept[key] = {"of": key, "seconds": took, "seen": [asdict(each) for each in seen]}
            with self.file.open("a", encoding="utf-8") as file:
                file.write(json.dumps(self.kept[key]) + "\n")
        return [Seen(**each) for each in self.kept[key]["seen"]]

    def _key(self, conditioning: Tensor) -> str:
        told = [SEEDS, FIRST_SEED, SAMPLED, GUIDANCE]
        tastes = [vector.numpy().tobytes() for vector in self.tastes.values()]
        parts = [json.dumps(told).encode(), conditioning.float().numpy().tobytes(), *tastes]
        return hashlib.sha256(b"".join(parts)).hexdigest()

    def _images(self, conditioning: Tensor) -> Sequence[Any]:
        return self.pipeline(
            prompt_embeds=conditioning,
            negative_prompt="",
            num_images_per_prompt=SEEDS,
            num_inference_steps=SAMPLED,
            guidance_scale=GUIDANCE,
            height=64,
            width=64,
            generator=[torch.Generator().manual_seed(FIRST_SEED + place) for place in range(SEEDS)],
        ).images

    def _seen(self, images: Sequence[Any]) -> list[Seen]:
        vectors = self.judge.images(list(images))
        cosines = {name: (vectors @ unit.T)[:, 0].tolist() for name, unit in self.tastes.items()}
        return [
            Seen(
                verdict.subject,
                verdict.palette,
                verdict.flowers,
                green(image),
                {name: values[place] for name, values in cosines.items()},
            )
            for place, (verdict, image) in enumerate(zip(self.judge.verdicts(images), images, strict=True))
        ]

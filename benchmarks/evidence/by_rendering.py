"""What the judges say of the world's own pictures: what to compare others with, and how good a judge is."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from diffusers import AutoencoderKL
from PIL import Image
from torch import Tensor

from benchmarks.evidence import pixels, tastes
from benchmarks.evidence.looks import LOOKS
from benchmarks.evidence.study import PROMPTS, SEEDS, Answer, Study, intervals, judged
from visunex.demo.captions import label
from visunex.demo.scenes import Scene, render
from visunex.demo.tiny import SD_FOLDER

__all__ = ["BY_RENDERING", "round_trip"]


def classifier(_study: Study) -> Answer:
    """How often the classifier is right of unseen pictures: as drawn, and through an autoencoder."""
    images, truth = pixels.drawn(pixels.UNSEEN, pixels.UNSEEN_SEED)
    plain = (truth[:, 3:] == 0).all(dim=1)
    vae = AutoencoderKL.from_pretrained(SD_FOLDER / "vae").float()
    through = round_trip(vae, images[plain])
    lots = {"as drawn": (images, truth), "no look, through the autoencoder": (through, truth[plain])}
    return {
        "weights": sum(each.numel() for each in pixels.network().parameters()),
        "pictures": {name: len(given) for name, (given, _) in lots.items()},
        "right": {name: _right(*lot) for name, lot in lots.items()},
    }


def _right(images: Tensor, truth: Tensor) -> dict[str, list[float]]:
    agree = (pixels.told(images) == truth.numpy()).astype(np.float64)
    names = ("subject", "light", "flowers", *LOOKS)
    return {name: intervals(values.tolist()) for name, values in zip(names, agree.T, strict=True)}


@torch.no_grad()
def round_trip(vae: AutoencoderKL, images: Tensor) -> Tensor:
    """Images `[N, 3, 64, 64]`, 0 to 1, through an autoencoder and back, a byte each."""
    lots = (vae.decode(vae.encode(lot * 2 - 1).latent_dist.mean).sample for lot in images.split(100))
    return ((torch.cat([*lots]).clamp(-1, 1) + 1) * 127.5).round() / 255


def drawn(_study: Study) -> Answer:
    """The world's own pictures of the prompts: as asked for, and with a garden."""
    scenes = tastes.subjects_of(PROMPTS)
    gardens = [replace(scene, garden=True) for scene in scenes]
    names = ("the world's own, as asked for", "the world's own, with a garden")
    return dict(zip(names, (_own(each, render) for each in (scenes, gardens)), strict=True))


def tinted(_study: Study) -> Answer:
    """The same, as asked for and in the warm light."""
    scenes = tastes.subjects_of(PROMPTS)
    plain = _own(scenes, render)
    warm = _own(scenes, lambda scene: tastes.tinted(render(scene)), plain)
    return {"the world's own, as asked for": plain, "the world's own, in the warm light": warm}


def _own(
    scenes: Sequence[Scene], draw: Callable[[Scene], Image.Image], plain: Answer | None = None
) -> Answer:
    """What the judges say of drawn scenes, by the prompts of the same scenes without a garden."""
    lots = [[draw(replace(scene, seed=seed)) for seed in range(SEEDS)] for scene in scenes]
    return judged(lots, [label(replace(scene, garden=False)) for scene in scenes], plain)


BY_RENDERING: dict[str, Callable[[Study], Answer]] = {
    "classifier": classifier,
    "drawn": drawn,
    "tinted": tinted,
}

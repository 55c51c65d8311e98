"""A small classifier of pixels, trained on what the renderer knows: a judge that knows nothing of CLIP.

It says of a picture which thing is in it, in which light, whether there are flowers, and which of the looks
of `looks.py` it has. The functions named in JUDGES are judges as `visunex-evaluate --judge` takes them.
"""

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from benchmarks.evidence.looks import LOOKS, Seen, draw, seen
from visunex.base.files import atomic
from visunex.demo.captions import label
from visunex.demo.scenes import PALETTES, SUBJECTS, Scene
from visunex.demo.train_clip import augment

FILE = Path("runs/evidence/pixels.safetensors")
WIDTHS = (16, 32, 48, 64)
STEPS, SIZE, RATE = 1200, 64, 4e-3
PICTURES, UNSEEN = 6000, 1500
SEED, UNSEEN_SEED = 51, 52
THINGS, LIGHTS, LOOK_NAMES = list(SUBJECTS), list(PALETTES), list(LOOKS)
HEADS = (len(THINGS), len(LIGHTS), 1 + len(LOOK_NAMES))  # one of many, one of many, each for itself

Images = Sequence[Image.Image]


class Network(nn.Sequential):
    """Four convolutions that halve, the mean and the maximum of what they see, and one linear map."""

    def __init__(self) -> None:
        ends = zip((3, *WIDTHS), WIDTHS, strict=False)
        blocks = [
            nn.Sequential(nn.Conv2d(a, b, 3, stride=2, padding=1), nn.BatchNorm2d(b), nn.ReLU())
            for a, b in ends
        ]
        super().__init__(*blocks, Pooled(), nn.Linear(2 * WIDTHS[-1], sum(HEADS)))


class Pooled(nn.Module):
    """The mean and the maximum over places."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x.mean(dim=(2, 3)), x.amax(dim=(2, 3))], dim=1)


def tensor_of(images: npt.NDArray[np.uint8]) -> Tensor:
    """`[N, 64, 64, 3]` of bytes as `[N, 3, 64, 64]`, 0 to 1."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255


def drawn(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """So many pictures, and what is true of them, `[N, 3 + looks]`: the thing, the light, flowers, looks."""
    rng = Random(seed)
    found = [seen(rng) for _ in range(count)]
    return tensor_of(np.stack([np.asarray(draw(each)) for each in found])), torch.tensor(
        [_truth(each) for each in found]
    )


def _truth(each: Seen) -> list[int]:
    scene = each.scene
    looks = [int(name in each.looks) for name in LOOK_NAMES]
    return [THINGS.index(scene.subject), LIGHTS.index(scene.palette), int(scene.has_flowers), *looks]


def loss_of(network: nn.Module, images: Tensor, truth: Tensor) -> Tensor:
    """Cross entropy of each head."""
    thing, light, rest = network(images - 0.5).split(HEADS, dim=1)
    return (
        F.cross_entropy(thing, truth[:, 0])
        + F.cross_entropy(light, truth[:, 1])
        + F.binary_cross_entropy_with_logits(rest, truth[:, 2:].float())
    )


def trained(steps: int = STEPS, count: int = PICTURES) -> Network:
    """The network, after so many steps on pictures that are blurred, noised and turned at random."""
    with torch.random.fork_rng():
        torch.manual_seed(SEED)
        images, truth = drawn(count, SEED)
        network = Network()
        optimizer = torch.optim.AdamW(network.parameters(), lr=RATE)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
        for _ in range(steps):
            rows = torch.randint(count, (SIZE,))
            loss = loss_of(network, augment(images[rows]), truth[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return network.eval()


@cache
def network() -> Network:
    """The trained network, kept in FILE."""
    if not FILE.exists():
        with atomic(FILE) as temporary:
            save_file(trained().state_dict(), temporary)
    found = Network()
    found.load_state_dict(load_file(FILE))
    return found.eval()


@torch.no_grad()
def told(images: Tensor) -> npt.NDArray[np.int64]:
    """What the network says of images, in the form of what is true of them."""
    thing, light, rest = network()(images - 0.5).split(HEADS, dim=1)
    return torch.cat([thing.argmax(1)[:, None], light.argmax(1)[:, None], (rest > 0).long()], dim=1).numpy()


def of(images: Images) -> npt.NDArray[np.int64]:
    """What the network says of Pillow's images."""
    return told(tensor_of(np.stack([np.asarray(each.convert("RGB").resize((64, 64))) for each in images])))


@cache
def _asked() -> dict[str, Scene]:
    """The scene that each plain prompt asks for."""
    scenes = [Scene(a, b, garden, 0) for a in THINGS for b in LIGHTS for garden in (False, True)]
    return {label(scene): scene for scene in scenes}


def subject(images: Images, prompts: Sequence[str]) -> list[float]:
    """1 for each image with the thing that its prompt asks for."""
    wanted = [THINGS.index(_asked()[prompt].subject) for prompt in prompts]
    return (of(images)[:, 0] == wanted).astype(float).tolist()


def light(images: Images, prompts: Sequence[str]) -> list[float]:
    """1 for each image in the light that its prompt asks for."""
    wanted = [LIGHTS.index(_asked()[prompt].palette) for prompt in prompts]
    return (of(images)[:, 1] == wanted).astype(float).tolist()


def _look(name: str) -> Callable[[Images, Sequence[str]], list[float]]:
    def judge(images: Images, _prompts: Sequence[str]) -> list[float]:
        return of(images)[:, 3 + LOOK_NAMES.index(name)].astype(float).tolist()

    return judge


warm, green, framed, outlined = (_look(name) for name in ("warm", "green", "framed", "outlined"))
JUDGES: dict[str, Any] = {each: f"{__name__}:{each}" for each in ("subject", "light", *LOOK_NAMES)}

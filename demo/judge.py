"""What is on pictures of the demo world: told by visunex-tiny, and, for flowers, without it."""

from dataclasses import dataclass
from itertools import product
from random import Random

import torch
import torch.nn.functional as F
from open_clip import create_model_and_transforms, get_tokenizer
from PIL import Image

from .colours import FLOWERS_FROM, flower_share
from .scenes import PALETTES, SUBJECTS, Scene, label, random_scene, render
from .tiny import CLIP_NAME

__all__ = ["Judge", "Verdict"]


@dataclass(frozen=True)
class Verdict:
    """What one picture shows: the nearest subject and palette, and whether there are flowers."""

    subject: str
    palette: str
    flowers: bool


class Judge:
    """Looks at pictures of any size."""

    def __init__(self) -> None:
        self._model, _, self._preprocess = create_model_and_transforms(CLIP_NAME)
        self._model.eval()
        self._scenes = [Scene(*content, garden=False, seed=0) for content in product(SUBJECTS, PALETTES)]
        self._prompts = self.texts([label(scene) for scene in self._scenes])

    @torch.no_grad()
    def texts(self, texts: list[str]) -> torch.Tensor:
        """Unit vectors [N, 768] of texts."""
        return F.normalize(self._model.encode_text(get_tokenizer(CLIP_NAME)(texts)), dim=-1)

    @torch.no_grad()
    def images(self, images: list[Image.Image]) -> torch.Tensor:
        """Unit vectors [N, 768] of pictures."""
        batch = torch.stack([self._preprocess(image) for image in images])
        return F.normalize(self._model.encode_image(batch), dim=-1)

    def verdicts(self, images: list[Image.Image]) -> list[Verdict]:
        """What each picture shows."""
        nearest = (self.images(images) @ self._prompts.T).argmax(dim=1).tolist()
        found = [self._scenes[place] for place in nearest]
        return [
            Verdict(scene.subject, scene.palette, flower_share(image) > FLOWERS_FROM)
            for scene, image in zip(found, images, strict=True)
        ]

    def flower_embedding(self, count: int = 400, seed: int = 17) -> torch.Tensor:
        """The aesthetic embedding [1, 768] of drawn scenes with flowers: the mean of their unit vectors."""
        rng = Random(seed)  # noqa: S311
        scenes = [random_scene(rng) for _ in range(count)]
        return self.images([render(scene) for scene in scenes if scene.has_flowers]).mean(dim=0, keepdim=True)

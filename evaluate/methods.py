"""How a prompt is drawn under a setting, by each method: always with the same noise."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from visunex.base.files import fingerprint
from visunex.export.make import Wanted, make
from visunex.generate import Sampler, Settings, Taste
from visunex.generate.additions import Additions, added

from .encoders import Encoders
from .folder import Folder
from .measures import likeness
from .plan import PLAIN, Request, Setting
from .standards import Standard

__all__ = ["Drawer"]

Images = list[Image.Image]
VERSION = 1  # raise it when the same setting gives other pictures


class Drawer:
    """Draws with one model; `standards` are the tastes by label, `encoders` those that choose the best."""

    def __init__(
        self,
        sampler: Sampler,
        request: Request,
        standards: Mapping[str, Standard],
        encoders: Encoders,
        folder: Folder,
    ) -> None:
        self._sampler, self._request, self._standards = sampler, request, standards
        self._encoders, self._folder = encoders, folder
        self._ways: dict[str, Callable[[Setting, str], Images]] = {
            PLAIN: lambda _, prompt: self._drawn(prompt),
            "steer": self._steered,
            "lora": self._with_lora,
            "token": self._with_token,
            "prompt": self._with_words,
            "best-of": self._best,
        }
        self._learnt = cache(self._learn)
        self._words = cache(self._find_words)

    def name(self, setting: Setting) -> str:
        """What pictures of a setting are called: by what they are made of, and a hash of all of it."""
        plain, sampling = vars(Settings()), vars(self._request.sampling)
        sampling = {
            name: value
            for name, value in sampling.items()
            if value != plain[name] and name not in ("seed", "samples")
        }
        made_of = [VERSION, self._sampler.model.fingerprint, sampling, setting.method, setting.strength]
        if setting.method != PLAIN:
            made_of += [self._taste(setting).digest, self._request.lr]
        if setting.method == "best-of":  # of how many, and of which space's cosine
            made_of += [self._request.seeds, str(self._standards[setting.embedding].own)]
        label = "-".join(filter(None, (setting.embedding, setting.method, str(setting.strength))))
        return f"{label.replace('/', '-')}-{fingerprint(made_of)[:8]}"

    def images(self, setting: Setting, prompt: str) -> Images:
        """The pictures of a prompt, one for each seed."""
        return self._ways[setting.method](setting, prompt)

    def _drawn(
        self, prompt: str, taste: Taste | None = None, later: int = 0, sampler: Sampler | None = None
    ) -> Images:
        """One picture a seed; `later` says by how many seeds the noise is another's."""
        request = self._request
        settings = replace(request.sampling, samples=request.seeds, seed=request.sampling.seed + later)
        (batch,) = (sampler or self._sampler).sample(prompt, settings, taste)
        return list(batch.images)

    def _taste(self, setting: Setting) -> Taste:
        return self._standards[setting.embedding].taste

    def _steered(self, setting: Setting, prompt: str) -> Images:
        return self._drawn(prompt, replace(self._taste(setting), steps=setting.strength))

    def _with_lora(self, setting: Setting, prompt: str) -> Images:
        """With the LoRA that stands for so many steps, on the negative prompt too, as other programs do."""
        _, sampler = self._learnt(setting)
        return self._drawn(prompt, sampler=sampler)

    def _with_token(self, setting: Setting, prompt: str) -> Images:
        """With the token that stands for so many steps behind the prompt."""
        word, sampler = self._learnt(setting)
        return self._drawn(f"{prompt} {word}", sampler=sampler)

    def _with_words(self, setting: Setting, prompt: str) -> Images:
        return self._drawn(f"{prompt}, {self._words(setting)}")

    def _best(self, setting: Setting, prompt: str) -> Images:
        """Of so many pictures for each seed the one nearest to the taste, by the taste's own encoder."""
        seeds = self._request.seeds
        standard = self._standards[setting.embedding]
        lots = [self._drawn(prompt, later=seeds * lot) for lot in range(setting.strength)]
        scores = [
            likeness(self._encoders.images(standard.own, lot), standard.directions[standard.own])
            for lot in lots
        ]
        best = np.argmax(np.stack(scores), axis=0)
        return [lots[lot][seed] for seed, lot in enumerate(best.tolist())]

    def _learn(self, setting: Setting) -> tuple[str, Sampler]:
        """What a file that stands for so many steps is called, and a sampler of the model with it."""
        path: Path = self._made(setting, setting.method, imitate=setting.strength)["path"]
        is_lora = setting.method == "lora"
        additions = Additions.of(
            loras=[path] if is_lora else (), textual_inversions=() if is_lora else [path]
        )
        return path.stem, Sampler(added(self._sampler.model, additions))

    def _find_words(self, setting: Setting) -> str:
        return str(self._made(setting, "prompt")["report"]["best"][0]["words"])

    def _made(self, setting: Setting, kind: str, **more: Any) -> dict[str, Any]:
        """What `visunex-export` makes of a taste, unless it is there already."""
        suffix = ".txt" if kind == "prompt" else ".safetensors"
        path = self._folder.learnt / f"{self.name(setting)}{suffix}"
        request = self._request
        wanted = Wanted(
            embedding=self._taste(setting).name,
            kind=kind,
            out=path,
            model=request.model,
            variant=request.variant,
            device=request.device,
            overwrite=False,
            **more,
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        return {**make(wanted), "path": path}

"""A row for each picture under each taste, with all that was measured of it."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from visunex.aesthetic_embeddings.space import Space
from visunex.base.files import fingerprint

from .encoders import Encoders
from .folder import Folder
from .judges import Heads, Judge, judged
from .measures import Floats, likeness, spread, to_set
from .plan import PLAIN, Request, Setting
from .standards import Standard

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Measured", "table_of"]


class Measured:
    """Pictures on disk, by the names of their settings, and what encoders and judges say of them."""

    def __init__(
        self,
        request: Request,
        folder: Folder,
        encoders: Encoders,
        judges: Mapping[str, Judge],
        heads: Heads,
        names: Mapping[Setting, str],
        prompts: Sequence[str],
    ) -> None:
        self.request, self.folder, self.encoders = request, folder, encoders
        self.judges, self.heads, self.names, self.prompts = judges, heads, names, prompts
        self.units = cache(self._units)
        self.texts = cache(self._texts)
        self.judged = cache(self._judged)

    @property
    def seeds(self) -> range:
        """The seeds of each prompt."""
        first = self.request.sampling.seed
        return range(first, first + self.request.seeds)

    def paths(self, setting: Setting) -> list[Path]:
        """The pictures of a setting, prompt by prompt and seed by seed."""
        return [
            self.folder.image(self.names[setting], prompt, seed)
            for prompt in self.prompts
            for seed in self.seeds
        ]

    def _units(self, space: Space, setting: Setting) -> Floats:
        """The vectors `[prompts * seeds, D]` of a setting's pictures in a space, kept once made."""
        weights = self.encoders.image(space).identity()
        key = f"{self.names[setting]}-{fingerprint([weights, list(self.prompts), list(self.seeds)])[:12]}"
        kept = self.folder.vectors(key)
        if kept is None or len(kept) != len(self.prompts) * len(self.seeds):
            kept = np.concatenate([self.encoders.images(space, lot) for lot in self._lots(setting)])
            self.folder.keep(key, kept)
        return kept

    def _lots(self, setting: Setting) -> Iterator[list[Image.Image]]:
        """The images of each prompt: always the same batches, so that the vectors are the same bytes."""
        paths, each = self.paths(setting), len(self.seeds)
        return (self.folder.read(paths[at : at + each]) for at in range(0, len(paths), each))

    def _texts(self, space: Space) -> Floats:
        """The vector of each picture's prompt."""
        return np.repeat(self.encoders.texts(space, self.prompts), len(self.seeds), axis=0)

    def _judged(self, setting: Setting) -> dict[str, Floats]:
        """What the judges say of a setting's pictures."""
        lots = [
            judged(self.judges, lot, [prompt] * len(lot))
            for prompt, lot in zip(self.prompts, self._lots(setting), strict=True)
        ]
        return {name: np.concatenate([lot[name] for lot in lots]) for name in self.judges}


def table_of(measured: Measured, standards: Sequence[Standard], settings: Sequence[Setting]) -> "pa.Table":
    """The table, in the order of tastes, settings, prompts and seeds: the same pictures, the same bytes."""
    import pyarrow as pa

    parts = [
        pa.table({**_who(measured, standard, setting), **_what(measured, standard, setting)})
        for standard in standards
        for setting in settings
        if setting.method == PLAIN or setting.embedding == standard.label
    ]
    return pa.concat_tables(parts, promote_options="default")


def _who(measured: Measured, standard: Standard, setting: Setting) -> dict[str, Any]:
    """Which picture a row is of."""
    paths = measured.paths(setting)
    each = len(measured.seeds)
    return {
        "embedding": [standard.label] * len(paths),
        "method": [setting.method] * len(paths),
        "strength": np.full(len(paths), setting.strength, np.int64),
        "setting": [setting.name] * len(paths),
        "prompt_number": np.repeat(np.arange(len(measured.prompts)), each),
        "prompt": [prompt for prompt in measured.prompts for _ in range(each)],
        "seed": np.tile(np.array(measured.seeds, np.uint64), len(measured.prompts)),
        "image": [path.relative_to(measured.folder.path).as_posix() for path in paths],
    }


def _what(measured: Measured, standard: Standard, setting: Setting) -> dict[str, Floats]:
    """What was measured of each picture; of another encoder than the taste's own with its name behind."""
    found: dict[str, Floats] = {}
    for space, direction in standard.directions.items():
        behind = "" if space == standard.own else f":{space.name}"
        units = measured.units(space, setting)
        found[f"taste{behind}"] = likeness(units, direction)
        if space in standard.held_out:
            found[f"clip_i{behind}"] = to_set(units, standard.held_out[space])
        found[f"clip_t{behind}"] = likeness(units, measured.texts(space))
        found[f"diversity{behind}"] = _by_prompt(units, len(measured.seeds))
    for name, (space, head) in measured.heads.items():
        if any(not space.differs(each) for each in standard.directions):
            found[name] = head.scores(measured.units(space, setting).astype(np.float32))
    return {**found, **measured.judged(setting)}


def _by_prompt(units: Floats, seeds: int) -> Floats:
    """How far each picture is from those of the same prompt under other seeds."""
    return np.concatenate([spread(units[at : at + seeds]) for at in range(0, len(units), seeds)])

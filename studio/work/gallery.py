"""The pictures that were drawn, newest first, with what made each."""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from visunex.aesthetic_embeddings import EmbeddingError, find
from visunex.base.errors import UsageError
from visunex.generate.again.tastes import called
from visunex.generate.controls import Controls
from visunex.generate.errors import ImageTextError
from visunex.generate.output.files import SAMPLES
from visunex.generate.output.png_text import ImageRecord, TasteRecord, read_record, stem_of
from visunex.images.errors import ImageError
from visunex.images.thumbnails import thumbnail

from .drawing import Form

__all__ = ["Made", "file_of", "form_of", "gallery", "made_of", "small"]

MOST = 60  # pictures that are shown
_SIDE = 320  # pixels of the small ones
_NAME = re.compile(r"\d{5,18}\.png")


@dataclass(frozen=True)
class Made:
    """A picture's file name, and how it was made."""

    name: str
    record: ImageRecord

    @property
    def about(self) -> str:
        """The taste, its steps and the seed, in a line."""
        taste, seed = self.record.taste, f"seed {self.record.seed}"
        if taste is None or not taste.steps:
            return f"untouched · {seed}"
        return f"{stem_of(taste.name)}, {taste.steps} steps · {seed}"


def gallery(outputs: Path, most: int = MOST) -> list[Made]:
    """The last pictures that say how they were made."""
    names = (path.name for path in (outputs / SAMPLES).glob("*.png"))
    newest = sorted(filter(_NAME.fullmatch, names), key=lambda name: int(name[:-4]), reverse=True)
    return list(_that_say(outputs, newest[:most]))


def made_of(outputs: Path, name: str) -> Made:
    """One picture by its file's name. Raises UsageError, ImageTextError."""
    path = file_of(outputs, name)
    return Made(name, _record(path, path.stat().st_mtime_ns))


def file_of(outputs: Path, name: str) -> Path:
    """Where the picture of a file name lies. Raises UsageError for one that is none of ours."""
    path = outputs / SAMPLES / name
    if not _NAME.fullmatch(name) or not path.is_file():
        raise UsageError(f"there is no picture {name} any more")
    return path


def small(outputs: Path, name: str) -> bytes:
    """A small copy (WebP). Raises UsageError."""
    try:
        return thumbnail(file_of(outputs, name).read_bytes(), _SIDE)
    except (OSError, ImageError) as error:
        raise UsageError(f"{name} cannot be shown: {error}") from None


def form_of(made: Made) -> Form:
    """What asks for a picture again, on the page, with the untouched one beside it.

    Raises UsageError for one whose taste came in by another method than steering, which the page has not.
    """
    record, settings, taste = made.record, made.record.settings, made.record.taste
    if record.method != "steer":
        raise UsageError(
            f"{made.name} was drawn with --method {record.method}, which the page does not do: "
            "visunex-generate --from-image makes it again"
        )
    steered = taste is not None and taste.steps > 0
    return Form(
        **_controls(record),
        **_additions(record),
        prompt=record.prompt,
        negative=settings.negative_prompt,
        weighted=settings.prompt_syntax == "webui",
        model=record.model.name,
        steps=taste.steps if taste is not None and steered else Form.steps,
        lr=taste.lr if taste is not None and steered else Form.lr,
        scheduler=settings.scheduler,
        sampler_steps=settings.steps,
        scale=settings.guidance_scale,
        clip_skip=settings.clip_skip,
        over=record.start.path if record.start else "",
        mask=(record.start.mask or "") if record.start else "",
        strength=record.start.strength if record.start else None,
        width=settings.width,
        height=settings.height,
        seed=record.seed,
    )


def _additions(record: ImageRecord) -> dict[str, Any]:
    """What was added to a picture's model, as the page's fields have it."""
    paths: dict[str, list[str]] = {"lora": [], "textual_inversion": [], "vae": []}
    for file in record.additions:
        scale = "" if file.scale in (None, 1) else f":{file.scale:g}"
        paths.setdefault(file.kind, []).append(f"{file.path}{scale}")
    return {
        "loras": ", ".join(paths["lora"]),
        "words": ", ".join(paths["textual_inversion"]),
        "vae": ", ".join(paths["vae"]),
    }


def _controls(record: ImageRecord) -> dict[str, Any]:
    """How a picture's tastes were used, by the names that the page's form has."""
    controls = record.controls or Controls()
    tastes = [called(_found_by(taste), taste.weight) for taste in record.tastes]
    return {
        "taste": tastes[0] if tastes else "",
        "further": ", ".join(tastes[1:]),
        "until": controls.until or "",
        "weight": controls.blend,
        "slerp": controls.slerp,
        "text": controls.text,
        "away": controls.text_negative,
        "angle": controls.text_angle,
        "begin": controls.begin,
        "end": controls.end,
    }


def _found_by(taste: TasteRecord) -> str:
    """What a picture's taste is found by: its name where that still means the same, else its path."""
    if taste.path is None:
        return taste.name
    try:
        same = hashlib.sha256(find(taste.name).vector.tobytes()).hexdigest() == taste.sha256
    except EmbeddingError:
        same = False
    return taste.name if same else taste.path


def _that_say(outputs: Path, names: list[str]) -> Iterator[Made]:
    for name in names:
        try:
            yield made_of(outputs, name)
        except (ImageTextError, UsageError, OSError):
            continue


@lru_cache(maxsize=512)
def _record(path: Path, _written: int) -> ImageRecord:
    return read_record(path)

"""What a PNG says of its image: how it was made, as JSON to make it again and as text for the web UI."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, PngImagePlugin

from ..errors import ImageTextError
from ..settings import Settings, TextEncoder

__all__ = ["ImageRecord", "ModelRecord", "TasteRecord", "as_json", "png_text", "read_record", "web_ui_text"]

JSON_KEY, WEB_UI_KEY = "visunex", "parameters"


@dataclass(frozen=True, kw_only=True)
class ModelRecord:
    """The model that made an image: `fingerprint` as `Model` has it, `precision` as torch calls it."""

    name: str
    fingerprint: str
    text_encoder: TextEncoder
    precision: str
    device: str
    lowvram: bool


@dataclass(frozen=True, kw_only=True)
class TasteRecord:
    """The taste that an image's prompt was personalised to; `sha256` is of the embedding's float32 bytes."""

    name: str
    sha256: str | None
    steps: int
    lr: float


@dataclass(frozen=True, kw_only=True)
class ImageRecord:
    """How one image was made: enough to make it again.

    `prompts` are those of its batch, `position` its own among them, `batch` the number of the batch in the
    run. The settings have the height and width that the image has.
    """

    prompts: tuple[str, ...]
    position: int
    batch: int
    settings: Settings
    model: ModelRecord
    taste: TasteRecord | None
    versions: dict[str, str]

    @property
    def prompt(self) -> str:
        """The prompt of this image."""
        return self.prompts[self.position]


def as_json(record: ImageRecord) -> dict[str, Any]:
    """The record under the keys that PNGs have had since the first release, most of them options' names."""
    settings, model, taste = record.settings, record.model, record.taste
    return {
        "prompts": record.prompts,
        "position": record.position,
        "batch": record.batch,
        "negative_prompt": settings.negative_prompt,
        "seed": settings.seed,
        "scheduler": settings.scheduler,
        "ddim_steps": settings.steps,
        "ddim_eta": settings.eta,
        "scale": settings.guidance_scale,
        "height": settings.height,
        "width": settings.width,
        "n_samples": settings.samples,
        "fixed_code": settings.fixed_code,
        "rng": settings.rng,
        **(
            {"prediction": settings.prediction} if settings.prediction else {}
        ),  # as the first release, where not
        "model": model.name,
        "model_fingerprint": model.fingerprint,
        "text_encoder": model.text_encoder,
        "precision": model.precision,
        "device": model.device,
        "lowvram": model.lowvram,
        "aesthetic_embedding": taste.name if taste else None,
        "aesthetic_sha256": taste.sha256 if taste else None,
        "aesthetic_steps": taste.steps if taste else 0,
        "aesthetic_lr": taste.lr if taste else 0.0,
        "versions": record.versions,
    }


def from_json(text: str) -> ImageRecord:
    """The record that `as_json` gave; raises ValueError or KeyError for any other text."""
    from pydantic import TypeAdapter
    from pydantic_core import from_json as parse

    found = parse(text)
    if not isinstance(found, dict):
        raise ValueError("no object")
    record = TypeAdapter(ImageRecord).validate_python(_by_parts(found))
    if not 0 <= record.position < len(record.prompts) or record.batch < 0:
        raise ValueError("no such image")
    return record


def _by_parts(found: Mapping[str, Any]) -> dict[str, Any]:
    """The values under `as_json`'s keys as `ImageRecord` nests them, not yet checked."""
    taste = {
        "name": found["aesthetic_embedding"],
        "sha256": found["aesthetic_sha256"],
        "steps": found["aesthetic_steps"],
        "lr": found["aesthetic_lr"],
    }
    return {
        **{name: found[name] for name in ("prompts", "position", "batch", "versions")},
        "settings": {
            "steps": found["ddim_steps"],
            "eta": found["ddim_eta"],
            "guidance_scale": found["scale"],
            "samples": found["n_samples"],
            **{name: found[name] for name in ("negative_prompt", "seed", "scheduler", "fixed_code", "rng")},
            **{name: found[name] for name in ("height", "width")},
            "prediction": found.get("prediction"),  # images of the first release do not say
        },
        "model": {
            "name": found["model"],
            "fingerprint": found["model_fingerprint"],
            **{name: found[name] for name in ("text_encoder", "precision", "device", "lowvram")},
        },
        "taste": None if taste["name"] is None else taste,
    }


def web_ui_text(record: ImageRecord) -> str:
    """The text that the Stable Diffusion web UI reads from an image and shows."""
    settings, taste, name = record.settings, record.taste, record.settings.scheduler
    fields = {
        "Steps": settings.steps,
        "Sampler": name.upper() if name in ("ddim", "plms") else name,
        "CFG scale": f"{settings.guidance_scale:g}",
        "Seed": settings.seed,
        "Size": f"{settings.width}x{settings.height}",
        "Model hash": record.model.fingerprint[:10],
        "Model": _quoted(Path(record.model.name).stem),
    }
    if settings.eta:
        fields["Eta"] = f"{settings.eta:g}"
    if settings.samples > 1:
        fields |= {"Batch size": settings.samples, "Batch pos": record.position}
    if taste and taste.name:
        fields |= {
            "Aesthetic embedding": _quoted(taste.name),
            "Aesthetic steps": taste.steps,
            "Aesthetic LR": f"{taste.lr:g}",
        }
    lines = [record.prompt]
    if settings.negative_prompt:
        lines.append(f"Negative prompt: {settings.negative_prompt}")
    return "\n".join([*lines, ", ".join(f"{field}: {value}" for field, value in fields.items())])


def _quoted(text: str) -> str:
    """The web UI's own quoting of values that hold its separators."""
    return json.dumps(text, ensure_ascii=False) if re.search(r'[,:\n"]', text) else text


def png_text(web_ui: str, record: ImageRecord | None = None) -> PngImagePlugin.PngInfo:
    """A PNG's text chunks: the web UI's, and with `record` how the image was made."""
    text = PngImagePlugin.PngInfo()
    text.add_text(WEB_UI_KEY, web_ui)
    if record is not None:
        text.add_text(JSON_KEY, json.dumps(as_json(record)))
    return text


def read_record(path: Path) -> ImageRecord:
    """How the image at `path` was made. Raises ImageTextError where it does not say so."""
    text = _json_text(path)
    if text is None:
        raise ImageTextError(f"{path} does not say how it was made: it holds no `{JSON_KEY}` text")
    try:
        return from_json(text)
    except (ValueError, KeyError):
        raise ImageTextError(f"{path} says how it was made in a form that this version cannot read") from None


def _json_text(path: Path) -> str | None:
    try:
        with Image.open(path) as image:
            image.load()  # text may come after the pixels
            return getattr(image, "text", {}).get(JSON_KEY)
    except FileNotFoundError:
        raise ImageTextError(f"no picture {path}") from None
    except Exception as error:  # Pillow has many
        raise ImageTextError(f"{path} cannot be read as a picture: {error}") from None

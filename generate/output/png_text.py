"""What a PNG says of its image: how it was made, as JSON to make it again and as text for the web UI."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from PIL import PngImagePlugin

from visunex.base.folders import EMBEDDING

from ..added import AddedFile
from ..controls import CONTROLS, Climb, Controls, Method
from ..errors import ImageTextError
from ..settings import SEEDS, Settings, TextEncoder
from ..start import StartRecord
from ..syntax import as_letters
from .additions_text import additions_as_json, additions_from_json, hash_fields, vae_fields, with_tags
from .infotext import sampler_name, written
from .texts import texts_in

__all__ = [
    "ImageRecord",
    "ModelRecord",
    "TasteRecord",
    "as_json",
    "choice_of",
    "png_text",
    "read_record",
    "record_in",
    "web_ui_text",
]

JSON_KEY, WEB_UI_KEY = "visunex", "parameters"
TASTES_KEY, METHOD_KEY = "aesthetic_tastes", "aesthetic_method"
SPACE_KEY = "aesthetic_space"


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
    """The taste that an image's prompt was personalised to; `sha256` is of the embedding's float32 bytes.

    `path` is where its file lay, where the name alone does not say so: absolute. `weight` is what it counted
    among several, `space` which CLIP's it is, as the option names it, where that is not taken for granted.
    """

    name: str
    sha256: str | None
    steps: int
    lr: float
    path: str | None = None
    weight: float = 1.0
    space: str | None = None


@dataclass(frozen=True, kw_only=True)
class ImageRecord:
    """How one image was made: enough to make it again.

    `prompts` are those of its batch, `position` its own among them, `batch` the number of the batch in the
    run. The settings have the height and width that the image has, and the run's seed; with `own_seed` the
    image has one of its own, which makes it again alone. `climbs` says how each text encoder was moved.
    `cosines` are to the tastes, of the images that this one is the best of, in the order of drawing.
    `additions` are files that were added to the model.
    """

    prompts: tuple[str, ...]
    position: int
    batch: int
    settings: Settings
    model: ModelRecord
    tastes: tuple[TasteRecord, ...]
    versions: dict[str, str]
    own_seed: bool = False
    controls: Controls | None = None
    method: Method = "steer"
    climbs: tuple[Climb, ...] = ()
    cosines: tuple[float, ...] = ()
    additions: tuple[AddedFile, ...] = ()
    start: StartRecord | None = None

    @property
    def taste(self) -> TasteRecord | None:
        """The first taste; None where the prompt was not to be personalised."""
        return self.tastes[0] if self.tastes else None

    @property
    def prompt(self) -> str:
        """The prompt of this image."""
        return self.prompts[self.position]

    @property
    def seed(self) -> int:
        """The image's own seed, or the run's where there is none."""
        settings = self.settings
        before = self.position + (0 if settings.fixed_code else self.batch * settings.samples)
        return (settings.seed + before) % SEEDS if self.own_seed else settings.seed


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
        # Where there is nothing to say, the text is the first release's.
        **({"prediction": settings.prediction} if settings.prediction else {}),
        **({"clip_skip": settings.clip_skip} if settings.clip_skip != 1 else {}),
        **({"prompt_syntax": settings.prompt_syntax} if settings.prompt_syntax != "plain" else {}),
        **({"image_seed": record.seed} if record.own_seed else {}),
        "model": model.name,
        "model_fingerprint": model.fingerprint,
        "text_encoder": model.text_encoder,
        "precision": model.precision,
        "device": model.device,
        "lowvram": model.lowvram,
        **additions_as_json(record.additions),
        "aesthetic_embedding": taste.name if taste else None,
        "aesthetic_sha256": taste.sha256 if taste else None,
        "aesthetic_steps": taste.steps if taste else 0,
        "aesthetic_lr": taste.lr if taste else 0.0,
        **({"aesthetic_path": taste.path} if taste and taste.path else {}),
        **_beside(record),
        **_started(record.start),
        "versions": record.versions,
    }


def _beside(record: ImageRecord) -> dict[str, Any]:
    """Of the tastes and controls what is not as in the first release."""
    found: dict[str, Any] = {} if record.method == "steer" else {METHOD_KEY: record.method}
    if [taste.weight for taste in record.tastes] not in ([], [1.0]):
        parts = ("name", "sha256", "path", "weight")
        found[TASTES_KEY] = [{part: getattr(taste, part) for part in parts} for taste in record.tastes]
    spaces = {taste.space for taste in record.tastes}
    if len(spaces) == 1 and None not in spaces:
        found[SPACE_KEY] = spaces.pop()
    if record.controls is not None:
        plain = Controls()
        for name, key in CONTROLS.items():
            if (value := getattr(record.controls, name)) != getattr(plain, name):
                found[key] = value
        if record.controls.until is not None:
            found["aesthetic_climbs"] = [asdict(climb) for climb in record.climbs]
    return found | ({"best_of": choice_of(record.cosines)} if record.cosines else {})


def choice_of(cosines: Sequence[float]) -> dict[str, Any]:
    """What is said of an image that is the best of several: their number, its cosine, and all of theirs."""
    return {"drawn": len(cosines), "cosine": max(cosines), "cosines": list(cosines)}


# Fields of `StartRecord`, and their keys: options' names where there are such.
_START = {
    "path": "init_img",
    "sha256": "init_sha256",
    "strength": "strength",
    "mask": "mask",
    "mask_sha256": "mask_sha256",
}


def _started(start: StartRecord | None) -> dict[str, Any]:
    """What the image was drawn over, if anything."""
    if start is None:
        return {}
    return {key: value for name, key in _START.items() if (value := getattr(start, name)) is not None}


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
        "path": found.get("aesthetic_path"),
        "space": found.get(SPACE_KEY),
    }
    tastes = [taste | dict(each) for each in found.get(TASTES_KEY, [{}])]
    controls = {name: found[key] for name, key in CONTROLS.items() if key in found}
    return {
        **{name: found[name] for name in ("prompts", "position", "batch", "versions")},
        "own_seed": "image_seed" in found,
        "cosines": found["best_of"]["cosines"] if "best_of" in found else (),
        "additions": additions_from_json(found),
        "settings": {
            "steps": found["ddim_steps"],
            "eta": found["ddim_eta"],
            "guidance_scale": found["scale"],
            "samples": found["n_samples"],
            **{name: found[name] for name in ("negative_prompt", "seed", "scheduler", "fixed_code", "rng")},
            **{name: found[name] for name in ("height", "width")},
            "prediction": found.get("prediction"),  # images of the first release do not say
            "clip_skip": found.get("clip_skip", 1),
            "prompt_syntax": found.get("prompt_syntax", "plain"),
        },
        "model": {
            "name": found["model"],
            "fingerprint": found["model_fingerprint"],
            **{name: found[name] for name in ("text_encoder", "precision", "device", "lowvram")},
        },
        "tastes": [] if taste["name"] is None else tastes,
        "controls": None if taste["name"] is None else controls,
        "method": found.get(METHOD_KEY, "steer"),
        "climbs": found.get("aesthetic_climbs", []),
        "start": {name: found.get(key) for name, key in _START.items()} if "init_img" in found else None,
    }


def web_ui_text(record: ImageRecord) -> str:
    """The text that the Stable Diffusion web UI reads from an image and shows."""
    settings, taste = record.settings, record.taste
    fields: dict[str, Any] = {
        "Steps": settings.steps,
        "Sampler": sampler_name(settings.scheduler),
        "CFG scale": f"{settings.guidance_scale:g}",
        "Seed": record.seed,
        "Size": f"{settings.width}x{settings.height}",
        "Model hash": record.model.fingerprint[:10],
        "Model": Path(record.model.name).stem,
        **vae_fields(record.additions),
    }
    if settings.eta:
        fields["Eta"] = f"{settings.eta:g}"
    if settings.samples > 1:
        fields |= {"Batch size": settings.samples, "Batch pos": record.position}
    if record.start is not None:
        fields["Denoising strength"] = f"{record.start.strength:g}"
    if settings.clip_skip != 1:
        fields["Clip skip"] = settings.clip_skip
    if taste and taste.name and record.method == "steer":
        fields |= _aesthetic_fields(taste, record.controls or Controls())
    fields |= hash_fields(record.additions, record.prompt, settings.negative_prompt)
    prompts = (record.prompt, settings.negative_prompt)
    wanted, unwanted = prompts if settings.prompt_syntax == "webui" else map(as_letters, prompts)
    return written(with_tags(wanted, record.additions), unwanted, fields)


def _aesthetic_fields(taste: TasteRecord, controls: Controls) -> dict[str, Any]:
    """What the web UI's extension for aesthetic gradients writes; it knows one taste.

    But for its `Aesthetic text` where there is none: most versions of the web UI do not read an empty value.
    """
    return {
        "Aesthetic embedding": stem_of(taste.name),
        "Aesthetic steps": taste.steps,
        "Aesthetic LR": f"{taste.lr:g}",
        "Aesthetic weight": f"{controls.blend:g}",
        "Aesthetic slerp": controls.slerp,
        **({"Aesthetic text": controls.text} if controls.text.strip() else {}),
        "Aesthetic text negative": controls.text_negative,
        "Aesthetic slerp angle": f"{controls.text_angle:g}",
    }


def stem_of(name: str) -> str:
    """What an embedding is called: its file's stem, or its run's name for a run's `embedding.pt`."""
    path = Path(name)
    return path.parent.name if path.name == EMBEDDING and path.parent.name else path.name.removesuffix(".pt")


def png_text(web_ui: str, record: ImageRecord | None = None) -> PngImagePlugin.PngInfo:
    """A PNG's text chunks: the web UI's, and with `record` how the image was made."""
    text = PngImagePlugin.PngInfo()
    text.add_text(WEB_UI_KEY, web_ui)
    if record is not None:
        text.add_text(JSON_KEY, json.dumps(as_json(record)))
    return text


def read_record(path: Path) -> ImageRecord:
    """How the image at `path` was made. Raises ImageTextError where it does not say so."""
    text = texts_in(path).get(JSON_KEY)
    if text is None:
        raise ImageTextError(f"{path} does not say how it was made: it holds no `{JSON_KEY}` text")
    return record_in(path, text)


def record_in(path: Path, text: str) -> ImageRecord:
    """The record that the text of the image at `path` is. Raises ImageTextError."""
    try:
        return from_json(text)
    except (ValueError, KeyError, TypeError):  # values of any type may stand where others are looked for
        raise ImageTextError(f"{path} says how it was made in a form that this version cannot read") from None

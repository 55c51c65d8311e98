"""An image file -> how it is made again, whichever program wrote its text."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic_core import from_json

from ..controls import CONTROLS, Controls
from ..errors import ImageTextError
from ..output.png_text import JSON_KEY, WEB_UI_KEY, ImageRecord, record_in
from ..output.texts import texts_in
from ..start import StartRecord
from ..taste import LR
from .comfyui import from_graph
from .found import Again
from .novelai import from_novelai
from .tastes import called
from .web_ui import from_infotext

__all__ = ["read"]

# Programs whose text is recognised by its key, and not read.
OTHERS = {
    "invokeai_metadata": "InvokeAI",
    "sd-metadata": "InvokeAI",
    "Dream": "InvokeAI",
    "fooocus_scheme": "Fooocus",
    "workflow": "ComfyUI",
}


def read(path: Path) -> Again:
    """How the image at `path` is made again. Raises ImageTextError where it does not say so."""
    texts = texts_in(path)
    if JSON_KEY in texts:
        return _ours(record_in(path, texts[JSON_KEY]))
    found = _comfyui(texts) or _novelai(texts) or _web_ui(texts)
    if found is not None:
        return found
    for key, program in OTHERS.items():
        if key in texts:
            raise ImageTextError(
                f"{path} was made with {program}, in a way that cannot be read here; give --prompt, --seed "
                "and what else it says of itself yourself"
            )
    if texts.get(WEB_UI_KEY, "").lstrip().startswith("{"):
        raise ImageTextError(
            f"{path} holds the JSON of another program, which cannot be read here; give --prompt, --seed and "
            "what else it says of itself yourself"
        )
    raise ImageTextError(
        f"{path} does not say how it was made: it holds no text of VisuNex, the Stable Diffusion web UI, "
        "ComfyUI or NovelAI; programs that send or shrink pictures often leave it out"
    )


def _ours(record: ImageRecord) -> Again:
    settings, model, taste = record.settings, record.model, record.taste
    controls = record.controls or Controls()
    options = {
        "prompt": record.prompt,
        "negative_prompt": settings.negative_prompt,
        "model": model.name,
        "text_encoder": model.text_encoder,
        "aesthetic_embedding": tuple(called(each.name, each.weight) for each in record.tastes),
        "aesthetic_steps": taste.steps if taste else 0,
        "aesthetic_lr": (taste.lr if taste else 0) or LR,
        "aesthetic_space": taste.space if taste else None,
        "ddim_steps": settings.steps,
        "scheduler": settings.scheduler,
        "ddim_eta": settings.eta,
        "scale": settings.guidance_scale,
        "height": settings.height,
        "width": settings.width,
        "n_samples": settings.samples,
        "seed": settings.seed,
        "fixed_code": settings.fixed_code,
        "seed_of": "image" if record.own_seed else "run",
        "rng": settings.rng,
        "prediction": settings.prediction,
        "clip_skip": settings.clip_skip,
        "method": record.method,
        **({} if record.start is None else _start(record.start)),
        **{option: getattr(controls, name) for name, option in CONTROLS.items()},
        "prompt_syntax": settings.prompt_syntax,
        "precision": "full" if model.precision == "float32" else "autocast",
        "lowvram": model.lowvram,
    }
    return Again(program="VisuNex", options=options, record=record)


def _start(start: StartRecord) -> dict[str, Any]:
    """What an image was drawn over, as options; whether the files are still the same is asked later."""
    return {"init_img": start.path, "strength": start.strength, "mask": start.mask}


def _web_ui(texts: Mapping[str, str]) -> Again | None:
    return from_infotext(texts[WEB_UI_KEY]) if WEB_UI_KEY in texts else None


def _comfyui(texts: Mapping[str, str]) -> Again | None:
    graph = _object(texts.get("prompt", ""))
    return from_graph(graph) if graph else None


def _novelai(texts: Mapping[str, str]) -> Again | None:
    comment = _object(texts.get("Comment", ""))
    if not comment or not {"steps", "seed"} <= comment.keys():
        return None
    return from_novelai(comment, texts.get("Description", ""), texts.get("Source", ""))


def _object(text: str) -> dict[str, Any] | None:
    """The JSON object that a text is; None for any other."""
    try:
        found = from_json(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None

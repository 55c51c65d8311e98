"""An image of the Stable Diffusion web UI (AUTOMATIC1111, Forge and others with its text) -> options."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ..errors import UsageError
from ..output.infotext import SAMPLERS, Infotext, parse
from ..sampling.names import canonical
from .found import Again
from .prompts import Found, of_web_ui

__all__ = ["from_infotext", "not_done", "prompts_of", "scheduler_of"]

NAME = "the Stable Diffusion web UI"
OPTIONS = {
    "Steps": "ddim_steps",
    "CFG scale": "scale",
    "Seed": "seed",
    "Eta": "ddim_eta",
    "Eta DDIM": "ddim_eta",
    "Clip skip": "clip_skip",
}
TASTE = {
    "Aesthetic embedding": "aesthetic_embedding",
    "Aesthetic steps": "aesthetic_steps",
    "Aesthetic LR": "aesthetic_lr",
    "Aesthetic weight": "aesthetic_weight",
    "Aesthetic text": "aesthetic_text",
    "Aesthetic slerp angle": "aesthetic_text_angle",
}
FLAGS = {"Aesthetic slerp": "aesthetic_slerp", "Aesthetic text negative": "aesthetic_text_negative"}
FALSE = {"Tiling"}
# What decides nothing about the image, or is read elsewhere.
READ = {
    "Sampler",
    "Schedule type",
    "Size",
    "Model",
    "Model hash",
    "RNG",
    "Batch size",
    "Batch pos",
    "Version",
}
READ |= {
    "Lora hashes",
    "TI hashes",
    "Hashes",
    "User",
    "Created Date",
}
HIRES = ("Hires upscale", "Hires resize", "Hires steps", "Hires upscaler")
MOST_NAMED = 12


def from_infotext(text: str) -> Again | None:
    """How the image with this text is made again; None for a text that is none of the web UI's."""
    found = parse(text)
    if "Steps" not in found.fields and "Seed" not in found.fields:
        return None
    fields = found.fields
    options, differs = prompts_of(found.prompt, found.negative_prompt)
    options |= {option: fields[name] for name, option in OPTIONS.items() if name in fields}
    if size := re.fullmatch(r"(\d{1,9})x(\d{1,9})", fields.get("Size", "")):
        options |= {"width": size[1], "height": size[2]}
    name, said = scheduler_of(fields.get("Sampler", ""), fields.get("Schedule type", ""))
    options |= {"scheduler": name, "n_samples": "1"}
    if fields.get("RNG") == "CPU":
        options["rng"] = "cpu"
    taste = _taste(fields)
    options |= taste
    return Again(
        program=NAME,
        options=options,
        differs=(*differs, *said, *_arcs(taste), *_hires(fields), *not_done(_others(found))),
        model=fields.get("Model", ""),
        model_hash=fields.get("Model hash", ""),
    )


def prompts_of(
    prompt: str, negative: str, read: Callable[[str], Found] = of_web_ui
) -> tuple[dict[str, Any], list[str]]:
    """The two prompts as options, in the web UI's syntax; and what of them is not done here."""
    (wanted, differs), (unwanted, more) = read(prompt), read(negative)
    options = {"prompt": wanted, "negative_prompt": unwanted, "prompt_syntax": "webui"}
    return options, [*dict.fromkeys((*differs, *more))]


def scheduler_of(sampler: str, schedule: str = "") -> tuple[str, list[str]]:
    """Our scheduler for a sampler and its schedule of noise, and what differs; DDIM where there is none."""
    sampler = sampler.strip()
    schedule = schedule if schedule.lower() not in ("", "automatic", "normal") else ""
    if not sampler:
        return "ddim", ["the text names no sampler: DDIM is used"]
    names = {name.lower(): ours for ours, name in SAMPLERS.items()}
    bare = re.sub(r" (Karras|Exponential)$", "", sampler, flags=re.IGNORECASE)
    lost = f"{schedule or sampler.removeprefix(bare).strip()} schedule"
    for name, said in (
        (f"{sampler} {schedule}".strip(), []),
        (sampler, [f"the sampler {sampler} runs without the {lost}"]),
        (bare, [f"the sampler {bare} runs without the {lost}"]),
    ):
        for ours in (name, names.get(name.lower(), "")):
            if ours and _is_one(ours):
                return ours, said if name != sampler or schedule else []
    return "ddim", [f"there is no sampler {_short(sampler)} here: DDIM is used (--scheduler chooses another)"]


def _is_one(name: str) -> bool:
    try:
        canonical(name)
    except UsageError:
        return False
    return True


def _taste(fields: Mapping[str, str]) -> dict[str, Any]:
    name = fields.get("Aesthetic embedding", "None")
    if name in ("", "None") or _number(fields.get("Aesthetic weight", "1")) == 0:
        return {}
    found: dict[str, Any] = {option: fields[field] for field, option in TASTE.items() if field in fields}
    flags = {option: fields[field].lower() == "true" for field, option in FLAGS.items() if field in fields}
    return {**found, **flags, "aesthetic_embedding": (name,)}


def _arcs(taste: Mapping[str, Any]) -> list[str]:
    """What differs where the extension goes along arcs: it takes directions of one length for another."""
    if taste.get("aesthetic_slerp") or taste.get("aesthetic_text"):
        return ["the taste is turned and blended between directions of one length, as the extension does not"]
    return []


def _hires(fields: Mapping[str, str]) -> list[str]:
    if any(name in fields for name in HIRES):
        scale = fields.get("Hires upscale") or fields.get("Hires resize") or "?"
        return [f"no second pass in a larger size (hires fix, {_short(scale)})"]
    if "Denoising strength" in fields:
        return ["it was drawn over another picture (img2img), which is not done here"]
    return []


def _others(found: Infotext) -> dict[str, str]:
    """The fields that decide about the image, and that nothing above has taken."""
    fields = found.fields
    done = {*OPTIONS, *READ, *HIRES, "Denoising strength"}
    done |= {*TASTE, *FLAGS} if _taste(fields) else {name for name in fields if name.startswith("Aesthetic ")}
    done |= {name for name in FALSE if fields.get(name, "").lower() == "false"}
    return {name: value for name, value in fields.items() if name not in done}


def not_done(fields: Mapping[str, Any]) -> Iterator[str]:
    """One sentence for settings that mean nothing here."""
    named = [f"{_short(name)}: {_short(str(value))}" for name, value in fields.items()]
    if named:
        more = f" and {len(named) - MOST_NAMED} more" if len(named) > MOST_NAMED else ""
        yield f"not done here: {', '.join(named[:MOST_NAMED])}{more}"


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 40 else text[:37] + "..."


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None

"""An image of NovelAI -> options: its `Comment` is JSON, its `Description` the prompt."""

from collections.abc import Mapping
from typing import Any

from .found import Again
from .prompts import of_novelai
from .web_ui import not_done, prompts_of, scheduler_of

__all__ = ["from_novelai"]

OPTIONS = {"steps": "ddim_steps", "scale": "scale", "seed": "seed", "width": "width", "height": "height"}
SAMPLERS = {
    "k_euler": "Euler",
    "k_euler_ancestral": "Euler a",
    "k_lms": "LMS",
    "k_heun": "Heun",
    "k_dpm_2": "DPM2",
    "k_dpm_2_ancestral": "DPM2 a",
    "k_dpmpp_2m": "DPM++ 2M",
    "k_dpmpp_2s_ancestral": "DPM++ 2S a",
    "k_dpmpp_sde": "DPM++ SDE",
    "ddim": "DDIM",
    "plms": "PLMS",
}
# What decides nothing, or is read above.
READ = {"prompt", "uc", "sampler", "noise_schedule", "n_samples", "signed_hash", "request_type", "version"}
READ |= {"strength", "noise", "v4_prompt", "v4_negative_prompt", "lora_unet_weights", "lora_clip_weights"}


def from_novelai(comment: Mapping[str, Any], description: str, source: str) -> Again:
    """How the image with this comment is made again; `source` is the model as NovelAI calls it."""
    prompt = str(comment.get("prompt") or description)
    options, differs = prompts_of(prompt, str(comment.get("uc") or ""), of_novelai)
    options |= {option: comment[name] for name, option in OPTIONS.items() if name in comment}
    sampler = str(comment.get("sampler", ""))
    name, said = scheduler_of(SAMPLERS.get(sampler, sampler), str(comment.get("noise_schedule") or ""))
    others = {
        key: value
        for key, value in comment.items()
        if key not in READ and key not in OPTIONS and value not in (None, False, 0, 0.0, "", [], {})
    }
    return Again(
        program="NovelAI",
        options={**options, "scheduler": name, "n_samples": "1"},
        differs=(*differs, *said, *not_done(others)),
        model=source or "NovelAI's own model, which is not published",
    )

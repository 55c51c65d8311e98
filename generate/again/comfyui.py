"""An image of ComfyUI -> options, where its graph is the plain one: one sampler, two prompts, one size."""

from collections.abc import Mapping
from typing import Any

from .found import Again
from .prompts import of_comfyui
from .web_ui import not_done, prompts_of, scheduler_of

__all__ = ["from_graph"]

OPTIONS = {"steps": "ddim_steps", "cfg": "scale", "seed": "seed", "noise_seed": "seed"}
SAMPLERS = {
    "euler": "Euler",
    "euler_ancestral": "Euler a",
    "lms": "LMS",
    "heun": "Heun",
    "dpm_2": "DPM2",
    "dpm_2_ancestral": "DPM2 a",
    "dpmpp_2m": "DPM++ 2M",
    "dpmpp_sde": "DPM++ SDE",
    "uni_pc": "UniPC",
    "lcm": "LCM",
    "ddim": "DDIM",
}
PLAIN = {"KSampler", "KSamplerAdvanced", "CLIPTextEncode", "EmptyLatentImage", "VAEDecode", "SaveImage"}
PLAIN |= {"CheckpointLoaderSimple", "PreviewImage"}
MOST_HOPS = 20


def from_graph(graph: Mapping[str, Any]) -> Again | None:
    """How the image of a graph is made again; None where it has not exactly one sampler with its prompts."""
    nodes = {str(key): node for key, node in graph.items() if _is_node(node)}
    samplers = [
        node["inputs"] for node in nodes.values() if node["class_type"] in ("KSampler", "KSamplerAdvanced")
    ]
    if len(samplers) != 1:
        return None
    inputs = samplers[0]
    prompts = [_text(nodes, inputs.get(name)) for name in ("positive", "negative")]
    if prompts[0] is None:
        return None
    options, differs = prompts_of(prompts[0], prompts[1] or "", of_comfyui)
    options |= {
        option: inputs[key] for key, option in OPTIONS.items() if not isinstance(inputs.get(key), list | None)
    }
    latent = _upwards(nodes, inputs.get("latent_image"), "EmptyLatentImage")
    options |= {
        key: latent[key]
        for key in ("width", "height")
        if latent and not isinstance(latent.get(key), list | None)
    }
    sampler = str(inputs.get("sampler_name", ""))
    name, said = scheduler_of(SAMPLERS.get(sampler, sampler), str(inputs.get("scheduler", "")))
    loader = _upwards(nodes, inputs.get("model"), "CheckpointLoaderSimple") or {}
    denoise = {"denoise": inputs["denoise"]} if inputs.get("denoise", 1) != 1 else {}
    others = dict.fromkeys(
        f"node {node['class_type']}" for node in nodes.values() if node["class_type"] not in PLAIN
    )
    return Again(
        program="ComfyUI",
        options={**options, "scheduler": name, "n_samples": "1", "rng": "cpu"},
        differs=(*differs, *said, *not_done({**denoise, **dict.fromkeys(others, "left out")})),
        model=str(loader.get("ckpt_name", "")),
    )


def _is_node(node: Any) -> bool:
    return (
        isinstance(node, dict)
        and isinstance(node.get("class_type"), str)
        and isinstance(node.get("inputs"), dict)
    )


def _upwards(nodes: Mapping[str, Any], link: Any, kind: str) -> dict[str, Any] | None:
    """The inputs of the node of a kind that a link comes from, through at most a few others."""
    for _ in range(MOST_HOPS):
        node = nodes.get(str(link[0])) if isinstance(link, list) and link else None
        if node is None:
            return None
        inputs: dict[str, Any] = node["inputs"]
        if node["class_type"] == kind:
            return inputs
        link = next((inputs[name] for name in ("model", "conditioning", "samples") if name in inputs), None)
    return None


def _text(nodes: Mapping[str, Any], link: Any) -> str | None:
    text = (_upwards(nodes, link, "CLIPTextEncode") or {}).get("text")
    return text if isinstance(text, str) else None

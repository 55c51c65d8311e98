"""A model's layers that a LoRA may change, under every name that a file may have for them.

Names are compared with `_` for `.`, as kohya's scripts write them. Beside diffusers' and transformers' own
there are the UNet's of CompVis and Stability (kohya's of SDXL have these), and those of diffusers' first
releases.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from torch import nn

from ..errors import AdditionError
from ..families.parts import Parts, UNetParts

__all__ = ["Layers", "encoder_layers", "find_layer", "layers_of", "unet_of"]

# Part -> name of a layer -> the layer.
Layers = Mapping[str, Mapping[str, nn.Module]]

FRONTS = {  # how names of a part's layers begin, longest first
    "unet": ("model_diffusion_model_", "diffusion_model_", "lora_unet_", "unet_"),
    "text_encoder_2": ("lora_te2_", "text_encoder_2_"),
    "text_encoder": ("lora_te1_", "lora_te_", "text_encoder_"),
}
PEFT = "base_model_model_"  # before the names of one part's layers alone, in peft's own files

# diffusers' names of the UNet's blocks -> Stability's.
BLOCKS = {
    r"conv_in$": "input_blocks.0.0",
    r"conv_out$": "out.2",
    r"time_embedding\.linear_([12])$": "time_embed.{before}",
    r"add_embedding\.linear_([12])$": "label_emb.0.{before}",
    r"down_blocks\.(\d+)\.resnets\.(\d+)": "input_blocks.{down}.0",
    r"down_blocks\.(\d+)\.attentions\.(\d+)": "input_blocks.{down}.1",
    r"down_blocks\.(\d+)\.downsamplers\.0\.conv": "input_blocks.{end}.0.op",
    r"mid_block\.resnets\.([01])": "middle_block.{twice}",
    r"mid_block\.attentions\.0": "middle_block.1",
    r"up_blocks\.(\d+)\.resnets\.(\d+)": "output_blocks.{up}.0",
    r"up_blocks\.(\d+)\.attentions\.(\d+)": "output_blocks.{up}.1",
}
UPSAMPLER = re.compile(r"up_blocks\.(\d+)\.upsamplers\.0")
RESNET = {
    "conv1": "in_layers.2",
    "conv2": "out_layers.3",
    "time_emb_proj": "emb_layers.1",
    "conv_shortcut": "skip_connection",
}
# Ends of layers' names as diffusers' first releases called them.
EARLIER = {
    "to_out.0": ("to_out",),
    "q_proj": ("to_q",),
    "k_proj": ("to_k",),
    "v_proj": ("to_v",),
    "out_proj": ("to_out",),
}


def unet_of(parts: Parts) -> Any:
    """The UNet of a model. Raises AdditionError for one that has none."""
    if not isinstance(parts, UNetParts):
        raise AdditionError(
            "files are added to Stable Diffusion 1, 2 and XL alone: leave them out, or add them to the "
            "pipeline of diffusers and steer that (visunex.generate.steered)"
        )
    return parts.unet


def layers_of(parts: Parts) -> Layers:
    """The linear layers and convolutions of a model's UNet and text encoders by every name that they have."""
    encoders = {"text_encoder": parts.text_encoder}
    if (second := getattr(parts, "text_encoder_2", None)) is not None:
        encoders["text_encoder_2"] = second
    named = {part: encoder_layers(module) for part, module in encoders.items()}
    unet = unet_of(parts)
    n = int(unet.config.layers_per_block) + 1 if isinstance(unet.config.layers_per_block, int) else 0
    attended = {name.split(".attentions.")[0] for name, _ in unet.named_modules() if ".attentions." in name}
    return {"unet": dict(_named(unet, lambda name: _unet_names(name, n, attended))), **named}


def encoder_layers(encoder: nn.Module) -> dict[str, nn.Module]:
    """The linear layers of a CLIP text model by every name that they have."""
    return dict(_named(encoder, _encoder_names))


def find_layer(layers: Layers, name: str) -> tuple[str, nn.Module] | None:
    """The part and the layer that a file calls `name`; None for what is none of the model's."""
    name = name.replace(".processor.", ".").replace(".", "_")
    for part, fronts in FRONTS.items():
        for front in fronts:
            if name.startswith(front):
                layer = layers.get(part, {}).get(name.removeprefix(front))
                return None if layer is None else (part, layer)
    bare = name.removeprefix(PEFT)
    found = [(part, named[bare]) for part, named in layers.items() if bare in named]
    return found[0] if len(found) == 1 else None


def _named(module: nn.Module, names: Callable[[str], Iterator[str]]) -> Iterator[tuple[str, nn.Module]]:
    for own, layer in module.named_modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            for name in names(own):
                yield name.replace(".", "_"), layer


def _encoder_names(name: str) -> Iterator[str]:
    """Names of a text encoder's layer, with and without the level that transformers 5.6 took out."""
    for each in (name, *_earlier(name)):
        yield each
        yield each.removeprefix("text_model.") if each.startswith("text_model.") else f"text_model.{each}"


def _unet_names(name: str, n: int, attended: set[str]) -> Iterator[str]:
    yield name
    yield from _earlier(name)
    if n and (other := _stabilitys(name, n, attended)):
        yield other


def _earlier(name: str) -> Iterator[str]:
    for end, others in EARLIER.items():
        if name.endswith(f".{end}"):
            for other in others:
                yield name.removesuffix(end) + other


def _stabilitys(name: str, n: int, attended: set[str]) -> str | None:
    """A layer's name in Stability's files, where a level has `n` - 1 layers and these blocks attention."""
    if match := UPSAMPLER.match(name):
        place = 2 if f"up_blocks.{match[1]}" in attended else 1
        return f"output_blocks.{int(match[1]) * n + n - 1}.{place}{name[match.end() :]}"
    for pattern, theirs in BLOCKS.items():
        if match := re.match(pattern, name):
            rest = name[match.end() :]
            if "resnets" in match[0]:
                rest = "." + RESNET.get(rest.removeprefix("."), "")
            return theirs.format_map(_numbers(match, n)) + rest
    return None


def _numbers(match: re.Match[str], n: int) -> dict[str, int]:
    """Stability's numbers of a layer, which count through all levels, of diffusers' level and layer in it."""
    level, layer = (*map(int, match.groups()), 0, 0)[:2]
    counted = level * n + layer
    return {
        "down": counted + 1,
        "up": counted,
        "end": (level + 1) * n,
        "twice": 2 * level,
        "before": 2 * level - 2,
    }

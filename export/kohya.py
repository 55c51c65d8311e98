"""A LoRA of a CLIP text encoder, and kohya's layout of it, which web UI, Forge, ComfyUI and diffusers read.

W becomes W + strength * (alpha / rank) * B A (Hu et al., arXiv 2106.09685): A, `lora_down`, `[rank, in]`; B,
`lora_up`, `[out, rank]`. Here alpha is the rank, so that strength 1 is B A as it stands. Files are read and
merged by `generate.additions`.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from .errors import ExportError

__all__ = ["Lora", "safetensors_bytes"]

# What kohya's keys of each text encoder begin with, by the family and what diffusers calls the encoder.
PREFIXES = {
    "sd1": {"text_encoder": "lora_te_text_model_"},
    "sdxl": {"text_encoder": "lora_te1_text_model_", "text_encoder_2": "lora_te2_text_model_"},
}
# What the file says of the model that it is for: kohya's name of its version, and modelspec's of its kind.
BASES = {
    "sd1": ("sd_v1", "stable-diffusion-v1/lora"),
    "sdxl": ("sdxl_base_v1-0", "stable-diffusion-xl-v1-base/lora"),
}
LAYERS = (
    "self_attn.q_proj",
    "self_attn.k_proj",
    "self_attn.v_proj",
    "self_attn.out_proj",
    "mlp.fc1",
    "mlp.fc2",
)


@dataclass(frozen=True, eq=False)
class Lora:
    """A and B of each linear layer, by the layer's name in transformers' text model."""

    down: Mapping[str, Tensor]
    up: Mapping[str, Tensor]

    @classmethod
    def fresh(cls, encoder: nn.Module, rank: int, seed: int) -> "Lora":
        """One that changes nothing yet: A drawn by `seed`, B zeros, both to be learnt."""
        generator = torch.Generator().manual_seed(seed)
        down, up = {}, {}
        for name, layer in layers_of(encoder).items():
            rows = torch.randn(rank, layer.in_features, generator=generator) / layer.in_features**0.5
            down[name] = rows.to(layer.weight.device).requires_grad_()
            up[name] = torch.zeros(layer.out_features, rank, device=layer.weight.device).requires_grad_()
        return cls(down, up)

    @property
    def rank(self) -> int:
        """Rows of A."""
        return len(next(iter(self.down.values())))

    @property
    def parameters(self) -> dict[str, Tensor]:
        """All tensors, by a name for each."""
        parts = {"down": self.down, "up": self.up}
        return {f"{part}.{name}": value for part, all_of in parts.items() for name, value in all_of.items()}

    def times(self, strength: float) -> "Lora":
        """The same, with `strength` put into B."""
        return Lora(
            {name: value.detach() for name, value in self.down.items()},
            {name: value.detach() * strength for name, value in self.up.items()},
        )

    @contextmanager
    def on(self, encoder: nn.Module, strength: float = 1.0) -> Iterator[None]:
        """While the block runs the encoder computes as if this were merged; gradients reach A and B."""
        with ExitStack() as hooks:
            for name, layer in layers_of(encoder).items():
                add = partial(_added, self.down[name], self.up[name], strength)
                hooks.callback(layer.register_forward_hook(add).remove)
            yield


def _added(
    down: Tensor, up: Tensor, strength: float, _layer: Any, given: tuple[Tensor], out: Tensor
) -> Tensor:
    return out + strength * ((given[0] @ down.T) @ up.T)


def layers_of(encoder: nn.Module) -> dict[str, nn.Linear]:
    """The linear layers of a CLIP text model's blocks, by their names. Raises ExportError for others."""
    found = {name: module for name, module in encoder.named_modules() if name.endswith(LAYERS)}
    for name, module in found.items():
        if type(module) is not nn.Linear:
            raise ExportError(f"{name} is a {type(module).__name__}, where CLIP has a linear layer")
    return {name: module for name, module in found.items() if isinstance(module, nn.Linear)}


def key_of(prefix: str, layer: str) -> str:
    """kohya's name of a layer, which begins with one of PREFIXES and has underscores for dots."""
    return prefix + layer.removeprefix("text_model.").replace(".", "_")


def safetensors_bytes(loras: Mapping[str, Lora], family: str, metadata: Mapping[str, str]) -> bytes:
    """The bytes of the file: LoRAs by what diffusers calls the text encoder that each is of.

    `metadata` stands beside what kohya's own say of the network; all have the same rank.
    """
    from safetensors.torch import save

    tensors = {}
    for part, lora in loras.items():
        for name, down in lora.down.items():
            key = key_of(PREFIXES[family][part], name)
            tensors[f"{key}.lora_down.weight"] = down.detach().cpu().float().contiguous()
            tensors[f"{key}.lora_up.weight"] = lora.up[name].detach().cpu().float().contiguous()
            tensors[f"{key}.alpha"] = torch.tensor(float(lora.rank))
    version, kind = BASES[family]
    said = {
        "format": "pt",
        "ss_network_module": "networks.lora",
        "ss_network_dim": str(lora.rank),
        "ss_network_alpha": f"{lora.rank:.1f}",
        "ss_base_model_version": version,
        "ss_v2": "False",
        "modelspec.sai_model_spec": "1.0.0",
        "modelspec.architecture": kind,
        "modelspec.implementation": "https://github.com/Stability-AI/generative-models",
    }
    return _in_order(save(tensors, {**said, **metadata}))


def _in_order(data: bytes) -> bytes:
    """A safetensors file with its metadata in alphabetical order: the library's own order is drawn by lot."""
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data[8 + length :]

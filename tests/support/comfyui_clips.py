"""How large the text encoders of the tests' ComfyUI are, as its `model_options` take it."""

from typing import Any

L, G = 32, 24  # how wide the two are


def _config(width: int, act: str) -> dict[str, Any]:
    return {
        "hidden_size": width, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 96,
        "hidden_act": act, "max_position_embeddings": 77, "eos_token_id": 49407,
    }  # fmt: skip


CONFIGS = {"clip_l": _config(L, "quick_gelu"), "clip_g": _config(G, "gelu")}

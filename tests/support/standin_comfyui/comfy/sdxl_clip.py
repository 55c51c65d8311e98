"""SDXL's two text encoders, side by side."""

from typing import Any

import torch
from torch import nn

from .sd1_clip import SDClipModel, SDTokenizer


class SDXLTokenizer:
    def __init__(self, embedding_directory: Any = None, tokenizer_data: Any = None) -> None:
        self.clip_l, self.clip_g = SDTokenizer(), SDTokenizer(pad=0)

    def tokenize_with_weights(self, text: str, return_word_ids: bool = False, **kwargs: Any) -> Any:
        return {name: getattr(self, f"clip_{name}").tokenize_with_weights(text) for name in "gl"}


class SDXLClipModel(nn.Module):
    def __init__(self, device: Any = "cpu", dtype: Any = None, model_options: Any = None) -> None:
        super().__init__()
        how = {"layer": "hidden", "layer_idx": -2, "layer_norm_hidden_state": False}
        self.clip_l = SDClipModel(device, dtype, model_options, **how)
        self.clip_g = SDClipModel(device, dtype, model_options, "clip_g", act="gelu", pad=0, **how)
        self.dtypes = {dtype}

    def set_clip_options(self, options: Any) -> None:
        self.clip_l.set_clip_options(options)
        self.clip_g.set_clip_options(options)

    def reset_clip_options(self) -> None:
        self.clip_l.reset_clip_options()
        self.clip_g.reset_clip_options()

    def encode_token_weights(self, token_weight_pairs: Any) -> Any:
        g_out, g_pooled = self.clip_g.encode_token_weights(token_weight_pairs["g"])
        l_out, _ = self.clip_l.encode_token_weights(token_weight_pairs["l"])
        return torch.cat([l_out, g_out], dim=-1), g_pooled

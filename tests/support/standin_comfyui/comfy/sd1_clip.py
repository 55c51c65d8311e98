"""One text encoder with its options, the weights of words, and a tokenizer of chunks of 77."""

import re
import zlib
from numbers import Integral
from typing import Any

import torch
from torch import Tensor, nn

from . import model_management
from .clip_model import CLIPTextModel

START, END = 49406, 49407
CONFIG = {
    "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072,
    "hidden_act": "quick_gelu", "max_position_embeddings": 77,
}  # fmt: skip
Pairs = list[list[tuple[Any, float]]]


class SDClipModel(nn.Module):
    def __init__(
        self, device: Any = "cpu", dtype: Any = None, model_options: Any = None, name: str = "clip_l",
        layer: str = "last", layer_idx: int | None = None, pad: int = END, act: str = "quick_gelu",
        layer_norm_hidden_state: bool = True, return_projected_pooled: bool = True,
    ) -> None:  # fmt: skip
        super().__init__()
        config = CONFIG | {"hidden_act": act} | (model_options or {}).get(f"{name}_model_config", {})
        self.transformer = CLIPTextModel(config, dtype, device).eval()
        self.num_layers = self.transformer.num_layers
        self.special_tokens = {"start": START, "end": END, "pad": pad}
        self.logit_scale = nn.Parameter(torch.tensor(4.6055))
        self.layer_norm_hidden_state = layer_norm_hidden_state
        self.layer, self.layer_idx = layer, layer_idx
        self.return_projected_pooled = return_projected_pooled
        self.options_default = (layer, layer_idx, return_projected_pooled)
        self.requires_grad_(False)

    def set_clip_options(self, options: Any) -> None:
        layer_idx = options.get("layer", self.layer_idx)
        self.return_projected_pooled = options.get("projected_pooled", self.return_projected_pooled)
        if layer_idx is None or abs(layer_idx) > self.num_layers:
            self.layer = "last"
        else:
            self.layer, self.layer_idx = "hidden", layer_idx

    def reset_clip_options(self) -> None:
        self.layer, self.layer_idx, self.return_projected_pooled = self.options_default

    def _embedded(self, tokens: list[Any], device: Any) -> tuple[Tensor, int]:
        """Vectors of a chunk, those of textual inversions where they stand; and where its text ends."""
        words = [token if isinstance(token, Integral) else END for token in tokens]
        vectors = self.transformer.get_input_embeddings()(
            torch.tensor([words], device=device), out_dtype=torch.float32
        )
        rows = [
            (row if isinstance(token, Integral) else token.to(row))[None]
            for token, row in zip(tokens, vectors[0], strict=True)
        ]
        ends = [index for index, token in enumerate(tokens) if isinstance(token, Integral) and token == END]
        return torch.cat(rows)[None], ends[0] + 1

    def forward(self, tokens: list[list[Any]]) -> tuple[Tensor, Tensor]:
        device = self.transformer.get_input_embeddings().weight.device
        found = [self._embedded(each, device) for each in tokens]
        embeds, numbers = torch.cat([each for each, _ in found]), [number for _, number in found]
        layer = self.layer_idx if self.layer == "hidden" else None
        outputs = self.transformer(embeds, numbers, layer, self.layer_norm_hidden_state)
        z = outputs[0] if self.layer == "last" else outputs[1]
        return z.float(), outputs[2 if self.return_projected_pooled else 3].float()

    def encode(self, tokens: list[list[Any]]) -> tuple[Tensor, Tensor]:
        return self(tokens)

    def encode_token_weights(self, token_weight_pairs: Pairs) -> tuple[Tensor, Tensor]:
        chunks = [[token for token, _ in chunk] for chunk in token_weight_pairs]
        weights = torch.tensor([[weight for _, weight in chunk] for chunk in token_weight_pairs])
        empty = [START, END] + [self.special_tokens["pad"]] * 75
        out, pooled = self.encode([*chunks, empty])
        z, nothing = out[:-1], out[-1:]
        for place in (weights != 1).nonzero():
            row, column = place.tolist()
            difference = z[row, column] - nothing[0, column]
            z[row, column] = difference * weights[row, column] + nothing[0, column]
        device = model_management.intermediate_device()
        return torch.cat([*z]).unsqueeze(0).to(device), pooled[:1].to(device)


class SDTokenizer:
    def __init__(self, pad: int = END) -> None:
        self.pad = pad

    def tokenize_with_weights(self, text: str) -> Pairs:
        words = [
            (zlib.crc32(word.encode()) % (START - 1) + 1, float(weight or 1))
            for inside, weight, outside in re.findall(r"\(([^:()]*):([\d.]+)\)|([^()]+)", text)
            for word in (inside or outside).split()
        ]
        chunks = [words[begin : begin + 75] for begin in range(0, len(words), 75)] or [[]]
        return [
            [(START, 1.0), *chunk, (END, 1.0), *[(self.pad, 1.0)] * (75 - len(chunk))] for chunk in chunks
        ]


class SD1Tokenizer:
    def __init__(self, embedding_directory: Any = None, tokenizer_data: Any = None) -> None:
        self.clip_l = SDTokenizer()

    def tokenize_with_weights(self, text: str, return_word_ids: bool = False, **kwargs: Any) -> Any:
        return {"l": self.clip_l.tokenize_with_weights(text)}


class SD1ClipModel(nn.Module):
    def __init__(self, device: Any = "cpu", dtype: Any = None, model_options: Any = None) -> None:
        super().__init__()
        self.clip_l = SDClipModel(device, dtype, model_options, return_projected_pooled=False)
        self.dtypes = {dtype}

    def set_clip_options(self, options: Any) -> None:
        self.clip_l.set_clip_options(options)

    def reset_clip_options(self) -> None:
        self.clip_l.reset_clip_options()

    def encode_token_weights(self, token_weight_pairs: Any) -> Any:
        return self.clip_l.encode_token_weights(token_weight_pairs["l"])

"""CLIP's text model, whose layers add to what they are given in place."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import ops

ACTIVATIONS = {"quick_gelu": lambda a: a * torch.sigmoid(1.702 * a), "gelu": F.gelu}


class CLIPAttention(nn.Module):
    def __init__(self, config: Any, **made: Any) -> None:
        super().__init__()
        width, self.heads = config["hidden_size"], config["num_attention_heads"]
        for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
            setattr(self, name, ops.Linear(width, width, **made))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        q, k, v = (
            layer(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for layer in (self.q_proj, self.k_proj, self.v_proj)
        )
        return self.out_proj(F.scaled_dot_product_attention(q, k, v, mask).transpose(1, 2).flatten(-2))


class CLIPMLP(nn.Module):
    def __init__(self, config: Any, **made: Any) -> None:
        super().__init__()
        self.fc1 = ops.Linear(config["hidden_size"], config["intermediate_size"], **made)
        self.activation = ACTIVATIONS[config["hidden_act"]]
        self.fc2 = ops.Linear(config["intermediate_size"], config["hidden_size"], **made)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.activation(self.fc1(x)))


class CLIPLayer(nn.Module):
    def __init__(self, config: Any, **made: Any) -> None:
        super().__init__()
        self.layer_norm1 = ops.LayerNorm(config["hidden_size"], **made)
        self.self_attn = CLIPAttention(config, **made)
        self.layer_norm2 = ops.LayerNorm(config["hidden_size"], **made)
        self.mlp = CLIPMLP(config, **made)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        x += self.self_attn(self.layer_norm1(x), mask)
        x += self.mlp(self.layer_norm2(x))
        return x


class CLIPEncoder(nn.Module):
    def __init__(self, config: Any, **made: Any) -> None:
        super().__init__()
        self.layers = nn.ModuleList([CLIPLayer(config, **made) for _ in range(config["num_hidden_layers"])])

    def forward(self, x: Tensor, mask: Tensor, intermediate_output: int | None) -> Any:
        wanted = None if intermediate_output is None else range(len(self.layers))[intermediate_output]
        between = None
        for number, layer in enumerate(self.layers):
            x = layer(x, mask)
            between = x.clone() if number == wanted else between
        return x, between


class CLIPEmbeddings(nn.Module):
    def __init__(self, config: Any, **made: Any) -> None:
        super().__init__()
        width = config["hidden_size"]
        self.token_embedding = ops.Embedding(49408, width, **made)
        self.position_embedding = ops.Embedding(config["max_position_embeddings"], width, **made)


class CLIPTextModel_(nn.Module):
    def __init__(self, config: Any, **made: Any) -> None:
        super().__init__()
        self.embeddings = CLIPEmbeddings(config, **made)
        self.encoder = CLIPEncoder(config, **made)
        self.final_layer_norm = ops.LayerNorm(config["hidden_size"], **made)

    def forward(self, embeds: Tensor, num_tokens: list[int], intermediate_output: Any, normed: bool) -> Any:
        x = embeds + self.embeddings.position_embedding.weight.to(embeds)
        length = x.shape[1]
        mask = torch.full((length, length), torch.finfo(x.dtype).min).triu(1)
        x, between = self.encoder(x, mask, intermediate_output)
        x = self.final_layer_norm(x)
        if between is not None and normed:
            between = self.final_layer_norm(between)
        return x, between, x[range(len(x)), [number - 1 for number in num_tokens]]


class CLIPTextModel(nn.Module):
    def __init__(self, config: Any, dtype: Any, device: Any) -> None:
        super().__init__()
        made = {"dtype": dtype, "device": device}
        self.num_layers, width = config["num_hidden_layers"], config["hidden_size"]
        self.text_model = CLIPTextModel_(config, **made)
        self.text_projection = ops.Linear(width, width, bias=False, **made)

    def get_input_embeddings(self) -> Any:
        return self.text_model.embeddings.token_embedding

    def forward(self, *args: Any) -> Any:
        x, between, pooled = self.text_model(*args)
        return x, between, self.text_projection(pooled), pooled

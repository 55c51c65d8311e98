"""What a family of models has to say of itself so that its prompts can be steered: the protocol."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor

from .sd1.text_encoder import text_projection

__all__ = [
    "BESIDE_CLIP_L",
    "BIG_G",
    "CLIP_L",
    "CONDITIONING",
    "GUIDED",
    "VIT_H",
    "Asked",
    "Encoder",
    "Family",
]

# As open_clip calls them.
CLIP_L, VIT_H = "ViT-L-14:openai", "ViT-H-14:laion2b_s32b_b79k"
BIG_G = "ViT-bigG-14:laion2b_s39b_b160k"

# The arguments of a pipeline's own `encode_prompt` that were given.
Asked = Mapping[str, Any]
# Negatives are wanted with the prompts, where nothing else is asked.
GUIDED = {"do_classifier_free_guidance": True}


@dataclass(frozen=True, kw_only=True)
class Encoder:
    """One CLIP text encoder of a family's pipelines: where it is, and what of it conditions.

    `part` and `tokenizer` are attributes of the pipeline, `prompt` the argument that this encoder reads where
    it is given (else `prompt`). `width` is the published encoder's, `size` and `space` are its targets'.
    `skipped` is how many last layers are left out of the hidden states that condition, without a clip_skip,
    and `normed` whether the final norm is laid on them; `skipped` None where no hidden state conditions.
    `pooled` says which form of the feature conditions, if any: under the encoder's own projection, or
    without. `published(width)` is the projection `[size, width]` of the feature that the loss is on, for an
    encoder of `width` that brings none, or the identity; it raises CheckpointError where it cannot be had.
    `missing(config)` gives, by transformers' names, the weights of a last layer that the family's files leave
    out and only the feature needs.
    """

    part: str = "text_encoder"
    tokenizer: str = "tokenizer"
    prompt: str = "prompt"
    width: int = 768
    size: int = 768
    space: str = CLIP_L
    published: Callable[[int], Tensor] = text_projection
    missing: Callable[[Any], Mapping[str, Tensor]] | None = None
    skipped: int | None = 0
    normed: bool = False
    pooled: Literal["projected", "plain"] | None = None


# What conditions in the families that take bigG beside CLIP-L, in the order of their `encode_prompt`.
CONDITIONING = (
    "prompt_embeds",
    "negative_prompt_embeds",
    "pooled_prompt_embeds",
    "negative_pooled_prompt_embeds",
)
BESIDE_CLIP_L = Encoder(
    part="text_encoder_2",
    tokenizer="tokenizer_2",
    prompt="prompt_2",
    width=1280,
    size=1280,
    space=BIG_G,
    skipped=1,
    pooled="projected",
)


@dataclass(frozen=True, kw_only=True)
class Family:
    """A family by name: its encoders in the order in which what they give is put side by side.

    `plain(pipe, asked)` is what the pipeline itself makes of prompts, by the names that its `__call__` takes:
    `prompt_embeds` `[N, L, D]`, into whose first rows and columns the encoders' states go, and
    `pooled_prompt_embeds` `[N, D]` with their features; negatives are None where no guidance was asked for.
    `chunked` says that nothing else conditions, so that prompts may be longer than its encoders take.
    `beside` are arguments that `plain` takes and the
    pipeline's own `encode_prompt` does not. `about` is a sentence on what is not yet certain, for the log.
    """

    name: str
    encoders: tuple[Encoder, ...]
    plain: Callable[[Any, Asked], dict[str, Any]]
    chunked: bool = False
    beside: tuple[str, ...] = ()
    about: str = ""

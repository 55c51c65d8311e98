"""What each number of a model's configurations may be, so that none asks for endless time or memory.

The bounds are some times what the largest published models have. What is not listed has the common bounds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import CheckpointError

__all__ = ["check_config"]

MOST_ENTRIES = 1000  # of a list or an object
MOST_LETTERS = 10_000  # of a text
MOST_NESTED = 4
COMMON = 1 << 20  # size of a number that nothing is said of
MOST_BLOCKS = 200  # of transformers on a UNet's way down; Stable Diffusion 1 has 6, SDXL 24
STEPS, MOST_STEPS = 1000, 100_000  # of a noise schedule


@dataclass(frozen=True)
class Bound:
    """A number from `least` to `most`, or up to `length` of them in a list, and with `none` no one of them;
    `empty`: null does as well."""

    least: float
    most: float
    length: int = 0
    empty: bool = False
    none: bool = False
    whole: bool = True

    def fault(self, value: Any) -> str:
        """What is wrong with a value; nothing where it may be so."""
        if value is None:
            return "" if self.empty else "is null"
        if isinstance(value, list):
            if not (0 if self.none else 1) <= len(value) <= self.length:
                return f"is a list of {len(value):,}" + (f", not of 1 to {self.length:,}" * bool(self.length))
            return next(filter(None, map(self._fault_of_one, value)), "")
        return self._fault_of_one(value)

    def _fault_of_one(self, value: Any) -> str:
        kinds = int if self.whole else (int, float)
        if isinstance(value, bool) or not isinstance(value, kinds):
            return f"is {_shown(value)}, not a {'whole ' if self.whole else ''}number"
        return "" if self.least <= value <= self.most else f"is {_shown(value)}, {_span(self)}"


@dataclass(frozen=True)
class Choice:
    """One of a few words."""

    words: tuple[str, ...]

    def fault(self, value: Any) -> str:
        """What is wrong with a value; nothing where it may be so."""
        return "" if value in self.words else f"is {_shown(value)}, not one of {', '.join(self.words)}"


WIDTHS = Bound(1, 8192, length=8)
LAYERS = Bound(1, 8, length=8)
TRANSFORMERS = Bound(1, 16, length=8)
HEADS = Bound(1, 1024, length=8)
CHANNELS = Bound(1, 256)
SIDE = Bound(1, 4096, length=2, empty=True)
SHARE = Bound(0, 1, whole=False)
GROUPS = Bound(1, 1024)
DEPTH = Bound(1, 128)  # layers of a transformer; Stable Diffusion 3.5 Large has 38, FLUX.1 19 and 38

BOUNDS: Mapping[str, Mapping[str, Bound | Choice]] = {
    "unet": {
        "_class_name": Choice(("UNet2DConditionModel",)),
        "in_channels": CHANNELS,
        "out_channels": CHANNELS,
        "block_out_channels": WIDTHS,
        "layers_per_block": LAYERS,
        "transformer_layers_per_block": TRANSFORMERS,
        "reverse_transformer_layers_per_block": Bound(1, 16, length=8, empty=True),
        "cross_attention_dim": WIDTHS,
        "attention_head_dim": HEADS,
        "num_attention_heads": Bound(1, 1024, length=8, empty=True),
        "norm_num_groups": GROUPS,
        "sample_size": SIDE,
        "conv_in_kernel": Bound(1, 15),
        "conv_out_kernel": Bound(1, 15),
        "time_embedding_dim": Bound(1, 8192, empty=True),
        "time_cond_proj_dim": Bound(1, 8192, empty=True),
        "addition_time_embed_dim": Bound(1, 8192, empty=True),
        "encoder_hid_dim": Bound(1, 8192, empty=True),
        "num_class_embeds": Bound(1, 8192, empty=True),
        "projection_class_embeddings_input_dim": Bound(1, 8192, empty=True),
    },
    "transformer": {
        "_class_name": Choice(("SD3Transformer2DModel", "FluxTransformer2DModel")),
        "in_channels": Bound(1, 1024),
        "out_channels": Bound(1, 1024, empty=True),
        "patch_size": Bound(1, 16),
        "sample_size": SIDE,
        "num_layers": DEPTH,
        "num_single_layers": DEPTH,
        "attention_head_dim": Bound(1, 512),
        "num_attention_heads": Bound(1, 128),
        "joint_attention_dim": Bound(1, 1 << 14),
        "caption_projection_dim": Bound(1, 1 << 14),
        "pooled_projection_dim": Bound(1, 1 << 14),
        "pos_embed_max_size": Bound(1, 1024, empty=True),
        "axes_dims_rope": Bound(1, 512, length=8),
        "dual_attention_layers": Bound(0, 128, length=128, none=True),
    },
    "vae": {
        "_class_name": Choice(("AutoencoderKL",)),
        "in_channels": CHANNELS,
        "out_channels": CHANNELS,
        "latent_channels": CHANNELS,
        "block_out_channels": WIDTHS,
        "layers_per_block": LAYERS,
        "norm_num_groups": GROUPS,
        "sample_size": SIDE,
        "scaling_factor": Bound(1e-6, 1e6, empty=True, whole=False),
    },
    "text_encoder": {
        "model_type": Choice(("clip_text_model", "clip")),
        "vocab_size": Bound(3, 1 << 20),
        "hidden_size": Bound(1, 8192),
        "intermediate_size": Bound(1, 1 << 16),
        "projection_dim": Bound(1, 8192),
        "num_hidden_layers": Bound(1, 64),
        "num_attention_heads": Bound(1, 256),
        "max_position_embeddings": Bound(8, 4096),
    },
    "t5": {
        "model_type": Choice(("t5",)),
        "vocab_size": Bound(3, 1 << 20),
        "d_model": Bound(1, 8192),
        "d_ff": Bound(1, 1 << 15),
        "d_kv": Bound(1, 512),
        "num_layers": Bound(1, 64),
        "num_decoder_layers": Bound(0, 64),
        "num_heads": Bound(1, 256),
        "relative_attention_num_buckets": Bound(1, 4096),
    },
    "scheduler": {
        "num_train_timesteps": Bound(1, MOST_STEPS),
        "beta_start": SHARE,
        "beta_end": SHARE,
        "trained_betas": Bound(0, 1, length=MOST_STEPS, empty=True, whole=False),
        "beta_schedule": Choice(("linear", "scaled_linear", "squaredcos_cap_v2")),
        "prediction_type": Choice(("epsilon", "v_prediction", "sample")),
        "timestep_spacing": Choice(("leading", "trailing", "linspace")),
        "steps_offset": Bound(0, 10),
    },
    # transformers writes 1e30 where there is none
    "tokenizer": {"model_max_length": Bound(2, 1e31, empty=True, whole=False)},
}


def check_config(part: str, config: Mapping[str, Any], place: str) -> None:
    """Raise CheckpointError, naming the `place` and the key, for values of a part's that nothing has."""
    numbered, part = part, part.rstrip("_23")
    if part == "text_encoder" and numbered != part and config.get("model_type") == "t5":
        part = "t5"
    for key, value in config.items():
        if fault := _fault(BOUNDS[part].get(key), value):
            raise CheckpointError(
                f"{place} is not of a Stable Diffusion model: {key[:100]} {fault}; fetch it again, or "
                "give --model another"
            )
        if isinstance(value, dict) and key in ("text_config", "text_config_dict"):
            check_config(part, value, place)
    betas = config.get("trained_betas")
    if part == "scheduler" and betas and len(betas) != config.get("num_train_timesteps", STEPS):
        raise CheckpointError(
            f"{place} is not of a Stable Diffusion model: trained_betas has {len(betas):,} numbers, not "
            "num_train_timesteps of them"
        )
    if part == "unet" and (blocks := _blocks(config)) > MOST_BLOCKS:
        raise CheckpointError(
            f"{place} is not of a Stable Diffusion model: transformer_layers_per_block, layers_per_block "
            f"and block_out_channels ask for {blocks:,} transformers, of {MOST_BLOCKS} at most"
        )


def _blocks(config: Mapping[str, Any]) -> int:
    """How many transformers the UNet has on its way down."""
    levels = len(_list(config.get("block_out_channels", 4), 1))
    layers, transformers = (
        _list(config.get(key, default), levels)
        for key, default in (("layers_per_block", 2), ("transformer_layers_per_block", 1))
    )
    return sum(first * second for first, second in zip(layers, transformers, strict=False))


def _list(value: Any, length: int) -> Sequence[int]:
    return value if isinstance(value, list) else [value] * length


def _fault(bound: Bound | Choice | None, value: Any) -> str:
    return bound.fault(value) if bound else _common_fault(value, MOST_NESTED)


def _common_fault(value: Any, depth: int) -> str:
    """What is wrong with a value of a key that nothing is said of."""
    if isinstance(value, bool) or value is None:
        return ""
    if isinstance(value, int | float):
        return "" if -COMMON <= value <= COMMON else f"is {_shown(value)}, {_span(Bound(-COMMON, COMMON))}"
    if isinstance(value, str):
        return "" if len(value) <= MOST_LETTERS else f"is a text of {len(value):,} letters"
    if depth == 0 or len(value) > MOST_ENTRIES:
        return f"is {'too deep' if depth == 0 else f'a list of {len(value):,} entries'}"
    inner = value.values() if isinstance(value, dict) else value
    return next(filter(None, (_common_fault(each, depth - 1) for each in inner)), "")


def _span(bound: Bound) -> str:
    return f"not {bound.least:,.12g} to {bound.most:,.12g}"


def _shown(value: Any) -> str:
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "an object"
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > 10**15:
        return "a number of more than 15 digits"
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."

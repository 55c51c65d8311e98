"""Which family a LoRA is for, and whether it is a plain one: by names and shapes. No torch is loaded."""

import re
from collections.abc import Iterator
from pathlib import Path

from ..checkpoint.kinds import NAMES, Family, Shapes, kind_of
from ..errors import AdditionError
from .files import INVERSION, IP_ADAPTER, LORA, VAE

__all__ = [
    "CONTEXTS",
    "DIFFUSERS_VAE",
    "ORIGINAL_VAE",
    "TOKENS",
    "check_adapter",
    "check_inversion",
    "check_lora",
    "check_vae",
    "family_of_lora",
    "require_family",
]

# What changes layers in another way than by two matrices, and how names of its tensors end.
OTHERS = (
    ("a LoHa", r"\.hada_[wt]\d"),
    ("a LoKr", r"\.lokr_(w|t)\d"),
    ("a DoRA", r"\.dora_scale$|\.lora_magnitude_vector"),
    ("a GLoRA", r"\.([ab][12]\.weight|glora_\w+)$"),
    ("an OFT or BOFT", r"\.(oft|boft)_\w+|\.oft_diag$"),
    ("an (IA)3", r"\.(on_input|ia3_l)$"),
    ("a VeRA", r"\.vera_lambda_"),
    ("a LoCon with a core (lora_mid)", r"\.lora_mid\."),
    ("a LoRA of token embeddings", r"\.lora_embedding_[AB]"),
    ("a LoRA with biases of its own", r"\.lora_B(\.\w+)?\.bias$|\.lora\.up\.bias$|\.lora_up\.bias$"),
    ("whole differences of weights, no LoRA", r"\.(diff|diff_b|set_weight|[wb]_norm)$"),
)
# Blocks of any kind but a UNet's.
NO_UNETS = r"(?!(down|up|mid|input|output|middle)_)(\w+_)?blocks[._]\d"
# Families by the names of their layers; the first that fits is it.
FAMILIES = (
    ("FLUX", r"(double|single)_blocks[._]\d|single_transformer_blocks[._]\d"),
    ("Stable Diffusion 3", r"joint_blocks[._]\d|^(lora_te3_|text_encoder_3\.)"),
    ("Stable Cascade", r"^lora_prior_"),
    (
        "another kind of model, a diffusion transformer",
        rf"^transformer\.|^(lora_unet_|diffusion_model\.){NO_UNETS}",
    ),
)
SECOND = re.compile(
    r"^(lora_te2_|lora_te1_|text_encoder_2\.)", re.MULTILINE
)  # SDXL's, where nothing else says so
MATRIX = r"(?:lora_(?:down|A)|lora(?:_linear_layer)?\.down)(?:\.\w+)?\.weight$"
WORDS = r"^(string_to_(param|token)|emb_params$|clip_[lg]$)"
# A weight that every VAE has, in the original's layout and in diffusers'.
ORIGINAL_VAE = "encoder.down.0.block.0.conv1.weight"
DIFFUSERS_VAE = "encoder.down_blocks.0.resnets.0.conv1.weight"
# What takes a file that is none of what was wanted, by words for what it is.
OPTIONS = {
    "LoRA": "--lora",
    "textual inversion": "--textual-inversion",
    "VAE": "--vae",
    "IP-Adapter": "--method ip-adapter --adapter",
    "an aesthetic embedding": "--aesthetic_embedding",
}
INSTEAD = {
    LORA: "give --lora a file in the layout of kohya's scripts, diffusers or peft",
    INVERSION: "give --textual-inversion a file in the layout of the web UI or diffusers",
    VAE: "give --vae a folder or a file with one",
    IP_ADAPTER: "give --adapter ip-adapter_sd15, ip-adapter_sdxl or ip-adapter_sdxl_vit-h",
}
CONTEXTS = {768: NAMES["sd1"], 1024: NAMES["sd2"], 2048: NAMES["sdxl"], 1280: "an SDXL refiner"}
CROSS = re.compile(r"attn2[._](?:processor[._])?to_[kv](?:_lora)?\..*(?:down|lora_A)")
# kohya's scripts call a text encoder so where there is one.
ONLY = re.compile(r"^lora_te_text_model_.*self_attn_[qkv]_proj\.lora_down")
WIDTHS = {768: NAMES["sd1"], 1024: NAMES["sd2"]}
# What an IP-Adapter's file has of a plain one, and of which other kind it is: the first that fits is it.
TOKENS = 4  # that a plain one makes of a vector
PROJECTION = "image_proj."
KEYS = re.compile(r"ip_adapter\.\d+\.to_k_ip\.weight")
ADAPTERS = (
    ("an IP-Adapter FaceID Plus", r"^image_proj\.perceiver_resampler\."),
    ("an IP-Adapter Full", r"^image_proj\.proj\.3\."),
    ("an IP-Adapter FaceID", r"^image_proj\.proj\.\d\.|^ip_adapter\.\d+\.to_[qkv]_lora\."),
    ("an IP-Adapter with SigLIP (InstantX)", r"^image_proj\.(time_|layers\.\d+\.adaln)"),
    ("an IP-Adapter Plus", r"^image_proj\.latents$"),
    ("an IP-Adapter for FLUX", r"^(double_blocks\.\d+\.processor\.ip_adapter|ip_adapter_proj_model)"),
)


def check_lora(path: Path, shapes: Shapes) -> None:
    """Raise AdditionError, saying what it is, for a file that holds no plain LoRA."""
    names = "\n".join(shapes)
    for what, pattern in OTHERS:
        if re.search(pattern, names, re.MULTILINE):
            raise AdditionError(
                f"{path} is {what}: only plain LoRAs are added, two matrices a layer; merge it into a "
                "checkpoint with the program that it was made with, and give that to --model"
            )
    if not re.search(MATRIX, names, re.MULTILINE):
        raise _is_another(path, shapes, LORA)


def check_inversion(path: Path, shapes: Shapes) -> None:
    """Raise AdditionError, saying what it is, for a file that holds no vectors of a word."""
    names = "\n".join(shapes)
    alone = len(shapes) == 1 and names and "." not in names and len(next(iter(shapes.values()))) in (1, 2)
    if not (alone or re.search(WORDS, names, re.MULTILINE)):
        raise _is_another(path, shapes, INVERSION)


def check_vae(path: Path, shapes: Shapes) -> None:
    """Raise AdditionError, saying what it is, for a file that holds no VAE."""
    if not any(name.endswith((DIFFUSERS_VAE, ORIGINAL_VAE)) for name in shapes):
        raise _is_another(path, shapes, VAE)


def check_adapter(path: Path, shapes: Shapes) -> None:
    """Raise AdditionError, saying what it is, for a file that holds no plain IP-Adapter."""
    names = "\n".join(shapes)
    for what, pattern in ADAPTERS:
        if re.search(pattern, names, re.MULTILINE):
            raise AdditionError(
                f"{path} is {what}, which takes more than an image's one CLIP vector: {INSTEAD[IP_ADAPTER]}"
            )
    widths = {shape[1:] for name, shape in shapes.items() if KEYS.fullmatch(name)}
    width = next(iter(widths), ())
    if len(widths) != 1 or len(width) != 1 or not _projects(shapes, *width):
        raise _is_another(path, shapes, IP_ADAPTER)


def _projects(shapes: Shapes, width: int) -> bool:
    """Whether an adapter's projection is a plain one's, to tokens so wide."""
    found = {name: shape for name, shape in shapes.items() if name.startswith(PROJECTION)}
    wide = found.pop(f"{PROJECTION}proj.weight", ())
    return (
        len(wide) == 2
        and wide[0] == TOKENS * width
        and found
        == {
            f"{PROJECTION}proj.bias": (TOKENS * width,),
            f"{PROJECTION}norm.weight": (width,),
            f"{PROJECTION}norm.bias": (width,),
        }
    )


def _is_another(path: Path, shapes: Shapes, wanted: str) -> AdditionError:
    kind = kind_of(shapes)
    what = kind.what if kind else "another kind of file"
    option = next((each for word, each in OPTIONS.items() if word in what and word not in wanted), None)
    advice = f"give it to {option}" if option else INSTEAD[wanted]
    return AdditionError(f"{path} is {what}, no {wanted}: {advice}")


def family_of_lora(shapes: Shapes) -> str | None:
    """The family that a LoRA is for, by its name; None where it may be for several."""
    names = "\n".join(shapes)
    for family, pattern in FAMILIES:
        if re.search(pattern, names, re.MULTILINE):
            return family
    return next(_by_widths(shapes), NAMES["sdxl"] if SECOND.search(names) else None)


def _by_widths(shapes: Shapes) -> Iterator[str]:
    """Families by how many numbers cross attention takes of a token, or a text encoder has of one."""
    for pattern, families in ((CROSS, CONTEXTS), (ONLY, WIDTHS)):
        for name, shape in shapes.items():
            if len(shape) > 1 and pattern.search(name) and shape[1] in families:
                yield families[shape[1]]


def require_family(path: Path, what: str, found: str | None, family: Family, model: str) -> None:
    """Raise AdditionError where a file is for another family than that of the `model` by this name."""
    if found not in (None, NAMES[family]):
        raise AdditionError(
            f"{path} is {what} for {found}, and {model} is of the family {NAMES[family]}: name one that was "
            "made for it, or another --model"
        )

"""The small files of a model's folder: its configurations and tokenizer, and which weights an index names.

Nothing here loads torch.
"""

import json
import re
import stat
from collections.abc import Container
from pathlib import Path
from typing import Any

from ..errors import CheckpointError
from .bounds import check_config
from .kinds import Shapes

__all__ = ["CONFIGS", "check_folder", "is_of_v", "pipeline_of", "read_json", "shapes_of_unet"]

CONFIGS = {  # of each part
    "unet": "unet/config.json",
    "transformer": "transformer/config.json",
    "vae": "vae/config.json",
    "text_encoder": "text_encoder/config.json",
    "scheduler": "scheduler/scheduler_config.json",
}
FURTHER = {  # of the text encoders and tokenizers that later families have beside them
    "text_encoder_2": "text_encoder_2/config.json",
    "tokenizer_2": "tokenizer_2/tokenizer_config.json",
    "text_encoder_3": "text_encoder_3/config.json",
    "tokenizer_3": "tokenizer_3/tokenizer_config.json",
}
FILES = {**CONFIGS, "tokenizer": "tokenizer/tokenizer_config.json", **FURTHER}
LARGEST = 1 << 20  # bytes of a configuration
LARGEST_BESIDE = 1 << 16  # bytes of one beside a single file
LARGEST_WORDS = 64 << 20  # bytes of a tokenizer's file, and of an index of weights
MORE = {  # keys of a UNet's configuration by which it takes more than a prompt, and what weights are for it
    "addition_embed_type": "add_embedding.",
    "encoder_hid_dim": "encoder_hid_proj.",
    "encoder_hid_dim_type": "encoder_hid_proj.",
    "class_embed_type": "class_embedding.",
    "num_class_embeds": "class_embedding.",
    "time_cond_proj_dim": "time_embedding.cond_proj.",
}
# What the weights of their text encoders begin with in one file.
SDXL, REFINER = "conditioner.embedders.1.model.", "conditioner.embedders.0.model."
WEIGHTS = (".safetensors", ".bin", ".pt", ".ckpt", ".msgpack", ".onnx", ".h5")


def read_json(path: Path) -> dict[str, Any]:
    """A configuration; empty where there is none that can be read."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe would be waited for
            return {}
        with path.open("rb") as file:
            found = json.loads(file.read(LARGEST))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def pipeline_of(folder: Path) -> str:
    """The pipeline of diffusers that a folder is of; empty where it does not say so."""
    return str(read_json(folder / "model_index.json").get("_class_name", ""))


def shapes_of_unet(config: dict[str, Any]) -> Shapes:
    """What tells a UNet's kind, as its weights would, from the configuration that diffusers writes."""
    widths = config.get("cross_attention_dim")
    width = widths[0] if isinstance(widths, list) and widths else widths
    name = "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.weight"
    shapes: dict[str, tuple[int, ...]] = {
        "unet.conv_in.weight": _sizes(config.get("in_channels", 4)),
        "vae.": (),
    }
    shapes |= {f"unet.{name}": _sizes(width)}
    shapes |= {f"unet.{weight}": () for key, weight in MORE.items() if config.get(key) not in (None, False)}
    if config.get("addition_embed_type") == "text_time":
        shapes |= {"unet.add_embedding.linear_1.weight": (), REFINER if _is_refiner(config) else SDXL: ()}
    return shapes


def _is_refiner(config: dict[str, Any]) -> bool:
    """Whether the UNet takes five numbers of a picture's size beside one text encoder's feature, not six."""
    taken, each, width = (
        config.get(key)
        for key in (
            "projection_class_embeddings_input_dim",
            "addition_time_embed_dim",
            "cross_attention_dim",
        )
    )
    return isinstance(taken, int) and isinstance(each, int) and taken - 5 * each == width


def _sizes(second: Any) -> tuple[int, ...]:
    return (0, second) if isinstance(second, int) else ()


def check_folder(folder: Path) -> None:
    """Raise CheckpointError for a model's folder with a file or a number in it that no model has.

    Numbers are within bounds, files are plain, the small ones small, and an index of weights names files
    beside it.
    """
    for part in FILES:
        for path in sorted((folder / part).glob("*")):
            _check_file(path)
    for part, name in FILES.items():
        path = folder / name
        if path.is_file():
            check_config(part, _config(path), str(path))


def _check_file(path: Path) -> None:
    try:
        state = path.stat()
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from None
    if stat.S_ISDIR(state.st_mode):
        return
    if not stat.S_ISREG(state.st_mode):
        raise CheckpointError(f"{path} is no plain file: put the model's own file in its place")
    most = LARGEST if path.match("*config.json") else LARGEST_WORDS
    if state.st_size > most and not path.name.endswith(WEIGHTS):
        raise CheckpointError(
            f"{path} has {state.st_size:,} bytes, more than the {most:,} that such a file of a model has: "
            "fetch it again"
        )
    if path.name.endswith(".index.json"):
        _check_index(path)


def _check_index(path: Path) -> None:
    """Raise CheckpointError where an index of weights in several files names one that lies elsewhere."""
    names = _config(path).get("weight_map")
    if not isinstance(names, dict) or not names:
        raise CheckpointError(f"{path} names no weights: fetch it again")
    for name in sorted({str(each) for each in names.values()}):
        if Path(name).name != name or name in ("", ".", ".."):
            raise CheckpointError(
                f"{path} names weights in another folder ({name[:100]}): take the model from elsewhere"
            )


def _config(path: Path) -> dict[str, Any]:
    """What a configuration holds. Raises CheckpointError for what is no object in JSON."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise CheckpointError(f"{path} is no configuration of a model, but broken: fetch it again")
    return found


def is_of_v(names: Container[str], path: Path) -> bool:
    """Whether the UNet in the file `path` estimates v, by a marker among the weights' `names` or the config
    beside it."""
    return "v_pred" in names or _says_v(path.with_suffix(".yaml"))


def _says_v(path: Path) -> bool:
    try:
        if not path.is_file():  # a pipe would be waited for
            return False
        with path.open("rb") as file:
            text = file.read(LARGEST_BESIDE).decode("utf-8", "replace")
    except OSError:
        return False
    return bool(re.search(r"""(?m)^\s*parameterization:\s*["']?v["']?\s*(#.*)?$""", text))

"""What Stable Diffusion 1.x leaves out of its text encoder, CLIP ViT-L/14: the projection; and OpenAI's own.

The projection is 2 MB of a 1.7 GB file: it is taken from whatever copy of CLIP-L is on this machine, else
its bytes alone are fetched from the Hub, once.
"""

import json
import struct
from pathlib import Path
from typing import Any, BinaryIO, cast

import torch
from torch import Tensor

from visunex.base.errors import first_line
from visunex.base.files import write_bytes
from visunex.base.folders import cache_folder

from ...errors import CheckpointError

__all__ = ["CLIP_L", "WIDTH", "openai_text_encoder", "text_projection"]

REPOSITORY, FILE, TENSOR = "openai/clip-vit-large-patch14", "model.safetensors", "text_projection.weight"
# open_clip's copy of the same weights: what `visunex-data encode` uses. Its projection is the transpose.
OPEN_CLIP = ("timm/vit_large_patch14_clip_224.openai", "open_clip_model.safetensors", "text_projection")
WIDTH = 768  # of CLIP-L's text encoder
CLIP_L = {"name": "ViT-L-14", "pretrained": "openai"}  # as open_clip calls it
KEPT_AS = "clip-vit-large-patch14-text-projection.safetensors"


def text_projection(width: int) -> Tensor:
    """CLIP-L's text projection `[D_proj, D]` in fp32, for a text encoder of `width` D that brings none.

    Raises CheckpointError where the encoder is not CLIP-L's, or no copy is here nor to be fetched.
    """
    if width != WIDTH:
        raise CheckpointError(
            f"this model's text tower is {width} wide and brings no text projection, which aesthetic "
            f"gradients "
            f"need; CLIP-L's fits only towers {WIDTH} wide"
        )
    here = _on_this_machine()
    return (_fetched() if here is None else here).float()


def openai_text_encoder() -> tuple[Any, Tensor]:
    """OpenAI's own text encoder and its projection `[D_proj, D]`, both fp32.

    Raises CheckpointError when they are neither here nor can be fetched.
    """
    from transformers import CLIPTextModelWithProjection

    try:
        encoder = CLIPTextModelWithProjection.from_pretrained(REPOSITORY, dtype=torch.float32).eval()
    except OSError as error:
        raise CheckpointError(_cannot_fetch(first_line(error))) from None
    return encoder.text_model, encoder.text_projection.weight.detach()


def _on_this_machine() -> Tensor | None:
    from huggingface_hub import try_to_load_from_cache
    from safetensors import safe_open

    places = [
        (try_to_load_from_cache(REPOSITORY, FILE), TENSOR, False),
        (try_to_load_from_cache(*OPEN_CLIP[:2]), OPEN_CLIP[2], True),
        (cached_file(), TENSOR, False),
    ]
    for path, name, transposed in places:
        if isinstance(path, str | Path) and Path(path).exists():
            with safe_open(path, "pt") as file:
                if name in file.keys():  # noqa: SIM118 - not a dictionary
                    tensor = cast(Tensor, file.get_tensor(name))
                    return tensor.T.contiguous() if transposed else tensor
    return None


def _fetched() -> Tensor:
    from huggingface_hub import HfFileSystem, constants
    from safetensors.torch import save

    if constants.HF_HUB_OFFLINE:
        raise CheckpointError(_cannot_fetch("HF_HUB_OFFLINE is set"))
    try:
        with HfFileSystem().open(f"{REPOSITORY}/{FILE}", block_size=2**20) as file:
            tensor = read_tensor(file, TENSOR)
    except Exception as error:  # whatever the Hub's client raises for a network that is down
        raise CheckpointError(_cannot_fetch(first_line(error))) from None
    write_bytes(cached_file(), save({TENSOR: tensor}))
    return tensor


def read_tensor(file: BinaryIO, name: str) -> Tensor:
    """One fp32 or fp16 tensor of an open safetensors file, reading only the header and the tensor's bytes."""
    (length,) = struct.unpack("<Q", file.read(8))
    entry = json.loads(file.read(length))[name]
    start, end = entry["data_offsets"]
    file.seek(8 + length + start)
    dtype = {"F32": torch.float32, "F16": torch.float16}[entry["dtype"]]
    return torch.frombuffer(bytearray(file.read(end - start)), dtype=dtype).reshape(entry["shape"])


def cached_file() -> Path:
    """Where the fetched projection is kept."""
    return cache_folder(".") / KEPT_AS


def _cannot_fetch(reason: str) -> str:
    return (
        f"the text projection of {REPOSITORY} is not on this machine and cannot be fetched ({reason}); "
        f"bring it with `hf download {REPOSITORY} {FILE}`, or use --aesthetic_steps 0"
    )

"""The vector itself, in the layouts in which others load it. No model is needed.

Three programs call a file `ipadpt` and mean different tensors:

- diffusers: `torch.save` of what a pipeline's `prepare_ip_adapter_image_embeds` returns, a list with one
  tensor for each adapter: `[2, 1, D]`, zeros and the vector, where there is guidance (Stable Diffusion),
  `[1, 1, D]` where there is none (FLUX);
- ComfyUI_IPAdapter_plus since its second version (April 2024): the tensor `[N, D]` that IPAdapter Encoder
  gives, here `[1, D]`;
- its first version: `[2, N, D]`, vector and zeros stacked. It is not written.

All three go on to an adapter that was trained on one CLIP's raw image vectors: it must be the embedding's,
and the length counts there.
"""

import io
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from visunex.aesthetic_embeddings.tensorfile import tensor_bytes

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["VECTOR_KINDS", "Layout", "plain_torch_bytes", "report_on", "scaled"]

SHORT = 2.0  # a mean of raw image vectors is longer: those of CLIP are several units long
WITHOUT_GUIDANCE = 768  # dimensions of FLUX's adapter, the only one of that size in diffusers
# Adapters that are known to take one projected image vector of so many dimensions, by program.
SD15 = "OpenCLIP ViT-H/14: IP-Adapter for Stable Diffusion 1.5, and its SDXL files named vit-h"
SDXL = "OpenCLIP ViT-bigG/14: IP-Adapter for SDXL, the first file"
FITS = {
    "diffusers": {768: "CLIP ViT-L/14: XLabs' IP-Adapter for FLUX.1", 1024: SD15, 1280: SDXL},
    "comfyui": {1024: SD15, 1280: SDXL},
}
ALIGNMENT, HEADER = 64, 30  # bytes: of a tensor in torch's archive; of an archive member before its name


@dataclass(frozen=True)
class Layout:
    """How one program has a vector: the file's ending, its bytes, and who reads it."""

    suffix: str
    data: Callable[[NDArray[np.float32]], bytes]
    reader: str
    adapter: bool = True  # whether the vector goes to an adapter, to which its length matters


def scaled(vector: NDArray[np.float32], norm: float | None) -> NDArray[np.float32]:
    """The vector [1, D] at the length `norm`, or as it is."""
    if norm is None:
        return vector
    wide = vector.astype(np.float64)
    return np.asarray(wide * (norm / np.linalg.norm(wide)), dtype=np.float32)


def plain_torch_bytes(value: Any) -> bytes:
    """`torch.save` of tensors in plain containers, as torch 1.6 had it: of equal values equal bytes.

    What torch adds today (`.format_version`, `.storage_alignment`) is refused by the web UI's check of files.
    """
    import torch

    saved = io.BytesIO()
    torch.save(value, saved)
    written = io.BytesIO()
    with zipfile.ZipFile(saved) as source, zipfile.ZipFile(written, "w", zipfile.ZIP_STORED) as target:
        for name in source.namelist():
            inner = name.partition("/")[2]
            if inner in ("data.pkl", "version") or inner.startswith("data/"):
                target.writestr(_aligned(f"archive/{inner}", written.tell()), source.read(name))
    return written.getvalue()


def _aligned(name: str, begin: int) -> zipfile.ZipInfo:
    """A member without a date whose bytes begin where memory can be mapped."""
    member = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
    member.create_system = 0
    padding = -(begin + HEADER + len(name) + 4) % ALIGNMENT
    member.extra = b"FB" + padding.to_bytes(2, "little") + b"Z" * padding
    return member


def _tensor(vector: NDArray[np.float32]) -> "Tensor":
    import torch

    return torch.from_numpy(vector.copy())


def _safetensors(vector: NDArray[np.float32]) -> bytes:
    from safetensors.torch import save

    return save({"aesthetic_embedding": _tensor(vector)}, {"format": "pt"})


def _diffusers(vector: NDArray[np.float32]) -> bytes:
    import torch

    wanted = _tensor(vector)[None]
    guided = wanted.shape[-1] != WITHOUT_GUIDANCE
    return plain_torch_bytes([torch.cat([torch.zeros_like(wanted), wanted]) if guided else wanted])


def _comfyui(vector: NDArray[np.float32]) -> bytes:
    return plain_torch_bytes(_tensor(vector))


VECTOR_KINDS = {
    "safetensors": Layout(
        ".safetensors", _safetensors, "any program, as the tensor aesthetic_embedding", adapter=False
    ),
    "diffusers": Layout(".ipadpt", _diffusers, "diffusers, as ip_adapter_image_embeds"),
    "comfyui": Layout(".ipadpt", _comfyui, "ComfyUI_IPAdapter_plus, by IPAdapter Load Embeds"),
    "webui": Layout(".pt", tensor_bytes, "the web UI's extension for aesthetic gradients", adapter=False),
}


def report_on(kind: str, vector: NDArray[np.float32]) -> dict[str, Any]:
    """What was written, in figures and in sentences, of a vector [1, D]."""
    layout, norm = VECTOR_KINDS[kind], float(np.linalg.norm(vector.astype(np.float64)))
    said = [f"1x{vector.shape[1]}, length {norm:.4g}, for {layout.reader}"]
    if layout.adapter:
        said += remarks(kind, vector.shape[1], norm)
    return {"norm": norm, "said": said}


def remarks(kind: str, dimension: int, norm: float) -> list[str]:
    """Whether an adapter will make anything of a vector of this size and length, in sentences."""
    fits = FITS[kind].get(dimension)
    said = [
        f"It fits adapters of {fits}."
        if fits
        else f"No adapter of {dimension} dimensions is known there: it has to be one trained on the "
        "embedding's own CLIP."
    ]
    if norm < SHORT:
        said.append(
            f"Its length is {norm:.2f}, an image's is several times that: an adapter will hardly see it. "
            "Give --norm, the mean length of that CLIP's raw image vectors."
        )
    return said

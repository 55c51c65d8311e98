"""An image encoder at work: decoded images -> vectors."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from visunex.base.machine import is_memory_shortage

from .devices import Precision
from .errors import DeviceMemoryError
from .preprocess import VERSION, Pixels, Preprocessing, Seen, centre

if TYPE_CHECKING:
    import torch

__all__ = ["ImageEncoder", "resized"]


@dataclass(frozen=True, eq=False)
class ImageEncoder:
    """A CLIP's image encoder on its device, giving vectors of `dimension`; `weights` is its file's SHA-256.

    `others` are devices on which processes of their own can load the same, where there is much to encode.
    """

    model: str
    pretrained: str
    weights: str
    activation: str
    dimension: int
    device: str
    precision: Precision
    preprocessing: Preprocessing
    network: "torch.nn.Module"
    others: tuple[str, ...] = ()

    def encode(self, pixels: Pixels) -> NDArray[np.float32]:
        """Raw (not normalised) vectors float32 [n, dimension] of images uint8 [n, size, size, 3].

        Raises DeviceMemoryError when the batch does not fit into the device's memory.
        """
        size = self.preprocessing.size
        return self.vectors(self.stage([Seen(each, (size, size)) for each in pixels]))

    def vectors(self, staged: "torch.Tensor") -> NDArray[np.float32]:
        """As `encode`, of images that `stage` has brought to the device."""
        import torch

        try:
            with torch.inference_mode():
                features = self.network(self._normalised(staged))
        except (MemoryError, RuntimeError) as error:
            if not is_memory_shortage(error):
                raise
            raise self._too_large(len(staged)) from None
        vectors = features[0] if isinstance(features, tuple) else features
        return vectors.float().cpu().numpy()

    def stage(self, images: Sequence[Seen]) -> "torch.Tensor":
        """Images on the device, resized and cropped: uint8 [n, 3, size, size], channels last.

        On CUDA it has a stream of its own: called from a thread of its own, the network does not wait for it.
        """
        import torch

        if not self.device.startswith("cuda"):
            return self._moved(images)
        stream = torch.cuda.Stream(self.device)
        try:
            with torch.cuda.stream(stream):
                staged = self._moved(images)
            stream.synchronize()
        except (MemoryError, RuntimeError) as error:
            if not is_memory_shortage(error):
                raise
            raise self._too_large(len(images)) from None
        return staged

    def _moved(self, images: Sequence[Seen]) -> "torch.Tensor":
        import torch

        size = self.preprocessing.size
        if all(each.pixels.shape == (size, size, 3) and each.resized == (size, size) for each in images):
            batch = torch.from_numpy(np.stack([each.pixels for each in images]))
            return _to(batch, self.device).permute(0, 3, 1, 2)
        squares = [resized(each, self.preprocessing, self.device) for each in images]
        return torch.stack(squares).to(memory_format=torch.channels_last)

    def _too_large(self, count: int) -> DeviceMemoryError:
        return DeviceMemoryError(
            f"{count} pictures at once do not fit into the memory of {self.device}; use a "
            "smaller --batch-size"
        )

    def identity(self) -> dict[str, Any]:
        """What its vectors depend on: those of different identities do not mix (precision is but noise)."""
        how = self.preprocessing
        return {
            "weights": self.weights,
            "activation": self.activation,
            "preprocessing": {
                "version": VERSION,
                "size": how.size,
                "resize": how.resize,
                "interpolation": how.interpolation,
                "decode": "exact" if how.exact else "reduced",
                "mean": list(how.mean),
                "std": list(how.std),
            },
        }

    def _normalised(self, staged: "torch.Tensor") -> "torch.Tensor":
        import torch

        mean = torch.tensor(self.preprocessing.mean, device=self.device).view(3, 1, 1)
        std = torch.tensor(self.preprocessing.std, device=self.device).view(3, 1, 1)
        return staged.float().div_(255).sub_(mean).div_(std)


def resized(seen: Seen, how: Preprocessing, device: str) -> "torch.Tensor":
    """An image resized with antialiasing and cropped on the device, uint8 [3, size, size].

    On a CPU, torch has integer arithmetic of its own for it, as Pillow has.
    """
    import torch
    from torch.nn.functional import interpolate

    pixels = _to(torch.from_numpy(np.require(seen.pixels, requirements=["W"])), device)
    image = pixels.permute(2, 0, 1).unsqueeze(0)
    (wide, high), size = seen.resized, how.size
    given = image if device == "cpu" else image.float()
    grown = interpolate(given, (high, wide), mode=how.interpolation, antialias=True)
    left, top = centre(wide, size), centre(high, size)
    square = grown[0, :, top : top + size, left : left + size]
    return square if device == "cpu" else square.round().clamp(0, 255).to(torch.uint8)


def _to(pixels: "torch.Tensor", device: str) -> "torch.Tensor":
    """On the device; to CUDA from pinned memory, so that the caller need not wait for the transfer."""
    if not device.startswith("cuda"):
        return pixels.to(device)
    return pixels.pin_memory().to(device, non_blocking=True)

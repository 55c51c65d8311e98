"""A model name -> the image tower of a CLIP, and how it wants its pictures."""

import contextlib
import logging
import os
import platform
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from visunex.base.files import sha256_file

from .errors import EncodeError, ModelError
from .memory import keep_memory
from .preprocess import VERSION, Pixels, Preprocessing, Seen, centre
from .weights import Checkpoint, locate

if TYPE_CHECKING:
    import torch

    from visunex.recipes.schema import Encode, Preprocess

Precision = Literal["fp32", "bf16", "fp16"]

_SUPPORTED_RESIZES = ("shortest", "squash")


@dataclass(frozen=True, eq=False)
class ImageEncoder:
    """An image tower on its device, giving vectors of `dimension`; `weights` is its file's SHA-256."""

    model: str
    pretrained: str
    weights: str
    activation: str
    dimension: int
    device: str
    precision: Precision
    preprocessing: Preprocessing
    tower: "torch.nn.Module"

    def encode(self, pixels: Pixels) -> NDArray[np.float32]:
        """Raw (not normalised) vectors float32 [n, dimension] of pictures uint8 [n, size, size, 3].

        Raises EncodeError when the batch does not fit into the device's memory.
        """
        size = self.preprocessing.size
        return self.vectors(self.stage([Seen(each, (size, size)) for each in pixels]))

    def vectors(self, staged: "torch.Tensor") -> NDArray[np.float32]:
        """As `encode`, of pictures that `stage` has brought to the device."""
        import torch

        try:
            with torch.inference_mode():
                features = self.tower(self._normalised(staged))
        except torch.OutOfMemoryError:
            raise self._too_large(len(staged)) from None
        vectors = features[0] if isinstance(features, tuple) else features
        return vectors.float().cpu().numpy()

    def stage(self, pictures: Sequence[Seen]) -> "torch.Tensor":
        """Pictures on the device, resized and cropped: uint8 [n, 3, size, size], channels last.

        On CUDA it has a stream of its own: called from a thread of its own, the tower does not wait for it.
        """
        import torch

        if not self.device.startswith("cuda"):
            return self._moved(pictures)
        stream = torch.cuda.Stream(self.device)
        try:
            with torch.cuda.stream(stream):
                staged = self._moved(pictures)
            stream.synchronize()
        except torch.OutOfMemoryError:
            raise self._too_large(len(pictures)) from None
        return staged

    def _moved(self, pictures: Sequence[Seen]) -> "torch.Tensor":
        import torch

        size = self.preprocessing.size
        if all(each.pixels.shape == (size, size, 3) and each.resized == (size, size) for each in pictures):
            batch = torch.from_numpy(np.stack([each.pixels for each in pictures]))
            return _to(batch, self.device).permute(0, 3, 1, 2)
        squares = [resized(each, self.preprocessing, self.device) for each in pictures]
        return torch.stack(squares).to(memory_format=torch.channels_last)

    def _too_large(self, count: int) -> EncodeError:
        return EncodeError(
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
        return staged.float().div_(255).sub_(mean).div_(std).to(dtype_of(self.precision))


def resized(seen: Seen, how: Preprocessing, device: str) -> "torch.Tensor":
    """A picture resized with antialiasing and cropped on the device, uint8 [3, size, size].

    On a CPU, torch has integer arithmetic of its own for it, as Pillow has.
    """
    import torch
    from torch.nn.functional import interpolate

    pixels = _to(torch.from_numpy(np.require(seen.pixels, requirements=["W"])), device)
    picture = pixels.permute(2, 0, 1).unsqueeze(0)
    (wide, high), size = seen.resized, how.size
    given = picture if device == "cpu" else picture.float()
    grown = interpolate(given, (high, wide), mode=how.interpolation, antialias=True)
    left, top = centre(wide, size), centre(high, size)
    square = grown[0, :, top : top + size, left : left + size]
    return square if device == "cpu" else square.round().clamp(0, 255).to(torch.uint8)


def _to(pixels: "torch.Tensor", device: str) -> "torch.Tensor":
    """On the device; to CUDA from pinned memory, so that the caller need not wait for the transfer."""
    if not device.startswith("cuda"):
        return pixels.to(device)
    return pixels.pin_memory().to(device, non_blocking=True)


def load_as(settings: "Encode", device: str = "auto") -> ImageEncoder:
    """The image tower that the section `encode` of a recipe asks for. Raises ModelError."""
    return load(
        settings.model,
        settings.pretrained,
        precision=settings.precision,
        device=device,
        exact_decode=settings.exact_decode,
        preprocess=settings.preprocess,
        compiled=settings.compile,
    )


def load(
    model: str = "ViT-L-14",
    pretrained: str = "openai",
    *,
    precision: str = "auto",
    device: str = "auto",
    exact_decode: bool = False,
    preprocess: "Preprocess" = "auto",
    compiled: bool = False,
) -> ImageEncoder:
    """The image tower that `--model` and `--pretrained` name, ready on its device.

    `model` is open_clip's name, `local-dir:PATH` (open_clip's folder form) or `visunex-tiny`; the last two
    bring their own weights. A tag whose weights were trained with QuickGELU (OpenAI's) gets it. Raises
    ModelError.
    """
    checkpoint = locate(model, pretrained)
    share_the_cpu()
    where = choose_device(device)
    how = choose_precision(precision, where)
    tower, preprocessing, dimension, activation = _build(checkpoint, where, how)
    if compiled:
        tower = _compiled(tower, _blank(preprocessing.size, where, how))
    own = checkpoint.model.startswith("local-dir:")
    return ImageEncoder(
        model=model,
        pretrained="" if own else pretrained,
        weights=sha256_file(checkpoint.file),
        activation=activation,
        dimension=dimension,
        device=where,
        precision=how,
        preprocessing=replace(
            preprocessing, exact=exact_decode, on_device=_resizes(preprocess, where, exact=exact_decode)
        ),
        tower=tower,
    )


@dataclass(frozen=True, eq=False)
class TextEncoder:
    """The text tower of the same model, for putting words beside pictures."""

    model: str
    device: str
    network: Any
    tokenizer: Any

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Raw (not normalised) vectors float32 [n, D] of texts; what exceeds the context is cut off."""
        import torch

        with torch.inference_mode():
            vectors = self.network.encode_text(self.tokenizer(list(texts)).to(self.device))
        return vectors.float().cpu().numpy()


def load_text(model: str = "ViT-L-14", pretrained: str = "openai", *, device: str = "auto") -> TextEncoder:
    """The text tower of the model that `load` takes the image tower of, in fp32. Raises ModelError."""
    import open_clip

    checkpoint, where = locate(model, pretrained), choose_device(device)
    network = _model(checkpoint, where, "fp32")
    try:
        with _quiet():
            tokenizer = open_clip.get_tokenizer(checkpoint.model)
    except Exception as error:
        raise ModelError(f"{model} has no tokenizer that can be loaded here ({error})") from None
    if tokenizer([""]).max() >= network.token_embedding.num_embeddings:  # its end-of-text id is the highest
        raise ModelError(f"{model} comes without the tokenizer that it was trained with")
    return TextEncoder(model, where, network, tokenizer)


def share_the_cpu() -> None:
    """Prepare this process for a tower on the CPU with decoders beside it; before torch is imported.

    The tower's threads sleep while they wait for one another (libgomp's would spin on cores that decoding
    could use), and the memory of its large intermediate results is kept for the next batch.
    """
    if "torch" not in sys.modules:
        os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    keep_memory()


def choose_device(wanted: str = "auto") -> str:
    """The device to run on: the one wanted, or the fastest of cuda, mps and cpu. Raises ModelError."""
    import torch

    if wanted != "auto":
        try:
            torch.empty(0, device=wanted)
        except Exception as error:
            reason = str(error).partition("\n")[0]
            raise ModelError(f"there is no device {wanted!r} here ({reason}); leave out --device") from None
        return wanted
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def choose_precision(wanted: str, device: str) -> Precision:
    """The number format to run in: the one wanted, or the fastest that the device is good at.

    bf16 on CUDA from compute capability 8.0 and on CPUs with AVX512-BF16 or AMX, fp16 on older CUDA, else
    fp32.
    """
    import torch

    if wanted != "auto":
        return cast("Precision", wanted)
    if device.startswith("cuda"):
        return "bf16" if torch.cuda.get_device_capability(device)[0] >= 8 else "fp16"
    return "bf16" if device == "cpu" and _cpu_has_bf16() else "fp32"


def _resizes(preprocess: "Preprocess", device: str, *, exact: bool) -> bool:
    """Whether the device resizes: `auto` has a CPU do it, where torch is several times as fast as Pillow."""
    return preprocess == "device" or (preprocess == "auto" and device == "cpu" and not exact)


def dtype_of(precision: Precision) -> "torch.dtype":
    """torch's name of a precision."""
    import torch

    return {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]


def _cpu_has_bf16() -> bool:
    """Whether the CPU multiplies bf16 in hardware; elsewhere torch emulates it, slower than fp32."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return False
    import torch

    checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, check, lambda: False)() for check in checks)


def _build(
    checkpoint: Checkpoint, device: str, precision: Precision
) -> tuple["torch.nn.Module", Preprocessing, int, str]:
    import torch

    model = _model(checkpoint, device, precision)
    preprocessing = _preprocessing(model.visual.preprocess_cfg, checkpoint)
    tower = model.visual
    if device.startswith("cuda"):
        tower = tower.to(memory_format=torch.channels_last)
    return tower, preprocessing, _dimension(tower, preprocessing.size, device, precision), _activation(tower)


def _model(checkpoint: Checkpoint, device: str, precision: Precision) -> Any:
    """open_clip's model with both towers. Raises ModelError."""
    import open_clip

    try:
        with _quiet():
            return open_clip.create_model(
                checkpoint.model,
                None if checkpoint.model.startswith("local-dir:") else str(checkpoint.file),
                precision=precision,
                device=device,
                force_quick_gelu=bool(checkpoint.settings.get("quick_gelu")),
                force_preprocess_cfg=_published_preprocessing(checkpoint),
                pretrained_text=False,
                require_pretrained=True,
            ).eval()
    except Exception as error:  # a file that is no checkpoint of this model fails in many ways
        raise ModelError(f"{checkpoint.file} {_why_unloadable(error, checkpoint)}") from None


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """open_clip tells the root logger of every step."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(level)


def _published_preprocessing(checkpoint: Checkpoint) -> dict[str, Any]:
    names = ("mean", "std", "interpolation", "resize_mode")
    return {name: checkpoint.settings[name] for name in names if checkpoint.settings.get(name) is not None}


def _preprocessing(settings: dict[str, Any], checkpoint: Checkpoint) -> Preprocessing:
    size, resize = settings["size"], settings.get("resize_mode") or "shortest"
    side = size[0] if isinstance(size, list | tuple) else size
    square = not isinstance(size, list | tuple) or size[0] == size[1]
    if not square or resize not in _SUPPORTED_RESIZES:
        raise ModelError(
            f"{checkpoint.model} wants pictures of {size} resized by {resize!r}, which is not built in"
        )
    return Preprocessing(
        size=int(side),
        mean=_colour(settings["mean"]),
        std=_colour(settings["std"]),
        interpolation="bilinear" if settings.get("interpolation") == "bilinear" else "bicubic",
        resize=cast("Any", resize),
    )


def _colour(values: Any) -> tuple[float, float, float]:
    red, green, blue = map(float, values)
    return red, green, blue


def _blank(size: int, device: str, precision: Precision) -> "torch.Tensor":
    import torch

    return torch.zeros(1, 3, size, size, device=device, dtype=dtype_of(precision))


def _compiled(tower: Any, blank: "torch.Tensor") -> Any:
    """The tower by torch.compile; as it is, and a line that says so, where that does not work."""
    import torch

    try:
        compiled = torch.compile(tower, dynamic=True)  # the last batch of a shard is smaller
        with torch.inference_mode(), _quiet():
            compiled(blank)
    except Exception as error:  # no C++ compiler, no Triton, an operation that it does not know
        reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        print(f"encode: not compiled ({reason[:150]}); going on without --compile", file=sys.stderr)
        return tower
    return compiled


def _dimension(tower: Any, size: int, device: str, precision: Precision) -> int:
    import torch

    with torch.inference_mode():
        features = tower(_blank(size, device, precision))
    return int((features[0] if isinstance(features, tuple) else features).shape[-1])


def _activation(tower: Any) -> str:
    """The name of the tower's activation: QuickGELU is what OpenAI's weights were trained with."""
    names = [type(module).__name__ for module in tower.modules()]
    return next((name for name in names if "GELU" in name), "unknown")


def _why_unloadable(error: Exception, checkpoint: Checkpoint) -> str:
    text = str(error)
    if "TorchScript" in text:
        return "is a TorchScript archive, which holds code; take the same weights as safetensors from the Hub"
    if "Unsupported global" in text or "WeightsUnpickler" in text or "GLOBAL" in text:
        return "is a pickle that asks for code to be run; take the weights as safetensors"
    if "Missing key" in text or "size mismatch" in text:
        return f"holds the weights of another model than {checkpoint.model}; name the right one with --model"
    return f"cannot be loaded as {checkpoint.model} ({type(error).__name__}: {text[:150].splitlines()[:1]})"

"""The name of a model -> its image encoder, or its text encoder, ready on a device."""

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from visunex.base.errors import first_line
from visunex.base.files import sha256_file
from visunex.base.machine import is_memory_shortage
from visunex.base.torch_files import TorchFileError, stand_ins

from .devices import Precision, choose_device, choose_precision, dtype_of, every_device, share_the_cpu
from .errors import DeviceMemoryError, ModelError
from .image_encoder import ImageEncoder
from .precision import lower
from .preprocess import Preprocessing
from .pretrained import LOCAL_FOLDER, Checkpoint, locate
from .text_encoder import TextEncoder

if TYPE_CHECKING:
    import torch

__all__ = ["Preprocess", "load_image_encoder", "load_text_encoder"]

Preprocess = Literal["auto", "host", "device"]  # who resizes the images

_log = logging.getLogger(__name__)
_SUPPORTED_RESIZES = ("shortest", "squash")


def load_image_encoder(
    model: str,
    pretrained: str = "openai",
    *,
    precision: str = "auto",
    device: str = "auto",
    exact_decode: bool = False,
    preprocess: Preprocess = "auto",
    compiled: bool = False,
) -> ImageEncoder:
    """The image encoder that `--model` and `--pretrained` name, ready on its device.

    `model` is open_clip's name, `local-dir:PATH` (open_clip's folder form) or `visunex-tiny`; the last two
    bring their own weights. A tag whose weights were trained with QuickGELU (OpenAI's) gets it. `compiled`
    has torch.compile make it faster, where that works. Raises ModelError; DeviceMemoryError where the device
    has no room for it.
    """
    checkpoint = locate(model, pretrained)
    share_the_cpu()
    where, *others = every_device(device)
    how = choose_precision(precision, where)
    with _room_on(where, model):
        network, preprocessing, dimension, activation = _build(checkpoint, where, how)
    if compiled:
        network = _compiled(network, _blank(preprocessing.size, where))
    own = checkpoint.model.startswith(LOCAL_FOLDER)
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
        network=network,
        others=tuple(others),
    )


def load_text_encoder(model: str, pretrained: str = "openai", *, device: str = "auto") -> TextEncoder:
    """The text encoder of the model that `load_image_encoder` takes the image encoder of, in fp32.

    Raises ModelError; also where the model has no tokenizer here, or one that is not its own.
    """
    import open_clip

    checkpoint, where = locate(model, pretrained), choose_device(device)
    network = _model(checkpoint, where)
    try:
        with _quiet(), without_remote_code():
            tokenizer = open_clip.get_tokenizer(checkpoint.model)
    except Exception as error:
        raise ModelError(f"{model} has no tokenizer that can be loaded here ({error})") from None
    if tokenizer([""]).max() >= network.token_embedding.num_embeddings:  # its end-of-text id is the highest
        raise ModelError(f"{model} comes without the tokenizer that it was trained with")
    return TextEncoder(model, where, network, tokenizer)


@contextlib.contextmanager
def _room_on(device: str, model: str) -> Iterator[None]:
    """A model that is loaded while the block runs may be too large: raise DeviceMemoryError then."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_memory_shortage(error):
            raise
        raise DeviceMemoryError(f"{model} does not fit into the memory of {device}") from None


def _resizes(preprocess: Preprocess, device: str, *, exact: bool) -> bool:
    """Whether the device resizes: `auto` has a CPU do it, where torch is several times as fast as Pillow."""
    return preprocess == "device" or (preprocess == "auto" and device == "cpu" and not exact)


def _build(
    checkpoint: Checkpoint, device: str, precision: Precision
) -> tuple["torch.nn.Module", Preprocessing, int, str]:
    import torch

    model = _model(checkpoint, device)
    preprocessing = _preprocessing(model.visual.preprocess_cfg, checkpoint)
    network = model.visual if precision == "fp32" else lower(model.visual, dtype_of(precision))
    if device.startswith("cuda"):
        network = network.to(memory_format=torch.channels_last)
    return network, preprocessing, _dimension(network, preprocessing.size, device), _activation(network)


def _model(checkpoint: Checkpoint, device: str) -> Any:
    """open_clip's model, image and text encoder, in fp32. Raises ModelError."""
    import open_clip

    try:
        with _quiet(), without_remote_code(), _checked(checkpoint.file):
            return open_clip.create_model(
                checkpoint.model,
                None if checkpoint.model.startswith(LOCAL_FOLDER) else str(checkpoint.file),
                device=device,
                force_quick_gelu=bool(checkpoint.settings.get("quick_gelu")),
                force_preprocess_cfg=_published_preprocessing(checkpoint),
                pretrained_text=False,
                require_pretrained=True,
            ).eval()
    except ModelError:
        raise
    except Exception as error:  # a file that is no checkpoint of this model fails in many ways
        if is_memory_shortage(error):
            raise
        raise ModelError(f"{checkpoint.file} {_why_unloadable(error, checkpoint)}") from None


@contextlib.contextmanager
def _checked(file: Path) -> Iterator[None]:
    """While the block runs torch may read `file`, whatever its trainer left beside the weights.

    Raises ModelError for a pickle that asks for code to be run.
    """
    if file.suffix == ".safetensors":
        yield
        return
    try:
        with file.open("rb") as opened, stand_ins(opened):
            yield
    except TorchFileError as error:
        raise ModelError(f"{file} {error}") from None


@contextlib.contextmanager
def without_remote_code() -> Iterator[None]:
    """transformers asks on the terminal whether a repository's own code may run: here it may not.

    Without time for an answer it raises ValueError in place of the question.
    """
    from transformers import dynamic_module_utils

    before = dynamic_module_utils.TIME_OUT_REMOTE_CODE
    dynamic_module_utils.TIME_OUT_REMOTE_CODE = 0
    try:
        yield
    finally:
        dynamic_module_utils.TIME_OUT_REMOTE_CODE = before


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
    try:
        return _preprocessing_of(settings, checkpoint)
    except (ValueError, TypeError, LookupError, OverflowError) as error:
        raise ModelError(f"{checkpoint.model} has preprocessing that makes no sense ({error})") from None


def _preprocessing_of(settings: dict[str, Any], checkpoint: Checkpoint) -> Preprocessing:
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


def _blank(size: int, device: str) -> "torch.Tensor":
    import torch

    return torch.zeros(1, 3, size, size, device=device)


def _compiled(network: Any, blank: "torch.Tensor") -> Any:
    """The network by torch.compile; as it is, with a line in the log, where that does not work."""
    import torch

    try:
        compiled = torch.compile(network, dynamic=True)  # the last batch of a shard is smaller
        with torch.inference_mode(), _quiet():
            compiled(blank)
    except Exception as error:  # no C++ compiler, no Triton, an operation that it does not know
        _log.warning("encode: not compiled (%s); going on without --compile", first_line(error)[:150])
        return network
    return compiled


def _dimension(network: Any, size: int, device: str) -> int:
    import torch

    with torch.inference_mode():
        features = network(_blank(size, device))
    return int((features[0] if isinstance(features, tuple) else features).shape[-1])


def _activation(network: Any) -> str:
    """The name of the network's activation: QuickGELU is what OpenAI's weights were trained with."""
    names = [type(module).__name__ for module in network.modules()]
    return next((name for name in names if "GELU" in name), "unknown")


def _why_unloadable(error: Exception, checkpoint: Checkpoint) -> str:
    text = str(error)
    if "TorchScript" in text:
        return "is a TorchScript archive, which holds code; take the same weights as safetensors from the Hub"
    if "Unsupported global" in text or "WeightsUnpickler" in text or "GLOBAL" in text:
        return "is a pickle that asks for code to be run; take the weights as safetensors"
    if "Missing key" in text or "size mismatch" in text:
        return f"holds the weights of another model than {checkpoint.model}; name the right one with --model"
    return f"cannot be loaded as {checkpoint.model} ({type(error).__name__}: {first_line(error)[:150]})"

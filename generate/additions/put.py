"""A model and what is to be added to it -> a model with it."""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

from torch import nn

from ..added import AddedFile
from ..errors import AdditionError
from ..families.model import Model
from . import inversion, ip_adapter, lora, vae
from .files import (
    DIGITS,
    DIGITS_OF_VAE,
    INVERSION,
    IP_ADAPTER,
    LORA,
    check_file,
    digest,
    file_of_vae,
    payload_digest,
)
from .inversion import Inversion
from .kinds import require_family
from .layers import layers_of, unet_of
from .lora import Change
from .wanted import Additions, Lora
from .words import put_rows, with_words

__all__ = ["added", "put"]

AnyModel = TypeVar("AnyModel", bound=Model)
ENDS = 2  # tokens of a prompt that are its start and its end


def added(model: AnyModel, additions: Additions) -> AnyModel:
    """A model as `model` with what is added to it. `model` is left bit-identical: what changes is copied.

    Raises AdditionError for a file that is not there, not readable, of no plain kind or for another family,
    and CheckpointError for one that is broken.
    """
    encoders = {
        name: _apart(part)
        for name, part in vars(model).items()
        if name.startswith("text_encoder") and isinstance(part, nn.Module)
    }
    networks = {"unet": _apart(unet_of(model)), **encoders}
    return put(replace(model, **networks), additions)


def _apart(network: Any) -> Any:
    """A network of its own whose weights are the same tensors, until others are put there."""
    tensors = chain(network.parameters(), network.buffers())
    return copy.deepcopy(network, {id(each): each for each in tensors})


def put(model: AnyModel, additions: Additions) -> AnyModel:
    """The same without copies, for a model that nobody else uses: its networks are given other weights."""
    if not additions:
        return model
    if model.additions:
        raise AdditionError(f"{model.name} has additions already: give all of them at once")
    unet_of(model)  # who has none is named before anything is read
    before = model.fingerprint
    changes: dict[str, Any] = {}
    files = [*_put_loras(model, additions.loras)]
    if additions.textual_inversions:
        changes |= _put_words(model, found := [*map(_inversion, additions.textual_inversions)])
        files += [_file("textual_inversion", each.path, word=each.word) for each in found]
    if additions.vae is not None:
        changes["vae"] = _settled(vae.read_vae(additions.vae, model), model)
        files.append(_file("vae", additions.vae))
    if additions.ip_adapter is not None:
        files.append(_put_adapter(model, additions.ip_adapter))
    return replace(model, **changes, additions=tuple(files), base_fingerprint=before)


def _put_loras(model: Model, loras: Sequence[Lora]) -> Iterator[AddedFile]:
    """Merge LoRAs into the model's layers, all that is added to a layer at once."""
    layers = layers_of(model) if loras else {}
    sums: dict[nn.Module, list[Change]] = {}
    for each in loras:
        check_file(each.path, LORA)
        weights = lora.read_lora(each.path)
        require_family(each.path, "a LoRA", weights.family, model.KIND, model.name)
        changes, left_out = lora.fitted(weights, each.scale, layers, model.name)
        for layer, change in changes:
            sums.setdefault(layer, []).append(change)
        yield _file("lora", each.path, scale=each.scale, left_out=left_out)
    names = ", ".join(str(each.path) for each in loras)
    for layer, summands in sums.items():
        lora.merge(layer, summands, names)


def _inversion(path: Path) -> Inversion:
    check_file(path, INVERSION)
    return inversion.read_inversion(path)


def _put_words(model: Model, found: Sequence[Inversion]) -> dict[str, Any]:
    """Put words' vectors into the text encoders; the tokenizers that know them, by their names."""
    encoders = [encoder for _, encoder in model.readers]
    widths = [int(encoder.config.hidden_size) for encoder in encoders]
    longest = min(int(encoder.config.max_position_embeddings) for encoder in encoders) - ENDS
    words = inversion.fit_inversions(found, widths, longest, model.name)
    tokenizers = {}
    for number, (tokenizer, encoder) in enumerate(model.readers):
        own = {word: vectors[number] for word, vectors in words.items()}
        changed = with_words(tokenizer, {word: len(rows) for word, rows in own.items()})
        put_rows(encoder, changed, [*own.values()])
        tokenizers[f"tokenizer_{number + 1}" if number else "tokenizer"] = changed
    return tokenizers


def _put_adapter(model: Model, path: Path) -> AddedFile:
    check_file(path, IP_ADAPTER)
    weights = ip_adapter.read_adapter(path)
    require_family(path, "an IP-Adapter", weights.family, model.KIND, model.name)
    ip_adapter.put_adapter(unet_of(model), weights, path, model.name)
    return _file("ip_adapter", path)


def _settled(network: Any, model: Model) -> Any:
    """A VAE on the model's device, as those are that a model is loaded with."""
    from torch import channels_last

    network.to(memory_format=channels_last).eval().requires_grad_(False)
    if not model.lowvram:
        return network.to(model.device)
    network.enable_slicing()
    network.enable_tiling()
    return network


def _file(kind: Any, path: Path, **more: Any) -> AddedFile:
    file = file_of_vae(path) if kind == "vae" else path
    sha256 = digest(file)
    short = payload_digest(file) if kind == "lora" else sha256
    digits = DIGITS_OF_VAE if kind == "vae" else DIGITS
    return AddedFile(kind=kind, path=str(path.absolute()), sha256=sha256, short_hash=short[:digits], **more)

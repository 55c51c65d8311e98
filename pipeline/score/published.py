"""Published heads read from their files as data: nothing in a file is run."""

import io
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visunex.aesthetic_embeddings.errors import EmbeddingError

from ..errors import EncodeError
from .catalog import Predictor
from .head import Head, Layer, affine

__all__ = ["load", "read_head"]

Layout = Mapping[str, Any]
_LEAST_DEVIATION = 1e-7  # of a dimension, as Keras has it


def load(predictor: Predictor, mirror: str | None = None) -> Head:
    """A predictor's head: its file brought, unless it is cached, and checked by SHA-256.

    `mirror` (else `$VISUNEX_MIRROR`, else where it is published) is a folder or a URL that holds
    `predictors/FILE`. Raises EncodeError.
    """
    try:
        data = predictor.file.bring(mirror).read_bytes()
    except EmbeddingError as error:
        raise EncodeError(str(error)) from None
    except OSError as error:
        raise EncodeError(f"{predictor.name} cannot be read: {error.strerror or error}") from None
    return read_head(data, predictor.layout)


def read_head(data: bytes, layout: Layout) -> Head:
    """The head in the bytes of a file that are laid out so."""
    return {"torch": _of_torch, "saved_model": _of_saved_model}[layout["format"]](data, layout)


def _of_torch(data: bytes, layout: Layout) -> Head:
    """Layers with nothing between them."""
    one = affine(
        [
            Layer(_floats(data, kernel, outs, ins).T, _floats(data, bias, outs))
            for kernel, bias, ins, outs in layout["layers"]
        ]
    )
    return Head((Layer(one.kernel * layout.get("times", 1), one.bias),))


def _of_saved_model(data: bytes, layout: Layout) -> Head:
    """A normalisation, folded into the first layer, and layers with ReLU between them."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        numbers, graph = archive.read(layout["weights"]), archive.read(layout["graph"])
    first, *others = [
        Layer(_floats(numbers, kernel, ins, outs), _floats(numbers, bias, outs))
        for kernel, bias, ins, outs in layout["layers"]
    ]
    mean, variance = (_floats(numbers, layout[name], len(first.kernel)) for name in ("mean", "variance"))
    deviation = np.maximum(np.sqrt(variance), _LEAST_DEVIATION)
    first = affine([Layer(np.diag(1 / deviation), -mean / deviation), first])
    places = {int(at): _texts(graph, *span) for at, span in layout["texts"].items()}
    return Head((first, *others), sigmoid=True, places=places)


def _floats(data: bytes, begin: int, *shape: int) -> NDArray[np.float64]:
    return np.frombuffer(data, "<f4", int(np.prod(shape)), begin).reshape(shape).astype(np.float64)


def _texts(data: bytes, begin: int, end: int) -> dict[str, int]:
    """Texts one after another, each behind a byte that names the field and one with its length; from 1."""
    found: dict[str, int] = {}
    while begin < end:
        length = data[begin + 1]
        found[data[begin + 2 : begin + 2 + length].decode("ascii")] = len(found) + 1
        begin += 2 + length
    return found

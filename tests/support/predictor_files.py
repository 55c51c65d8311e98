"""Files laid out as the published detector of unsafe pictures, of random numbers; and what these give."""

import io
import zipfile
from typing import Any

import numpy as np
from numpy.typing import NDArray


def saved_model(layout: Any, random: np.random.Generator) -> tuple[bytes, dict[str, Any]]:
    """A zip laid out as the published detector's, of random numbers; and these."""
    weights, plain = bytearray(862_496), {}
    pieces = {"mean": (0, 768), "variance": (3072, 768)}
    for number, (kernel, bias, ins, outs) in enumerate(layout["layers"]):
        pieces |= {f"kernel{number}": (kernel, ins, outs), f"bias{number}": (bias, outs)}
    for name, (begin, *shape) in pieces.items():
        values = random.standard_normal(shape) * (0.1 if name.startswith("kernel") else 0.03)
        plain[name] = (np.abs(values) + 1e-4 if name == "variance" else values).astype("<f4")
        weights[begin : begin + plain[name].nbytes] = plain[name].tobytes()
    graph, plain["texts"] = bytearray(400_000), {}
    for dimension, (begin, end) in layout["texts"].items():
        texts = []
        while begin < end:
            texts.append(f"{random.integers(-99, 99) / 1000:f}"[: end - begin - 2])
            graph[begin : begin + 2] = bytes([0x42, len(texts[-1])])
            graph[begin + 2 : begin + 2 + len(texts[-1])] = texts[-1].encode()
            begin += 2 + len(texts[-1])
        plain["texts"][int(dimension)] = texts
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(layout["weights"], bytes(weights))
        archive.writestr(layout["graph"], bytes(graph))
    return buffer.getvalue(), plain


def plainly(plain: dict[str, Any], units: NDArray[np.float32]) -> NDArray[np.float64]:
    """What the layers give, one after the other, in float64."""
    values = units.astype(np.float64)
    for dimension, texts in plain["texts"].items():
        places = {text: number for number, text in enumerate(texts, 1)}
        values[:, dimension] = [places.get(f"{value:f}", 0) for value in units[:, dimension]]
    values = (values - plain["mean"]) / np.maximum(np.sqrt(plain["variance"].astype(np.float64)), 1e-7)
    for number in range(4):
        values = values @ plain[f"kernel{number}"].astype(np.float64) + plain[f"bias{number}"]
        values = np.maximum(values, 0) if number < 3 else values
    return 1 / (1 + np.exp(-values[:, 0]))

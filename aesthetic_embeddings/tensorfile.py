"""A `.pt` file with one plain vector, written and read without torch, whose import takes seconds.

Written are the three members that torch 1.12 wrote, in which the published embeddings came: torch since
1.6 and the web UI of any age read them. What torch adds today (`.format_version`, `.storage_alignment`) is
refused by the web UI's check of such files. Read is only what looks exactly so; anything else torch judges.
"""

import io
import re
import struct
import zipfile
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Plain", "read_plain", "tensor_bytes"]

Plain = NDArray[Any]
_ALIGNMENT = 64  # of the numbers in the file, as torch has it, so that they can be mapped into memory
_HEADER = 30  # bytes before a member's name
_FOLDER = "archive"
_STORAGES = {"HalfStorage": "<f2", "FloatStorage": "<f4", "DoubleStorage": "<f8"}
_HEAD = re.compile(
    rb"\x80\x02ctorch\._utils\n_rebuild_tensor_v2\nq\x00\(\(X\x07\x00\x00\x00storageq\x01ctorch\n(\w{4,20})\n"
    rb"q\x02X\x01\x00\x00\x000q\x03X.\x00\x00\x00([a-z]{3,6}(?::\d{1,3})?)q\x04",
    re.DOTALL,
)


def tensor_bytes(vector: NDArray[np.float32]) -> bytes:
    """The file of a float32 vector [D] or [1, D], as torch.save has it; equal vectors give equal bytes."""
    members = {
        "data.pkl": _pickled("FloatStorage", "cpu", vector.shape),
        "data/0": vector.astype("<f4").tobytes(),
        "version": b"3\n",
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, data in members.items():
            archive.writestr(_aligned(f"{_FOLDER}/{name}", buffer.tell()), data)
    return buffer.getvalue()


def _aligned(name: str, begin: int) -> zipfile.ZipInfo:
    """A member without a date whose bytes begin at a multiple of 64, padded as torch pads it."""
    member = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
    member.create_system = 0
    padding = -(begin + _HEADER + len(name) + 4) % _ALIGNMENT
    member.extra = struct.pack("<2sH", b"FB", padding) + b"Z" * padding
    return member


def _pickled(storage: str, location: str, shape: tuple[int, ...]) -> bytes:
    """What torch pickles of a tensor [D] or [1, D] that is all of its storage, opcode by opcode."""
    size = _number(shape[-1])
    if len(shape) == 1:
        sizes, strides = size + b"\x85", b"K\x01\x85"
    else:
        sizes, strides = b"K\x01" + size + b"\x86", size + b"K\x01\x86"
    return (
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\nq\x00("
        + b"(%sq\x01ctorch\n%b\nq\x02%sq\x03%sq\x04%stq\x05Q"
        % (_text("storage"), storage.encode(), _text("0"), _text(location), size)
        + b"K\x00%sq\x06%sq\x07\x89ccollections\nOrderedDict\nq\x08)Rq\ttq\nRq\x0b." % (sizes, strides)
    )


def _number(value: int) -> bytes:
    """A count in the shortest of pickle's opcodes: BININT1, BININT2, BININT."""
    kind, form = (b"K", "<B") if value < 1 << 8 else (b"M", "<H") if value < 1 << 16 else (b"J", "<i")
    return kind + struct.pack(form, value)


def _text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def read_plain(data: bytes) -> Plain | None:
    """The floats [D] or [1, D] in the bytes of a file of just this form; None for any other.

    Nothing is unpickled: the pickle must be, byte for byte, the one for so many numbers.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            folder = archive.namelist()[0].partition("/")[0]
            if (
                f"{folder}/byteorder" in archive.namelist()
                and archive.read(f"{folder}/byteorder") != b"little"
            ):
                return None
            pickled, numbers = archive.read(f"{folder}/data.pkl"), archive.read(f"{folder}/data/0")
    except Exception:  # a broken zip makes zipfile raise almost anything
        return None
    head = _HEAD.match(pickled)
    kind = _STORAGES.get(head[1].decode()) if head else None
    if head is None or kind is None or len(numbers) % np.dtype(kind).itemsize:
        return None
    values = np.frombuffer(numbers, kind)
    for shape in ((1, len(values)), (len(values),)):
        if pickled == _pickled(head[1].decode(), head[2].decode(), shape):
            return values.reshape(shape)
    return None

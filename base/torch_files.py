"""What a file of `torch.save` asks for, seen without torch and before anything in it takes memory or runs.

`torch.load(weights_only=True)` runs no stranger's code, but allocates what the file asks for: 60 bytes that
call `bytearray(2**31)` took 4 GB. So the names that its pickle calls are looked up here first, and archives
must be such that torch and Python's zipfile cannot read them differently.
"""

import contextlib
import io
import pickletools
import zipfile
from collections.abc import Iterator
from itertools import islice
from typing import IO

__all__ = ["WEIGHTS", "TorchFileError", "called_by", "is_harmless"]

# What plain tensors are made of.
WEIGHTS = frozenset(
    {
        "collections.OrderedDict",
        "torch._utils._rebuild_parameter",
        "torch._utils._rebuild_parameter_with_state",
        "torch._utils._rebuild_tensor",
        "torch._utils._rebuild_tensor_v2",
        "torch._utils._rebuild_tensor_v3",
        "torch.Size",
        "torch.device",
        "torch.nn.parameter.Parameter",
        "torch.serialization._get_layout",
        "torch.storage.TypedStorage",
        "torch.storage.UntypedStorage",
    }
)
# Beginnings of names that a trainer leaves beside the weights; an inert object can stand for each.
_HARMLESS = (
    "_codecs.encode",
    "argparse.",
    "datetime.",
    "lightning.",
    "lightning_fabric.",
    "numpy.",
    "omegaconf.",
    "pathlib.",
    "pytorch_lightning.",
    "typing.",
)
_HARMLESS_BUILTINS = frozenset(
    f"{module}.{name}"
    for module in ("builtins", "__builtin__")
    for name in (
        "complex",
        "dict",
        "float",
        "frozenset",
        "int",
        "list",
        "object",
        "set",
        "slice",
        "str",
        "tuple",
    )
)
_TENSORS = {
    "_rebuild_device_tensor_from_numpy": "a tensor of another device's library",
    "_rebuild_meta_tensor_no_storage": "a meta tensor, which has no numbers",
    "_rebuild_nested_tensor": "a nested tensor",
    "_rebuild_qtensor": "a quantised tensor",
    "_rebuild_sparse_tensor": "a sparse tensor",
    "_rebuild_sparse_csr_tensor": "a sparse tensor",
}
_DTYPES = frozenset(
    {
        "bfloat16",
        "bool",
        "complex64",
        "complex128",
        "float16",
        "float32",
        "float64",
        "half",
        "float",
        "double",
        "int8",
        "int16",
        "int32",
        "int64",
        "uint8",
        "uint16",
        "uint32",
        "uint64",
        "short",
        "int",
        "long",
        "strided",
    }
)
_MAGIC = 0x1950A86A20F9469CFC6C  # with which torch's older format begins
_LEGACY_PICKLES = 5  # magic, version, system, object, keys of the storages
_MOST_OPERATIONS = 4_000_000  # a pickle of 2,000 tensors has 60,000
_LARGEST_PICKLE = 128 << 20  # bytes
_END = b"PK\x05\x06"  # of a zip archive, with which its last 22 bytes begin


class TorchFileError(ValueError):
    """Why a file is not read by torch, as the end of a sentence that begins with its name."""


def called_by(file: IO[bytes]) -> frozenset[str]:
    """The names, `module.name`, that a file's pickle refers to, dtypes and storages of tensors left out.

    Raises TorchFileError for what `torch.save` does not write: another archive, compressed or cut off
    members, another pickle, a kind of tensor without plain numbers.
    """
    try:
        names = frozenset(_names_in_archive(file) if _begins(file, b"PK") else _names_in_legacy(file))
    except TorchFileError:
        raise
    except Exception as error:  # zipfile and pickletools raise almost anything for broken ones
        raise TorchFileError(f"is broken or cut off ({type(error).__name__}); fetch it again") from None
    for name in names:
        if kind := _TENSORS.get(name.rpartition(".")[2]):
            raise TorchFileError(f"holds {kind}, not a plain one of floats")
    return frozenset(name for name in names if not _is_type(name))


def is_harmless(name: str) -> bool:
    """Whether an inert object may stand for what is called so: it has no part in the weights."""
    return name.startswith(_HARMLESS) or name in _HARMLESS_BUILTINS


def _is_type(name: str) -> bool:
    """Whether it is a dtype (`torch.float16`) or a storage's (`torch.HalfStorage`)."""
    module, _, word = name.rpartition(".")
    return module in ("torch", "torch.cuda") and (word.endswith("Storage") or word in _DTYPES)


def _begins(file: IO[bytes], mark: bytes) -> bool:
    file.seek(0)
    return file.read(len(mark)) == mark


def _names_in_archive(file: IO[bytes]) -> Iterator[str]:
    size = file.seek(0, 2)
    file.seek(max(0, size - 22))
    if file.read(4) != _END:  # a comment behind it could hold another directory, which torch would find
        raise TorchFileError("is broken or cut off; fetch it again")
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        if any(
            each.compress_type != zipfile.ZIP_STORED or each.file_size != each.compress_size
            for each in members
        ):
            raise TorchFileError("is a compressed archive, which torch.save does not write; do not use it")
        if sum(each.file_size for each in members) > size:
            raise TorchFileError("unpacks to more than it holds; do not use it")
        if any("/code/" in each.filename for each in members):
            raise TorchFileError("is a TorchScript program, which asks for code to be run; do not use it")
        pickles = [each for each in members if each.filename.endswith("/data.pkl")]
        if len(pickles) != 1 or pickles[0].file_size > _LARGEST_PICKLE:
            raise TorchFileError("is not a file that torch.save wrote; fetch it again")
        with archive.open(pickles[0]) as pickled:
            yield from _names(io.BytesIO(pickled.read()), 1)


def _names_in_legacy(file: IO[bytes]) -> Iterator[str]:
    file.seek(0)
    if not file.read(1):
        raise TorchFileError("is empty; fetch it again")
    file.seek(0)
    first = _beginning(file)
    if [argument for name, argument in first if name != "PROTO"] != [_MAGIC, None]:
        # torch would carry out whatever pickle stands here
        code = [str(argument).replace(" ", ".") for name, argument in first if name in ("GLOBAL", "INST")]
        if code:
            raise TorchFileError(f"is a pickle that asks for code to be run ({code[0]}); do not use it")
        raise TorchFileError("is not a file that torch.save wrote, or it is cut off; fetch it again")
    yield from _names(file, _LEGACY_PICKLES - 1)


def _beginning(file: IO[bytes]) -> list[tuple[str, object]]:
    """The first operations of the pickle that a file begins with, as far as they can be told."""
    found: list[tuple[str, object]] = []
    with contextlib.suppress(Exception):
        for code, argument, _ in islice(pickletools.genops(file), 100):
            found.append((code.name, argument))
    return found


def _names(data: IO[bytes], pickles: int) -> Iterator[str]:
    """The names that so many pickles, one after another, refer to."""
    left = _MOST_OPERATIONS
    for _ in range(pickles):
        for code, argument, _ in pickletools.genops(data):
            left -= 1
            if left < 0:
                raise TorchFileError("holds more objects than any model; do not use it")
            if code.name in ("GLOBAL", "INST"):
                yield str(argument).replace(" ", ".")
            elif code.name in ("STACK_GLOBAL", "EXT1", "EXT2", "EXT4"):
                raise TorchFileError(
                    "is a pickle that asks for code to be run, not plain tensors; do not use it"
                )

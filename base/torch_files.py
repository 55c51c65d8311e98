"""What a file of `torch.save` asks for, seen without torch and before anything in it takes memory or runs.

`torch.load(weights_only=True)` runs no stranger's code, but allocates what the file asks for: 60 bytes that
call `bytearray(2**31)` took 4 GB. So the names that its pickle calls are looked up here first, and archives
must be such that torch and Python's zipfile cannot read them differently.
"""

import _compat_pickle
import contextlib
import io
import pickletools
import re
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Iterator
from itertools import islice
from typing import IO, Any

__all__ = ["WEIGHTS", "Inert", "TorchFileError", "called_by", "stand_ins"]

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
# Beginnings of names in Python's own library that a trainer leaves beside the weights.
_HARMLESS = (
    "_codecs.encode",
    "argparse.",
    "collections.",
    "copyreg._reconstructor",
    "datetime.",
    "enum.",
    "pathlib.",
    "typing.",
    "uuid.",
)
_HARMLESS_BUILTINS = frozenset(
    f"builtins.{name}"
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
_HARMLESS_TORCH = ("torch.nn.", "torch.optim.", "torch.utils.data.", "torch.torch_version.")  # classes alone
_DICTS = ("dict", "counter", "munch", "box")  # ends of their names, in lower case
_LISTS = ("list", "deque")
_TENSORS = {
    "_rebuild_device_tensor_from_numpy": "a tensor of another device's library",
    "_rebuild_meta_tensor_no_storage": "a meta tensor, which has no numbers",
    "_rebuild_nested_tensor": "a nested tensor",
    "_rebuild_qtensor": "a quantised tensor",
    "_rebuild_sparse_tensor": "a sparse tensor",
    "_rebuild_sparse_csr_tensor": "a sparse tensor",
}
_DTYPE = re.compile(r"bfloat16|bool|double|float|half|int|long|short|strided|(u?int|float|complex)\d\w*")
# Codecs from bytes to bytes: such as `hex`, which makes two bytes of each, over and over.
_NO_TEXT_CODEC = re.compile(
    r"(base_?64|bz2|hex|quopri|quoted_?printable|rot_?13|uu|zip|zlib)(_codec)?", re.IGNORECASE
)
_MAGIC = 0x1950A86A20F9469CFC6C  # with which torch's older format begins
_LEGACY_PICKLES = 5  # magic, version, system, object, keys of the storages
_MOST_OPERATIONS = 4_000_000  # a pickle of 2,000 tensors has 60,000
_LARGEST_PICKLE = 128 << 20  # bytes
_MOST_PACKED = 1 << 30  # characters
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


def _is_harmless(name: str) -> bool:
    """Whether an inert object may stand for what is called so: it has no part in the weights.

    Classes of any other library may: nothing of theirs is imported. What Python or torch themselves have
    beyond a few plain classes is there to make something happen.
    """
    top = name.partition(".")[0]
    if top == "torch":
        return name.startswith(_HARMLESS_TORCH)
    if top in sys.stdlib_module_names:
        return name.startswith(_HARMLESS) or name in _HARMLESS_BUILTINS
    return True


@contextlib.contextmanager
def stand_ins(file: IO[bytes]) -> Iterator[None]:
    """While the block runs, torch's weights-only reader takes `file`, whatever lies beside its weights.

    An `Inert` of its own stands for each class that is none of weights: nothing is imported or called.
    Raises TorchFileError for a file that asks for code to be run, and what `called_by` raises.
    """
    asked = called_by(file) - WEIGHTS
    if code := sorted(name for name in asked if not _is_harmless(name)):
        raise TorchFileError(
            f"asks for code to be run ({', '.join(code[:3])}), so it is not loaded; do not use it, or take "
            "the weights as safetensors"
        )
    from torch.serialization import safe_globals

    classes: list[Any] = [(_stand_in(name), name) for name in asked]
    with safe_globals(classes):
        yield


class Inert:
    """Stands in for a class that is none of ours: takes anything, does nothing, keeps nothing.

    The name of its type is that of the class.
    """

    def __new__(cls, *_: Any, **__: Any) -> Any:
        """An object without the arguments."""
        return object.__new__(cls)

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass


class _InertDict(Inert):
    """Stands in for a dictionary of another class: torch puts entries into none but a plain one."""

    def __new__(cls, *_: Any, **__: Any) -> Any:
        """A dictionary without the arguments."""
        return OrderedDict()


class _InertList(Inert, list[Any]):
    """Stands in for a list of another class."""

    def __new__(cls, *_: Any, **__: Any) -> Any:
        """A list without the arguments."""
        return list.__new__(cls)


def _stand_in(name: str) -> type[Inert]:
    """A class that stands in for the one called `name`; what it holds can be told by its name alone."""
    word = name.lower()
    base = _InertDict if word.endswith(_DICTS) else _InertList if word.endswith(_LISTS) else Inert
    return type(name, (base,), {})


def _is_type(name: str) -> bool:
    """Whether it is a dtype (`torch.float16`) or a storage's (`torch.HalfStorage`)."""
    module, _, word = name.rpartition(".")
    return module in ("torch", "torch.cuda") and (word.endswith("Storage") or bool(_DTYPE.fullmatch(word)))


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
    """The names that so many pickles, one after another, refer to, as Python 3 calls them."""
    packing = _Packing()
    for _ in range(pickles):
        for number, (code, argument, _) in enumerate(pickletools.genops(data)):
            if number > _MOST_OPERATIONS:
                raise TorchFileError("holds more objects than any model; do not use it")
            if code.name in ("GLOBAL", "INST"):
                argument = _today(str(argument))
                yield argument
            elif code.name in ("STACK_GLOBAL", "EXT1", "EXT2", "EXT4"):
                raise TorchFileError(
                    "is a pickle that asks for code to be run, not plain tensors; do not use it"
                )
            packing.count(code.name, argument)


class _Packing:
    """How much `_codecs.encode` could be made to give, which torch calls with what stands in the file.

    Old pickles have bytes as text and their encoding. Encoded over and over, 1 kB of them takes any memory.
    """

    def __init__(self) -> None:
        self._asked, self._repeats, self._calls, self._longest = False, False, 0, 0

    def count(self, code: str, argument: object) -> None:
        """Take one operation into account; raises TorchFileError for more than any model needs."""
        self._calls += code == "REDUCE"
        if isinstance(argument, str):
            self._asked |= argument == "_codecs.encode"
            self._repeats |= bool(_NO_TEXT_CODEC.fullmatch(argument))
            self._longest = max(self._longest, len(argument))
        if self._asked and (self._repeats or self._calls * self._longest > _MOST_PACKED):
            raise TorchFileError("asks for more memory than any model needs; do not use it")


def _today(argument: str) -> str:
    """`module name` of a pickle -> `module.name`; what moved since Python 2 is found where torch looks."""
    module, _, name = argument.partition(" ")
    module, name = _compat_pickle.NAME_MAPPING.get((module, name), (module, name))
    return f"{_compat_pickle.IMPORT_MAPPING.get(module, module)}.{name}"

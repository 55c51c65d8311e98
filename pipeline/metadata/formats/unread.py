"""Files that are not read as metadata: what each is, by its first bytes, and what to do about it."""

import re

__all__ = ["READ", "is_text", "unread", "unread_ending"]

READ = (
    "what is read: parquet, Arrow (Feather), SQLite, CSV, TSV, JSON and lists of links (.txt), these "
    "texts also as .gz or .zst, tars and zips of pictures"
)
_TABLE = "write it as parquet first"
_SHEET = "save its sheet as CSV (UTF-8, with commas)"
_NO_TABLE = "metadata is a table of links and captions"
_PICKLE = "it may run code, so it is not opened; write it as parquet where it is from"
_DOCUMENT = rb"PK\x03\x04.{26}"  # a zip, as what follows is its first member's name
# What a file begins with, what it is, what to do, and the endings of its name.
_KINDS: tuple[tuple[bytes, str, str, str], ...] = (
    (rb"ORC", "an Apache ORC file", f"{_TABLE} (pyarrow.orc.read_table reads it)", ".orc"),
    (rb"Obj\x01", "an Apache Avro file", f"{_TABLE} (polars.read_avro reads it)", ".avro"),
    (rb"BZh\d", "packed by bzip2", "unpack it first (bunzip2 -k), or pack it by gzip or zstd", ".bz2"),
    (rb"\xfd7zXZ\0", "packed by xz", "unpack it first (unxz -k), or pack it by gzip or zstd", ".xz"),
    (rb"\x04\x22\x4d\x18", "packed by lz4", "unpack it first (lz4 -d), or pack it by gzip or zstd", ".lz4"),
    (rb"\xff\x06\0\0sNaPpY", "packed by snappy", "unpack it first", ".sz"),
    (rb"\x1f\x9d", "packed by compress", "unpack it first (uncompress)", ".z"),
    (rb"7z\xbc\xaf\x27\x1c", "a 7z archive", "unpack it first", ".7z"),
    (rb"Rar!\x1a\x07", "a RAR archive", "unpack it first", ".rar"),
    (rb"PARE", "an encrypted parquet file", "write it without encryption", ""),
    (rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an Excel workbook (.xls)", _SHEET, ".xls"),
    (_DOCUMENT + rb"(\[Content_Types\]|_rels/|docProps/|xl/)", "an Excel workbook (.xlsx)", _SHEET, ".xlsx"),
    (_DOCUMENT + rb"mimetypeapplication/vnd\.oasis", "an OpenDocument file (.ods)", _SHEET, ".ods"),
    (_DOCUMENT + rb"[^/\0]+\.npy", "a file of numpy arrays (.npz)", _NO_TABLE, ".npz"),
    (_DOCUMENT + rb"[^/\0]+/(data\.pkl|\.format_version|\.data/)", "a file of torch", _NO_TABLE, ".pt"),
    (rb"\x93NUMPY", "a numpy array", _NO_TABLE, ".npy"),
    (rb"\x80[\x02-\x05]", "a Python pickle", _PICKLE, ".pkl .pickle"),
    (rb"\x89HDF\r\n\x1a\n", "an HDF5 file", _TABLE, ".h5 .hdf5"),
    (rb".{8}DUCK", "a DuckDB database", f"{_TABLE} (COPY table TO 'file.parquet')", ".duckdb"),
    (rb"%PDF", "a PDF document", _NO_TABLE, ""),
    (rb"\x89PNG|\xff\xd8\xff|GIF8|RIFF.{4}WEBP", "a picture", _NO_TABLE, ""),
)
_PATTERNS = tuple((re.compile(start, re.DOTALL), f"is {what}: {do}") for start, what, do, _ in _KINDS)
_NAMES = tuple(ending for *_, endings in _KINDS for ending in endings.split())
_TEXT = re.compile(rb"[^\0-\x08\x0e-\x1f]*")
_LFS = b"version https://git-lfs"
_PAGES = (b"<!doctype", b"<html", b"<head", b"<?xml", b"<script")


def unread(start: bytes) -> str | None:
    """What a file that begins so is, and what to do, where it is none that is read; else None."""
    if not start:
        return "is empty: the copying or the download of it failed; fetch it again, or remove it"
    if start.startswith(_LFS):
        return (
            "is a Git LFS pointer, not the file itself: run `git lfs pull` where it was cloned, or download "
            "the file (of a page on the Hub: /resolve/ in place of /blob/ or /raw/)"
        )
    if start.removeprefix(b"\xef\xbb\xbf").lstrip().lower().startswith(_PAGES):
        return (
            "is a web page under that name, not the file: download it again (of a page on the Hub: /resolve/ "
            "in place of /blob/; a set that is gated needs a token)"
        )
    if is_text(start):
        return None  # a table may well begin with ORCID or PARENT
    return next((f"{said}; {READ}" for pattern, said in _PATTERNS if pattern.match(start)), None)


def is_text(start: bytes) -> bool:
    """Whether a file that begins so is text, by its bytes; its last letter may be cut in two."""
    return _TEXT.fullmatch(start) is not None and start.decode("utf-8", "replace").count("\ufffd") < 2


def unread_ending(name: str) -> str | None:
    """How a file's name ends, where that is of data of a kind that is not read."""
    return next((ending for ending in _NAMES if name.lower().endswith(ending)), None)

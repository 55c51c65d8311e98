"""What is wrong with an image travels between processes, and says whether the file was cut short."""

import io
import pickle
import struct
import zlib

import odd
import pytest
from PIL import Image

from visunex.images import decode
from visunex.images.errors import ImageError, judged
from visunex.images.resize import Resize, resize
from visunex.images.validate import Limits, inspect


def test_an_error_survives_the_way_between_processes() -> None:
    error = pickle.loads(pickle.dumps(ImageError("too_small", "its shorter side is below 8 pixels")))
    assert (error.kind, error.message, str(error)) == ("too_small", *2 * (error.message,))
    assert error.described == "too_small: its shorter side is below 8 pixels"


@pytest.mark.parametrize(
    ("error", "cut"),
    [
        (OSError("image file is truncated (3 bytes not processed)"), True),
        (ValueError("not enough image data"), True),
        (SyntaxError("Unexpected end of file"), True),
        (EOFError(), True),
        (OSError("broken data stream when reading image file"), False),
    ],
)
def test_decoders_say_that_a_file_was_cut_short_in_many_words(error: Exception, cut: bool) -> None:
    assert (judged(b"\xff\xd8\xff", error).kind == "truncated") == cut


def a_png(*chunks: tuple[bytes, bytes], after: tuple[tuple[bytes, bytes], ...] = (), size: int = 8) -> bytes:
    """A PNG of a black square, with other chunks before its pixels and `after` them."""
    pixels = (b"IDAT", zlib.compress(b"\0" * (size + 1) * size))
    head = (b"IHDR", struct.pack(">IIBBBBB", size, size, 8, 0, 0, 0, 0))
    parts = [
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in (head, *chunks, pixels, *after, (b"IEND", b""))
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def saved(kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    odd.gradient().save(file, kind, **options)
    return file.getvalue()


BOMB = (b"zTXt", b"k\0\0" + zlib.compress(b"a" * 3_000_000))


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"", "empty"),
        (saved("WEBP")[:-1], "truncated"),
        (saved("WEBP")[:99], "truncated"),
        (saved("JPEG")[:-1], "truncated"),
        (saved("PNG")[:-40], "truncated"),
        (saved("TIFF", compression="tiff_lzw")[:-1], "truncated"),
        (b"GIF89a\x0a\0\x0a\0\0\0\0;", "truncated"),
        (a_png(size=0), "truncated"),
        (a_png(BOMB), "damaged"),
        (a_png(after=(BOMB,)), "damaged"),
        (a_png((b"tEXt", b"k\0" + b"a" * 3_000_000)), None),
        (saved("JPEG", icc_profile=b"garbage" * 30), None),
        (saved("PNG")[:-1], None),
    ],
)
def test_check_resize_and_encode_judge_alike(data: bytes, kind: str | None) -> None:
    found: list[str | None] = []
    for judge in (
        lambda: inspect(data, Limits()),
        lambda: inspect(data, Limits(decode=True)),
        lambda: resize(data, Resize(16)),
        lambda: decode.open_rgb(data),
    ):
        try:
            judge()
            found.append(None)
        except ImageError as error:
            found.append(error.kind)
    assert found == [kind] * 4


@pytest.mark.parametrize(
    ("data", "kind", "words"),
    [
        (b"version https://git-lfs.github.com/spec/v1\n", "git_lfs_pointer", "git lfs pull"),
        (b"\0\0\0\x1cftypheic\0\0\0\0", "heic", r"visunex\[heic\]"),
        (b"\0\0\0\x1cftypmif1\0\0\0\0", "heic", r"visunex\[heic\]"),
        (b"<!doctype html><p>", "not_an_image", "HTML"),
    ],
)
def test_what_it_is_instead_is_the_same_for_check_and_encode(
    data: bytes, kind: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decode, "_formats", lambda: ["JPEG", "PNG"])  # as without the extra
    for judge in (decode.open_rgb, lambda data: inspect(data, Limits())):
        with pytest.raises(ImageError, match=words) as caught:
            judge(data)
        assert caught.value.kind == kind


def test_pictures_of_phones_are_read_with_the_extra() -> None:
    pillow_heif = pytest.importorskip("pillow_heif")
    pillow_heif.register_heif_opener()
    exif = Image.Exif()
    exif[0x0112] = 6
    file = io.BytesIO()
    odd.gradient().save(file, "HEIF", exif=exif, quality=95)
    for image in (inspect(file.getvalue(), Limits()), decode.open_rgb(file.getvalue())):
        assert sorted((image.width, image.height)) == sorted(odd.SIZE)

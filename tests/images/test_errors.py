"""What is wrong with an image travels between processes, and says whether the file was cut short."""

import pickle

import pytest

from visunex.images.errors import ImageError, is_cut_short


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
    assert is_cut_short(error) == cut

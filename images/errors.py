"""What is wrong with an image's file."""

__all__ = ["ImageError", "is_cut_short"]

_CUT_SHORT = ("truncated", "not enough", "unexpected end", "eof")


class ImageError(Exception):
    """Why bytes are not taken as an image, or give no pixels.

    `kind` is what such failures are counted under (`not_an_image`, `truncated`, ...), `message` a sentence.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind, self.message = kind, message

    def __reduce__(self) -> tuple[type, tuple[str, str]]:
        return type(self), (self.kind, self.message)

    @property
    def described(self) -> str:
        """The refusal in one line that begins with its kind."""
        return f"{self.kind}: {self.message}"


def is_cut_short(error: Exception) -> bool:
    """Whether what a decoder raised says that the file ends before the image does."""
    reason = str(error).lower()
    return isinstance(error, EOFError) or any(words in reason for words in _CUT_SHORT)

"""What is wrong with an image's file."""

__all__ = ["ImageError"]


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

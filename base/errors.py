"""The errors a user can cause. The library raises them; only a command line turns them into messages."""


class VisunexError(Exception):
    """A failure with a reason: what was wrong, where, and what to do next, in one or two lines."""

    exit_code = 1


class UsageError(VisunexError):
    """The request itself makes no sense (an empty keyword, top < 1), whatever the data."""

    exit_code = 2


class FewerImagesError(VisunexError):
    """The work is done and kept, but it gave fewer images than the recipe asks for at least."""


def first_line(error: BaseException) -> str:
    """The first line of what an error of a library says, of at most 200 characters; else its class."""
    lines = (line.strip() for line in str(error).splitlines())
    return next((line for line in lines if line), type(error).__name__)[:200]

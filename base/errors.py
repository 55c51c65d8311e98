"""The errors a user can cause. The library raises them; only a command line turns them into messages."""


class VisunexError(Exception):
    """A failure with a reason: what was wrong, where, and what to do next, in one or two lines."""

    exit_code = 1


class UsageError(VisunexError):
    """The request itself makes no sense (an empty keyword, top < 1), whatever the data."""

    exit_code = 2


class FewerImagesError(VisunexError):
    """The work is done and kept, but it gave fewer images than the recipe asks for at least."""

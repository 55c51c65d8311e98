"""The name that was probably meant, for the message about one that is not known."""

import difflib
from collections.abc import Iterable

__all__ = ["did_you_mean"]


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """`did you mean NAME? ` with the nearest of `names`, or nothing where none is near.

    Case does not count, nor whether a name is written with `-` or `_`.
    """
    plain = {_plain(each): each for each in names}
    near = difflib.get_close_matches(_plain(name), plain, n=1)
    return f"did you mean {plain[near[0]]}? " if near else ""


def _plain(name: str) -> str:
    return name.casefold().replace("-", "_")

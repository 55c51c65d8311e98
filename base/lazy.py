"""A package's public names, loaded when they are first asked for: torch and the like take seconds."""

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

__all__ = ["public"]


def public(package: str, homes: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """`__getattr__` and `__dir__` (PEP 562) of `package`; `homes` maps each public name to its module there.

    `help()` and `dir()` then show the public names alone.
    """

    def load(name: str) -> Any:
        """The public `name`, kept in the package from then on."""
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(import_module(f".{homes[name]}", package), name)
        setattr(sys.modules[package], name, value)
        return value

    return load, lambda: sorted(homes)

"""The options of commands that encode pictures only to look at them."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from visunex.base.console import proxy_option

from ..embeddings import mirror_option
from ..options import section_options

__all__ = ["encoding_options"]

F = TypeVar("F", bound=Callable[..., Any])

_OPTIONS = (
    click.option(
        "--image-column", metavar="NAME", help="Of pictures in rows that have several, the column to take."
    ),
    click.option(
        "--device", default="auto", show_default=True, help="Where pictures are encoded, as `encode` says."
    ),
    section_options("encode", only=("model", "pretrained", "precision", "batch_size", "workers")),
    section_options("download", only=("max_remote_bytes",)),
    mirror_option,
    proxy_option,
)


def encoding_options(function: F) -> F:
    """With which model, where and how fast pictures are encoded, and how it and they are fetched."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function

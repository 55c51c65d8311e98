"""The options of `visunex-export`, and which of them mean something for which kind."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

from visunex.base.console import proxy_option

__all__ = ["HEADINGS", "KINDS", "export_options", "without_effect"]

Function = TypeVar("Function", bound=Callable[..., Any])

VECTORS = ("safetensors", "diffusers", "comfyui", "webui")
KINDS = VECTORS

FILE = click.Path(path_type=Path, dir_okay=False)

WHAT = [
    click.argument("embedding"),
    click.option(
        "--to",
        "kind",
        required=True,
        type=click.Choice(KINDS),
        help="What to make. The vector as safetensors, diffusers or comfyui (for an IP-Adapter), or webui "
        "(for its extension of aesthetic gradients).",
    ),
    click.option("--out", required=True, type=FILE, help="The file to make."),
    click.option("--overwrite", is_flag=True, help="Replace a file that is there already."),
]
VECTOR = [
    click.option(
        "--norm",
        type=click.FloatRange(min=0, min_open=True),
        help="Length of the vector in the file.  [default: the mean of the run's own vectors, else as it is]",
    ),
]
MACHINE = [
    click.option(
        "--mirror",
        envvar="VISUNEX_MIRROR",
        metavar="PLACE",
        help="A folder or URL that has the published embeddings, in place of their publisher's.",
    ),
    proxy_option,
]

# What `--help` puts above the option of this name and those behind it.
HEADINGS = {"kind": "What to make", "norm": "The vector", "mirror": "The machine", "version": "Other"}

# Options that mean something for some kinds alone.
ONLY_FOR: Mapping[str, tuple[str, ...]] = {"norm": VECTORS}


def export_options(function: Function) -> Function:
    """Give a command every option of `visunex-export`, in the order in which `--help` shows them."""
    for add in reversed([*WHAT, *VECTOR, *MACHINE]):
        function = add(function)
    return function


def without_effect(kind: str, named: set[str]) -> list[str]:
    """A sentence for each option that was given and has no effect on this kind."""
    return [
        f"--{name.replace('_', '-')} has no effect with --to {kind}: it is for {', '.join(kinds)}."
        for name, kinds in ONLY_FOR.items()
        if name in named and kind not in kinds
    ]

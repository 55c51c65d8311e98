"""`visunex-export`: the command line, and which option means something for which kind."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from visunex.base.console import Output, Program, UnderHeadings, proxy_option, show
from visunex.base.hub_cache import DEFAULT_MODEL
from visunex.base.text import printable

from .output import KINDS, LEARNT, STEPS, VECTORS

__all__ = ["main"]

Function = TypeVar("Function", bound=Callable[..., Any])


FILE = click.Path(path_type=Path, dir_okay=False)
AT_LEAST_ONE = click.IntRange(min=1)

WHAT = [
    click.argument("embedding"),
    click.option(
        "--to",
        "kind",
        required=True,
        type=click.Choice(KINDS),
        help="What to make: lora, of the text encoder; token, a textual inversion; prompt, words; or the "
        "vector itself as safetensors, diffusers or comfyui (for an IP-Adapter) or webui (for its extension "
        "of aesthetic gradients).",
    ),
    click.option(
        "--out", required=True, type=Output(dir_okay=False), help="The file to make, here or in a bucket."
    ),
    click.option("--overwrite", is_flag=True, help="Replace a file that is there already."),
]
LEARNING = [
    click.option(
        "--model",
        default=DEFAULT_MODEL,
        show_default=True,
        help="The model whose text encoders are learnt on, Stable Diffusion 1.x or SDXL: "
        "a folder, a file, a name on the Hugging Face Hub, or visunex-tiny.",
    ),
    click.option(
        "--variant",
        help="Which files of a folder or Hub model, e.g. fp16; default: those without, else what there is.",
    ),
    click.option(
        "--imitate",
        type=AT_LEAST_ONE,
        is_flag=False,
        flag_value=STEPS,
        metavar="[STEPS]",
        help=f"Learn what so many steps towards the taste make of each prompt.  [default: {STEPS}]",
    ),
    click.option(
        "--cosine",
        type=AT_LEAST_ONE,
        is_flag=False,
        flag_value=STEPS,
        metavar="[STEPS]",
        help="Raise the prompts' cosine to the taste itself, as far as so many steps do.",
    ),
    click.option(
        "--vectors",
        type=click.IntRange(1, 16),
        default=2,
        show_default=True,
        help="How many tokens' places a token takes.",
    ),
    click.option("--rank", type=click.IntRange(1, 128), default=4, show_default=True, help="Rank of a LoRA."),
    click.option(
        "--prompts",
        type=FILE,
        help="Learn on the prompts in this file, one a line, in place of the shipped ones.",
    ),
    click.option(
        "--seed",
        type=click.IntRange(0, 2**31 - 1),
        default=0,
        show_default=True,
        help="Of what is drawn by lot: the same seed, the same file.",
    ),
]
WORDS = [
    click.option(
        "--words",
        "most",
        type=click.IntRange(1, 16),
        default=4,
        show_default=True,
        help="At most so many each.",
    ),
    click.option(
        "--best", "count", type=click.IntRange(1, 100), default=8, show_default=True, help="How many answers."
    ),
    click.option(
        "--by",
        "way",
        type=click.Choice(["both", "search", "gradients"]),
        default="both",
        show_default=True,
        help="Search a vocabulary of style words, follow gradients through the tokens, or both.",
    ),
    click.option(
        "--captions",
        multiple=True,
        type=click.Path(),
        help="Search the phrases of these captions, too: a run, a parquet or a text file. Repeatable.",
    ),
    click.option("--ban", multiple=True, metavar="WORDS", help="Words not to use, with commas. Repeatable."),
]
VECTOR = [
    click.option(
        "--norm",
        type=click.FloatRange(min=0, min_open=True),
        help="Length of the vector in the file.  [default: the mean of the pictures' own, if known]",
    ),
]
MACHINE = [
    click.option(
        "--device",
        default="auto",
        show_default=True,
        help="cpu, cuda, mps, ...; auto: a GPU if there is one.",
    ),
    click.option(
        "--mirror",
        envvar="VISUNEX_MIRROR",
        metavar="PLACE",
        help="A folder or URL that has the published embeddings, in place of their publisher's.",
    ),
    proxy_option,
]

# What `--help` puts above the option of this name and those behind it.
HEADINGS = {
    "kind": "What to make",
    "model": "What is learnt on a model",
    "most": "Words",
    "norm": "The vector",
    "device": "The machine",
    "version": "Other",
}

SPELT = {"most": "words", "count": "best", "way": "by"}  # fields that the options are not called as

# Options that mean something for some kinds alone.
ONLY_FOR: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("model", "variant", "device", "prompts", "seed"), LEARNT),
    "imitate": ("lora", "token"),
    **dict.fromkeys(("rank", "cosine"), ("lora",)),
    "vectors": ("token",),
    **dict.fromkeys(("most", "count", "way", "captions", "ban"), ("prompt",)),
    "norm": VECTORS,
}


def export_options(function: Function) -> Function:
    """Give a command every option of `visunex-export`, in the order in which `--help` shows them."""
    for add in reversed([*WHAT, *LEARNING, *WORDS, *VECTOR, *MACHINE]):
        function = add(function)
    return function


def without_effect(kind: str, named: set[str]) -> list[str]:
    """A sentence for each option that was given and has no effect on this kind."""
    return [
        f"--{SPELT.get(name, name)} has no effect with --to {kind}: it is for {', '.join(kinds)}."
        for name, kinds in ONLY_FOR.items()
        if name in named and kind not in kinds
    ]


class ExportProgram(Program, UnderHeadings):
    """The one command of `visunex-export`."""

    headings = HEADINGS


@click.command(
    cls=ExportProgram, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@export_options
@click.version_option(package_name="visunex")
@click.pass_context
def main(ctx: click.Context, /, mirror: str | None, **given: Any) -> None:
    """A taste becomes what other programs and models take.

    EMBEDDING is a file, the name or folder of a run, or a published embedding. What is made comes with a
    NAME.json beside it that says how. docs/travel.md has, for each program and model, which kind to take,
    where the file goes and how strong to set it.

    \b
    Examples:
        visunex-export flower_plant --to lora --imitate 20 --out flowers.safetensors
        visunex-export flower_plant --to token --out myflowers.safetensors
        visunex-export runs/gardens --to prompt --captions runs/gardens --out gardens.txt
        visunex-export runs/gardens --to webui --out gardens.pt
        visunex-export runs/gardens --to comfyui --out gardens.ipadpt
    """
    from visunex.aesthetic_embeddings.fetching import mirrored

    from .make import Wanted, make

    named = {name for name in given if ctx.get_parameter_source(name) is not ParameterSource.DEFAULT}
    for sentence in without_effect(given["kind"], named):
        click.echo(printable(sentence), err=True)
    with mirrored(mirror):
        said = make(Wanted(**given))
    show(said, summary(said))


def summary(said: dict[str, Any]) -> str:
    """What was made and how near it came, for a person."""
    return "\n".join([said["file"], *said["report"]["said"]])


if __name__ == "__main__":
    main(prog_name="visunex-export")

"""`visunex-export`: the command line."""

from typing import Any

import click
from click.core import ParameterSource

from visunex.base.console import Command, Program, show
from visunex.base.text import printable

from .options import HEADINGS, export_options, without_effect

__all__ = ["main"]


class ExportProgram(Program, Command):
    """The one command of `visunex-export`."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The options under headings."""
        records: dict[str, list[tuple[str, str]]] = {}
        heading = ""
        for param in (each for each in self.get_params(ctx) if isinstance(each, click.Option)):
            heading = HEADINGS.get(param.name or "", heading)
            if (record := param.get_help_record(ctx)) is not None:
                records.setdefault(heading, []).append(record)
        for heading, rows in records.items():
            with formatter.section(heading):
                formatter.write_dl(rows)


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

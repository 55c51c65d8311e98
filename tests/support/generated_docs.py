"""The parts of `docs/` that are made from the code. Run this file (`make docs`) to write them anew.

`docs/cli.md` is made from the click commands, the table in `docs/recipes.md` from the recipe's schema,
`docs/sources.md` from the catalogue of data sets, tables and numbers about effects from `docs/evidence.json`.
"""

import inspect
import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import click

from visunex.evaluate.cli import main as evaluate
from visunex.export.cli import main as export
from visunex.generate.cli import main as generate
from visunex.pipeline.cli import main as data
from visunex.pipeline.metadata.catalog.entries import data_sets
from visunex.pipeline.metadata.catalog.page import page as sources
from visunex.recipes.describe import schema_table
from visunex.studio.cli import main as studio

DOCS = Path(__file__).parents[2] / "docs"
CLI, RECIPES, SOURCES = DOCS / "cli.md", DOCS / "recipes.md", DOCS / "sources.md"
KEYS = re.compile(r"(?<=<!-- recipe keys -->\n).*?(?=<!-- /recipe keys -->)", re.DOTALL)
SETS = re.compile(r"<!-- sources -->.*<!-- /sources -->", re.DOTALL)

# Options that every command has are described once, at the top of the page.
EVERYWHERE = frozenset({"--json", "--verbose", "--help"})
DEFAULT = re.compile(r"\s*\[default: (.*)\]$")
HEAD = """# Command line

Made by `make docs` from the commands themselves; do not edit.

Every command that does something also has `--json` (the report as JSON on stdout), `-v` or `--verbose`
(tracebacks and debug output) and `-h` or `--help`. Options of `visunex-generate` may be written with
underscores or hyphens.

Exit status: 0 done; 1 a named error, or fewer pictures than the recipe's minimum; 2 wrong usage; 130 after
Ctrl-C.
"""


def cli_page() -> str:
    """The text of `docs/cli.md`: every command with its usage, help, examples and options."""
    commands = [
        *tree(data, "visunex-data"),
        *tree(generate, "visunex-generate"),
        *tree(export, "visunex-export"),
        *tree(evaluate, "visunex-evaluate"),
        *tree(studio, "visunex-studio"),
    ]
    contents = "\n".join(f"- [`{name}`](#{name.replace(' ', '-')})" for name, _ in commands)
    return "\n".join([HEAD, contents, "", *(section(command, name) for name, command in commands)])


def recipes_page() -> str:
    """The text of `docs/recipes.md` with its table of keys as the schema has it."""
    return KEYS.sub(lambda _: schema_table(), RECIPES.read_text(encoding="utf-8"))


def sources_page() -> str:
    """The text of `docs/sources.md`: every data set known by name."""
    made = f"<!-- sources -->\n{sources(data_sets())}<!-- /sources -->"
    return SETS.sub(lambda _: made, SOURCES.read_text(encoding="utf-8"))


def tree(command: click.Command, name: str) -> Iterator[tuple[str, click.Command]]:
    """A command and all below it, each with its full name, in the order of `--help`."""
    yield name, command
    if isinstance(command, click.Group):
        with click.Context(command) as context:
            for child in command.list_commands(context):
                found = command.get_command(context, child)
                assert found is not None, f"{name} {child} is listed but does not load"
                yield from tree(found, f"{name} {child}")


def section(command: click.Command, name: str) -> str:
    """What the page says of one command."""
    with click.Context(command, info_name=name) as context:
        usage = " ".join([name, *command.collect_usage_pieces(context)])
        options = [option for option in command.get_params(context) if isinstance(option, click.Option)]
    shown = [row(option) for option in options if not EVERYWHERE & {*option.opts} and not option.hidden]
    table = ["| option | what it does | default |", "|---|---|---|", *shown, ""] if shown else []
    help_text = "\n".join(paragraphs(command.help or ""))
    return "\n".join([f"## {name}", "", f"```\n{usage}\n```", "", help_text, *table])


def paragraphs(text: str) -> Iterator[str]:
    """A help text in Markdown: what click leaves as it is (after a line with \\b) becomes a block of code."""
    for paragraph in inspect.cleandoc(text).split("\n\n"):
        if paragraph.startswith("\b"):
            title, *lines = paragraph.removeprefix("\b").strip("\n").splitlines()
            code = textwrap.dedent("\n".join(lines))
            yield f"{plain(title)}\n\n```\n{code}\n```\n"
        else:
            yield plain(paragraph) + "\n"


def row(option: click.Option) -> str:
    """An option's row of the table: names and value, meaning, default."""
    text = option.help or ""
    found = DEFAULT.search(text)
    default = found[1] if found else str(option.default) if option.show_default else ""
    names = " ".join(part for part in (", ".join(spellings(option)), value(option)) if part)
    meaning = plain(DEFAULT.sub("", text)) + (" Required." if option.required else "")
    cells = (f"`{names}`", meaning, f"`{default}`" if default else "")
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def spellings(option: click.Option) -> list[str]:
    """An option's names; of two that differ only in `_` and `-` the first."""
    names = [*option.opts, *option.secondary_opts]
    return list({name.replace("_", "-"): name for name in reversed(names)}.values())[::-1]


def value(option: click.Option) -> str:
    """What stands behind an option's name: `DIR`, `a|b|c`, `INTEGER`; nothing behind a flag."""
    if option.is_flag:
        return ""
    if option.metavar:
        return option.metavar
    if isinstance(option.type, click.Choice):
        return "|".join(map(str, option.type.choices))
    return option.type.name.removesuffix(" range").upper()


def plain(text: str) -> str:
    """Text in which Markdown finds nothing to set: an asterisk stays one."""
    return re.sub(r"([*<>])", r"\\\1", text)


if __name__ == "__main__":
    CLI.write_text(cli_page(), encoding="utf-8")
    RECIPES.write_text(recipes_page(), encoding="utf-8")
    SOURCES.write_text(sources_page(), encoding="utf-8")
    sys.path.insert(0, str(DOCS.parent))
    from benchmarks.evidence.tables import write_pages

    write_pages()

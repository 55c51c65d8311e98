"""Every command: listed, documented, with an example, quick to start."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from visunex.pipeline.cli import COMMANDS, main

README = (Path(__file__).parents[1] / "README.md").read_text()


def every_command(command: click.Command, name: str) -> Iterator[tuple[str, click.Command]]:
    """The leaves of a command tree with their full names."""
    if isinstance(command, click.Group):
        with click.Context(command) as context:
            for child in command.list_commands(context):
                found = command.get_command(context, child)
                assert found is not None, f"{name} {child} is listed but does not load"
                yield from every_command(found, f"{name} {child}")
    else:
        yield name, command


ALL = list(every_command(main, "visunex-data"))


@pytest.mark.parametrize(("name", "command"), ALL, ids=[name for name, _ in ALL])
def test_every_command_has_help_with_an_example_and_stands_in_the_readme(
    name: str, command: click.Command
) -> None:
    assert command.help is not None
    assert "Example" in command.help
    assert name in README, f"the README does not show `{name}`"


def test_the_list_of_commands_says_what_each_says_of_itself() -> None:
    with click.Context(main) as context:
        for name, line in COMMANDS.items():
            command = main.get_command(context, name)
            assert command is not None
            assert (command.help or "").split("\n\n")[0].replace("\n", " ").strip() == line


def test_help_loads_nothing_heavy() -> None:
    """What makes start-up slow, whatever the machine: the heavy libraries."""
    program = (
        "import sys; from visunex.pipeline.cli import main; main(['--help'], standalone_mode=False)\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.splitlines()[-1].split())
    assert not loaded & {
        "torch",
        "open_clip",
        "diffusers",
        "transformers",
        "img2dataset",
        "polars",
        "pyarrow",
        "pydantic",
    }

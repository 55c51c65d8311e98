"""The console: commands whose errors are sentences."""

import atexit
import contextlib
import gc
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import click

from .errors import VisunexError
from .proxies import ENVIRONMENT, VARIABLE, one_way
from .storage import is_address, is_stored, restored, shown, stored_output
from .streams import prepare_streams
from .suggest import did_you_mean
from .text import is_terminal, printable, printable_json

F = TypeVar("F", bound=Callable[..., Any])

INTERRUPTED = 130  # the exit status of a process that Ctrl-C ended
_PROXY = "visunex.proxy"
WINDOWS = os.name == "nt"


def report_option(command: click.Command) -> None:
    """Give a command `--json` (report to stdout instead of text) and `-v` (tracebacks and debug output)."""
    command.params += [
        click.Option(["--json", "as_json"], is_flag=True, help="Print the report as JSON on stdout."),
        click.Option(["-v", "--verbose"], is_flag=True, help="Show tracebacks and debug output."),
    ]


def proxy_option(function: F) -> F:
    """`--proxy URL|env`: the one way for all that the command fetches."""

    def remember(context: click.Context, _option: click.Parameter, value: str | None) -> None:
        context.meta[_PROXY] = value

    return click.option(
        "--proxy",
        envvar=VARIABLE,
        metavar=f"URL|{ENVIRONMENT}",
        expose_value=False,
        callback=remember,
        help="Fetch all through this HTTP proxy, or the environment's: it then guards private addresses.",
    )(function)


class Output(click.Path):
    """A file or folder that is written: a path, or an address in an object store, which is published.

    Commands get it as a Path in either case.
    """

    def __init__(self, *, dir_okay: bool = True) -> None:
        super().__init__(path_type=Path, dir_okay=dir_okay)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The path; of an address, where what goes there is made until the command is over."""
        if isinstance(value, Path):
            return value
        try:
            return _Address(value) if is_stored(value) else super().convert(value, param, ctx)
        except VisunexError as error:
            self.fail(printable(str(error)), param, ctx)


class _Here(click.ParamType[Any]):
    """A path that means this machine, whatever else an option asks of it: an address is refused by name."""

    def __init__(self, path: click.Path) -> None:
        self._path, self.name = path, path.name

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The path."""
        if is_address(str(value)):
            text = (
                f"{value} is an address, and this takes a {self.name} of this machine: copy it from or to its"
            )
            self.fail(printable(f"{text} bucket yourself, as with `aws s3 cp`"), param, ctx)
        return self._path.convert(value, param, ctx)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> Any:
        """What the path's own type proposes."""
        return self._path.shell_complete(ctx, param, incomplete)


class _Address(str):
    """An address in an object store where a command's output goes."""

    __slots__ = ()


class Program(click.Command):
    """What a person starts: its streams never end the work, and where it cannot run it says so."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run the program and leave the process, as click does."""
        if WINDOWS:
            sys.exit("VisuNex runs on Linux and macOS; on Windows use it in WSL (wsl --install).")
        prepare_streams()
        try:
            return super().main(*args, **kwargs)
        except OSError as error:  # standard output cannot be written: its disk is full
            click.echo(printable(f"Error: {explain(error)}"), err=True)
            sys.exit(1)


class Group(click.Group):
    """A click group that proposes the nearest of its commands for a name that is none."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that `args` begin with."""
        names = self.list_commands(ctx)
        if args[0] not in names and not args[0].startswith("-"):
            ctx.fail(
                f"No such command {args[0]!r}: {did_you_mean(args[0], names)}there are {', '.join(names)}."
            )
        return super().resolve_command(ctx, args)


class Command(click.Command):
    """A click command with `--json` and `-v` whose errors end in one line and an exit status.

    0 done; 1 a named error or fewer images than wanted; 2 usage; 130 on Ctrl-C.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        report_option(self)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """The values of options and arguments; a path is one of this machine."""
        for param in self.params:
            if isinstance(param.type, click.Path) and not isinstance(param.type, Output):
                param.type = _Here(param.type)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; turn what it raises into a message."""
        ctx.meta["visunex.json"] = ctx.params.pop("as_json")
        verbose = ctx.params.pop("verbose")
        # Python goes through all that torch has made once more before it ends: a second and more for nothing.
        atexit.register(gc.freeze)
        try:
            with one_way(ctx.meta.get(_PROXY)), contextlib.ExitStack() as outputs:
                for name, given in ctx.params.items():
                    if isinstance(given, _Address):
                        ctx.params[name] = outputs.enter_context(stored_output(str(given)))
                return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit):
            raise
        except KeyboardInterrupt:
            click.echo("\nInterrupted. What is done is kept; the same command goes on from here.", err=True)
            ctx.exit(INTERRUPTED)
        except BrokenPipeError:
            ctx.exit(1)  # the reader of our output has left; there is no one to tell
        except Exception as error:
            if verbose:
                raise
            click.echo(printable(shown(f"Error: {self.worded(_with_addresses(explain(error)))}")), err=True)
            ctx.exit(getattr(error, "exit_code", 1))

    def worded(self, message: str) -> str:
        """An error's message in the terms of this command."""
        return message


class UnderHeadings(Command):
    """A command with its options under headings; `headings` says with which option each heading begins."""

    headings: ClassVar[Mapping[str, str]] = {}

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The options under headings."""
        records: dict[str, list[tuple[str, str]]] = {}
        heading = ""
        for param in self.get_params(ctx):
            heading = self.headings.get(param.name or "", heading)
            if (record := param.get_help_record(ctx)) is not None:
                records.setdefault(heading, []).append(record)
        for heading, rows in records.items():
            with formatter.section(heading):
                formatter.write_dl(rows)


def explain(error: Exception) -> str:
    """One or two lines for a person: our own errors say all; the system's are named with their file."""
    if isinstance(error, VisunexError):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        where = f": {error.filename}" if error.filename else ""
        return f"{error.strerror}{where}"
    return f"{type(error).__name__}: {error}\nThis is a fault in VisuNex; -v shows where. Please report it."


def _with_addresses(message: str) -> str:
    """A message; where what read only files of this machine was given an address, it says so."""
    if (whole := restored(message)) == message:
        return message
    return (
        f"{whole}\nOnly what is on this machine is read here: copy it from its bucket, as with `aws s3 cp`."
    )


def quiet_libraries() -> None:
    """Keep the libraries' progress bars and advice to library users off the terminal."""
    import warnings

    import diffusers
    import transformers

    diffusers.utils.logging.set_verbosity_error()
    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    warnings.filterwarnings("ignore", module=r"(diffusers|transformers|huggingface_hub)\.")


@dataclass(frozen=True)
class Table:
    """Rows of text under `columns`, for a terminal; the last column gives way where it is narrow.

    Where that is not enough, and the last one is `spare`, it is left out. Where the others do not fit either,
    each row is a block of lines, in which values stand with their columns' names if they are to be `named`.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    spare: bool = False
    named: bool = False


def show(report: Mapping[str, Any], text: str, table: Table | None = None) -> None:
    """Print a command's result: `report` as JSON when the user asked for `--json`, else `text`.

    On a terminal `table` stands in for `text`, laid out for its width.
    """
    if click.get_current_context().meta.get("visunex.json"):
        click.echo(shown(printable_json(report)))
    elif table is not None and is_terminal(sys.stdout):
        from .terminal import print_table

        print_table(table.columns, table.rows, spare=table.spare, named=table.named)
    else:
        click.echo(printable(shown(text)))

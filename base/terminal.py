"""What is drawn on a terminal, by rich: a line with a bar for each progress at work, and tables.

rich takes a tenth of a second to load: import this only where there is a terminal and something to draw.
"""

import sys
import textwrap
import threading
from collections.abc import Sequence
from typing import IO

from rich.cells import cell_len
from rich.console import Console, Group
from rich.file_proxy import FileProxy
from rich.live import Live
from rich.table import Table as Grid
from rich.text import Text

from .progress import Progress
from .text import printable

__all__ = ["Display", "display", "fitted", "print_table"]

_WIDEST_BAR, _NARROWEST_BAR = 30, 8  # cells
_NARROWEST_COLUMN = 24  # of a table's last column


def fitted(text: str, width: int) -> str:
    """`text` in at most `width` cells: what does not fit is left out from the end, by whole words."""
    words = printable(text).split()
    if cell_len(" ".join(words)) <= width:
        return " ".join(words)
    while words and cell_len(" ".join(words)) > width - 2:
        words.pop()
    return f"{' '.join(words).rstrip(',')} …" if words else ""


class _AboveTheLines(FileProxy):
    """Standard error while lines are drawn: what is written stands above them, and is text, no markup."""

    def __init__(self, console: Console, file: IO[str]) -> None:
        super().__init__(console, file)
        self._console, self._rest = console, ""

    @property
    def rich_proxied_file(self) -> IO[str]:
        """What the console draws on: the file behind the file, where that one lets text through only."""
        file = super().rich_proxied_file
        return getattr(file, "rich_proxied_file", file)

    def write(self, text: str) -> int:
        """Show the lines that are whole by now."""
        lines, ended, self._rest = (self._rest + printable(text)).rpartition("\n")
        if ended:
            self._console.print(Text(lines))
        return len(text)

    def flush(self) -> None:
        """Show the beginning of a line too."""
        rest, self._rest = self._rest, ""
        if rest:
            self._console.print(Text(rest))


class Display:
    """The lines of all progress at work, drawn over at each change; finished ones stay above them."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console
        self._live: Live | None = None
        self._at_work: list[Progress] = []
        self._drawing = threading.RLock()

    def draw(self, progress: Progress) -> None:
        """Draw all lines anew, with that of `progress` among them from now on."""
        with self._drawing:
            if progress not in self._at_work:
                self._at_work.append(progress)
            self._started().refresh()

    def end(self, progress: Progress) -> None:
        """Draw the last line of `progress` above the others, where it stays."""
        with self._drawing:
            console = self._live.console if self._live else self._new_console()
            if self._live and self._at_work == [progress]:
                self._live.stop()  # it draws its lines once more before it takes them away
                self._live = None
            if progress in self._at_work:
                self._at_work.remove(progress)
            if self._live:
                self._live.refresh()
            console.print(Text(progress.line()), width=max(1, console.width - 1))

    def _started(self) -> Live:
        if self._live is None:
            console = self._new_console()
            self._live = Live(
                get_renderable=lambda: self._lines(console),
                console=console,
                auto_refresh=False,
                transient=True,
                redirect_stdout=False,  # stdout may be a file
            )
            self._live.start()
            if isinstance(sys.stderr, FileProxy):  # rich's own reads escape sequences and markup
                sys.stderr = _AboveTheLines(console, sys.stderr.rich_proxied_file)
            console.show_cursor(True)  # rich hides it, and a killed process could not bring it back
        return self._live

    def _new_console(self) -> Console:
        return self._console or Console(stderr=True, force_terminal=True, highlight=False)

    def _lines(self, console: Console) -> Group:
        """A line each: what is done, a bar where there is room, the speed, the remark."""
        width = console.width - 1
        heads = [fitted(each.head(), width) for each in self._at_work]
        head = max(map(cell_len, heads), default=0)
        speeds = [_whole(each.speed(), width - head - 1) for each in self._at_work]
        bar = min(_WIDEST_BAR, width - head - max(map(cell_len, speeds), default=0) - 2)
        bar = bar if bar >= _NARROWEST_BAR else 0
        room = width - head - 1 - (bar + 1 if bar else 0)
        mark = "-" if console.options.ascii_only else "━"
        empty = " " if console.no_color else mark  # else a colour tells them apart
        return Group(
            *(
                Text.assemble(
                    _padded(name, head + 1),
                    *_bar(each, bar, mark, empty),
                    _with_note(speed, each.note, room),
                    no_wrap=True,
                    overflow="crop",
                )
                for each, name, speed in zip(self._at_work, heads, speeds, strict=True)
            )
        )


def _padded(text: str, width: int) -> str:
    return text + " " * (width - cell_len(text))


def _bar(progress: Progress, width: int, mark: str, empty: str) -> list[tuple[str, str]]:
    """What is done and what is not as styled text, and a blank; nothing without a width."""
    if not width:
        return []
    if not progress.total:
        return [(" " * (width + 1), "")]
    done = min(width, width * progress.done // progress.total)
    return [(mark * done, "bar.complete"), (empty * (width - done), "bar.back"), (" ", "")]


def _whole(parts: list[str], width: int) -> str:
    """As many of `parts` as fit, from the first, each whole."""
    for count in range(len(parts), 0, -1):
        if cell_len(text := ", ".join(parts[:count])) <= width:
            return text
    return ""


def _with_note(speed: str, note: str, width: int) -> str:
    room = width - cell_len(speed) - 2
    shown = fitted(note, room) if note and room > 0 else ""
    return f"{speed}, {shown}" if speed and shown else speed or shown


display = Display()


def print_table(
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    console: Console | None = None,
    *,
    spare: bool = False,
    named: bool = False,
) -> None:
    """Print a table on stdout; where its words do not fit beside each other, each row as a block of lines.

    See `console.Table` for `spare` and `named`.
    """
    console = console or Console(force_terminal=True, highlight=False)
    columns, *shown = [[printable(text) for text in row] for row in (columns, *rows)]
    widths = _widths(columns, shown)
    if spare and not _fits(widths, console):
        columns, shown, widths = columns[:-1], [row[:-1] for row in shown], widths[:-1]
    if not _fits(widths, console):
        for first, *others in shown:
            console.print(Text(first, "bold", overflow="fold"))
            for line in _named(columns[1:], others) if named else filter(None, others):
                console.print(Text("\n".join(_indented(line, console.width)), overflow="fold"))
        return
    grid = Grid(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    for head, width in zip(columns, [*widths, _NARROWEST_COLUMN], strict=True):
        grid.add_column(head, min_width=width, overflow="fold")
    for row in shown:
        grid.add_row(*map(Text, row))
    console.print(grid)


def _widths(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[int]:
    """The longest word of each column but the last."""
    return [
        max(cell_len(word) for row in (columns, *rows) for word in row[place].split() or [""])
        for place in range(len(columns) - 1)
    ]


def _fits(widths: Sequence[int], console: Console) -> bool:
    return sum(widths) + 2 * len(widths) + _NARROWEST_COLUMN <= console.width


def _named(columns: Sequence[str], values: Sequence[str]) -> list[str]:
    return [", ".join(f"{name} {value}" for name, value in zip(columns, values, strict=True))]


def _indented(text: str, width: int) -> list[str]:
    return [
        line
        for part in text.splitlines()
        for line in textwrap.wrap(
            part,
            max(3, width),
            initial_indent="  ",
            subsequent_indent="  ",
            break_long_words=False,
            break_on_hyphens=False,
        )
    ]

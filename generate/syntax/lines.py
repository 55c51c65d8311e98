"""Prompt files: a prompt a line, and options behind it as `--name value`."""

import re
from pathlib import Path

from visunex.base.text import lines_of

from ..errors import UsageError

__all__ = ["has_options", "options_in", "prompts_in"]

_OPTION = re.compile(r"(?<!\S)--([A-Za-z][\w-]*)(?:=|(?!\S))")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"|\'([^\']*)\'', re.DOTALL)
_ESCAPED = re.compile(r'\\(["\\])')


def prompts_in(path: Path) -> dict[int, str]:
    """The lines of a file that are not empty, by their numbers from 1.

    Raises UsageError for a file that cannot be read, and one without a prompt.
    """
    try:
        lines = lines_of(path.read_bytes().decode("utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise UsageError(f"the prompts in {path} cannot be read: {reason}") from None
    prompts = {number: line for number, line in enumerate(lines, 1) if line.strip()}
    if not prompts:
        raise UsageError(f"{path} holds no prompt: write one a line")
    return prompts


def has_options(line: str) -> bool:
    """Whether a line holds an option: two hyphens with a name behind them, standing alone."""
    return _OPTION.search(line) is not None


def options_in(line: str) -> tuple[str, list[tuple[str, str]]]:
    """The prompt of a line, and the names and values of its options in their order.

    A value reaches to the next option, so that it needs no quotes; what stands in quotes at its beginning is
    taken as it is, other options' names among it. Raises UsageError for a quote that does not end.
    """
    found, place = [], len(line)
    option = _OPTION.search(line)
    prompt = line[: option.start()] if option else line
    while option:
        value, place = _value(line, option.end(), option[1])
        found.append((option[1], value))
        option = _OPTION.search(line, place)
    return prompt.strip(), found


def _value(line: str, start: int, name: str) -> tuple[str, int]:
    """An option's value, and where what is behind it begins."""
    start += len(line[start:]) - len(line[start:].lstrip())
    inside, end = "", start
    if line[start : start + 1] in ('"', "'"):
        quoted = _QUOTED.match(line, start)
        if quoted is None:
            raise UsageError(f"the quote that begins the value of --{name} does not end")
        inside, end = _ESCAPED.sub(r"\1", quoted[1]) if quoted[1] is not None else quoted[2], quoted.end()
    behind = _OPTION.search(line, end)
    stop = behind.start() if behind else len(line)
    rest = line[end:stop]
    return (inside + rest.rstrip() if inside or end > start else rest.strip()), stop

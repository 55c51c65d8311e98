"""A terminal's screen: what a person sees of the bytes that a program writes."""

import re

_CODES = re.compile(r"\x1b\[(\??\d*)([A-Za-z])|\r|\n|([^\x1b\r\n]+)")


def screen(written: str) -> list[str]:
    """The lines on a terminal after `written`, without the blanks at their ends.

    It knows what rich uses: returns and line feeds, cursor up, lines erased, colours, the cursor hidden. Any
    other code is an AssertionError.
    """
    lines, row, column = [""], 0, 0
    position = 0
    while match := _CODES.match(written, position):
        position = match.end()
        argument, code, text = match.groups()
        if text:
            lines[row] = lines[row][:column].ljust(column) + text + lines[row][column + len(text) :]
            column += len(text)
        elif match[0] == "\r":
            column = 0
        elif match[0] == "\n":
            row, column = row + 1, 0
            lines += [""] * (row == len(lines))
        elif code == "A":
            row -= int(argument or 1)
            assert row >= 0, "the cursor goes above the first line"
        elif code == "K" and argument == "2":
            lines[row] = ""
        else:
            assert code == "m" or (argument, code) in (("?25", "l"), ("?25", "h")), match[0]
    assert position == len(written), written[position : position + 20]
    return [line.rstrip() for line in lines]

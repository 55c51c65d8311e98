"""The text of the Stable Diffusion web UI: a prompt, a negative prompt, and a line of `Name: value`."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from visunex.base.text import lines_of

__all__ = ["SAMPLERS", "Infotext", "parse", "quoted", "sampler_name", "unquoted", "written"]

NEGATIVE = "Negative prompt:"
MOST_SETTINGS = 1 << 16  # characters of the last line; what is longer is part of a prompt
_ONE_LINE = re.compile(r", *(?=Steps: \d)")
_BLANKS = re.compile(r"\s*")
_QUOTED = re.compile(r'"(?:[^\\"]|\\.)*"')

# What the web UI calls samplers, by our names for them; it has no other of ours.
SAMPLERS = {
    "ddim": "DDIM",
    "plms": "PLMS",
    "EulerAncestralDiscrete": "Euler a",
    "EulerDiscrete": "Euler",
    "LMSDiscrete": "LMS",
    "HeunDiscrete": "Heun",
    "KDPM2Discrete": "DPM2",
    "KDPM2AncestralDiscrete": "DPM2 a",
    "DPMSolverMultistep": "DPM++ 2M",
    "DPMSolverSDE": "DPM++ SDE",
    "UniPCMultistep": "UniPC",
    "LCM": "LCM",
}


@dataclass(frozen=True)
class Infotext:
    """A web UI's text taken apart; `fields` are its settings under the web UI's names."""

    prompt: str
    negative_prompt: str
    fields: dict[str, str]


def written(prompt: str, negative_prompt: str, fields: Mapping[str, Any]) -> str:
    """The text that the web UI shows under an image and can take back."""
    lines = [prompt, *([f"{NEGATIVE} {negative_prompt}"] if negative_prompt else [])]
    settings = ", ".join(f"{name}: {quoted(str(value))}" for name, value in fields.items())
    return "\n".join([*lines, settings])


def quoted(text: str) -> str:
    """The web UI's own quoting of values that hold its separators."""
    return json.dumps(text, ensure_ascii=False) if re.search(r'[,:\n"]', text) else text


def unquoted(value: str) -> str:
    """A value of the settings without the web UI's quoting."""
    if _QUOTED.fullmatch(value):
        try:
            return str(json.loads(value))
        except ValueError:
            return value[1:-1]
    return value


def parse(text: str) -> Infotext:
    """Take apart what `written` or a web UI wrote. A text without settings is all prompt."""
    lines = lines_of(text.strip())
    if not any(line.strip().startswith("Steps:") for line in lines):
        lines[-1:] = _ONE_LINE.split(lines[-1], maxsplit=1)
    last, fields = _settings_in(lines)
    above = lines[:last]
    starts = [number for number, line in enumerate(above) if line.strip().startswith(NEGATIVE)]
    first = starts[0] if starts else len(above)
    negative = "\n".join(above[first:]).strip().removeprefix(NEGATIVE)
    return Infotext("\n".join(above[:first]).strip(), negative.strip(), fields)


def _settings_in(lines: list[str]) -> tuple[int, dict[str, str]]:
    """The number of the line of settings, and these; what extensions write below it is not read."""
    for number in range(len(lines) - 1, -1, -1):
        if lines[number].strip().startswith("Steps:") and len(lines[number]) <= MOST_SETTINGS:
            return number, dict(_fields(lines[number]))
    fields = dict(_fields(lines[-1])) if len(lines[-1]) <= MOST_SETTINGS else {}
    return (len(lines) - 1, fields) if len(fields) >= 3 else (len(lines), {})


def _fields(line: str) -> Iterator[tuple[str, str]]:
    """Names and values of a line, in time that grows with its length alone, whatever it holds."""
    place = 0
    while (colon := line.find(":", place)) >= 0:
        name = line[place:colon].rpartition(",")[2].strip()
        start = _BLANKS.match(line, colon + 1).end()  # type: ignore[union-attr]
        in_quotes = _QUOTED.match(line, start)
        end = line.find(",", in_quotes.end() if in_quotes else start)
        end = len(line) if end < 0 else end
        if name:
            yield name, unquoted(line[start:end].strip())
        place = end + 1


def sampler_name(scheduler: str) -> str:
    """What the web UI calls one of our schedulers; our own name where it has none."""
    return SAMPLERS.get(scheduler, scheduler)

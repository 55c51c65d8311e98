"""The tables of docs/evidence.md, from the numbers in docs/evidence.json."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

COLUMNS = {
    "flowers": "with flowers",
    "darkness": "darker by",
    "warmth": "warmer by",
    "autumn": "taken for autumn",
    "clip_t:visunex-judge": "prompt kept",
    "diversity:visunex-judge": "diversity",
}
SHOWN = {
    "drawn": ("flowers", "clip_t:visunex-judge"),
    "steps": ("flowers", "clip_t:visunex-judge", "diversity:visunex-judge"),
    "how": ("flowers", "clip_t:visunex-judge", "diversity:visunex-judge"),
    "how many": ("flowers", "clip_t:visunex-judge"),
    "wrong": ("flowers", "clip_t:visunex-judge"),
    "away": ("flowers", "clip_t:visunex-judge"),
    "together": ("flowers", "darkness", "clip_t:visunex-judge"),
    "tinted": ("warmth", "clip_t:visunex-judge"),
    "negative": ("warmth", "clip_t:visunex-judge"),
    "nameless": ("warmth", "autumn", "clip_t:visunex-judge"),
}
CHANGES = ("warmth", "darkness")  # which prompts have of themselves, and each another
BLOCK = re.compile(r"(<!-- ([\w ]+) -->\n).*?(<!-- /\2 -->)", re.DOTALL)


def with_tables(page: str, found: Mapping[str, Any]) -> str:
    """The page with its tables made anew."""

    def table(block: "re.Match[str]") -> str:
        name = block[2]
        lines = TABLES[name](found[name]) if name in TABLES else measured(found[name], SHOWN[name])
        return block[1] + "\n".join(lines) + "\n" + block[3]

    return BLOCK.sub(table, page)


def measured(answer: Mapping[str, Any], names: Sequence[str]) -> Iterator[str]:
    """A row for each setting; the plain pictures once."""
    yield f"| setting | {' | '.join(COLUMNS[name] for name in names)} |"
    yield "|---|" + "---|" * len(names)
    plain = False
    for setting, measures in answer.items():
        is_plain = setting.endswith(", plain")
        if is_plain and plain:
            continue
        plain = plain or is_plain
        cells = (value(name, measures[name]["change" if name in CHANGES else "mean"]) for name in names)
        yield f"| {'plain' if is_plain else setting} | {' | '.join(cells)} |"


def value(name: str, interval: Sequence[float]) -> str:
    """A mean with its interval; shares in percent, changes with their sign."""
    if name in ("flowers", "autumn"):
        mean, low, high = (f"{100 * each:.0f}" for each in interval)
        return f"{mean} % ({low} to {high})"
    mean, low, high = (f"{each:+.3f}" if name in CHANGES else f"{each:.3f}" for each in interval)
    return f"{mean} ({low} to {high})"


def settling(answer: Mapping[str, Sequence[float]]) -> Iterator[str]:
    """A row for each number of pictures, a column for each model."""
    models, counts = (list(dict.fromkeys(key.split(", ")[at] for key in answer)) for at in (0, 1))
    yield f"| pictures | {' | '.join(models)} |"
    yield "|---|" + "---|" * len(models)
    for count in counts:
        cells = (value("", answer[f"{model}, {count}"]) for model in models)
        yield f"| {count} | {' | '.join(cells)} |"


def spoiling(answer: Mapping[str, Sequence[float]]) -> Iterator[str]:
    """A row for each reduction; for each model a column without wrong pictures and one with."""
    models, names, counts = (list(dict.fromkeys(key.split(", ")[at] for key in answer)) for at in range(3))
    heads = [f"{model}, {'a fifth wrong' if int(count) else 'clean'}" for model in models for count in counts]
    yield f"| reduction | {' | '.join(heads)} |"
    yield "|---|" + "---|" * len(heads)
    for name in names:
        cosines = (answer[f"{model}, {name}, {count}"] for model in models for count in counts)
        yield f"| {name} | {' | '.join(value('', each) for each in cosines)} |"


def reach(answer: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """A row for each model and look."""
    yield "| model, look | told apart, unseen | within texts' reach | nearest words | cosine to these |"
    yield "|---|---|---|---|---|"
    for name, each in answer.items():
        told, within, cosine = each["told apart"], each["within texts"], each["cosine"]
        cells = (value("flowers", told), value("", within), each["nearest words"], value("", cosine))
        yield f"| {name} | {' | '.join(cells)} |"


TABLES = {"settling": settling, "spoiling": spoiling, "reach": reach}

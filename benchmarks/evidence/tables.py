"""The tables of docs/evidence.md, and numbers in sentences of other pages, from docs/evidence.json."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.evidence.looks import LOOKS
from benchmarks.evidence.marks import MARKS
from visunex.base.files import write_text

DOCS = Path(__file__).parents[2] / "docs"
NUMBERS, PAGE = DOCS / "evidence.json", DOCS / "evidence.md"
COLUMNS = {
    "flowers": "with flowers",
    "subject": "thing kept",
    "light": "light kept",
    "darkness": "darker by",
    "warmth": "warmer by",
    "greenness": "greener by",
    "frame": "more of a frame by",
    "lines": "more thin lines by",
    "autumn": "taken for autumn",
    "clip_t:visunex-judge": "prompt kept",
    "diversity:visunex-judge": "diversity",
    **{look: look for look in LOOKS},
}
KEPT = ("subject", "light", "clip_t:visunex-judge")
SHOWN = {
    "drawn": ("flowers", *KEPT),
    "steps": ("flowers", *KEPT, "diversity:visunex-judge"),
    "how": ("flowers", *KEPT, "diversity:visunex-judge"),
    "how many": ("flowers", *KEPT),
    "wrong": ("flowers", *KEPT),
    "away": ("flowers", *KEPT),
    "negative weights": ("flowers", "darkness", *KEPT),
    "together": ("flowers", "darkness", *KEPT),
    "weighted": ("flowers", "darkness", *KEPT),
    "blends": ("flowers", *KEPT),
    "tinted": ("warmth", *KEPT),
    "negative": ("warmth", *KEPT),
    "looks without guidance": (*LOOKS, "subject", "light"),
    "nameless": ("warmth", "autumn", *KEPT),
}
FRONTS = dict.fromkeys(("steps", "blends"), ("flowers", "subject", "light"))
SHARES = ("flowers", "autumn", "subject", "light", *LOOKS)
CHANGES = ("warmth", "darkness", *MARKS.values())  # which prompts have of themselves, and each another
BLOCK = re.compile(r"(<!-- ([\w :]+) -->\n).*?(<!-- /\2 -->)", re.DOTALL)

# A number in a sentence: <!-- =question / setting / measure -->, or =mean of ... for it without its interval.
INLINE = re.compile(r"(<!-- =(mean of )?([^/>]+?) / ([^/>]+?) / ([^/>]+?) -->)(.*?)(<!-- / -->)", re.DOTALL)


def with_values(page: str, found: Mapping[str, Any]) -> str:
    """A page with the numbers in its sentences made anew."""

    def number(place: "re.Match[str]") -> str:
        measures = found[place[3]][place[4]]
        text = value(place[5], measures[place[5]]["change" if place[5] in CHANGES else "mean"])
        return place[1] + (text.partition(" (")[0] if place[2] else text) + place[7]

    return INLINE.sub(number, page)


def with_tables(page: str, found: Mapping[str, Any]) -> str:
    """The page with its tables made anew."""

    def table(block: "re.Match[str]") -> str:
        return block[1] + "\n".join(_table(block[2], found)) + "\n" + block[3]

    return BLOCK.sub(table, page)


def _table(name: str, found: Mapping[str, Any]) -> Iterator[str]:
    """The lines of the table of this name."""
    question, _, look = name.partition(": ")
    if look:
        rows = {each: found[question][each] for each in found[question] if each.startswith(f"{look}, ")}
        return measured(rows, (MARKS[look], *LOOKS, *KEPT))
    if name in TABLES:
        return TABLES[name](found[name])
    return measured(found[name], SHOWN[name], FRONTS.get(name, ()))


def measured(answer: Mapping[str, Any], names: Sequence[str], better: Sequence[str] = ()) -> Iterator[str]:
    """A row for each setting, the plain pictures once; marked, if on the front of what is better."""
    names = [name for name in names if all(name in measures for measures in answer.values())]
    front = front_of(answer, better)
    yield f"| setting | {' | '.join(COLUMNS[name] for name in names)} |{' on the front |' if better else ''}"
    yield "|---|" + "---|" * (len(names) + bool(better))
    plain = False
    for setting, measures in answer.items():
        is_plain = setting.endswith(", plain")
        if is_plain and plain:
            continue
        plain = plain or is_plain
        cells = [value(name, measures[name]["change" if name in CHANGES else "mean"]) for name in names]
        cells += ["yes" if setting in front else ""] if better else []
        yield f"| {'plain' if is_plain else setting} | {' | '.join(cells)} |"


def front_of(answer: Mapping[str, Any], better: Sequence[str]) -> set[str]:
    """The settings than which no other is better in one of these measures and no worse in the others."""
    points = {name: [each[measure]["mean"][0] for measure in better] for name, each in answer.items()}
    return {
        name
        for name, own in points.items()
        if not any(
            other != own and all(b >= a for a, b in zip(own, other, strict=True)) for other in points.values()
        )
    }


def value(name: str, interval: Sequence[float]) -> str:
    """A mean with its interval; shares in percent, changes with their sign."""
    if name in SHARES:
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


def classifier(answer: Mapping[str, Any]) -> Iterator[str]:
    """A row for each lot of unseen pictures, a column for each thing that is told."""
    heads = list(answer["right"]["as drawn"])
    yield f"| right of unseen pictures | {' | '.join(heads)} |"
    yield "|---|" + "---|" * len(heads)
    for name, shares in answer["right"].items():
        cells = (value("subject", shares[each]) for each in heads)
        yield f"| {answer['pictures'][name]}, {name} | {' | '.join(cells)} |"


def looks_alone(answer: Mapping[str, Mapping[str, float]]) -> Iterator[str]:
    """A row for each kind of caption, a column for each look."""
    yield f"| caption | {' | '.join(LOOKS)} |"
    yield "|---|" + "---|" * len(LOOKS)
    for group, shares in answer.items():
        yield f"| {group} | {' | '.join(f'{100 * shares[look]:.0f} %' for look in LOOKS)} |"


def looks_kept(answer: Mapping[str, Sequence[float]]) -> Iterator[str]:
    """A row for each autoencoder, a column for each look."""
    yield f"| autoencoder | {' | '.join(LOOKS)} |"
    yield "|---|" + "---|" * len(LOOKS)
    for name in dict.fromkeys(key.partition(", ")[0] for key in answer):
        yield f"| {name} | {' | '.join(value('subject', answer[f'{name}, {look}']) for look in LOOKS)} |"


TABLES = {
    "settling": settling,
    "spoiling": spoiling,
    "reach": reach,
    "classifier": classifier,
    "looks alone": looks_alone,
    "looks kept": looks_kept,
    "looks reach": reach,
}


def write_pages() -> None:
    """The tables of docs/evidence.md, and the numbers in sentences of every page, by what was measured."""
    found = json.loads(NUMBERS.read_text(encoding="utf-8"))
    for path in (DOCS.parent / "README.md", *DOCS.glob("*.md")):
        before = path.read_text(encoding="utf-8")
        after = with_values(with_tables(before, found) if path == PAGE else before, found)
        if after != before:
            write_text(path, after)

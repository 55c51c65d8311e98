"""What the catalogue says of its sets, for a person: a row of the table, a set's facts, the page of all."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from .entries import DataSet

__all__ = ["COLUMNS", "as_json", "commands", "facts", "page", "row"]

COLUMNS = ("source", "rows", "scores", "pictures", "vectors", "licence", "about")


def row(named: DataSet) -> tuple[str, ...]:
    """A set's row of the table, as COLUMNS are; an asterisk behind its name: gated."""
    return (
        named.name + ("*" if named.gated else ""),
        _rows(named, short=True),
        named.predictor or "-",
        named.images,
        "yes" if named.vectors else "-",
        named.licence.partition(";")[0].partition(",")[0].partition(" (")[0],
        named.about,
    )


def as_json(named: DataSet) -> dict[str, Any]:
    """All that is known of a set, for JSON."""
    found = asdict(named)
    plain = {name: dict(value) if isinstance(value, Mapping) else value for name, value in found.items()}
    return {**plain, "else": plain.pop("otherwise")}


def facts(named: DataSet) -> Iterator[tuple[str, str]]:
    """What is known of a set, a name and a value each; its columns aside."""
    yield "rows", _rows(named)
    yield "scores", _scores(named.predictor)
    yield "pictures", "links to the web" if named.images == "links" else "inside the files"
    yield "vectors", named.vectors or "none known"
    yield "vectors at", named.vectors_at and f"{named.vectors_at} (--precomputed {named.name})"
    yield "licence", named.licence
    yield "gated", "yes: accept its terms on its page, then set HF_TOKEN" if named.gated else ""
    yield from (("at", address) for address in named.addresses)
    yield from (("else a copy", address) for address in named.copies)
    yield from (
        ("else", f"{each.source}, rows with a score >= {each.min_score:g}") for each in named.otherwise
    )
    yield from (("a part of it", f"{place}: {what}") for place, what in named.partial.items())
    bound = named.max_punsafe
    yield "bound", "" if bound is None else f"punsafe <= {bound:g}, unless --max-punsafe says otherwise"
    yield "hash", f"{named.hash.upper()} of the picture's file" if named.hash else ""
    yield from (("the " + role, f"column {column}") for role, column in named.roles.items())
    yield from (("the " + role, f"put together: {template}") for role, template in named.made.items())
    yield "note", named.note
    yield "known from", named.checked


def page(sets: Mapping[str, DataSet]) -> str:
    """What `docs/sources.md` has of the catalogue: the table, and a part for each set."""
    table = ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
    table += ["| " + " | ".join(map(_plain, row(named))) + " |" for named in sets.values()]
    return "\n".join([*table, "", *map(_section, sets.values())])


def commands(named: DataSet) -> list[str]:
    """What to run for an embedding of a set."""
    if named.name == "demo":
        return ["visunex-data run demo_flower"]
    score = " --min-score 6.5" if named.predictor == "V2" else ""
    begin = f"visunex-data filter {named.name} --keywords flower,garden{score} --top 2000"
    if named.vectors_at:
        return [named.command or begin, f"visunex-data encode --precomputed {named.name}"]
    return [named.command or begin, "visunex-data download", "visunex-data encode"]


def _section(named: DataSet) -> str:
    said = [f"- {what}: {_plain(value)}" for what, value in facts(named) if value]
    columns = ", ".join(
        f"`{name}`" + ("" if kind == "not verified" else f" {kind}") for name, kind in named.columns.items()
    )
    shown = "\n".join(["```", *commands(named), "```"])
    listed = f"- columns: {columns or 'not verified'}"
    return "\n".join(
        [f"## {named.name}\n", f"{_plain(named.about.rstrip('.'))}.\n", *said, listed, "", shown, ""]
    )


def _scores(predictor: str | None) -> str:
    words = {None: "none", "unknown": "of a predictor that nobody names", "people": "of people"}
    return words.get(predictor, f"of LAION's predictor {predictor}")


def _rows(named: DataSet, *, short: bool = False) -> str:
    if named.rows is None:
        return "-" if short else "not verified"
    return f"{named.rows:,}" if named.exact or short else f"about {named.rows:,}"


def _plain(text: str) -> str:
    """Text in which Markdown finds nothing to set."""
    return text.replace("*", "\\*").replace("|", "\\|").replace("<", "\\<").replace("_", "\\_")

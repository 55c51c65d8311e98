"""Tables of a page: a label, a value and a bar in each line."""

import contextlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from visunex.base.errors import VisunexError
from visunex.base.text import shortened

from ..errors import parquet_errors
from ..rundir import RunDir
from .facts import Facts, section_of

__all__ = ["ABOUT", "Bar", "funnel", "tables"]

_HOSTS, _ROWS = 10, 24  # hosts that are named, and rows of another table
_LONGEST = 100  # characters of a label

# What a person has to know to read a table, by its title.
ABOUT = {
    "Why rows were left out": "What rows failed first. Beyond reserve: they pass, but enough others do.",
    "What became of the links": "Spare: fetched, not among the best. Placeholder: a picture that says "
    "there is none. Duplicate: the same as a better one.",
    "Nearest words": "Words of the captions, by the cosine of their vectors to the embedding.",
    "Beside published embeddings": "Cosines to those of the same space that are on this machine.",
}


@dataclass(frozen=True)
class Bar:
    """A line of a table: its label, its value, and the length of its bar in percent (None: no bar)."""

    label: str
    value: str
    share: float | None = None


def funnel(reports: Mapping[str, Mapping[str, Any]]) -> list[Bar]:
    """From the rows of the metadata to the vectors in the embedding."""
    chain = (
        ("filter", "rows", "rows of the metadata"),
        ("filter", "passed", "rows that pass"),
        ("filter", "selected", "candidates"),
        ("download", "attempted", "candidates tried"),
        ("download", "had", "pictures fetched"),
        ("download", "chosen", "pictures chosen"),
        ("encode", "precomputed", "vectors taken as published"),
        ("encode", "encoded", "pictures encoded"),
    )
    found = [(label, _number(reports.get(stage, {}).get(key))) for stage, key, label in chain]
    by_vectors = section_of(reports.get("encode", {}), "choice")
    found.append(("chosen by their vectors", _number(by_vectors.get("chosen"))))
    counts = [(label, count) for label, count in found if count is not None]
    largest = max((count for _, count in counts), default=0)
    return [Bar(label, f"{count:,}", _share(count, largest)) for label, count in counts]


def tables(facts: Facts) -> dict[str, list[Bar]]:
    """The tables of a run by their titles; some are empty."""
    reports = facts.reports
    encode, download, filtered = (reports.get(stage, {}) for stage in ("encode", "download", "filter"))
    words = [
        Bar(str(each.get("word")), f"{each['cosine']:.3f}", _share(each["cosine"], 0.4))
        for each in encode.get("words") or ()
        if isinstance(each, Mapping) and isinstance(each.get("cosine"), float)
    ]
    return {
        "Why rows were left out": _counted(section_of(filtered, "dropped")),
        "What became of the links": _counted(section_of(download, "classes")),
        "Hosts that failed most": _failing_hosts(facts),
        "Pictures that could not be encoded": _counted(section_of(encode, "failed")),
        "What their vectors told": _counted(section_of(encode, "choice")),
        "Licences": _counted(section_of(filtered, "licenses")),
        "Nearest words": words,
        "Beside published embeddings": _published(facts),
        "Scores by predictors": _predicted(facts.run),
    }


def _counted(counts: Mapping[str, Any]) -> list[Bar]:
    numbers = {str(name): count for name, count in counts.items() if isinstance(count, int) and count}
    largest = max(numbers.values(), default=0)
    ordered = sorted(numbers.items(), key=lambda pair: -pair[1])
    rest = sum(count for _, count in ordered[_ROWS:])
    ordered = ordered[:_ROWS] + ([(f"{len(ordered) - _ROWS:,} others", rest)] if rest else [])
    return [
        Bar(shortened(name.replace("_", " "), _LONGEST), f"{count:,}", _share(count, largest))
        for name, count in ordered
    ]


def _failing_hosts(facts: Facts) -> list[Bar]:
    """The hosts of most links that failed, with how many were tried."""
    failed, tried = Counter[str](), Counter[str]()
    names = ("status", "error_class", "url")
    with contextlib.suppress(*parquet_errors()):
        for block in facts.blocks(*names):
            for status, kind, link in zip(*(block[name].to_pylist() for name in names), strict=True):
                if status not in (None, "not_attempted"):
                    host = _host(link)
                    tried[host] += 1
                    failed[host] += kind is not None
    worst = [(host, count) for host, count in failed.most_common(_HOSTS) if count]
    return [Bar(host, f"{count:,} of {tried[host]:,}", _share(count, tried[host])) for host, count in worst]


def _host(link: object) -> str:
    with contextlib.suppress(ValueError):
        return urlsplit(str(link)).hostname or "no host"
    return "no host"


def _published(facts: Facts) -> list[Bar]:
    """The cosines to those published embeddings that are on this machine and of the same space."""
    from visunex.aesthetic_embeddings.arithmetic import compare
    from visunex.aesthetic_embeddings.artefact import load
    from visunex.aesthetic_embeddings.catalogue import catalogue
    from visunex.aesthetic_embeddings.space import space_of

    if facts.embedding is None:
        return []
    ours, cosines = load(facts.run.embedding), dict[str, float]()
    if space_of(ours) is not None:
        for name, entry in catalogue().items():
            with contextlib.suppress(VisunexError, OSError):  # one of another space, or damaged
                if (path := entry.file.cached()) is not None:
                    cosines[name] = compare(ours, load(path))
    ordered = sorted(cosines.items(), key=lambda pair: -pair[1])
    return [Bar(name, f"{cosine:.3f}", _share(max(0.0, cosine), 1)) for name, cosine in ordered]


def _predicted(run: RunDir) -> list[Bar]:
    """Median and quartiles of what `visunex-data score` wrote into the run."""
    import pyarrow.parquet as pq

    with contextlib.suppress(*parquet_errors()):
        table = pq.ParquetFile(run.path / "scores.parquet").read()
        names = [field.name for field in table.schema if str(field.type) in ("double", "float")]
        return [Bar(name, _quartiles(table[name].to_numpy())) for name in names]
    return []


def _quartiles(values: Any) -> str:
    finite = values[np.isfinite(values)]
    if not len(finite):
        return "none"
    low, middle, high = np.percentile(finite, [25, 50, 75])
    return f"median {middle:.3f}, half of them {low:.3f} to {high:.3f}"


def _number(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _share(count: float, largest: float) -> float | None:
    return min(100.0, 100 * count / largest) if largest > 0 else None

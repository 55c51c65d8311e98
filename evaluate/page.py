"""`report.html`: the answer in a table, curves and pictures, which lie beside it. There is no script."""

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from visunex.pipeline.report import Curve, curves_plot, template

from .plan import PLAIN
from .summary import axes_of

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["page_of"]

ABOUT = {
    "taste": "cosine to the taste, by its own encoder",
    "clip_i": "mean cosine to the pictures left out of the taste (CLIP-I)",
    "clip_t": "cosine to the prompt (CLIP-T)",
    "diversity": "mean cosine distance between seeds",
    "V1": "LAION's aesthetic predictor V1",
    "V2": "LAION's aesthetic predictor V2",
    "sac": "the predictor of people's ratings (SAC)",
    "flowers": "share of pictures with flowers, by colour alone",
    "warmth": "more red than blue, by colour alone",
    "darkness": "how dark, by colour alone",
}


@dataclass(frozen=True)
class Block:
    """What the page shows of one taste: a row for each setting, plots, and the pictures by prompt."""

    label: str
    measures: Sequence[tuple[str, str]]
    rows: Sequence[Mapping[str, Any]]
    plots: Sequence[tuple[str, str]]
    votes: Mapping[str, Mapping[str, Any]]
    columns: Sequence[str]
    prompts: Sequence[tuple[str, Sequence[Sequence[str]]]]


def page_of(table: "pa.Table", report: Mapping[str, Any]) -> str:
    """The page's text."""
    blocks = [_block(label, found, table) for label, found in report["tastes"].items()]
    return template(__package__, "report.html.j2").render(report=report, blocks=blocks)


def _block(label: str, found: Mapping[str, Any], table: "pa.Table") -> Block:
    import pyarrow.compute as pc

    settings = found["settings"]
    names = list(dict.fromkeys(name for each in settings for name in each["measures"]))
    rows = (
        table.filter(pc.equal(table["embedding"], label)).select(["setting", "prompt", "image"]).to_pylist()
    )
    by_prompt: dict[str, dict[str, list[str]]] = {}
    for row in rows:
        by_prompt.setdefault(row["prompt"], {}).setdefault(row["setting"], []).append(row["image"])
    columns = [each["setting"] for each in settings]
    return Block(
        label,
        [(name, about(name)) for name in names],
        [
            {
                "setting": each["setting"],
                "front": each["setting"] in found["front"],
                "values": [_value(each["measures"].get(name), each["method"] == PLAIN) for name in names],
            }
            for each in settings
        ],
        _plots(settings, names),
        found["votes"],
        columns,
        [
            (prompt, list(zip(*(images[column] for column in columns), strict=True)))
            for prompt, images in by_prompt.items()
        ],
    )


def about(name: str) -> str:
    """What a measure is, for a person."""
    plain, _, other = name.partition(":")
    said = ABOUT.get(plain, f"the judge {plain}")
    return said.replace("its own encoder", other) if other else said


def _value(measure: Mapping[str, Sequence[float]] | None, is_plain: bool) -> tuple[str, str, str]:
    """The mean, its interval, and the change from the plain pictures."""
    if measure is None:
        return "–", "", ""
    (mean, low, high), (change, least, most) = measure["mean"], measure["change"]
    moved = "" if is_plain else f"{change:+.3f} ({least:+.3f} to {most:+.3f})"
    return f"{mean:.3f}", f"{low:.3f} to {high:.3f}", moved


def _plots(settings: Sequence[Mapping[str, Any]], names: Sequence[str]) -> list[tuple[str, str]]:
    """Each measure over the strength, a curve for each method; and the front, taste against prompt."""
    plain, *others = settings
    methods = list(dict.fromkeys(each["method"] for each in others if len(_of(others, each["method"])) > 1))
    found = [("Taste against prompt", _front(settings))]
    for name in names if methods else ():
        curves = [_curve(method, [plain, *_of(others, method)], name) for method in methods]
        found.append(
            (about(name), curves_plot(curves, "strength", name, html.escape(f"{name} over strength")))
        )
    return found


def _of(settings: Sequence[Mapping[str, Any]], method: str) -> list[Mapping[str, Any]]:
    return [each for each in settings if each["method"] == method]


def _curve(method: str, settings: Sequence[Mapping[str, Any]], name: str) -> Curve:
    points = [
        (each["strength"], *each["measures"][name]["mean"]) for each in settings if name in each["measures"]
    ]
    x, y, low, high = zip(*points, strict=True)
    return Curve(method, x, y, low, high)


def _front(settings: Sequence[Mapping[str, Any]]) -> str:
    """The settings of each method as points, the plain pictures where each begins."""
    plain, *others = settings
    taste, prompt = axes_of(plain["measures"])
    curves: list[Curve] = []
    for method in dict.fromkeys(each["method"] for each in others):
        line = [each["measures"] for each in (plain, *_of(others, method))]
        x, y = ([each[name]["mean"][0] for each in line] for name in (prompt, taste))
        labels = [each["setting"] for each in _of(others, method)]
        curves.append(Curve(method, x, y, labels=["" if curves else plain["setting"], *labels]))
    return curves_plot(curves, about(prompt), about(taste), "taste against prompt")

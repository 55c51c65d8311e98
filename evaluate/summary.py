"""Rows to an answer: each measure by setting with its interval, and its change from the plain pictures."""

import importlib.metadata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .measures import Floats, interval, means_by
from .plan import PLAIN, Request

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["WHO", "front_of", "summary_of"]

WHO = ("embedding", "method", "strength", "setting", "prompt_number", "prompt", "seed", "image")
LIBRARIES = ("visunex", "torch", "diffusers", "open_clip_torch", "numpy")


def summary_of(
    request: Request,
    table: "pa.Table",
    prompts: Sequence[str],
    remarks: Sequence[str],
    votes: Mapping[str, Mapping[str, Floats]],
) -> dict[str, Any]:
    """What `report.json` has; `votes` are those on each taste's settings, 1 for each that was won."""
    names = [name for name in table.column_names if name not in WHO]
    tastes = {
        label: {**_taste(_rows(table, "embedding", label), names), "votes": _votes(votes.get(label, {}))}
        for label in dict.fromkeys(table["embedding"].to_pylist())
    }
    sampling = vars(request.sampling)
    return {
        "model": request.model,
        "prompts": len(prompts),
        "seeds": request.seeds,
        "prompts_file": request.prompts,
        "sampling": {name: sampling[name] for name in ("scheduler", "steps", "guidance_scale", "seed")},
        "tastes": tastes,
        "remarks": list(remarks),
        "libraries": {name: importlib.metadata.version(name) for name in LIBRARIES},
    }


def _taste(rows: "pa.Table", names: Sequence[str]) -> dict[str, Any]:
    """The settings of one taste, plain first, and which of them are on the front."""
    plain = _rows(rows, "method", PLAIN)
    settings = []
    for name in dict.fromkeys(rows["setting"].to_pylist()):
        own = _rows(rows, "setting", name)
        settings.append(
            {
                "setting": name,
                "method": own["method"][0].as_py(),
                "strength": own["strength"][0].as_py(),
                "pictures": own.num_rows,
                "measures": {each: found for each in names if (found := _measure(own, plain, each))},
            }
        )
    return {"settings": settings, "front": front_of(settings)}


def _votes(wins: Mapping[str, Floats]) -> dict[str, Any]:
    """The share of votes that each setting won, and its interval when the votes are drawn again."""
    shares = {name: (len(values), interval(values)) for name, values in wins.items()}
    return {
        name: {"votes": count, "won": share.as_list()}
        for name, (count, share) in shares.items()
        if share is not None
    }


def _rows(table: "pa.Table", column: str, value: str) -> "pa.Table":
    import pyarrow.compute as pc

    return table.filter(pc.equal(table[column], value))


def _measure(rows: "pa.Table", plain: "pa.Table", name: str) -> dict[str, list[float]] | None:
    """The mean and its interval over prompts; the same of the change from the plain pictures."""
    own, before = _by_prompt(rows, name), _by_prompt(plain, name)
    mean, change = interval(own), interval(own - before)
    if mean is None or change is None:
        return None
    return {"mean": mean.as_list(), "change": change.as_list()}


def _by_prompt(rows: "pa.Table", name: str) -> Floats:
    values = rows[name].to_numpy(zero_copy_only=False).astype(np.float64)
    return means_by(rows["prompt_number"].to_numpy(), values)


def front_of(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """The settings that no other beats both in the taste and in the prompt: by a foreign encoder if there is
    one."""
    points = {each["setting"]: _point(each["measures"]) for each in settings}
    return [
        name
        for name, own in points.items()
        if not any(
            other != own and all(b >= a for a, b in zip(own, other, strict=True)) for other in points.values()
        )
    ]


def axes_of(measures: Mapping[str, Any]) -> tuple[str, str]:
    """The measures of the front: taste and prompt, by a foreign encoder if there is one."""
    foreign = [name for name in measures if name.startswith("taste:")]
    behind = foreign[0].removeprefix("taste") if foreign else ""
    return f"taste{behind}", f"clip_t{behind}"


def _point(measures: Mapping[str, Any]) -> tuple[float, float]:
    first, second = (measures[name]["mean"][0] for name in axes_of(measures))
    return first, second


def text_of(report: Mapping[str, Any], outdir: Path) -> str:
    """The answer for a person."""
    lines = []
    for label, found in report["tastes"].items():
        lines.append(f"{label}: {report['prompts']} prompts, {report['seeds']} seeds each")
        taste, prompt = axes_of(found["settings"][0]["measures"])
        for each in found["settings"]:
            mark = "  on the front" if each["setting"] in found["front"] else ""
            values = (each["measures"][name]["mean"] for name in (taste, prompt))
            first, second = (f"{mean:.3f} ({low:.3f} to {high:.3f})" for mean, low, high in values)
            lines.append(f"  {each['setting']:>12}  {taste} {first}  {prompt} {second}{mark}")
        for name, said in found["votes"].items():
            mean, low, high = said["won"]
            lines.append(f"  {name:>12}  won {mean:.0%} ({low:.0%} to {high:.0%}) of {said['votes']} votes")
    return "\n".join([*lines, *report["remarks"], str(outdir / "report.html")])

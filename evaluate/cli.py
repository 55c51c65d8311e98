"""`visunex-evaluate`: the command line."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from visunex.base.console import Program, UnderHeadings, proxy_option, show
from visunex.generate.command.options import option
from visunex.generate.command.values import Finite, Folder, Numbers, Whole
from visunex.generate.settings import DEFAULT_MODEL

if TYPE_CHECKING:
    from .plan import Request

__all__ = ["main"]

Function = TypeVar("Function", bound=Callable[..., Any])
METHODS = ("steer", "lora", "token", "prompt", "best-of")

WHAT = [
    option(
        "--aesthetic_embedding",
        "A taste: a file, a run, or a published embedding; repeat to compare several.",
        field="embeddings",
        multiple=True,
        required=True,
    ),
    option(
        "--aesthetic_steps",
        "Steps towards the taste; 0 is always among them.",
        type=Numbers(),
        field="steps",
        default="0,5,10,20",
    ),
    option("--aesthetic_lr", "Length of each such step.", type=Finite(), field="lr", default=1e-4),
    option(
        "--method",
        "How a taste gets into pictures: steer; a lora or a token that stands for so many steps; prompt, the "
        "best words for it behind the prompt; best-of, chosen among several. Repeat to compare.",
        type=click.Choice(METHODS),
        field="methods",
        multiple=True,
        default=("steer",),
    ),
    option(
        "--best_of",
        "Pictures that --method best-of chooses from, for each seed.",
        type=Numbers(),
        default="4",
    ),
    option(
        "--prompts",
        "paper25, which are 25 of rising complexity, or a file of prompts, one a line.",
        metavar="paper25|FILE",
        default="paper25",
    ),
    option("--seeds", "Pictures of each prompt, each with noise of its own.", type=Whole(1, 1000), default=4),
]
JUDGES = [
    option(
        "--also",
        "A further encoder to judge by, MODEL:WEIGHTS; so that no method grades itself. Repeatable. "
        "What encode --also made of a run judges in any case.",
        multiple=True,
    ),
    option("--encoder", "Whose vectors an embedding is of that does not say so, MODEL:WEIGHTS."),
    option(
        "--judge",
        "A judge by name: flowers, warmth and darkness look at colours, packages add others, "
        "MODULE:FUNCTION is one of yours. Repeatable.  "
        "[default: flowers with visunex-tiny, else none]",
        field="judges",
        multiple=True,
    ),
    option(
        "--score",
        "Scores by this predictor: V1, V2, sac or nsfw. Repeatable.  [default: V1, V2 and sac where ViT-L-14 "
        "judges]",
        field="scores",
        multiple=True,
    ),
    option(
        "--votes",
        "People's votes on drawn pictures: the votes.jsonl that visunex-studio keeps.",
        type=click.Path(path_type=Path, dir_okay=False),
    ),
    option(
        "--mirror",
        "A folder or URL that has published embeddings and predictors, in place of their publishers'.",
        envvar="VISUNEX_MIRROR",
        metavar="PLACE",
    ),
]
SAMPLING = [
    option("--model", "A model that visunex-generate takes.", default=DEFAULT_MODEL),
    option("--variant", "Which files of a folder or Hub model, e.g. fp16."),
    option("--negative_prompt", "What the pictures must not show.", default=""),
    option("--ddim_steps", "Steps of the sampler.", type=Whole(min=1), default=50),
    option("--scheduler", "As of visunex-generate.", default="ddim"),
    option("--scale", "Guidance scale; 1: no guidance.", type=Finite(), default=7.5),
    option("--H", "Height in pixels.  [default: the model's]", type=Whole(min=1), field="height"),
    option("--W", "Width in pixels.  [default: the model's]", type=Whole(min=1), field="width"),
    option("--seed", "Seed of the first picture of each prompt.", type=Whole(0, 2**63), default=42),
]
MACHINE = [
    option(
        "--precision",
        "full: fp32; autocast: fp16 on a GPU.",
        type=click.Choice(["full", "autocast"]),
        default="autocast",
    ),
    option("--device", "cpu, cuda, mps, ...; auto: a GPU if there is one.", default="auto"),
    proxy_option,
]
OUTPUT = [
    option(
        "--outdir",
        "Folder for results.parquet, report.json, report.html and the pictures; what is there is not drawn "
        "again.",
        type=Folder(path_type=Path),
        default="evaluation",
    ),
]
HEADINGS = {
    "embeddings": "What is compared",
    "also": "Who judges",
    "model": "How pictures are sampled",
    "precision": "The machine",
    "outdir": "What is written",
    "version": "Other",
}
SAMPLED = {"negative_prompt": "negative_prompt", "ddim_steps": "steps", "scheduler": "scheduler"} | {
    "scale": "guidance_scale", "height": "height", "width": "width", "seed": "seed",
}  # fmt: skip


def evaluate_options(function: Function) -> Function:
    """Give a command every option of `visunex-evaluate`, in the order in which `--help` shows them."""
    for add in reversed([*WHAT, *JUDGES, *SAMPLING, *MACHINE, *OUTPUT]):
        function = add(function)
    return function


class EvaluateProgram(Program, UnderHeadings):
    """The one command of `visunex-evaluate`."""

    headings = HEADINGS


@click.command(
    cls=EvaluateProgram, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@evaluate_options
@click.version_option(package_name="visunex")
def main(mirror: str | None, **given: Any) -> None:
    """Whether pictures come nearer to a taste, at what cost to the prompt, and how much is enough.

    Every prompt is drawn plain and under each setting, with the same noise; encoders, scores and judges say
    what changed, with intervals. Stopped, the same command goes on. docs/evaluate.md explains the measures.

    \b
    Examples:
        visunex-evaluate --aesthetic_embedding flower_plant --aesthetic_steps 0,5,10,20
        visunex-evaluate --aesthetic_embedding runs/gardens --method steer --method lora --method best-of
        visunex-evaluate --aesthetic_embedding demo_flower --model visunex-tiny --ddim_steps 20
    """
    from visunex.aesthetic_embeddings.fetching import mirrored

    from .evaluation import evaluate
    from .summary import text_of

    with mirrored(mirror):
        request = request_of(given)
        report = evaluate(request)
    show(report, text_of(report, request.outdir))


def request_of(given: dict[str, Any]) -> "Request":
    """The options as a request. Raises UsageError for what nothing can be sampled with."""
    from visunex.generate import Settings
    from visunex.generate.sampling.names import canonical

    from .plan import Request

    sampled = {field: given.pop(name) for name, field in SAMPLED.items()}
    sampled["scheduler"] = canonical(sampled["scheduler"])
    sampling = Settings(**sampled)
    sampling.check()
    for name in ("also", "judges", "scores"):
        given[name] = given[name] or None
    return Request(sampling=sampling, **given)


if __name__ == "__main__":
    main(prog_name="visunex-evaluate")

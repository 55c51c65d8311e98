"""`visunex-generate`: the command line of generation."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from visunex.base.console import Command, show
from visunex.base.progress import Progress, human_time

from .options import generate_options

if TYPE_CHECKING:
    from .job import Report
    from .output.files import Making
    from .request import Request
    from .sampling.sampler import Sampler


@click.command(
    cls=Command, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@generate_options
@click.version_option(package_name="visunex")
@click.pass_context
def main(ctx: click.Context, /, **given: Any) -> None:
    """A prompt and an aesthetic embedding become pictures, with any Stable Diffusion 1.x model.

    The prompt is personalised by aesthetic gradients (arXiv 2209.12330): the model's text tower is moved a
    few steps towards the embedding for this prompt alone, and is as it was afterwards. Every option may be
    written with underscores or hyphens.

    \b
    Examples:
        visunex-generate --prompt "A portal towards other dimension" --plms --seed 332 \\
            --aesthetic_steps 15 --aesthetic_embedding sac_8plus
        visunex-generate --prompt "robotic cat" --ckpt my.safetensors --aesthetic_embedding runs/gardens
        visunex-generate --prompt "a harbour" --aesthetic_embedding flower_plant --sweep-steps 0,5,8,20
        visunex-generate --from-image outputs/samples/00000.png
    """
    quiet_libraries()
    from .request import defaults_from_image, defaults_from_recipe, request

    again = read_image(given)
    if given["recipe"] is not None:
        given |= unless_given(ctx, defaults_from_recipe(given["recipe"]))
    if again is not None:
        given |= unless_given(ctx, defaults_from_image(again))
    wanted = request(given, again)
    sampler = load(wanted)
    if again is not None:
        check_same(ctx, again, sampler, wanted)
    report = make(wanted, sampler)
    show(report.as_dict(), summary(report))


def quiet_libraries() -> None:
    """Keep the libraries' progress bars and advice to library users off the terminal."""
    import warnings

    import diffusers
    import transformers

    diffusers.utils.logging.set_verbosity_error()
    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    warnings.filterwarnings("ignore", module=r"(diffusers|transformers|huggingface_hub)\.")


def unless_given(ctx: click.Context, defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Those of `defaults` whose option was not given on the command line."""
    return {
        name: value
        for name, value in defaults.items()
        if ctx.get_parameter_source(name) is ParameterSource.DEFAULT
    }


def read_image(given: Mapping[str, Any]) -> "Making | None":
    """How the picture of `--from-image` was made."""
    if given["from_image"] is None:
        return None
    from .output.files import read_making

    return read_making(Path(given["from_image"]))


def load(wanted: "Request") -> "Sampler":
    """Load the model, and check what was asked for against it."""
    from .sampling.sampler import Sampler

    click.echo(f"Loading {wanted.model}", err=True)
    sampler = Sampler.load(wanted.model, **wanted.loading)
    wanted.check(sampler.model)
    for prompt in dict.fromkeys(wanted.prompts):
        if surplus := sampler.conditioner.surplus(prompt):
            click.echo(f"The last {surplus} tokens are left out, the model takes no more: {prompt}", err=True)
    return sampler


def check_same(ctx: click.Context, again: "Making", sampler: "Sampler", wanted: "Request") -> None:
    """Refuse to make a picture again with something else under the same name."""
    from .request import check_embedding, check_model

    if ctx.get_parameter_source("model") is ParameterSource.DEFAULT:
        check_model(again, sampler.model)
    if ctx.get_parameter_source("aesthetic_embedding") is ParameterSource.DEFAULT:
        for cell in wanted.job.cells:
            check_embedding(again, cell.taste)


def make(wanted: "Request", sampler: "Sampler") -> "Report":
    """Make the pictures, with progress on stderr."""
    from .job import run

    check = None
    if wanted.safety_checker:
        from .sampling.safety import load_checker

        check = load_checker(sampler.model)
    job = wanted.job
    total = len(job.cells) * sampler.evaluations(job.prompts, job.settings, only=job.only)
    with Progress("Sampling", total, "steps") as progress:

        def personalised(step: int, cosine: float) -> None:
            progress.update(progress.done, f"personalising, step {step + 1}: cosine {cosine:.3f}")

        return run(
            job, sampler, on_step=lambda: progress.advance(1, ""), on_personalise=personalised, check=check
        )


def summary(report: "Report") -> str:
    """What was made and where, for a person."""
    pictures = f"{report.pictures} picture{'s' if report.pictures != 1 else ''}"
    lines = [f"{pictures} in {human_time(report.seconds)}"]
    if report.samples:
        lines.append(" to ".join(dict.fromkeys((report.samples[0], report.samples[-1]))))
    lines += report.grids
    if report.flagged:
        lines.append(f"{report.flagged} blacked out by the safety checker")
    return "\n".join(lines)


if __name__ == "__main__":
    main(prog_name="visunex-generate")

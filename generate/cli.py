"""`visunex-generate`: the command line of generation."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from visunex.base.console import Program, UnderHeadings, quiet_libraries, show
from visunex.base.progress import Progress, human_time
from visunex.base.text import printable

from .command.options import ELSEWHERE, HEADINGS, generate_options

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .added import AddedFile
    from .again import Again
    from .best_of import Judges
    from .command.prompt_file import Run
    from .command.request import Options
    from .job import Job, Report
    from .output.png_text import ImageRecord
    from .sampling.sampler import Sampler


# Options by which --from-image makes a new run, not the picture of an old one.
OF_A_RUN = {"from_file", "seed", "n_samples", "n_iter", "best_of"}
TASTES = {"aesthetic_embedding", "sweep_embeddings"}
MOST_NAMED = 5  # names in a file that fit nothing
MOST_SHOWN = 12  # seeds of a file's lines


class GenerateProgram(Program, UnderHeadings):
    """The one command of `visunex-generate`."""

    headings = HEADINGS

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Take the options; one of another program's is told with what does the same here."""
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            name = error.option_name.replace("-", "_").strip("_")
            if name in ELSEWHERE:
                raise click.UsageError(f"{error.option_name} {ELSEWHERE[name]}", ctx) from None
            raise
        except click.UsageError as error:
            if error.message.startswith("Got unexpected extra argument"):
                hint = "a prompt stands behind --prompt, in quotes; flags such as --plms take no value"
                raise click.UsageError(f"{error.message}: {hint}", ctx) from None
            raise


@click.command(
    cls=GenerateProgram, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@generate_options
@click.version_option(package_name="visunex")
@click.pass_context
def main(ctx: click.Context, /, mirror: str | None, **given: Any) -> None:
    """A prompt becomes pictures in a taste, with any Stable Diffusion or FLUX.1 model.

    The taste is an aesthetic embedding: a small file that says which pictures somebody likes, published or
    made by `visunex-data`. Without one the prompt is drawn as it is. With one it is personalised by
    aesthetic gradients (arXiv 2209.12330): the model's text encoder is moved a few steps towards the
    embedding for this prompt alone, and is as it was afterwards. Every option may be written with
    underscores or hyphens.

    \b
    Examples:
        visunex-generate --prompt "A portal towards other dimension" --plms --seed 332 \\
            --aesthetic_steps 15 --aesthetic_embedding sac_8plus
        visunex-generate --prompt "robotic cat" --ckpt my.safetensors --aesthetic_embedding runs/gardens
        visunex-generate --prompt "a harbour" --aesthetic_embedding flower_plant --sweep-steps 0,5,8,20
        visunex-generate --from-image outputs/samples/00000.png
    """
    from visunex.aesthetic_embeddings.fetching import mirrored

    from .again.consent import remember
    from .command.prompt_file import runs_of
    from .command.request import Options

    named = {name for name in given if ctx.get_parameter_source(name) is not ParameterSource.DEFAULT}
    with mirrored(mirror):
        options, again = with_sources(ctx, Options(**given), named)
        record = again.record if again else None
        runs = runs_of(ctx, options, frozenset(named))
        for sentence in dict.fromkeys(each for run in runs for each in run.unused()):
            click.echo(printable(sentence), err=True)
        jobs = [run.job(record if named.isdisjoint(OF_A_RUN) else None) for run in runs]
    quiet_libraries()
    near = judges(options, jobs)
    sampler, jobs = load(options, runs, jobs)
    if record is not None:
        check_same(record, jobs[0], sampler, named)
    remember(options.model)
    report = make(options, runs, jobs, sampler, near)
    if report.spelt:
        from .output.labels import remark

        click.echo(printable(remark(report.spelt)), err=True)
    show(*with_seeds(report, [job.settings.seed for job in jobs]))


def with_sources(ctx: click.Context, options: "Options", named: set[str]) -> "tuple[Options, Again | None]":
    """The options with what `--recipe` and `--from-image` say for those not `named`; and what the image says.

    The image goes before the recipe.
    """
    from .command.request import recipe_defaults, with_defaults

    if options.recipe is not None:
        options = with_defaults(options, recipe_defaults(options.recipe), named)
    if options.from_image is None:
        return options, None
    return from_image(ctx, options.from_image, options, named)


def from_image(
    ctx: click.Context, path: Path, options: "Options", named: set[str]
) -> "tuple[Options, Again]":
    """The options with what the image at `path` says for those not `named`, once it may be made again."""
    from .again import read
    from .again.additions import with_additions
    from .again.checks import as_options, check_cost
    from .again.consent import require_consent
    from .again.tastes import with_taste
    from .command.request import with_defaults

    again = with_additions(path, read(path), named)
    if named.isdisjoint(TASTES):
        again = with_taste(path, again)
    options = with_defaults(options, as_options(ctx, path, again, named), named)
    if not named.isdisjoint(OF_A_RUN):
        options = with_defaults(options, {"n_samples": 1, **again.seed_alone()}, named)
    check_cost(path, vars(options), again, named)
    if again.record is not None and "model" not in named:
        require_consent(path, options.model)
    if again.record is None:
        click.echo(printable(again.said(path)), err=True)
    return options, again


def load(options: "Options", runs: "Sequence[Run]", jobs: "Sequence[Job]") -> "tuple[Sampler, list[Job]]":
    """Load the model, and check what was asked for against it; the jobs as they fit it."""
    from .command.request import additions_of, fitting
    from .sampling.sampler import Sampler

    click.echo(printable(f"Loading {options.model}"), err=True)
    sampler = Sampler.load(
        options.model,
        device=options.device,
        precision=options.precision,
        lowvram=options.lowvram,
        text_encoder=options.text_encoder,
        variant=options.variant,
        additions=additions_of(options),
    )
    fitted = []
    for run, job in zip(runs, jobs, strict=True):
        with run.placed():
            fitted.append(fitting(job, run.options, sampler.model))
            for variant in job.variants:
                sampler.conditioner.require(variant.steering)
    for sentence in [*remarks(sampler.model.additions, texts_of(jobs)), *about(sampler, fitted)]:
        click.echo(printable(sentence), err=True)
    for prompt in texts_of([job for job in jobs if job.settings.prompt_syntax == "plain"]):
        if surplus := sampler.conditioner.surplus(prompt):
            said = f"The last {surplus} tokens are left out, the model takes no more: {prompt}"
            click.echo(printable(said), err=True)
    return sampler, fitted


def about(sampler: "Sampler", jobs: "Sequence[Job]") -> "Iterator[str]":
    """What is not certain of tastes in models of this family, where there is a taste."""
    said = sampler.model.family.about
    if said and any(variant.steering for job in jobs for variant in job.variants):
        yield said[0].upper() + said[1:] + "."


def judges(options: "Options", jobs: "Sequence[Job]") -> "Judges":
    """What pictures are compared by where the best of several are kept: loaded now, or an error."""
    from .best_of import Judges

    found = Judges(options.model, "cpu" if options.lowvram else options.device)
    for job in jobs:
        for variant in job.variants if job.best_of > 1 else ():
            if variant.steering is not None:
                found.of(variant.steering)
    return found


def texts_of(jobs: "Sequence[Job]") -> tuple[str, ...]:
    """All prompts and negative prompts, each once."""
    return tuple(
        dict.fromkeys(text for job in jobs for text in (*job.distinct_prompts, job.settings.negative_prompt))
    )


def remarks(added: "Sequence[AddedFile]", prompts: "Sequence[str]") -> "Iterator[str]":
    """What of the files that were added to a model has no effect, in sentences."""
    for file in added:
        name, count = Path(file.path).name, len(file.left_out)
        if count:
            shown = ", ".join(file.left_out[:MOST_NAMED]) + (" ..." if count > MOST_NAMED else "")
            fit = (
                "name in {} fits nothing in the model and is"
                if count == 1
                else "names in {} fit nothing in the model and are"
            )
            yield f"{count} {fit.format(name)} left out: {shown}"
        if file.word and not any(file.word.lower() in prompt.lower() for prompt in prompts):
            yield f"The word {file.word} of {name} stands in no prompt: it changes nothing"


def check_same(record: "ImageRecord", job: "Job", sampler: "Sampler", named: set[str]) -> None:
    """Refuse to make an image again with something else under the same name."""
    from .command.same import check_embedding, check_same_model, check_start

    if named.isdisjoint({"init_img", "mask"}):
        check_start(record, job.start)
    if "model" not in named:
        check_same_model(record, sampler.model)
    if named.isdisjoint(TASTES):
        for variant in job.variants:
            check_embedding(record, variant.steering)


def make(
    options: "Options", runs: "Sequence[Run]", jobs: "Sequence[Job]", sampler: "Sampler", near: "Judges"
) -> "Report":
    """Make the images of all runs, with progress on stderr."""
    from .job import Report, run

    check = None
    if options.safety_checker:
        from .sampling.safety import load_checker

        check = load_checker(sampler.model)
    total = sum(
        len(job.variants) * sampler.evaluations(*job.drawn, only=job.only, start=job.start) for job in jobs
    )
    reports = list[Report]()
    with Progress("Sampling", total, "steps") as progress:

        def personalised(step: int, cosine: float) -> None:
            progress.update(progress.done, f"personalising, step {step + 1}: cosine {cosine:.3f}")

        def step() -> None:
            progress.advance(1, "")

        for each, job in zip(runs, jobs, strict=True):
            with each.placed():
                reports.append(
                    run(job, sampler, near=near.near, on_step=step, on_personalise=personalised, check=check)
                )
    return Report.of(reports)


def with_seeds(report: "Report", seeds: "Sequence[int]") -> tuple[dict[str, Any], str]:
    """The report and its seeds as JSON has them, and for a person."""
    several = len({*seeds}) > 1
    shown = ", ".join(map(str, seeds)) if len(seeds) <= MOST_SHOWN else "as each picture says"
    said = f"seeds {shown}" if several else f"seed {seeds[0]}"
    found = {**report.as_dict(), "seed": seeds[0], **({"seeds": list(seeds)} if several else {})}
    return found, f"{summary(report)}\n{said}"


def summary(report: "Report") -> str:
    """What was made and where, for a person."""
    lines = [f"{report.images} picture{'s' if report.images != 1 else ''} in {human_time(report.seconds)}"]
    if report.samples:
        lines.append(" to ".join(dict.fromkeys((report.samples[0], report.samples[-1]))))
    lines += report.grids
    if report.cosines:
        of = len(report.cosines[0])
        nearest = sum(map(max, report.cosines)) / len(report.cosines)
        drawn = sum(map(sum, report.cosines)) / sum(map(len, report.cosines))
        lines.append(f"the nearest of {of} each: cosine {nearest:.3f} to the taste, of all drawn {drawn:.3f}")
    if report.flagged:
        lines.append(f"{report.flagged} blacked out by the safety checker")
    return "\n".join(lines)


if __name__ == "__main__":
    main(prog_name="visunex-generate")

"""Lines of a prompt file that have options -> runs: each is as if the command was given its options."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import click

from visunex.base.errors import VisunexError
from visunex.base.suggest import did_you_mean

from ..errors import UsageError
from ..output.png_text import ImageRecord
from ..syntax.lines import has_options, options_in, prompts_in
from .request import Options, job_of, seeded
from .unused import unused

if TYPE_CHECKING:
    from ..job import Job

__all__ = ["ALSO", "Run", "runs_of"]

# What options are called in prompt files of kohya's sd-scripts, and in those of the web UI's script.
ALSO = {
    "n": "negative_prompt",
    "d": "seed",
    "s": "ddim_steps",
    "l": "scale",
    "w": "width",
    "h": "height",
    "steps": "ddim_steps",
    "cfg_scale": "scale",
    "width": "width",
    "height": "height",
    "sampler_name": "scheduler",
    "batch_size": "n_samples",
}
# Options of the run as a whole: the model and what is made of it, the machine, the files.
WHOLE = {"from_file", "from_image", "recipe", "model", "variant", "text_encoder", "mirror"}
WHOLE |= {"lora", "textual_inversion", "vae", "method", "adapter"}
WHOLE |= {"precision", "device", "lowvram", "safety_checker", "proxy"}
WHOLE |= {"outdir", "n_rows", "skip_grid", "skip_save", "as_json", "verbose", "version", "help"}
COMMENT = "#"


@dataclass(frozen=True, kw_only=True)
class Run:
    """The options of one run of the sampler, and which of them were `named` by a person.

    `prompts` are those of a file whose lines have no options; `place` begins messages about a line that has.
    """

    options: Options
    named: frozenset[str]
    prompts: tuple[str, ...] | None = None
    place: str = ""

    @contextmanager
    def placed(self) -> Iterator[None]:
        """Say in an error which line it is about."""
        try:
            yield
        except VisunexError as error:
            error.args = (f"{self.place}{error}",)
            raise

    def unused(self) -> Iterator[str]:
        """A sentence for each named option that changes nothing."""
        return (f"{self.place}{sentence}" for sentence in unused(self.options, self.named))

    def job(self, record: ImageRecord | None = None) -> "Job":
        """What these options ask for; a line's single picture has no grid. Raises what `job_of` does."""
        with self.placed():
            job = job_of(self.options, record, self.prompts)
        images = len(job.variants) * job.settings.samples * job.settings.iterations
        return replace(job, grid=job.grid and not (self.place and images == 1))


def runs_of(context: click.Context, options: Options, named: frozenset[str]) -> tuple[Run, ...]:
    """The runs that a command's options ask for: one, but for a prompt file whose lines have options.

    Then each line is a run of its own with the command's options but for those that it names, and lines that
    begin with `#` are left out. Raises UsageError, with the number of the line, for an option that is none, a
    value that it does not take, and one of the run as a whole.
    """
    if options.from_file is None or options.from_image is not None:
        return (Run(options=seeded(options), named=named),)
    lines = prompts_in(options.from_file)
    if not any(has_options(text) for text in lines.values()):
        return (Run(options=seeded(options), named=named, prompts=tuple(lines.values())),)
    parameters = _by_name(context)
    return tuple(
        _run(context, parameters, Run(options=options, named=named, place=_place(options, number)), text)
        for number, text in lines.items()
        if not text.lstrip().startswith(COMMENT)
    )


def _place(options: Options, number: int) -> str:
    return f"{options.from_file}, line {number}: "


def _by_name(context: click.Context) -> dict[str, click.Parameter]:
    """The options that a line may have, by each of their names."""
    wanted = [each for each in context.command.params if each.name not in WHOLE]
    found = {name[2:]: each for each in wanted for name in each.opts if name.startswith("--")}
    fields = {each.name: each for each in wanted}
    return {**{name: fields[field] for name, field in ALSO.items()}, **found}


def _run(context: click.Context, parameters: Mapping[str, click.Parameter], run: Run, text: str) -> Run:
    with run.placed():
        prompt, written = options_in(text)
        given = dict[str, list[Any]]()
        for name, value in [*([("prompt", prompt)] if prompt else []), *written]:
            parameter = parameters.get(name)
            if parameter is None:
                raise UsageError(_unknown(context, name, parameters))
            given.setdefault(str(parameter.name), []).append(value)
        fields = {each.name: each for each in parameters.values()}
        values = {field: _taken(context, fields[field], each) for field, each in given.items()}
    options = seeded(replace(run.options, **{"from_file": None, **values}))
    return replace(run, options=options, named=run.named - {"from_file"} | given.keys())


def _taken(context: click.Context, parameter: click.Parameter, values: Sequence[str]) -> Any:
    """The values that a line gives an option, as the command line would have them."""
    option = max(parameter.opts, key=len)
    if len(values) > 1 and not parameter.multiple:
        raise UsageError(f"{option} is there twice: say it once")
    flag = getattr(parameter, "is_flag", False)
    given = [_switched(option, value) for value in values] if flag else list(values)
    try:
        return parameter.process_value(context, given if parameter.multiple else given[0])
    except click.UsageError as error:
        raise UsageError(f"{option}: {error.message}") from None


def _switched(option: str, value: str) -> bool:
    """Whether a flag is set: `--plms`, or `--plms true` as the web UI's script has it."""
    if value.lower() not in ("", "true", "false"):
        raise UsageError(f"{option} takes no value, and {value[:40]!r} stands behind it")
    return value.lower() != "false"


def _unknown(context: click.Context, name: str, parameters: Mapping[str, click.Parameter]) -> str:
    if any(f"--{name}" in parameter.opts for parameter in context.command.params):
        return f"--{name} is of the whole run: give it on the command line"
    meant = did_you_mean(f"--{name}", {each.opts[0]: None for each in parameters.values()})
    return (
        f"there is no option --{name}: {meant}a line takes --n (negative prompt), --d (seed), --s (steps), "
        "--l (scale), --w, --h and the command's own, such as --aesthetic_steps"
    )

"""What was asked for on the command line -> a job; every fault in it is found before a model is loaded."""

import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..additions.check import check_additions
from ..additions.wanted import Additions
from ..errors import CheckpointError, UsageError
from ..families.names import check_device, check_name, check_text_encoder
from ..families.outline import Outline, check_model, outline
from ..output.files import SAMPLES, check_folder
from ..output.png_text import ImageRecord
from ..sampling.names import PLMS, canonical
from ..sampling.sizes import Sized, check_family, check_steps, latent_shape
from ..settings import Defaults, Precision, Prediction, PromptSyntax, SeedOf, Settings, TextEncoder
from ..start import STRENGTH, Start
from ..syntax.changes import sections_of
from ..syntax.lines import prompts_in
from .method import check_method
from .variants import named_tastes, variants_of

if TYPE_CHECKING:  # torch is not loaded before all that can be wrong without it is told
    from ..checkpoint.kinds import Family
    from ..families.model import Model
    from ..job import Job

__all__ = [
    "Options",
    "additions_of",
    "check_sizes",
    "fitting",
    "job_of",
    "recipe_defaults",
    "seeded",
    "with_defaults",
]


RANDOM_SEEDS = 2**32  # what the web UI, too, draws from


@dataclass(frozen=True, kw_only=True)
class Options:
    """The options of `visunex-generate`, one field each, under the names that `options.py` gives them."""

    prompt: str | None
    from_file: Path | None
    negative_prompt: str
    prompt_syntax: PromptSyntax
    model: str
    variant: str | None
    init_img: Path | None
    strength: float | None
    mask: Path | None
    from_image: Path | None
    recipe: str | None

    lora: tuple[str, ...]
    textual_inversion: tuple[Path, ...]
    vae: Path | None

    aesthetic_embedding: tuple[str, ...]
    aesthetic_steps: int
    aesthetic_lr: float
    method: Literal["steer", "pooled", "ip-adapter", "unclip"]
    adapter: Path | None
    text_encoder: TextEncoder
    best_of: int
    sweep_steps: tuple[int, ...] | None
    sweep_embeddings: tuple[str, ...] | None
    sweep_weights: tuple[float, ...] | None

    aesthetic_until: str | None
    aesthetic_weight: float
    aesthetic_slerp: bool
    aesthetic_text: str
    aesthetic_text_negative: bool
    aesthetic_text_angle: float
    aesthetic_from: float
    aesthetic_to: float
    aesthetic_space: str | None
    clip_skip: int

    ddim_steps: int | None
    plms: bool
    scheduler: str | None
    prediction: Prediction | None
    ddim_eta: float
    scale: float | None
    height: int | None
    width: int | None
    channels: int | None
    factor: int | None
    n_samples: int
    n_iter: int
    seed: int
    fixed_code: bool
    seed_of: SeedOf
    rng: Literal["device", "cpu"]

    precision: Precision
    device: str
    lowvram: bool
    safety_checker: bool

    outdir: Path
    n_rows: int
    skip_grid: bool
    skip_save: bool


def with_defaults(options: Options, defaults: Mapping[str, Any], given: Collection[str]) -> Options:
    """`options` with `defaults` in the place of those that are not `given` on the command line."""
    return replace(options, **{name: value for name, value in defaults.items() if name not in given})


def recipe_defaults(name: str) -> dict[str, Any]:
    """Options that a recipe's `[generate]` part gives; the embedding is the one that its run makes.

    Raises RecipeError for a recipe that is not there or not valid.
    """
    from visunex.recipes import load

    recipe = load(name)
    return {"aesthetic_embedding": (recipe.name,), **recipe.generate.model_dump(exclude_none=True)}


def seeded(options: Options) -> Options:
    """The options with a seed that nobody chose in the place of -1."""
    return replace(options, seed=secrets.randbelow(RANDOM_SEEDS)) if options.seed == -1 else options


def job_of(
    options: Options, record: ImageRecord | None = None, prompts: tuple[str, ...] | None = None
) -> "Job":
    """The job that the options make; with `record`, of just the image that was made so.

    `prompts` are those of the options' file, where it was read before. Raises UsageError and EmbeddingError
    for faults in the options.
    """
    start = start_of(options)
    found = _outline(options.model)
    options = _sized(options, start, found)
    settings = settings_of(options, found.defaults if found else Defaults())
    if start is not None:
        start.steps(settings.steps)
    _check_text("--negative_prompt", options.negative_prompt)
    _check_text("--aesthetic_text", options.aesthetic_text)
    texts = _prompts_again(options, record) if record else prompts or _prompts(options)
    _check_syntax(options, texts)
    check_device(options.device)
    check_name(options.model)
    rows = named_tastes(options)
    if not record:
        _check_best_of(options, rows)
    check_method(options, _check_model(options, settings, found))
    variants = variants_of(options, rows)
    check_folder(options.outdir if options.skip_save else options.outdir / SAMPLES)
    from ..job import Job

    return Job(
        prompts=texts,
        settings=replace(settings, iterations=record.batch + 1) if record else settings,
        variants=variants,
        folder=options.outdir,
        save=not options.skip_save,
        grid=not options.skip_grid and (len(variants) > 1 or _of_several(options, record)),
        per_row=options.n_rows or None,
        only=(record.batch, record.position) if record else None,
        seed_of="image" if start else options.seed_of,
        start=start,
        best_of=1 if record else options.best_of,
    )


def _check_best_of(options: Options, rows: Sequence[Sequence[object]]) -> None:
    """Raise UsageError where there is nothing to choose by, or between."""
    if options.best_of == 1:
        return
    if not all(rows):
        raise UsageError("--best-of keeps what is nearest a taste: give --aesthetic_embedding")
    if options.fixed_code:
        raise UsageError("--best-of needs pictures that differ: leave --fixed_code out")


def start_of(options: Options) -> Start | None:
    """What is drawn over; None for noise alone. Raises UsageError for what is no picture."""
    if options.init_img is None:
        if options.mask is not None:
            raise UsageError("--mask says where a picture is drawn anew: give that with --init-img")
        return None
    if options.strength == 0:
        raise UsageError("--strength 0 leaves --init-img as it is: give more, at most 1")
    usual = STRENGTH if options.mask is None else 1.0
    strength = usual if options.strength is None else options.strength
    start = Start(path=options.init_img, mask=options.mask, strength=strength)
    _ = start.image, start.masking
    return start


def _outline(name: str) -> Outline | None:
    """What is known of a model before it is loaded; what is wrong with it is said later."""
    try:
        return outline(name)
    except CheckpointError:
        return None


def _sized(options: Options, start: Start | None, found: Outline | None) -> Options:
    """The options with the size of what is drawn over, as large as the model's own pictures."""
    if start is None or found is None or options.height or options.width:
        return options
    height, width = start.size_near(*found.size)
    return replace(options, height=height, width=width)


def _of_several(options: Options, record: ImageRecord | None) -> bool:
    """Whether a grid is wanted where nothing is compared: one image made again needs none."""
    return record is None and (options.from_image is None or options.n_samples * options.n_iter > 1)


def fitting(job: "Job", options: Options, model: "Model") -> "Job":
    """The job as the model that was loaded is sampled where the options do not say how.

    Raises UsageError for what was asked for and the model has nothing for.
    """
    settings = replace(job.settings, **_sampled(options, model.defaults))
    check_family(model, settings)
    check_sizes(options, model)
    return replace(job, settings=settings)


def _sampled(options: Options, own: Defaults) -> dict[str, Any]:
    """Sampler, steps and guidance: the options', else the model's own."""
    asked = {"steps": options.ddim_steps, "guidance_scale": options.scale, "scheduler": _scheduler(options)}
    return vars(own) | {name: value for name, value in asked.items() if value is not None}


def settings_of(options: Options, own: Defaults) -> Settings:
    """How the options ask for images to be sampled, where they say nothing by a model's `own`.

    Raises UsageError for what no scheduler can do.
    """
    return Settings(
        negative_prompt=options.negative_prompt,
        seed=options.seed,
        **_sampled(options, own),
        eta=options.ddim_eta,
        height=options.height,
        width=options.width,
        samples=options.n_samples,
        iterations=options.n_iter,
        fixed_code=options.fixed_code,
        rng=options.rng,
        prediction=options.prediction,
        clip_skip=options.clip_skip,
        prompt_syntax=options.prompt_syntax,
    )


def _scheduler(options: Options) -> str | None:
    if not options.plms and options.scheduler is None:
        return None
    name = PLMS if options.plms else canonical(str(options.scheduler))
    if options.ddim_eta and name == PLMS:
        raise UsageError("--ddim_eta must be 0 with --plms, which adds no noise of its own")
    return name


def _prompts(options: Options) -> str | tuple[str, ...]:
    return _prompt(options) if options.from_file is None else tuple(prompts_in(options.from_file).values())


def _prompt(options: Options) -> str:
    if options.prompt is None or not options.prompt.strip():
        raise UsageError("the prompt is empty: say with --prompt what the picture shows")
    _check_text("--prompt", options.prompt)
    return options.prompt


def _check_text(option: str, text: str) -> None:
    """Raise UsageError for what a terminal gave in another encoding: halves of characters."""
    if not text.isascii() and any("\ud800" <= letter <= "\udfff" for letter in text):
        raise UsageError(f"{option} is not UTF-8 text: write it in UTF-8, or in a file for --from-file")


def _check_syntax(options: Options, prompts: str | tuple[str, ...]) -> None:
    """Raise UsageError for what a prompt in the web UI's syntax holds and is not done here."""
    if options.prompt_syntax == "webui":
        for text in dict.fromkeys((prompts,) if isinstance(prompts, str) else prompts):
            sections_of(text)
        sections_of(options.negative_prompt)


def _prompts_again(options: Options, record: ImageRecord) -> tuple[str, ...]:
    """The prompts of the image's batch; another prompt takes the place of its own."""
    position = record.position
    return (*record.prompts[:position], _prompt(options), *record.prompts[position + 1 :])


def _check_model(options: Options, settings: Settings, found: Outline | None) -> "Family | None":
    """Raise CheckpointError or UsageError for what is known to be wrong of the model before it is loaded.

    Its family, where that is certain already.
    """
    family = check_model(options.model)
    check_text_encoder(options.text_encoder, family, options.model)
    check_additions(additions_of(options), family, options.model)
    if found is not None:
        check_family(found, settings)
        check_sizes(options, found)
        check_steps(settings.steps, found.steps)
    return family


def additions_of(options: Options) -> Additions:
    """What is to be added to the model. Raises UsageError for what cannot be added as it is asked for."""
    if options.text_encoder == "openai" and (options.lora or options.textual_inversion):
        raise UsageError(
            "--lora and --textual-inversion change the model's own text encoder, and --text-encoder openai "
            "reads prompts by another: leave one of them out"
        )
    adapter = options.adapter if options.method == "ip-adapter" else None
    return Additions.of(options.lora, options.textual_inversion, options.vae, adapter)


def check_sizes(options: Options, model: Sized) -> None:
    """Raise UsageError where sizes that were asked for are not the model's."""
    for name, asked, own in (
        ("--C", options.channels, model.channels),
        ("--f", options.factor, model.factor),
    ):
        if asked not in (None, own):
            raise UsageError(f"{name} is {asked}, but {options.model} has {own}; leave {name} out")
    latent_shape(model, settings_of(options, Defaults()))

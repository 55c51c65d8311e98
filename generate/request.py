"""What was asked for on the command line -> a job; every fault in it is found before a model is loaded."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import GenerateError, UsageError
from .families.sd1.model import Model
from .job import Cell, Job
from .output.files import Making
from .sampling.sampler import latent_shape
from .sampling.schedulers import PLMS, canonical
from .settings import Settings
from .taste import Taste

__all__ = [
    "Request",
    "check_embedding",
    "check_model",
    "defaults_from_image",
    "defaults_from_recipe",
    "request",
]


@dataclass(frozen=True)
class Request:
    """A job and the model it wants."""

    job: Job
    model: str
    loading: Mapping[str, Any]
    channels: int | None
    factor: int | None
    safety_checker: bool

    @property
    def prompts(self) -> tuple[str, ...]:
        """The prompts, each once or more."""
        return (self.job.prompts,) if isinstance(self.job.prompts, str) else self.job.prompts

    def check(self, model: Model) -> None:
        """Raise UsageError where sizes that were asked for are not the loaded model's."""
        for name, asked, own in (("--C", self.channels, model.channels), ("--f", self.factor, model.factor)):
            if asked not in (None, own):
                raise UsageError(f"{name} is {asked}, but {model.name} has {own}; leave {name} out")
        latent_shape(model, self.job.settings)


def request(given: Mapping[str, Any], again: Making | None = None) -> Request:
    """The request that the options `given` make; with `again`, just for the picture made so.

    Raises UsageError and EmbeddingError for faults in the options.
    """
    settings = Settings(
        height=given["h"],
        width=given["w"],
        steps=given["ddim_steps"],
        guidance_scale=given["scale"],
        eta=given["ddim_eta"],
        scheduler=_scheduler(given),
        samples=given["n_samples"],
        iterations=again.batch + 1 if again else given["n_iter"],
        seed=given["seed"],
        fixed_code=given["fixed_code"],
        rng=given["rng"],
        negative_prompt=given["negative_prompt"],
    )
    cells = _cells(given)
    job = Job(
        prompts=_prompts_again(given, again) if again else _prompts(given),
        settings=settings,
        cells=cells,
        folder=given["outdir"],
        save=not given["skip_save"],
        grid=not given["skip_grid"] and (again is None or len(cells) > 1),
        per_row=given["n_rows"] or None,
        only=(again.batch, again.position) if again else None,
    )
    loading = {
        "stock_text_encoder": given["text_encoder"] == "openai",
        **{name: given[name] for name in ("device", "precision", "lowvram")},
    }
    return Request(job, given["model"], loading, given["c"], given["f"], given["safety_checker"])


def _scheduler(given: Mapping[str, Any]) -> str:
    name = PLMS if given["plms"] else canonical(given["scheduler"])
    if given["ddim_eta"] and name == PLMS:
        raise UsageError("--ddim_eta must be 0 with --plms, which adds no noise of its own")
    return name


def _prompts(given: Mapping[str, Any]) -> str | tuple[str, ...]:
    if given["from_file"] is None:
        if not (given["prompt"] or "").strip():
            raise UsageError("the prompt is empty: say with --prompt what the picture shows")
        return str(given["prompt"])
    path: Path = given["from_file"]
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise UsageError(f"the prompts in {path} cannot be read: {reason}") from None
    prompts = tuple(line for line in lines if line.strip())
    if not prompts:
        raise UsageError(f"{path} holds no prompt: write one a line")
    return prompts


def _prompts_again(given: Mapping[str, Any], again: Making) -> tuple[str, ...]:
    """The prompts of the picture's batch; another prompt takes the place of its own."""
    own = str(_prompts({**given, "from_file": None}))
    return (*again.prompts[: again.position], own, *again.prompts[again.position + 1 :])


def _cells(given: Mapping[str, Any]) -> tuple[Cell, ...]:
    """The settings to compare: steps across and embeddings down, or embeddings across when they are alone."""
    names = given["sweep_embeddings"] or (given["aesthetic_embedding"],)
    steps = given["sweep_steps"] or (given["aesthetic_steps"],)
    if given["sweep_steps"] and names == (None,):
        raise UsageError("--sweep-steps needs a taste: give --aesthetic_embedding")
    if not 0 < given["aesthetic_lr"] < float("inf"):
        raise UsageError(
            f"--aesthetic_lr is {given['aesthetic_lr']:g}: give a positive number such as 0.0001"
        )
    vectors = {name: _vector(name) for name in names if name is not None}
    cells = []
    for name in names:
        for count in steps:
            taste = Taste(name, vectors[name], count, given["aesthetic_lr"]) if name is not None else None
            heading = f"{count} steps" if given["sweep_steps"] else _short(name)
            row = _short(name) if given["sweep_steps"] and given["sweep_embeddings"] else ""
            cells.append(Cell(taste, heading, row))
    return tuple(cells)


def _vector(name: str) -> Any:
    from visunex.aesthetic_embeddings import find

    return find(name).tensor()


def _short(name: str | None) -> str:
    """What an embedding is called in a grid: its file's name, or its run's for `embedding.pt`."""
    path = Path(name or "")
    return path.parent.name if path.name == "embedding.pt" and path.parent.name else path.stem


def defaults_from_recipe(name: str) -> dict[str, Any]:
    """Options that a recipe's `[generate]` part gives; the embedding is the one that its run makes."""
    from visunex.recipes import load

    recipe = load(name)
    given = recipe.generate.model_dump(exclude_none=True)
    return {"aesthetic_embedding": recipe.name, **given}


def defaults_from_image(making: Making) -> dict[str, Any]:
    """Options that make a picture again."""
    return {
        "prompt": making.prompt,
        "negative_prompt": making.negative_prompt,
        "model": making.model,
        "text_encoder": making.text_encoder,
        "aesthetic_embedding": making.aesthetic_embedding,
        "aesthetic_steps": making.aesthetic_steps,
        "aesthetic_lr": making.aesthetic_lr or 1e-4,
        "ddim_steps": making.ddim_steps,
        "scheduler": making.scheduler,
        "ddim_eta": making.ddim_eta,
        "scale": making.scale,
        "h": making.height,
        "w": making.width,
        "n_samples": making.n_samples,
        "seed": making.seed,
        "fixed_code": making.fixed_code,
        "rng": making.rng,
        "precision": "full" if making.precision == "float32" else "autocast",
        "lowvram": making.lowvram,
    }


def check_model(again: Making, model: Model) -> None:
    """Raise GenerateError where the model is not the one that the picture was made with."""
    if model.fingerprint != again.model_fingerprint:
        raise GenerateError(
            f"the picture was made with another model: {again.model} was {again.model_fingerprint}, "
            f"and is now {model.fingerprint}; name one with --model to use it all the same"
        )


def check_embedding(again: Making, taste: Taste | None) -> None:
    """Raise GenerateError where the embedding is not the one that the picture was made with."""
    if taste is not None and taste.digest != again.aesthetic_sha256:
        raise GenerateError(
            f"the picture was made with another embedding: {again.aesthetic_embedding} has changed since; "
            "name one with --aesthetic_embedding to use it all the same"
        )

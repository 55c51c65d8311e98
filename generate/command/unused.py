"""Options that were given and have no effect beside others: a table of them, each with why."""

from collections.abc import Callable, Collection, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .request import Options

from ..controls import CONTROLS

__all__ = ["unused"]

# Controls of steps alone.
STEERED = (
    "aesthetic_until",
    "aesthetic_slerp",
    "aesthetic_text",
    "aesthetic_text_negative",
    "aesthetic_text_angle",
)

Condition = Callable[["Options"], bool]


def _no_taste(options: "Options") -> bool:
    return not options.aesthetic_embedding and not options.sweep_embeddings


def _no_steps(options: "Options") -> bool:
    steps = any(options.sweep_steps) if options.sweep_steps else options.aesthetic_steps
    return options.method == "steer" and not steps


def _is_sweep(options: "Options") -> bool:
    return bool(options.sweep_steps or options.sweep_embeddings or options.sweep_weights)


def _one_batch(options: "Options") -> bool:
    return options.n_iter == 1 and options.from_file is None and options.from_image is None


def _is_file(options: "Options") -> bool:
    return options.model.lower().endswith((".ckpt", ".safetensors"))


# Fields of `Options`, when they have no effect, and why: the end of "--X has no effect ...".
TABLE: tuple[tuple[tuple[str, ...], Condition, str], ...] = (
    (
        ("aesthetic_steps", "aesthetic_lr", "aesthetic_space", *CONTROLS.values()),
        _no_taste,
        "without --aesthetic_embedding",
    ),
    (
        ("aesthetic_steps",),
        lambda o: o.aesthetic_until is not None and bool(o.aesthetic_steps),
        "beside --aesthetic_until",
    ),
    (("aesthetic_weight",), lambda o: bool(o.sweep_weights), "beside --sweep-weights, which names them all"),
    (
        ("aesthetic_text_negative", "aesthetic_text_angle"),
        lambda o: not o.aesthetic_text.strip(),
        "without --aesthetic_text",
    ),
    (
        ("aesthetic_slerp",),
        lambda o: not o.sweep_weights and o.aesthetic_weight in (0, 1),
        "with a weight of 0 or 1",
    ),
    (
        ("aesthetic_embedding",),
        lambda o: bool(o.sweep_embeddings),
        "beside --sweep-embeddings, which names them all",
    ),
    (("aesthetic_steps",), lambda o: bool(o.sweep_steps), "beside --sweep-steps, which names them all"),
    (
        ("aesthetic_lr",),
        lambda o: _no_steps(o) and not _no_taste(o),
        "with --aesthetic_steps 0",
    ),
    (
        ("aesthetic_embedding", "sweep_embeddings"),
        lambda o: _no_steps(o) and not _no_taste(o) and o.best_of == 1,
        "with --aesthetic_steps 0",
    ),
    (("method", "adapter"), _no_taste, "without --aesthetic_embedding"),
    (
        ("aesthetic_steps", "aesthetic_lr", *STEERED),
        lambda o: o.method != "steer" and not _no_taste(o),
        "beside --method, which takes no steps",
    ),
    (("adapter",), lambda o: o.method != "ip-adapter", "without --method ip-adapter"),
    (("strength",), lambda o: o.init_img is None, "without --init-img"),
    (
        ("seed_of",),
        lambda o: o.init_img is not None,
        "with --init-img, where each picture has a seed of its own",
    ),
    (("scheduler",), lambda o: o.plms, "beside --plms"),
    (("prompt",), lambda o: o.from_file is not None and o.from_image is None, "beside --from-file"),
    (("from_file", "n_rows"), lambda o: o.from_image is not None, "with --from-image"),
    (("recipe",), lambda o: o.from_image is not None, "with --from-image, which says everything"),
    (("negative_prompt",), lambda o: o.scale == 1, "with --scale 1, which is no guidance"),
    (("n_rows",), _is_sweep, "with a sweep, whose columns are its settings"),
    (("n_rows",), lambda o: o.skip_grid, "with --skip_grid"),
    (("fixed_code",), _one_batch, "where there is only one batch (--n_iter 1)"),
    (("variant",), _is_file, "where --model is a single file"),
    (("precision",), lambda o: o.device == "cpu", "with --device cpu, which always computes in full"),
    (("rng",), lambda o: o.device == "cpu", "with --device cpu"),
    (("outdir",), lambda o: o.skip_save and o.skip_grid, "with --skip_save and --skip_grid"),
)


def unused(options: "Options", named: Collection[str]) -> Iterator[str]:
    """A sentence for each option of those `named` on the command line that changes nothing."""
    for fields, idle, why in TABLE:
        for field in fields:
            if field in named and idle(options):
                yield f"{_option(field)} has no effect {why}."


def _option(field: str) -> str:
    return "--" + (field.replace("_", "-") if field.startswith(("sweep", "from")) else field)

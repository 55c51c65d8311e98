"""What can be said of additions before a model is loaded: whether they can be read, and be for its family."""

from ..checkpoint.kinds import NAMES, Family, denoiser_of
from ..errors import AdditionError
from .files import INVERSION, IP_ADAPTER, LORA, VAE, check_file, file_of_vae, shapes_in
from .kinds import (
    check_adapter,
    check_inversion,
    check_lora,
    check_vae,
    family_of_lora,
    require_family,
)
from .wanted import Additions

__all__ = ["check_additions"]


def check_additions(additions: Additions, family: Family | None, model: str) -> None:
    """Raise AdditionError for files that are not there, are something else, or are for another family.

    `family` is None where nothing is certain of the model. What torch's files hold is told as they are read.
    """
    if family and additions and denoiser_of(family) == "transformer":
        raise AdditionError(
            f"{model} is of the family {NAMES[family]}, and files are added to Stable Diffusion 1, 2 and XL "
            "alone: leave --lora, --textual-inversion, --vae and --adapter out, or load them into diffusers' "
            "own pipeline and steer that (visunex.generate.steered, docs/api.md)"
        )
    for lora in additions.loras:
        check_file(lora.path, LORA)
        if (shapes := shapes_in(lora.path)) is not None:
            check_lora(lora.path, shapes)
            if family:
                require_family(lora.path, "a LoRA", family_of_lora(shapes), family, model)
    for path in additions.textual_inversions:
        check_file(path, INVERSION)
        if (shapes := shapes_in(path)) is not None:
            check_inversion(path, shapes)
            if family and {"clip_l", "clip_g"} & shapes.keys():
                require_family(path, "a textual inversion", NAMES["sdxl"], family, model)
    if additions.vae is not None:
        check_file(file := file_of_vae(additions.vae), VAE)
        if (shapes := shapes_in(file)) is not None:
            check_vae(file, shapes)
    if additions.ip_adapter is not None:
        check_file(path := additions.ip_adapter, IP_ADAPTER)
        if (shapes := shapes_in(path)) is not None:
            check_adapter(path, shapes)

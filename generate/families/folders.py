"""A model as a diffusers folder, here or on the Hub: how each of its parts is read, whatever the family."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from visunex.base.errors import first_line
from visunex.base.machine import is_memory_shortage

from ..checkpoint.bounds import check_config
from ..checkpoint.configs import shapes_of_unet
from ..checkpoint.headers import check_weights, only_variant
from ..checkpoint.kinds import Family, denoiser_of, family_of
from ..errors import CheckpointError
from .hub import cached_folder, unreachable
from .outline import check_model

__all__ = ["Folder", "family_of_folder", "readable"]

NAMES = {  # of the parts that have weights, for a person
    "unet": "UNet",
    "transformer": "transformer",
    "vae": "VAE",
    "text_encoder": "text encoder",
    "text_encoder_2": "second text encoder",
    "text_encoder_3": "third text encoder",
}


def family_of_folder(name: str) -> Family:
    """The family of a folder, here or on the Hub, by the pipeline that it names or else its UNet.

    Raises CheckpointError for what is of none.
    """
    family = check_model(name)
    if family and denoiser_of(family) == "transformer":
        return family
    with readable(name):
        return family_of(shapes_of_unet(Folder(name).config("unet")), name)


@contextmanager
def readable(name: str) -> Iterator[None]:
    """Raise CheckpointError, saying what to do, in the place of whatever the libraries raise in the block."""
    try:
        yield
    except CheckpointError:
        raise
    # diffusers, transformers, safetensors and the Hub's client each have their own
    except Exception as error:
        if is_memory_shortage(error):
            raise
        reason = first_line(error)
        here = f"the model in {name} cannot be read: {reason}"
        raise CheckpointError(here if Path(name).is_dir() else unreachable(name, reason)) from None


class Folder:
    """A model's folder called `name`, here or on the Hub; `variant` chooses among its files of weights.

    A variant that is alone in a part's folder here is taken anyway. What a method cannot read or fetch makes
    the libraries raise, which `readable` makes a sentence of; weights that are missing are a CheckpointError.
    """

    def __init__(self, name: str, variant: str | None = None) -> None:
        self.name, self._variant = name, variant

    def config(self, part: str) -> dict[str, Any]:
        """A part's configuration, each number within its bounds."""
        import diffusers

        kind = diffusers.DDIMScheduler if part == "scheduler" else diffusers.UNet2DConditionModel
        config = dict(kind.load_config(self.name, subfolder=part))
        check_config(part, config, f"{part} of {self.name}")
        return config

    def schedule(self) -> dict[str, Any]:
        """The noise schedule, without what diffusers notes of itself."""
        return {key: value for key, value in self.config("scheduler").items() if not key.startswith("_")}

    @contextmanager
    def checked(self, *parts: str) -> Iterator[None]:
        """Raise CheckpointError for weights that are no plain numbers: before the block, or, of what it
        fetches, behind it."""
        own = Path(self.name)
        if is_here := own.is_dir():
            self._check(own, parts)
        yield
        if not is_here and (fetched := cached_folder(self.name)) is not None:
            self._check(fetched, parts)

    def _check(self, folder: Path, parts: Sequence[str]) -> None:
        for part in parts:
            check_weights(folder / part, self._variant or only_variant(folder / part))

    def network(self, kind: Any, part: str, dtype: torch.dtype) -> Any:
        """diffusers' network of that `kind` (a class), whole."""
        network, info = kind.from_pretrained(
            self.name,
            subfolder=part,
            torch_dtype=dtype,
            low_cpu_mem_usage=part == "transformer",  # which are so large that no random weights are made
            variant=self._variant_of(part),
            use_safetensors=False if self._is_pickled(part) else None,
            output_loading_info=True,
        )
        self._require_all(info, part)
        return network

    def text_encoder(self, part: str = "text_encoder", *, projected: bool = False) -> Any:
        """transformers' CLIP text model in fp32, with a projection where its config says so, or must."""
        from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

        config = CLIPTextConfig.from_pretrained(self.name, subfolder=part)
        projected = projected or "CLIPTextModelWithProjection" in (config.architectures or [])
        encoder, info = (CLIPTextModelWithProjection if projected else CLIPTextModel).from_pretrained(
            self.name,
            subfolder=part,
            dtype=torch.float32,
            variant=self._variant_of(part),
            output_loading_info=True,
        )
        self._require_all(info, part)
        return encoder

    def has(self, part: str) -> bool:
        """Whether the model has such a part: by its model_index.json, where there is none by its folder."""
        import diffusers

        try:
            index = diffusers.DiffusionPipeline.load_config(self.name)
        except (OSError, ValueError):
            return (Path(self.name) / part).is_dir()
        return any(index.get(part) or ())

    def language_model(self, part: str, dtype: torch.dtype) -> Any:
        """transformers' T5 encoder in `dtype`."""
        from transformers import T5EncoderModel

        encoder, info = T5EncoderModel.from_pretrained(
            self.name, subfolder=part, dtype=dtype, variant=self._variant_of(part), output_loading_info=True
        )
        self._require_all(info, part)
        return encoder

    def pieces(self, part: str) -> Any:
        """A tokenizer of a T5, of whatever class the folder names; none of its own code is run."""
        from transformers import AutoTokenizer

        return AutoTokenizer.from_pretrained(self.name, subfolder=part, trust_remote_code=False)

    def tokenizer(self, part: str = "tokenizer") -> Any:
        """transformers' CLIP tokenizer."""
        from transformers import CLIPTokenizer

        return CLIPTokenizer.from_pretrained(self.name, subfolder=part)

    def _variant_of(self, part: str) -> str | None:
        return self._variant or only_variant(Path(self.name) / part)

    def _is_pickled(self, part: str) -> bool:
        """Whether a folder here holds weights of torch alone: diffusers would complain of it."""
        folder = Path(self.name) / part
        return folder.is_dir() and not any(folder.glob("*.safetensors*"))

    def _require_all(self, info: Mapping[str, Any], part: str) -> None:
        """Raise CheckpointError where weights of a part are missing: the libraries leave them random."""
        missing = sorted(info["missing_keys"])
        if missing:
            raise CheckpointError(
                f"the model in {self.name} is not whole: {len(missing)} weights of its {NAMES[part]} are "
                f"missing, such as {missing[0]}; fetch it again"
            )

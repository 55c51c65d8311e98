"""What a folder holds, a model of some family or something else: by its configurations, else its weights."""

from collections.abc import Iterator
from pathlib import Path

from ..errors import CheckpointError
from .configs import CONFIGS, pipeline_of, read_json, shapes_of_unet
from .kinds import EMBEDDING, Kind, kind_of, kind_of_class, kind_of_pipeline

__all__ = ["kind_of_folder"]

WHOLE = "give that file to --model"
# The pipelines of folders that do not name theirs, by the class of their transformer.
PIPELINES = {
    "SD3Transformer2DModel": "StableDiffusion3Pipeline",
    "FluxTransformer2DModel": "FluxPipeline",
}


def kind_of_folder(folder: Path) -> Kind | None:
    """What a folder is, where something tells it from a whole Stable Diffusion 1.x."""
    pipeline, unet = pipeline_of(folder), folder / "unet" / "config.json"
    if unet.is_file():
        other = kind_of_pipeline(pipeline, has_unet=True)
        return other if other and not other.family else kind_of(shapes_of_unet(read_json(unet)))
    if (folder / "embedding.pt").is_file():
        return EMBEDDING
    if (folder / "snapshots").is_dir():
        return Kind(
            "a folder of the Hub's cache", "give --model the folder under its snapshots, or the Hub name"
        )
    if (folder / "adapter_config.json").is_file():
        return kind_of({"lora_A": ()})
    if (folder / "open_clip_config.json").is_file():
        return kind_of_class("open_clip")
    found = next(filter(None, map(kind_of_class, _classes(folder))), None)
    return found or kind_of_pipeline(pipeline, has_unet=False) or _by_weights(folder)


def _classes(folder: Path) -> Iterator[str]:
    yield pipeline_of(folder)
    config = read_json(folder / "config.json")
    named = config.get("architectures")
    yield from map(str, [config.get("_class_name", ""), *(named if isinstance(named, list) else [])])
    if (folder / "transformer").is_dir():
        denoiser = str(read_json(folder / CONFIGS["transformer"]).get("_class_name", ""))
        yield PIPELINES.get(denoiser, "Transformer2DModel")


def _by_weights(folder: Path) -> Kind | None:
    """What the only weights in a folder are; a whole model is to be given by its file."""
    from .reader import SUFFIXES, read_weights

    files = [path for path in sorted(folder.iterdir()) if path.suffix.lower() in SUFFIXES | {".bin", ".pth"}]
    for path in files[:1]:
        try:
            kind = kind_of({name: tuple(value.shape) for name, value in read_weights(path).items()})
        except CheckpointError:
            continue
        return kind or Kind(f"a folder with the checkpoint {path.name}", WHOLE)
    return None

"""The nodes: an aesthetic embedding loaded, mixed, saved, as an image's vector; a CLIP moved towards it."""

from pathlib import Path
from typing import Any, ClassVar

import comfy.clip_vision
import folder_paths

from visunex.aesthetic_embeddings import catalogue

from . import steering
from .aesthetic import Aesthetic

__all__ = ["NODE_CLASS_MAPPINGS", "NODE_DISPLAY_NAME_MAPPINGS"]

TYPE = "AESTHETIC_EMBEDDING"
CATEGORY = "VisuNex"
FOLDER = "aesthetic_embeddings"  # below ComfyUI's models/, and where Save writes below its output/

folder_paths.add_model_folder_path(FOLDER, str(Path(folder_paths.models_dir, FOLDER)))

Inputs = dict[str, dict[str, Any]]


class LoadAestheticEmbedding:
    """An aesthetic embedding by name, or by the path of a file or a run."""

    DESCRIPTION = (
        "Loads an aesthetic embedding: a file in models/aesthetic_embeddings, or one of the published ones, "
        "which are fetched once. A path names any other .pt file, or the folder of a visunex-data run."
    )
    CATEGORY, FUNCTION = CATEGORY, "load"
    RETURN_TYPES, RETURN_NAMES = (TYPE,), ("embedding",)

    @classmethod
    def INPUT_TYPES(cls) -> Inputs:  # noqa: N802 # ComfyUI's
        """What ComfyUI asks for."""
        files = [name for name in folder_paths.get_filename_list(FOLDER) if name.endswith(".pt")]
        path = {"default": "", "tooltip": "a .pt file or a run's folder, taken in place of the name"}
        return {
            "required": {"name": ([*files, *catalogue()],)},
            "optional": {"path": ("STRING", path)},
        }

    @classmethod
    def IS_CHANGED(cls, name: str, path: str = "") -> str:  # noqa: N802 # ComfyUI's
        """The embedding's digest: a file that has changed is loaded again."""
        return Aesthetic.load(_place(name, path)).taste.digest

    def load(self, name: str, path: str = "") -> tuple[Aesthetic]:
        """The embedding."""
        return (Aesthetic.load(_place(name, path)),)


def _place(name: str, path: str) -> str:
    return path.strip() or folder_paths.get_full_path(FOLDER, name) or name


class MixAestheticEmbeddings:
    """Two aesthetic embeddings as one, by weights."""

    DESCRIPTION = (
        "The weighted sum of two directions: as `visunex-data embeddings mix`. A negative weight leads away."
    )
    CATEGORY, FUNCTION = CATEGORY, "mix"
    RETURN_TYPES, RETURN_NAMES = (TYPE,), ("embedding",)

    @classmethod
    def INPUT_TYPES(cls) -> Inputs:  # noqa: N802 # ComfyUI's
        """What ComfyUI asks for."""
        weight = ("FLOAT", {"default": 0.5, "min": -10.0, "max": 10.0, "step": 0.05})
        return {"required": {"a": (TYPE,), "weight_a": weight, "b": (TYPE,), "weight_b": weight}}

    def mix(self, a: Aesthetic, weight_a: float, b: Aesthetic, weight_b: float) -> tuple[Aesthetic]:
        """The mixture."""
        return (Aesthetic.mix((a, weight_a), (b, weight_b)),)


class SaveAestheticEmbedding:
    """An aesthetic embedding as a file below ComfyUI's output folder."""

    DESCRIPTION = (
        "Writes NAME_00001_.pt and .json, what it was made of, below the output folder: for "
        "visunex-generate, the web UI, or models/aesthetic_embeddings."
    )
    CATEGORY, FUNCTION = CATEGORY, "save"
    RETURN_TYPES, OUTPUT_NODE = (), True

    @classmethod
    def INPUT_TYPES(cls) -> Inputs:  # noqa: N802 # ComfyUI's
        """What ComfyUI asks for."""
        prefix = ("STRING", {"default": f"{FOLDER}/taste"})
        return {"required": {"embedding": (TYPE,), "filename_prefix": prefix}}

    def save(self, embedding: Aesthetic, filename_prefix: str) -> dict[str, Any]:
        """Where it was written, for ComfyUI's page."""
        output = folder_paths.get_output_directory()
        folder, stem, number, beside, _ = folder_paths.get_save_image_path(filename_prefix, output)
        name = f"{stem}_{number:05}_.pt"
        embedding.save(Path(folder, name))
        return {"ui": {"text": [str(Path(beside, name))]}}


class AestheticEmbeddingAsImage:
    """An aesthetic embedding where a model takes an image's CLIP vector."""

    DESCRIPTION = (
        "The embedding at the length of one image's raw vector: for unCLIPConditioning, and as EMBEDS for "
        "IPAdapter Embeds (plain adapters). Length 0: what the embedding says of its images."
    )
    CATEGORY, FUNCTION = CATEGORY, "as_image"
    RETURN_TYPES = ("CLIP_VISION_OUTPUT", "EMBEDS")

    @classmethod
    def INPUT_TYPES(cls) -> Inputs:  # noqa: N802 # ComfyUI's
        """What ComfyUI asks for."""
        length = ("FLOAT", {"default": 0.0, "min": 0.0, "max": 1000.0, "step": 0.1})
        return {"required": {"embedding": (TYPE,), "length": length}}

    def as_image(self, embedding: Aesthetic, length: float) -> tuple[Any, Any]:
        """A CLIP_VISION_OUTPUT with the vector `[1, D]` and nothing else, and the vector itself."""
        vector = embedding.as_image(length or None)
        output = ImageVectorAlone()
        output["image_embeds"], output["mm_projected"] = vector, None
        return output, vector.clone()


class ImageVectorAlone(comfy.clip_vision.Output):
    """What an image encoder gives, of which there is the image's vector and no more."""

    def __getattr__(self, name: str) -> Any:
        if name.endswith(("hidden_state", "hidden_states")):
            raise AttributeError(
                "an aesthetic embedding is one vector and has no hidden states: IP-Adapter Plus, style "
                "models and others that take more than an image's one CLIP vector cannot take it"
            )
        raise AttributeError(name)


class CLIPTextEncodeAesthetic:
    """A prompt's conditioning by a text encoder that moved towards an aesthetic embedding."""

    DESCRIPTION = (
        "Aesthetic gradients: a copy of the CLIP takes a few steps towards the embedding for this prompt, "
        "and what it then says conditions. Negative prompts stay with CLIP Text Encode."
    )
    CATEGORY, FUNCTION = CATEGORY, "encode"
    RETURN_TYPES = ("CONDITIONING",)
    INPUTS: ClassVar[Inputs] = {
        "required": {
            "clip": ("CLIP",),
            "text": ("STRING", {"multiline": True, "dynamicPrompts": True}),
            "embedding": (TYPE,),
            "steps": ("INT", {"default": 10, "min": 0, "max": 1000, "tooltip": "0: the plain prompt"}),
            "lr": ("FLOAT", {"default": 1e-4, "min": 1e-7, "max": 0.1, "step": 1e-5, "round": False}),
            "weight": ("FLOAT", {"default": 1.0, "min": 0.0, "max": 1.0, "step": 0.05}),
        }
    }

    @classmethod
    def INPUT_TYPES(cls) -> Inputs:  # noqa: N802 # ComfyUI's
        """What ComfyUI asks for."""
        return cls.INPUTS

    def encode(
        self, clip: Any, text: str, embedding: Aesthetic, steps: int, lr: float, weight: float
    ) -> tuple[Any]:
        """The conditioning."""
        return (steering.encode(clip, text, embedding.taste, steps=steps, lr=lr, weight=weight),)


NODE_CLASS_MAPPINGS = {
    "VisuNexLoadAestheticEmbedding": LoadAestheticEmbedding,
    "VisuNexMixAestheticEmbeddings": MixAestheticEmbeddings,
    "VisuNexSaveAestheticEmbedding": SaveAestheticEmbedding,
    "VisuNexAestheticEmbeddingAsImage": AestheticEmbeddingAsImage,
    "VisuNexCLIPTextEncodeAesthetic": CLIPTextEncodeAesthetic,
}
NODE_DISPLAY_NAME_MAPPINGS = {
    "VisuNexLoadAestheticEmbedding": "Load Aesthetic Embedding",
    "VisuNexMixAestheticEmbeddings": "Mix Aesthetic Embeddings",
    "VisuNexSaveAestheticEmbedding": "Save Aesthetic Embedding",
    "VisuNexAestheticEmbeddingAsImage": "Aesthetic Embedding as CLIP Vision Output",
    "VisuNexCLIPTextEncodeAesthetic": "CLIP Text Encode (Aesthetic Gradients)",
}

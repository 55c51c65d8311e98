"""IP-Adapters (arXiv 2308.06721): attention to an image's CLIP vector beside the text's, trained."""

from typing import Any

from ..errors import UsageError
from .vector import Given, image_vector

__all__ = ["ip_adapter", "style_only"]

# What diffusers makes of the adapters it knows, by the keys in their files; only the plain one takes one
# vector.
PLAIN = "ImageProjection"
OTHERS = {
    "IPAdapterPlusImageProjection": "IP-Adapter Plus",
    "IPAdapterFullImageProjection": "IP-Adapter Full",
    "IPAdapterFaceIDImageProjection": "IP-Adapter FaceID",
    "IPAdapterFaceIDPlusImageProjection": "IP-Adapter FaceID Plus",
    "IPAdapterTimeImageProjection": "IP-Adapter with SigLIP (InstantX)",
}
# Of SDXL's layers the one that carries style (InstantStyle, arXiv 2404.02733).
STYLE_BLOCK = "up_blocks.0.attentions.1"


def ip_adapter(
    pipe: Any, *tastes: Given, length: float | None = None, guidance: bool = True
) -> dict[str, Any]:
    """What a pipeline with a plain IP-Adapter takes of a taste: `ip_adapter_image_embeds`, negative first.

    `pipe(prompt, **ip_adapter(pipe, "my_taste.pt"))`, after `pipe.load_ip_adapter(...)`; how much it counts
    is `pipe.set_ip_adapter_scale`'s. One taste for each adapter that is loaded, in their order: a name, a
    file, a run, an `Embedding` or a tensor 1xD of the adapter's image encoder. `length` is that of one
    image's raw vector, where the embedding's provenance does not say it. `guidance` False is for a
    `guidance_scale` of 1 or less. For FLUX.1 the negative is of its own and zeros: a black image would need
    the encoder.

    Raises UsageError where no adapter is loaded, or another kind (Plus, Full, FaceID, SigLIP), which take
    more than one vector; for a contrast, which is a direction and no image; EmbeddingSizeError for a vector
    of another CLIP; EmbeddingError.
    """
    import torch

    layers = _layers(pipe)
    if len(tastes) != len(layers):
        raise UsageError(f"{len(layers)} IP-Adapters are loaded, {len(tastes)} tastes given: one for each")
    model = _model(pipe)
    wide = [
        _vector(taste, layer, length).to(device=_device(pipe, model), dtype=model.dtype)[None]
        for taste, layer in zip(tastes, layers, strict=True)
    ]  # [1, 1, D] each
    if hasattr(pipe, "transformer"):
        zeros = [torch.zeros_like(each) for each in wide]
        return {"ip_adapter_image_embeds": wide, "negative_ip_adapter_image_embeds": zeros}
    if guidance:
        wide = [torch.cat([torch.zeros_like(each), each]) for each in wide]
    return {"ip_adapter_image_embeds": wide}


def style_only(pipe: Any, weight: float = 1.0) -> None:
    """Let the IP-Adapters of an SDXL pipeline act on style alone, with this weight (InstantStyle).

    Raises UsageError for a model without that layer: on SD 1.x the same setting would switch the adapter off
    without a word.
    """
    _layers(pipe)
    if not any(name.startswith(STYLE_BLOCK) for name in getattr(_model(pipe), "attn_processors", {})):
        raise UsageError(
            "this model has no layer of style that is known, only SDXL has: use pipe.set_ip_adapter_scale"
        )
    pipe.set_ip_adapter_scale({"up": {"block_0": [0.0, weight, 0.0]}})


def _vector(taste: Given, layer: Any, length: float | None) -> Any:
    dimension = layer.image_embeds.in_features
    return image_vector(taste, dimension, wanted_by="this IP-Adapter", length=length).image()


def _layers(pipe: Any) -> list[Any]:
    """The projections of the adapters that are loaded, all of them plain."""
    loaded = getattr(getattr(_model(pipe), "encoder_hid_proj", None), "image_projection_layers", None)
    if not loaded:
        raise UsageError(f"{type(pipe).__name__} has no IP-Adapter: call pipe.load_ip_adapter(...) first")
    for layer in loaded:
        if (kind := type(layer).__name__) != PLAIN:
            raise UsageError(
                f"this adapter is an {OTHERS.get(kind, kind)}, which takes more than an image's one CLIP "
                "vector: load a plain one (ip-adapter_sd15, ip-adapter_sdxl, ip-adapter_sdxl_vit-h)"
            )
    return list(loaded)


def _model(pipe: Any) -> Any:
    model = getattr(pipe, "unet", None) or getattr(pipe, "transformer", None)
    if model is None:
        raise UsageError(
            f"{type(pipe).__name__} has neither a unet nor a transformer: give a diffusers pipeline"
        )
    return model


def _device(pipe: Any, model: Any) -> Any:
    return getattr(pipe, "_execution_device", None) or model.device

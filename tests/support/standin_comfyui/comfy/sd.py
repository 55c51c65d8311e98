"""The CLIP object that nodes hand on: a shared model, a tokenizer, and patches of its own."""

from typing import Any

import torch

from . import model_management


class ModelPatcher:
    """Patches by key, in the shared model's weights while this patcher is the one that is loaded."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.load_device = self.offload_device = torch.device("cpu")
        self.patches: dict[str, list[tuple[float, Any]]] = {}
        self.forced_hooks = None
        model.backup, model.loaded = {}, None

    def clone(self) -> "ModelPatcher":
        twin = object.__new__(type(self))
        twin.__dict__.update(self.__dict__)
        twin.patches = {key: list(patches) for key, patches in self.patches.items()}
        return twin

    def add_patches(
        self, patches: dict[str, Any], strength_patch: float = 1.0, strength_model: float = 1.0
    ) -> Any:
        for key, patch in patches.items():
            self.patches.setdefault(key, []).append((strength_patch, patch))
        return list(patches)

    def patch_model(self) -> None:
        parameters = dict(self.model.named_parameters())
        for key, value in self.model.backup.items():
            parameters[key].copy_(value)
        self.model.backup = {key: parameters[key].clone() for key in self.patches}
        for key, patches in self.patches.items():
            for strength, (kind, (difference,)) in patches:
                assert kind == "diff"
                parameters[key].add_(difference.to(parameters[key]), alpha=strength)


class CLIP:
    def __init__(
        self, target: Any = None, no_init: bool = False, model_options: Any = None, **_: Any
    ) -> None:
        if no_init:
            return
        options = model_options or {}
        self.cond_stage_model = target.clip(
            **target.params, device="cpu", dtype=options.get("dtype"), model_options=options
        )
        self.tokenizer = target.tokenizer()
        self.patcher = ModelPatcher(self.cond_stage_model)
        self.layer_idx: int | None = None

    def clone(self) -> "CLIP":
        twin = CLIP(no_init=True)
        twin.__dict__.update(self.__dict__)
        twin.patcher = self.patcher.clone()
        return twin

    def add_patches(self, patches: Any, strength_patch: float = 1.0, strength_model: float = 1.0) -> Any:
        return self.patcher.add_patches(patches, strength_patch, strength_model)

    def clip_layer(self, layer_idx: int) -> None:
        self.layer_idx = layer_idx

    def tokenize(self, text: str, return_word_ids: bool = False, **kwargs: Any) -> Any:
        return self.tokenizer.tokenize_with_weights(text, return_word_ids, **kwargs)

    def load_model(self) -> None:
        model_management.load_models_gpu([self.patcher])

    def encode_from_tokens_scheduled(self, tokens: Any) -> Any:
        self.cond_stage_model.reset_clip_options()
        if self.layer_idx is not None:
            self.cond_stage_model.set_clip_options({"layer": self.layer_idx})
        self.load_model()
        cond, pooled = self.cond_stage_model.encode_token_weights(tokens)[:2]
        return [[cond, {"pooled_output": pooled}]]

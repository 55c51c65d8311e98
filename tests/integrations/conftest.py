"""ComfyUI itself, where $COMFYUI names a checkout (`make comfyui`), else a stand-in of its protocol."""

import contextlib
import importlib.util
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from comfyui_clips import CONFIGS

ROOT = Path(__file__).parents[2]
PACK = ROOT / "integrations" / "comfyui"
COMFYUI = Path(os.environ.get("COMFYUI") or ROOT / "tests" / "support" / "standin_comfyui")


@pytest.fixture(scope="session")
def comfy() -> Iterator[ModuleType]:
    """The package `comfy`, with what the nodes use of it."""
    sys.path.insert(0, str(COMFYUI))
    with contextlib.ExitStack() as stack:
        stack.callback(sys.path.remove, str(COMFYUI))
        arguments, sys.argv = sys.argv, ["main.py", "--cpu"]  # which ComfyUI reads as it is imported
        stack.callback(setattr, sys, "argv", arguments)
        import comfy.options

        comfy.options.enable_args_parsing()
        import comfy.sd
        import comfy.sd1_clip
        import comfy.sdxl_clip

        yield comfy


@pytest.fixture(scope="session")
def pack(comfy: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    """The node pack, imported as ComfyUI imports what lies in custom_nodes: by a name that is its path."""
    import folder_paths

    name = str(PACK).replace(".", "_x_")
    spec = importlib.util.spec_from_file_location(name, PACK / "__init__.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    folder_paths.models_dir = str(tmp_path_factory.mktemp("models"))
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def steering(pack: ModuleType) -> ModuleType:
    return sys.modules[f"{pack.__name__}.steering"]


@pytest.fixture
def clip(comfy: ModuleType) -> Callable[..., Any]:
    """A function that makes ComfyUI's own CLIP of a family with small random weights, in inference mode."""

    def made(family: str = "sd1", dtype: torch.dtype = torch.float32) -> Any:
        parts = {
            "sd1": (comfy.sd1_clip.SD1ClipModel, comfy.sd1_clip.SD1Tokenizer),
            "sdxl": (comfy.sdxl_clip.SDXLClipModel, comfy.sdxl_clip.SDXLTokenizer),
        }
        model, tokenizer = parts[family]
        options = {f"{name}_model_config": config for name, config in CONFIGS.items()}
        target = SimpleNamespace(params={}, clip=model, tokenizer=tokenizer)
        with torch.inference_mode():
            found = comfy.sd.CLIP(target, model_options={**options, "dtype": dtype})
            draw = torch.Generator().manual_seed(7)
            for name, value in sorted(found.cond_stage_model.named_parameters()):
                drawn = torch.randn(value.shape, generator=draw) * 0.1
                value.copy_(drawn + ("norm" in name and name.endswith("weight")))
        return found

    return made

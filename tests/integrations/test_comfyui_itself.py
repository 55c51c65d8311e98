"""The nodes in a workflow that ComfyUI's own executor runs, found as it finds what lies in custom_nodes."""

import asyncio
import inspect
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from comfyui_clips import G, L

from visunex.aesthetic_embeddings import load, save

pytestmark = pytest.mark.skipif(
    not os.environ.get("COMFYUI"),
    reason="no ComfyUI here: `make comfyui COMFYUI=/path/to/ComfyUI` (0.3.64 and 0.8.0 were tried)",
)
PACK = Path(__file__).parents[2] / "integrations" / "comfyui"


def test_a_workflow_runs(pack: Any, clip: Any, tmp_path: Path) -> None:
    import execution
    import folder_paths
    import nodes

    kept: list[Any] = []

    class Give:
        CATEGORY, FUNCTION, RETURN_TYPES = "test", "give", ("CLIP",)
        INPUT_TYPES = classmethod(lambda cls: {"required": {}})
        give = staticmethod(lambda: (clip("sdxl"),))

    class Keep:
        CATEGORY, FUNCTION, RETURN_TYPES, OUTPUT_NODE = "test", "keep", (), True
        INPUT_TYPES = classmethod(lambda cls: {"required": {"a": ("CONDITIONING",), "b": ("CONDITIONING",)}})
        keep = staticmethod(lambda a, b: kept.extend((a, b)) or {})

    assert asyncio.run(nodes.load_custom_node(str(PACK)))
    nodes.NODE_CLASS_MAPPINGS.update(Give=Give, Keep=Keep)
    folder_paths.output_directory = str(tmp_path)
    save(tmp_path / "taste.pt", torch.randn(G).numpy(), {"checks": {"image_norm": 9.0}})
    workflow = {
        "1": ("Give", {}),
        "2": ("CLIPSetLastLayer", {"clip": ["1", 0], "stop_at_clip_layer": -2}),
        "3": ("VisuNexLoadAestheticEmbedding", {"name": "fantasy", "path": str(tmp_path / "taste.pt")}),
        "4": ("VisuNexCLIPTextEncodeAesthetic", {
            "clip": ["2", 0], "text": "a (castle:1.2) at night", "embedding": ["3", 0], "steps": 3,
            "lr": 1e-3, "weight": 0.9,
        }),
        "5": ("CLIPTextEncode", {"clip": ["2", 0], "text": "a (castle:1.2) at night"}),
        "6": ("VisuNexAestheticEmbeddingAsImage", {"embedding": ["3", 0], "length": 0.0}),
        "7": ("unCLIPConditioning", {
            "conditioning": ["4", 0], "clip_vision_output": ["6", 0], "strength": 1.0,
            "noise_augmentation": 0.0,
        }),
        "8": ("Keep", {"a": ["7", 0], "b": ["5", 0]}),
        "9": ("VisuNexSaveAestheticEmbedding", {"embedding": ["3", 0], "filename_prefix": "kept"}),
    }  # fmt: skip
    prompt = {key: {"class_type": kind, "inputs": inputs} for key, (kind, inputs) in workflow.items()}
    messages: list[Any] = []
    server = SimpleNamespace(client_id="x", last_node_id=None, last_prompt_id=None)
    server.send_sync = lambda *message: messages.append(message)
    valid, error, outputs, node_errors = asyncio.run(execution.validate_prompt("1", prompt, None))
    assert valid, (error, node_errors)
    takes = inspect.signature(execution.PromptExecutor).parameters
    cache = {"cache_args": {"lru": 0, "ram": 1.0}} if "cache_args" in takes else {}
    executor = execution.PromptExecutor(server, **cache)
    executor.execute(prompt, "1", {}, outputs)
    assert executor.success, messages[-1]
    (((steered, rest),), ((plain, _),)) = kept
    assert steered.shape == plain.shape
    assert torch.equal(steered[..., :L], plain[..., :L])
    assert not torch.allclose(steered[..., L:], plain[..., L:], atol=1e-2)
    (unclip,) = rest["unclip_conditioning"]
    assert float(unclip["clip_vision_output"].image_embeds.norm()) == pytest.approx(9, rel=1e-5)
    assert torch.equal(load(tmp_path / "kept_00001_.pt").tensor(), load(tmp_path / "taste.pt").tensor())

"""What is given where a Stable Diffusion 1.x model was wanted is recognised by what it is.

The names and the shapes that tell are those of the published files; the weights are zeros.
"""

import argparse
import json
import pickle
import re
import sys
import types
import zipfile
from collections import OrderedDict, defaultdict
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from visunex.generate.errors import CheckpointError
from visunex.generate.families import loading as models

UNET = "model.diffusion_model."
SD1 = {
    f"{UNET}input_blocks.0.0.weight": (8, 4, 3, 3),
    f"{UNET}input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight": (8, 768),
    f"{UNET}middle_block.0.in_layers.0.weight": (8,),
    "first_stage_model.decoder.conv_in.weight": (8, 4, 3, 3),
    "cond_stage_model.transformer.text_model.embeddings.token_embedding.weight": (8, 768),
}
BESIDE, MODEL, PART = "works beside a model", "leave it out", "that it is a part of"
STEERED = "in Python, visunex.generate.steered"
LORA, WORD, VAE, MERGED = "to --lora", "to --textual-inversion", "to --vae", "merge it into"
FROM = "that it was made from"


def with_channels(count: int) -> dict[str, tuple[int, ...]]:
    return SD1 | {f"{UNET}input_blocks.0.0.weight": (8, count, 3, 3)}


WEIGHTS: dict[str, tuple[dict[str, tuple[int, ...]], str, str]] = {
    "SDXL without a UNet": (
        {
            "conditioner.embedders.0.transformer.text_model.embeddings.position_embedding.weight": (7, 8),
            "conditioner.embedders.1.model.transformer.resblocks.9.mlp.c_proj.bias": (8,),
            "first_stage_model.decoder.conv_in.weight": (8, 4, 3, 3),
        },
        "holds no UNet",
        "a whole checkpoint",
    ),
    "SDXL inpainting": (
        with_channels(9) | {"conditioner.embedders.1.model.ln_final.weight": (8,)},
        "an SDXL inpainting model",
        FROM,
    ),
    "SDXL editing": (
        with_channels(8) | {f"{UNET}label_emb.0.0.weight": (8, 28)},
        "an SDXL editing model",
        FROM,
    ),
    "SDXL of latent consistency": (
        SD1 | {"conditioner.embedders.1.x": (8,), f"{UNET}time_embed.cond_proj.weight": (8, 8)},
        "a latent consistency model",
        FROM,
    ),
    "EDM": (
        {"conditioner.embedders.1.model.ln_final.weight": (8,), "edm_mean": (4,)},
        "the EDM noise schedule",
        MODEL,
    ),
    "SDXL refiner": (
        {"conditioner.embedders.0.model.text_projection": (8, 8), f"{UNET}label_emb.0.0.weight": (8, 25)},
        "an SDXL refiner",
        MODEL,
    ),
    "SDXL UNet of diffusers": (
        {"add_embedding.linear_1.weight": (8, 28), "conv_in.weight": (8, 4, 3, 3)},
        "an SDXL UNet alone",
        PART,
    ),
    "SD2 UNet of diffusers": (
        {
            "conv_in.weight": (8, 4, 3, 3),
            "mid_block.resnets.0.conv1.bias": (8,),
            "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.weight": (8, 1024),
        },
        "a UNet alone",
        PART,
    ),
    "SD2 depth": (with_channels(5), "a depth model", MODEL),
    "SD3": ({f"{UNET}joint_blocks.0.context_block.adaLN_modulation.1.bias": (8,)}, "Diffusion 3", STEERED),
    "Flux": (
        {"double_blocks.0.img_attn.norm.key_norm.scale": (8,), "single_blocks.0.linear1.bias": (8,)},
        "a Flux model",
        STEERED,
    ),
    "Flux of diffusers": (
        {"transformer_blocks.0.attn.add_q_proj.weight": (8, 8), "x_embedder.weight": (8, 8)},
        "a diffusion transformer",
        MODEL,
    ),
    "PixArt": ({"adaln_single.linear.weight": (8, 8)}, "a diffusion transformer", MODEL),
    "Cascade": ({"clip_txt_mapper.weight": (8, 8)}, "Stable Cascade", MODEL),
    "SVD": ({f"{UNET}input_blocks.1.0.time_stack.in_layers.0.bias": (8,)}, "Stable Video Diffusion", MODEL),
    "inpainting": (with_channels(9), "an inpainting model .* 9 channels", FROM),
    "pix2pix": (with_channels(8), "InstructPix2Pix", FROM),
    "wrapped inpainting": (
        {f"module.{name}": shape for name, shape in with_channels(9).items()},
        "an inpainting model",
        FROM,
    ),
    "LoRA, kohya": ({"lora_unet_mid_block_x.lora_down.weight": (4, 8)}, "a LoRA", LORA),
    "LoRA, text encoder": ({"lora_te_text_model_x.alpha": (1,)}, "a LoRA", LORA),
    "LoRA, peft": ({"base_model.model.x.to_q.lora_A.default.weight": (4, 8)}, "a LoRA", LORA),
    "LoRA, diffusers": (
        {"unet.down_blocks.0.attentions.0.processor.to_q_lora.down.weight": (4, 8)},
        "a LoRA",
        LORA,
    ),
    "LoRA, diffusers later": ({"unet.down_blocks.0.to_q.lora.up.weight": (4, 8)}, "a LoRA", LORA),
    "LoHa": ({"lora_unet_down_x.hada_w1_a": (4, 8), "lora_unet_down_x.alpha": (1,)}, "a LyCORIS", MERGED),
    "LoKr": ({"lora_unet_down_x.lokr_w1": (4, 8)}, "a LyCORIS", MERGED),
    "textual inversion, web UI": ({"emb_params": (3, 768)}, "a textual inversion", WORD),
    "textual inversion, diffusers": ({"<cat-toy>": (768,)}, "a textual inversion", WORD),
    "textual inversion, SDXL": ({"clip_g": (2, 1280), "clip_l": (2, 768)}, "a textual inversion", WORD),
    "IP-Adapter": (
        {"image_proj.proj.weight": (8, 8), "ip_adapter.1.to_k_ip.weight": (8, 8)},
        "IP-",
        "--adapter",
    ),
    "ControlNet": ({"control_model.time_embed.0.weight": (8, 8)}, "a ControlNet", BESIDE),
    "ControlNet of diffusers": (
        {"controlnet_cond_embedding.conv_in.weight": (8, 3, 3, 3), "conv_in.weight": (8, 4, 3, 3)},
        "a ControlNet",
        BESIDE,
    ),
    "T2I-Adapter": ({"adapter.body.0.resnets.0.block1.weight": (8, 8)}, "a T2I-Adapter", BESIDE),
    "AnimateDiff": ({"down_blocks.0.motion_modules.0.x.pe": (1, 8)}, "AnimateDiff", BESIDE),
    "VAE": ({"decoder.conv_in.weight": (8, 4, 3, 3), "encoder.mid.attn_1.q.bias": (8,)}, "a VAE alone", VAE),
    "VAE, prefixed": ({"first_stage_model.decoder.conv_in.weight": (8, 4, 3, 3)}, "a VAE alone", VAE),
    "UNet": ({name: SD1[name] for name in SD1 if name.startswith(UNET)}, "a UNet alone", PART),
    "UNet of diffusers": (
        {"conv_in.weight": (8, 4, 3, 3), "mid_block.resnets.0.conv1.bias": (8,)},
        "a UNet alone",
        PART,
    ),
    "CLIP": (
        {"text_model.embeddings.x": (8,), "vision_model.embeddings.x": (8,), "logit_scale": ()},
        "a CLIP model",
        "visunex-data",
    ),
    "open_clip": (
        {"visual.conv1.weight": (8, 3, 4, 4), "transformer.resblocks.0.x": (8,)},
        "a CLIP model",
        "visunex-data",
    ),
    "text encoder": ({"text_model.encoder.layers.0.self_attn.q_proj.bias": (8,)}, "text encoder", PART),
    "T5": ({"encoder.block.0.layer.0.SelfAttention.q.weight": (8, 8)}, "a text encoder alone", PART),
    "language model": ({"model.layers.0.self_attn.q_proj.weight": (8, 8)}, "a language model", MODEL),
    "ESRGAN": ({"model.1.sub.0.RDB1.conv1.0.weight": (8, 8, 3, 3)}, "an upscaler", BESIDE),
    "predictor": ({"layers.0.weight": (16, 768), "layers.0.bias": (16,)}, "aesthetic scores", "visunex-data"),
}
NESTED: dict[str, tuple[Any, str, str]] = {
    "textual inversion, .pt": (
        {"string_to_token": {"*": 265}, "string_to_param": {"*": torch.zeros(2, 768)}, "name": "cat"},
        "a textual inversion",
        BESIDE,
    ),
    "Real-ESRGAN": ({"params_ema": {"conv_first.weight": torch.zeros(8, 3, 3, 3)}}, "an upscaler", BESIDE),
    "IP-Adapter, .bin": (
        {"image_proj": {"x": torch.zeros(2)}, "ip_adapter": {}},
        "an IP-Adapter",
        "--adapter",
    ),
    "hypernetwork": ({768: ({}, {}), "layer_structure": [1, 2, 1]}, "a hypernetwork", MERGED),
    "ours": (torch.zeros(1, 768), "an aesthetic embedding", "--aesthetic_embedding"),
    "optimizer": ({"state": {}, "param_groups": []}, "a trainer's state", "weights that the trainer saved"),
    "nothing": ({}, "a dict of 0 things", "safetensors"),
    "an object": (
        torch.nn.Linear(2, 2),
        "a whole object of the class torch.nn.modules.linear.Linear",
        "save",
    ),
}
FILES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "is empty"),
    "zeros": (bytes(4096), "is empty"),
    "pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git-lfs pointer"),
    "page": (b"\n<!DOCTYPE html><title>Sign in</title>", "a web page"),
    "error": (b'{"error": "Invalid username or password."}', "is JSON"),
    "text": (b"Entry not found", "a text file"),
    "GGUF": (b"GGUF\x03\0\0\0" + bytes(64), "a GGUF file"),
    "ONNX": (b"\x08\x08\x12\x07pytorch\x1a\x052.1.0", "an ONNX model"),
    "picture": (b"\x89PNG\r\n\x1a\n" + bytes(64), "--from-image"),
    "gzip": (b"\x1f\x8b\x08" + bytes(64), "a packed archive"),
    "7z": (b"7z\xbc\xaf\x27\x1c" + bytes(64), "a packed archive"),
    "NumPy": (b"\x93NUMPY" + bytes(64), "a NumPy file"),
    "pickle": (pickle.dumps({"a": 1}), "not a file that torch.save wrote"),
    "half a header": ((1 << 20).to_bytes(8, "little") + b'{"a": {"dtype"', "cut off"),
    "noise": (bytes(range(255, 0, -1)) * 3, "fetch it again"),
}


def refusal(path: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        models.load(str(path), device="cpu")
    said = str(caught.value)
    assert said.startswith(str(path))
    assert len(said.splitlines()) == 1
    return said.removeprefix(str(path))


def assert_says(said: str, what: str, advice: str) -> None:
    assert re.search(what, said), said
    assert advice in said, said


@pytest.mark.parametrize("kind", WEIGHTS)
def test_weights_of_something_else_are_called_what_they_are(tmp_path: Path, kind: str) -> None:
    shapes, what, advice = WEIGHTS[kind]
    weights = {name: torch.zeros(shape) for name, shape in shapes.items()}
    save_file(weights, tmp_path / "a.safetensors")
    torch.save({"state_dict": weights, "epoch": 3}, tmp_path / "a.ckpt")
    for name in ("a.safetensors", "a.ckpt"):
        assert_says(refusal(tmp_path / name), what, advice)


@pytest.mark.parametrize("kind", NESTED)
def test_what_other_programs_save_is_called_what_it_is(tmp_path: Path, kind: str) -> None:
    content, what, advice = NESTED[kind]
    torch.save(content, tmp_path / "a.pt")
    assert_says(refusal(tmp_path / "a.pt"), what, advice)


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("ending", ["safetensors", "ckpt"])
def test_files_that_hold_no_weights_are_called_what_they_are(tmp_path: Path, kind: str, ending: str) -> None:
    content, what = FILES[kind]
    (tmp_path / f"a.{ending}").write_bytes(content)
    assert_says(refusal(tmp_path / f"a.{ending}"), what, "")


def test_a_zip_archive_is_unpacked_first(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.ckpt", "w") as archive:
        archive.writestr("model/unet.bin", b"")
    assert_says(refusal(tmp_path / "a.ckpt"), "a zip archive", "unpack it")


def unet_config(**changes: Any) -> dict[str, Any]:
    return {"_class_name": "UNet2DConditionModel", "in_channels": 4, "cross_attention_dim": 768} | changes


FOLDERS: dict[str, tuple[dict[str, Any], str, str]] = {
    "SDXL refiner": (
        {
            "model_index.json": {"_class_name": "StableDiffusionXLImg2ImgPipeline"},
            "unet/config.json": unet_config(
                addition_embed_type="text_time",
                addition_time_embed_dim=256,
                cross_attention_dim=1280,
                projection_class_embeddings_input_dim=2560,
            ),
        },
        "an SDXL refiner",
        MODEL,
    ),
    "SDXL inpainting": (
        {"unet/config.json": unet_config(addition_embed_type="text_time", in_channels=9)},
        "an SDXL inpainting model",
        FROM,
    ),
    "inpainting": ({"unet/config.json": unet_config(in_channels=9)}, "9 channels", FROM),
    "pix2pix": ({"unet/config.json": unet_config(in_channels=8)}, "InstructPix2Pix", FROM),
    "SD3": ({"model_index.json": {"_class_name": "SD3ControlNetPipeline"}}, "a ControlNet", BESIDE),
    "Flux": ({"model_index.json": {"_class_name": "FluxFillPipeline"}}, "a Flux model of another", STEERED),
    "FLUX.2": ({"model_index.json": {"_class_name": "Flux2Pipeline"}}, "a FLUX.2 model", "--to prompt"),
    "another": ({"transformer/config.json": {}}, "a diffusion transformer", MODEL),
    "UNet": ({"config.json": unet_config()}, "a UNet alone", PART),
    "VAE": ({"config.json": {"_class_name": "AutoencoderKL"}}, "a VAE alone", VAE),
    "ControlNet": ({"config.json": {"_class_name": "ControlNetModel"}}, "a ControlNet", BESIDE),
    "CLIP": ({"config.json": {"architectures": ["CLIPModel"]}}, "a CLIP model", "visunex-data"),
    "open_clip": ({"open_clip_config.json": {}}, "a CLIP model", "visunex-data"),
    "text encoder": ({"config.json": {"architectures": ["CLIPTextModel"]}}, "a text encoder alone", PART),
    "language model": ({"config.json": {"architectures": ["LlamaForCausalLM"]}}, "a language model", MODEL),
    "peft": ({"adapter_config.json": {}}, "a LoRA", LORA),
    "a run": ({"embedding.pt": {}, "report.json": {}}, "an aesthetic embedding", "--aesthetic_embedding"),
    "the Hub's cache": (
        {"snapshots/a/unet/config.json": unet_config()},
        "Hub's cache",
        "under its snapshots",
    ),
    "broken": ({"config.json": ["nonsense"]}, "no diffusers folder", "Give --model a folder"),
    "nothing": ({}, "no diffusers folder", "Give --model a folder"),
}


@pytest.mark.parametrize("kind", FOLDERS)
def test_folders_of_something_else_are_called_what_they_are(tmp_path: Path, kind: str) -> None:
    files, what, advice = FOLDERS[kind]
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(json.dumps(content), encoding="utf-8")
    assert_says(refusal(tmp_path), what, advice)


def test_a_folder_of_single_weights_is_told_by_them(tmp_path: Path, checkpoint_weights: Any) -> None:
    save_file(
        {"lora_unet_x.lora_down.weight": torch.zeros(2, 2)}, tmp_path / "pytorch_lora_weights.safetensors"
    )
    assert_says(refusal(tmp_path), "a LoRA", LORA)
    save_file(checkpoint_weights, tmp_path / "pytorch_lora_weights.safetensors")
    assert_says(refusal(tmp_path), "a folder with the checkpoint pytorch_lora", "give that file to --model")


def absent_class(monkeypatch: pytest.MonkeyPatch) -> type:
    """A class of a module of the trainer's own, which is not there when the file is read."""
    module = types.ModuleType("nowhere")
    module.ConfigDict = type("ConfigDict", (dict,), {"__module__": "nowhere"})  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "nowhere", module)
    return module.ConfigDict


def test_what_a_trainer_leaves_beside_the_weights_is_left_out(
    tmp_path: Path, checkpoint_weights: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    beside = {
        "counts": defaultdict(int, steps=3),
        "config": absent_class(monkeypatch)(lr=1.0),
        "path": Path("logs"),
        "options": argparse.Namespace(lr=1e-4),
        "dtype": torch.float16,
        "device": torch.device("cpu"),
        "network": torch.nn.Linear(2, 2),
        "optimizer_states": [OrderedDict(lr=1.0)],
    }
    torch.save({"state_dict": checkpoint_weights, **beside}, tmp_path / "a.ckpt")
    monkeypatch.delitem(sys.modules, "nowhere")
    save_file(checkpoint_weights, tmp_path / "a.safetensors")
    found, expected = (
        models.load(str(tmp_path / f"a.{ending}"), device="cpu") for ending in ("ckpt", "safetensors")
    )
    assert found.fingerprint == expected.fingerprint

"""Aesthetic embeddings, checkpoints, and the JSON of model folders."""

import functools
import io
import json
import shutil
import struct
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..loader import Seed, loader

_PLAIN = torch.arange(1, 9, dtype=torch.float32)[None]


def _saved(value: object, **options: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, **options)
    return buffer.getvalue()


def _rezipped(whole: bytes, inner: bytes) -> bytes:
    """An archive of torch.save with another pickle in it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(whole)) as before, zipfile.ZipFile(buffer, "w") as archive:
        for name in before.namelist():
            archive.writestr(name, inner if name.endswith("data.pkl") else before.read(name))
    return buffer.getvalue()


def _pickled(value: object, file: str) -> Iterable[Seed]:
    whole = _saved(value)
    yield Seed(file, whole)
    yield Seed(file, _saved(value, _use_new_zipfile_serialization=False))
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        inner = next(archive.read(name) for name in archive.namelist() if name.endswith("data.pkl"))
    yield Seed(file, inner, functools.partial(_rezipped, whole))


def _safetensors(tensors: dict[str, torch.Tensor], file: str) -> Iterable[Seed]:
    from safetensors.torch import save

    whole = save(tensors)
    size = struct.unpack("<Q", whole[:8])[0]
    yield Seed(file, whole)
    yield Seed(
        file,
        whole[8 : 8 + size],
        lambda head: struct.pack("<Q", len(head)) + head + whole[8 + size :],
        "json",
    )


def _embeddings(folder: Path) -> Iterable[Seed]:
    from visunex.aesthetic_embeddings import save

    for value in (_PLAIN, _PLAIN[0].half(), torch.nn.Parameter(_PLAIN), _PLAIN.expand(1, 8), {"a": _PLAIN}):
        yield from _pickled(value, "x.pt")
    yield from _safetensors({"a": _PLAIN}, "x.safetensors")
    buffer = io.BytesIO()
    np.save(buffer, _PLAIN.numpy())
    yield Seed("x.npy", buffer.getvalue())
    said = {
        "recipe": {"name": "r", "title": "t"}, "source": "s", "reduction": {"kind": "unit-mean"}, "images": 3,
        "model": {"name": "ViT-L-14", "pretrained": "openai", "precision": "fp32", "weights": "ab"},
        "pictures": {"used": 3, "failed": 0}, "mixed_from": [{"name": "a", "weight": 1.5}],
    }  # fmt: skip
    save(folder / "ours.pt", _PLAIN.numpy(), said)
    noted = (folder / "ours.json").read_bytes()
    yield Seed("ours.json", noted, form="json")
    digest = json.dumps(json.loads(noted)["sha256"]).encode()
    rest = json.dumps(said).encode()
    yield Seed(
        "ours.json",
        rest,
        lambda bent: bent.rstrip().removesuffix(b"}") + b', "sha256": ' + digest + b"}",
        "json",
    )


@loader("embedding", _embeddings)
def _embedding(path: Path) -> None:
    from visunex.aesthetic_embeddings import load
    from visunex.aesthetic_embeddings.artefact import require_replaceable
    from visunex.aesthetic_embeddings.space import space_of
    from visunex.pipeline.cli.embeddings import _shown

    path = path.with_suffix(".pt") if path.suffix == ".json" else path
    found = load(path)
    assert np.isfinite(found.vector).all()
    _shown({**found.as_dict(), "provenance": found.provenance, "published": None, "cosines": []})
    space_of(found)
    require_replaceable(path, overwrite=True)


def _checkpoints(_: Path) -> Iterable[Seed]:
    weights = {
        "model.diffusion_model.input_blocks.0.0.weight": torch.zeros(4, 4, 3, 3),
        "model.diffusion_model.time_embed.0.weight": torch.zeros(16, 4),
        "first_stage_model.encoder.conv_in.weight": torch.zeros(4, 3, 3, 3),
        "cond_stage_model.transformer.text_model.embeddings.token_embedding.weight": torch.zeros(50, 8),
    }
    for value in (weights, {"state_dict": {**weights, "step": 3, "n": np.float32(1)}}):
        yield from _pickled(value, "x.ckpt")
    yield from _safetensors(weights, "x.safetensors")
    flow = {
        "model.diffusion_model.joint_blocks.0.x_block.attn.qkv.weight": torch.zeros(12, 4),
        "model.diffusion_model.x_embedder.proj.weight": torch.zeros(4, 16, 2, 2),
        "model.diffusion_model.context_embedder.weight": torch.zeros(4, 8),
        "text_encoders.clip_l.transformer.text_model.embeddings.token_embedding.weight": torch.zeros(50, 8),
        "text_encoders.clip_g.transformer.text_model.embeddings.token_embedding.weight": torch.zeros(50, 8),
        "first_stage_model.decoder.conv_in.weight": torch.zeros(4, 16, 3, 3),
    }
    yield from _safetensors(flow, "x.safetensors")


@loader("checkpoint", _checkpoints)
def _checkpoint(path: Path) -> None:
    from visunex.generate.families.loading import load

    load(str(path), device="cpu")


def _copied(source: Path, folder: Path) -> Iterable[Seed]:
    """A model's folder, its weights linked; each of its texts is bent in turn."""
    shutil.copytree(source, folder, symlinks=False, copy_function=_linked_or_copied, dirs_exist_ok=True)
    for path in sorted(folder.rglob("*")):
        if path.suffix in (".json", ".txt"):
            yield Seed(str(path.relative_to(folder.parent)), path.read_bytes())


def _linked_or_copied(source: str, target: str) -> None:
    if source.endswith((".json", ".txt")):
        shutil.copyfile(source, target)
    else:
        Path(target).symlink_to(source)


def _sd_folder(folder: Path) -> Iterable[Seed]:
    from visunex.demo.tiny import SD_FOLDER

    return _copied(SD_FOLDER, folder / "sd")


@loader("model folder", _sd_folder, share=0.02)
def _load_sd(path: Path) -> None:
    from visunex.generate.families.loading import load

    root = next(each for each in path.parents if each.name == "sd")
    load(str(root), device="cpu").tokenizer("a castle", padding="max_length", max_length=77, truncation=True)


def _flow_folder(folder: Path) -> Iterable[Seed]:
    from small_pipelines import VOCABULARY, WORDS
    from transformer_pipelines import sd3_pipe
    from transformers import CLIPTokenizer

    from visunex.demo.tokens import write_tokenizer

    write_tokenizer(folder / "words", [WORDS], VOCABULARY - 10)
    pipe = sd3_pipe(lambda: CLIPTokenizer.from_pretrained(folder / "words", model_max_length=77))
    pipe.save_pretrained(folder / "own")
    return _copied(folder / "own", folder / "flow")


@loader("flow folder", _flow_folder, share=0.02)
def _load_flow(path: Path) -> None:
    from visunex.generate.families.loading import load
    from visunex.generate.families.outline import outline

    root = next(each for each in path.parents if each.name == "flow")
    outline(str(root))
    model: Any = load(str(root), device="cpu")
    model.tokenizer_3(["a castle"], padding="max_length", max_length=77, truncation=True)


def _clip_folder(folder: Path) -> Iterable[Seed]:
    from visunex.demo.tiny import CLIP_FOLDER

    return _copied(CLIP_FOLDER, folder / "clip")


@loader("CLIP folder", _clip_folder, share=0.02)
def _load_clip(path: Path) -> None:
    from visunex.clip.factory import load_image_encoder, load_text_encoder

    load_image_encoder(f"local-dir:{path.parent}", device="cpu")
    load_text_encoder(f"local-dir:{path.parent}", device="cpu")


@functools.cache
def _tiny() -> Any:
    from visunex.generate.families.loading import load

    return load("visunex-tiny", device="cpu")


def _added(**files: Any) -> None:
    from visunex.generate.additions import Additions, added

    changed = added(_tiny(), Additions.of(**files))
    assert all(value.isfinite().all() for value in changed.text_encoder.state_dict().values())
    changed.tokenizer("x, a castle", padding="max_length", max_length=77, truncation=True)


def _loras(_: Path) -> Iterable[Seed]:
    width = _tiny().text_encoder.config.hidden_size
    down, up, alpha = torch.ones(1, width), torch.ones(width, 1), torch.tensor(2.0)
    layer = "text_model.encoder.layers.0.self_attn.q_proj"
    kohya = f"lora_te_{layer.replace('.', '_')}"
    pairs = {f"{kohya}.lora_down.weight": down, f"{kohya}.lora_up.weight": up, f"{kohya}.alpha": alpha}
    yield from _safetensors(pairs, "x.safetensors")
    yield from _pickled({"state_dict": pairs}, "x.pt")
    name = f"text_encoder.{layer}"
    yield from _safetensors({f"{name}.lora_A.weight": down, f"{name}.lora_B.weight": up}, "x.safetensors")


@loader("LoRA", _loras, share=0.3)
def _lora(path: Path) -> None:
    _added(loras=[path])


def _inversions(_: Path) -> Iterable[Seed]:
    rows = torch.ones(2, _tiny().text_encoder.config.hidden_size)
    parameters = torch.nn.ParameterDict({"*": torch.nn.Parameter(rows)})
    for held in ({"*": rows}, parameters):
        yield from _pickled({"string_to_token": {"*": 265}, "string_to_param": held, "name": "x"}, "x.pt")
    yield from _safetensors({"<x>": rows[0]}, "x.safetensors")
    yield from _safetensors({"emb_params": rows}, "x.safetensors")


@loader("textual inversion", _inversions, share=0.3)
def _inversion(path: Path) -> None:
    _added(textual_inversions=[path])


def _vae_folder(folder: Path) -> Iterable[Seed]:
    from visunex.demo.tiny import SD_FOLDER

    return _copied(SD_FOLDER / "vae", folder / "vae")


@loader("VAE folder", _vae_folder, share=0.05)
def _vae(path: Path) -> None:
    _added(vae=path.parent)

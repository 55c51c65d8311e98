"""Train visunex-tiny, a CLIP of 2.5 M parameters for 64x64 pictures, on rendered scenes.

    python -m visunex.demo.train_clip --out demo/weights --minutes 19
    python -m visunex.demo.train_clip --out demo/weights --judge --threads 1

Writes `OUT/clip` for open_clip's `local-dir:`, `OUT/sd/text_encoder` and `OUT/sd/tokenizer` for transformers.
With `--judge` visunex-judge is trained, the foreign judge, and written to `OUT/judge`: another architecture,
other pictures, so many steps in place of minutes, so that a run from start to end makes the same weights.
The loss is CLIP's, but knows which captions of a batch describe which pictures, so that a second caption
of the same content is never counted as wrong.
"""

import argparse
import json
import math
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from open_clip.model import CLIP
from safetensors.torch import save_file
from transformers import CLIPTokenizer

from .captions import STRAY_WORDS, Described, caption, partial_caption
from .scenes import PALETTES, SUBJECTS, Scene, label, random_scene
from .tiny import transformers_text_encoder
from .tokens import write_tokenizer
from .training import draw_scenes, fit, is_first, log, start_processes

__all__ = ["main"]

MODEL_CFG = {
    "embed_dim": 768,
    "quick_gelu": False,
    "vision_cfg": {"image_size": 64, "layers": [1, 2, 2, 1], "width": 16, "head_width": 64},
    "text_cfg": {
        "context_length": 77,
        "vocab_size": 1024,
        "width": 128,
        "heads": 4,
        "layers": 3,
        "hf_tokenizer_name": "visunex-tiny",
    },
}
PREPROCESS_CFG = {
    "mean": [0.48145466, 0.4578275, 0.40821073],
    "std": [0.26862954, 0.26130258, 0.27577711],
    "interpolation": "bicubic",
    "resize_mode": "shortest",
}
JUDGE_CFG = {
    "embed_dim": 256,
    "quick_gelu": True,
    "vision_cfg": {"image_size": 64, "layers": 3, "width": 96, "head_width": 32, "patch_size": 8},
    "text_cfg": {
        "context_length": 77,
        "vocab_size": 1024,
        "width": 64,
        "heads": 2,
        "layers": 2,
        "hf_tokenizer_name": "visunex-judge",
    },
}
PEAK_RATE = 2e-3
MAX_SCALE = 30.0  # a gentle temperature keeps cosines spread out, which steering by cosine needs
TEXT_LENGTH = 32  # attention is causal, so nothing behind a caption's end need be computed


@dataclass(frozen=True)
class Design:
    """A model to be trained: its configuration and folder, seeds of its weights and of its pictures.

    `size` is of a batch; with `steps` it is trained for so many, without for as long as one is told.
    """

    folder: str
    config: dict[str, Any]
    seed: int
    scenes: int
    size: int
    steps: int | None = None


TINY = Design("clip", MODEL_CFG, seed=0, scenes=2, size=256)
JUDGE = Design("judge", JUDGE_CFG, seed=1, scenes=5, size=128, steps=900)


@dataclass(frozen=True)
class Batch:
    """Images [N, 3, 64, 64], token ids [N, L], what describes what [N, N], which tell everything [N]."""

    images: torch.Tensor
    ids: torch.Tensor
    matches: torch.Tensor
    complete: torch.Tensor


def write_config(folder: Path, config: dict[str, Any], vocabulary: int) -> dict[str, Any]:
    """Write `open_clip_config.json` for this vocabulary and return its model part."""
    model = {**config, "text_cfg": {**config["text_cfg"], "vocab_size": vocabulary}}
    text = json.dumps({"model_cfg": model, "preprocess_cfg": PREPROCESS_CFG}, indent=2)
    (folder / "open_clip_config.json").write_text(text + "\n", encoding="utf-8")
    return model


def encode_ids(model: CLIP, ids: torch.Tensor) -> torch.Tensor:
    """Text features [N, 768] of ids [N, L], for any L up to the context length."""
    length = ids.shape[1]
    x = model.token_embedding(ids) + model.positional_embedding[:length]
    x = model.ln_final(model.transformer(x, attn_mask=model.attn_mask[:length, :length]))
    return x[torch.arange(len(ids)), ids.argmax(dim=-1)] @ model.text_projection


def normalise(images: torch.Tensor) -> torch.Tensor:
    """0..1 pictures to the statistics that the model expects."""
    mean, std = (torch.tensor(PREPROCESS_CFG[key]).view(1, 3, 1, 1) for key in ("mean", "std"))
    return (images - mean) / std


def augment(images: torch.Tensor) -> torch.Tensor:
    """Blur, noise, light and shift at random: what JPEG, WebP and an autoencoder do to a picture."""
    count = len(images)
    soft = F.avg_pool2d(F.pad(images, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    small = F.interpolate(F.avg_pool2d(images, 2), scale_factor=2, mode="bilinear")
    kind = torch.rand(count, 1, 1, 1)
    blurred = torch.where(kind < 0.25, soft, torch.where(kind < 0.35, small, images))
    light = 1 + 0.12 * torch.randn(count, 1, 1, 1)
    noisy = blurred * light + 0.05 * torch.randn(count, 3, 1, 1) * torch.rand(count, 1, 1, 1)
    noisy = noisy + 0.06 * torch.rand(count, 1, 1, 1) * torch.randn_like(blurred)
    flipped = torch.where(torch.rand(count, 1, 1, 1) < 0.5, noisy.flip(3), noisy)
    return flipped.clamp(0, 1)


def agrees(wanted: list[object], found: list[object]) -> torch.Tensor:
    """[pictures, captions]: whether the caption says this of the picture, or says nothing of it (None)."""
    return torch.tensor([[want is None or want == have for want in wanted] for have in found])


def describes(scenes: list[Scene], said: list[Described]) -> torch.Tensor:
    """[pictures, captions] of bool."""
    return (
        agrees([d.subject for d in said], [s.subject for s in scenes])
        & agrees([d.palette for d in said], [s.palette for s in scenes])
        & agrees([d.garden for d in said], [s.garden for s in scenes])
        & agrees([d.flowers for d in said], [s.has_flowers for s in scenes])
    )


def draw_batch(
    scenes: list[Scene], images: npt.NDArray[np.uint8], tokenizer: CLIPTokenizer, rng: Random, size: int
) -> Batch:
    """A random batch of pictures with captions, some of which tell only a part."""
    rows = rng.sample(range(len(scenes)), size)
    chosen = [scenes[row] for row in rows]
    written = [partial_caption(scene, rng) for scene in chosen]
    ids = tokenizer(
        [text for text, _ in written],
        padding=True,
        truncation=True,
        max_length=TEXT_LENGTH,
        return_tensors="pt",
    ).input_ids
    floats = torch.from_numpy(images[rows]).permute(0, 3, 1, 2).float() / 255
    said = [what for _, what in written]
    complete = torch.tensor([None not in (what.subject, what.palette, what.garden) for what in said])
    return Batch(normalise(augment(floats)), ids, describes(chosen, said), complete)


def soft_cross_entropy(logits: torch.Tensor, matches: torch.Tensor) -> torch.Tensor:
    """Cross entropy of each row against an even spread over its matches; rows without any do not count."""
    rows = matches.any(dim=1)
    target = matches[rows].float()
    target = target / target.sum(dim=1, keepdim=True)
    return -(target * logits[rows].log_softmax(dim=1)).sum(dim=1).mean()


def contrastive_loss(model: CLIP, batch: Batch) -> torch.Tensor:
    """CLIP's symmetric loss; partial captions choose pictures, but pictures do not choose them."""
    with torch.autocast("cpu", torch.bfloat16):
        image, text = model.encode_image(batch.images), encode_ids(model, batch.ids)
    image, text = F.normalize(image.float(), dim=-1), F.normalize(text.float(), dim=-1)
    logits = model.logit_scale.clamp(max=math.log(MAX_SCALE)).exp() * image @ text.T
    forward = soft_cross_entropy(logits[:, batch.complete], batch.matches[:, batch.complete])
    return 0.5 * (forward + soft_cross_entropy(logits.T, batch.matches.T))


@torch.no_grad()
def accuracy(model: CLIP, tokenizer: CLIPTokenizer, count: int = 480, seed: int = 99_991) -> float:
    """Share of fresh scenes whose subject and palette are both named right by the nearest of all prompts."""
    scenes, images = draw_scenes(count, seed)
    prompts = [Scene(subject, palette, False, 0) for subject in SUBJECTS for palette in PALETTES]
    ids = tokenizer([label(scene) for scene in prompts], padding=True, return_tensors="pt").input_ids
    model.eval()
    image = model.encode_image(normalise(torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255))
    nearest = (F.normalize(image, dim=-1) @ F.normalize(encode_ids(model, ids), dim=-1).T).argmax(dim=1)
    model.train()
    named = [prompts[place] for place in nearest.tolist()]
    right = [(a.subject, a.palette) == (b.subject, b.palette) for a, b in zip(scenes, named, strict=True)]
    return sum(right) / count


def train(
    design: Design, model: CLIP, tokenizer: CLIPTokenizer, checkpoint: Path, minutes: float, count: int
) -> None:
    """Train for the design's steps or for `minutes` in all, resuming from `checkpoint`."""
    rng = Random(torch.initial_seed())  # noqa: S311
    scenes, images = draw_scenes(count, design.scenes)
    size = min(design.size, count)
    fit(
        model,
        lambda: contrastive_loss(model, draw_batch(scenes, images, tokenizer, rng, size)),
        checkpoint,
        minutes,
        steps=design.steps,
        peak_rate=PEAK_RATE,
        report=lambda: f"named right {accuracy(model, tokenizer):.3f}",
    )


def halves(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Floats in fp16, the rest as it is."""
    return {name: (t.half() if t.is_floating_point() else t).contiguous() for name, t in state.items()}


def export(model: CLIP, folder: Path) -> None:
    """Write the weights of the whole model in fp16, for open_clip."""
    save_file(halves(model.state_dict()), folder / "open_clip_model.safetensors", metadata={"format": "pt"})


def export_text_encoder(clip_folder: Path, sd_folder: Path) -> None:
    """Write the text encoder of an open_clip folder in fp16, for transformers."""
    encoder = transformers_text_encoder(clip_folder)
    # transformers loads a model as its configuration says, diffusers as float32: else the two would clash.
    encoder.config.dtype, encoder.config.architectures = torch.float32, ["CLIPTextModel"]
    encoder.config.save_pretrained(sd_folder / "text_encoder")
    # The names of Stable Diffusion 1.x's own files, which every version of transformers reads.
    text = {name: t for name, t in halves(encoder.state_dict()).items() if name.startswith("text_model.")}
    save_file(text, sd_folder / "text_encoder" / "model.safetensors", metadata={"format": "pt"})
    tokenizer = sd_folder / "tokenizer"
    tokenizer.mkdir(parents=True, exist_ok=True)
    for name in ("vocab.json", "merges.txt", "tokenizer_config.json"):
        (tokenizer / name).write_bytes((clip_folder / name).read_bytes())


def vocabulary_texts(count: int = 20_000) -> list[str]:
    """Captions, and the stray words that may stand in them, to learn the vocabulary from."""
    rng = Random(0)  # noqa: S311
    return [caption(random_scene(rng), rng) for _ in range(count)] + [" ".join(STRAY_WORDS)] * 20


def main(words: list[str] | None = None) -> None:
    """Command line; `words` in place of the real one's."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="folder that gets clip/ and sd/")
    parser.add_argument("--judge", action="store_true", help="train visunex-judge in place of visunex-tiny")
    parser.add_argument("--checkpoint", type=Path, help="default: runs/train/clip.pt or judge.pt")
    parser.add_argument("--minutes", type=float, default=19, help="of visunex-tiny")
    parser.add_argument("--steps", type=int, help="in place of minutes; of visunex-judge 900")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--pictures", type=int, help="how many to draw; default: 30000, for the judge 6000")
    arguments = parser.parse_args(words)
    design = JUDGE if arguments.judge else TINY
    design = replace(design, steps=arguments.steps or design.steps)
    torch.set_num_threads(arguments.threads)
    start_processes(design.seed)
    folder = arguments.out / design.folder
    write_tokenizer(folder, vocabulary_texts())
    tokenizer = CLIPTokenizer.from_pretrained(folder)
    model = CLIP(**write_config(folder, design.config, len(tokenizer)))
    log(f"{sum(p.numel() for p in model.parameters()) / 1e6:.2f} M parameters, {len(tokenizer)} tokens")
    checkpoint = arguments.checkpoint or Path(f"runs/train/{design.folder}.pt")
    count = arguments.pictures or (6_000 if arguments.judge else 30_000)
    train(design, model, tokenizer, checkpoint, arguments.minutes, count)
    if is_first():
        export(model, folder)
        if not arguments.judge:
            export_text_encoder(folder, arguments.out / "sd")


if __name__ == "__main__":
    main()

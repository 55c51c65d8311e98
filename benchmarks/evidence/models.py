"""`make evidence-models`: a tiny CLIP and a tiny Stable Diffusion that have seen a world with looks.

    python -m benchmarks.evidence.models --out runs/evidence/models

The shipped models trained further on pictures of `looks.py`: the autoencoder (the shipped one gives a tinted
picture its usual colours back), the CLIP, and by their latents and states the UNet. Seeded, a number of
steps each, resumable: stopped and started again it makes the same weights.
"""

import argparse
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.training_utils import EMAModel
from open_clip.model import CLIP
from safetensors.torch import load_file
from transformers import CLIPTextModel, CLIPTokenizer

from benchmarks.evidence.looks import Seen, caption_of, draw, seen
from visunex.base.files import write_json
from visunex.demo import train_clip, train_diffusion
from visunex.demo.autoencoder import autoencoder_loss, encode_latents, set_scaling
from visunex.demo.scenes import Scene
from visunex.demo.tiny import CLIP_FOLDER, SD_FOLDER, transformers_text_encoder
from visunex.demo.training import fit, log, to_unit

VAE_STEPS, VAE_SIZE, VAE_RATE = 500, 8, 8e-4
CLIP_STEPS, CLIP_SIZE, CLIP_RATE = 450, 128, 8e-4
UNET_STEPS, UNET_SIZE, UNET_RATE = 600, 32, 6e-4
PICTURES = 8_000
SCENES, CLIP_SEED, UNET_SEED, VAE_SEED = 41, 42, 43, 44
LOT = 1000
CONTENTS = [(*content, hinted) for content in train_diffusion.CONTENTS for hinted in (False, True)]

Images = npt.NDArray[np.uint8]


class Randomness:
    """The state of torch's random numbers, as a part of a checkpoint: a run that goes on draws the same."""

    def state_dict(self) -> dict[str, Any]:
        return {"state": torch.get_rng_state()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        torch.set_rng_state(state_dict["state"])


def drawn(count: int, seed: int) -> tuple[list[Seen], Images]:
    """So many scenes with looks, and their pictures."""
    rng = Random(seed)
    found = [seen(rng) for _ in range(count)]
    return found, np.stack([np.asarray(draw(each)) for each in found])


def fresh(limit: int = 2**31) -> Random:
    """Random numbers by the next of torch's."""
    return Random(int(torch.randint(limit, (1,))))


# --- CLIP ------------------------------------------------------------------------------------------------


def clip_batch(found: list[Seen], images: Images, tokenizer: CLIPTokenizer) -> train_clip.Batch:
    """Pictures with a caption each. Each caption is of its own picture alone, as in CLIP's own loss.

    What goes along with a look can be learnt in no other way: all captions of a content that fit a picture
    alike would make its look a thing that no caption tells.
    """
    rows = torch.randint(len(found), (CLIP_SIZE,)).tolist()
    rng = fresh()
    said = [caption_of(found[row], rng) for row in rows]
    ids = tokenizer(
        [text for text, _ in said],
        padding=True,
        truncation=True,
        max_length=train_clip.TEXT_LENGTH,
        return_tensors="pt",
    ).input_ids
    floats = torch.from_numpy(images[rows]).permute(0, 3, 1, 2).float() / 255
    complete = torch.tensor([whole for _, whole in said])
    return train_clip.Batch(
        train_clip.normalise(train_clip.augment(floats)),
        ids,
        torch.eye(len(rows), dtype=torch.bool),
        complete,
    )


def new_clip(folder: Path) -> CLIP:
    """The model of an open_clip folder, in fp32, to be trained further."""
    config = json.loads((folder / "open_clip_config.json").read_text(encoding="utf-8"))["model_cfg"]
    model = CLIP(**config)
    weights = load_file(folder / "open_clip_model.safetensors")
    model.load_state_dict({name: t.float() if t.is_floating_point() else t for name, t in weights.items()})
    return model


def train_looks_clip(out: Path, found: list[Seen], images: Images, steps: int) -> None:
    """`out/clip`, and its text encoder with its projection, and the tokenizer, in `out/sd`."""
    folder, sd = out / "clip", out / "sd"
    shutil.copytree(CLIP_FOLDER, folder, dirs_exist_ok=True)
    tokenizer = CLIPTokenizer.from_pretrained(folder)
    torch.manual_seed(CLIP_SEED)
    model = new_clip(CLIP_FOLDER)
    fit(
        model,
        lambda: train_clip.contrastive_loss(model, clip_batch(found, images, tokenizer)),
        out / "clip.pt",
        0,
        steps=steps,
        peak_rate=CLIP_RATE,
        randomness=Randomness(),
    )
    log(f"named right {train_clip.accuracy(model, tokenizer):.3f}")
    train_clip.export(model, folder)
    train_clip.export_text_encoder(folder, sd)
    encoder = transformers_text_encoder(folder)
    encoder.config.dtype = torch.float32
    encoder.half().save_pretrained(sd / "text_encoder")


# --- autoencoder -----------------------------------------------------------------------------------------


def train_looks_vae(out: Path, _found: list[Seen], images: Images, steps: int) -> None:
    """`out/sd/vae`, with its latents' scaling."""
    torch.manual_seed(VAE_SEED)
    vae = AutoencoderKL.from_pretrained(SD_FOLDER / "vae").float().to(memory_format=torch.channels_last)

    def loss() -> torch.Tensor:
        return autoencoder_loss(vae, to_unit(images[torch.randint(len(images), (VAE_SIZE,)).numpy()]))

    vae.train()
    fit(vae, loss, out / "vae.pt", 0, steps=steps, peak_rate=VAE_RATE, randomness=Randomness())
    set_scaling(vae, to_unit(images[:LOT]))
    vae.half().save_pretrained(out / "sd" / "vae")


# --- UNet ------------------------------------------------------------------------------------------------


def corpus_of(found: list[Seen], images: Images, sd: Path, vae: AutoencoderKL) -> train_diffusion.Corpus:
    """Latents and text states; captions of green pictures apart from the others of their content."""
    lots = [to_unit(images[at : at + LOT]) for at in range(0, len(images), LOT)]
    latents = torch.cat([encode_latents(vae, lot) for lot in lots]) * vae.config.scaling_factor
    places = {content: place for place, content in enumerate(CONTENTS)}
    contents = torch.tensor([places[_content(each)] for each in found])
    encoder = CLIPTextModel.from_pretrained(sd / "text_encoder", dtype=torch.float32)
    tokenizer = CLIPTokenizer.from_pretrained(sd / "tokenizer")
    texts = list(_texts())
    states = train_diffusion.text_states(encoder, tokenizer, texts)
    return train_diffusion.Corpus(
        latents,
        contents,
        states.unflatten(0, (len(CONTENTS), train_diffusion.CAPTIONS_EACH)),
        train_diffusion.text_states(encoder, tokenizer, [""]),
    )


def _content(each: Seen) -> tuple[str, str, bool, bool]:
    scene = each.scene
    return scene.subject, scene.palette, scene.garden, "green" in each.looks


def _texts() -> Iterator[str]:
    rng = Random(UNET_SEED)
    for subject, palette, garden, green in CONTENTS:
        one = Seen(Scene(subject, palette, garden, 0), frozenset({"green"} if green else ()))
        for _ in range(train_diffusion.CAPTIONS_EACH):
            yield caption_of(one, rng)[0]


def train_looks_unet(out: Path, found: list[Seen], images: Images, steps: int) -> None:
    """`out/sd/unet`, by the text states and the latents of what is in `out/sd` already."""
    sd = out / "sd"
    vae = AutoencoderKL.from_pretrained(sd / "vae").float()
    corpus = corpus_of(found, images, sd, vae)
    torch.manual_seed(UNET_SEED)
    unet = UNet2DConditionModel.from_pretrained(SD_FOLDER / "unet").float()
    unet = unet.to(memory_format=torch.channels_last).train()
    average = EMAModel(unet.parameters(), decay=0.998, use_ema_warmup=True, power=0.75)
    fit(
        unet,
        lambda: train_diffusion.diffusion_loss(unet, corpus, UNET_SIZE),
        out / "unet.pt",
        0,
        steps=steps,
        peak_rate=UNET_RATE,
        after_step=lambda: average.step(unet.parameters()),
        average=average,
        randomness=Randomness(),
    )
    average.copy_to(unet.parameters())
    unet.half().save_pretrained(sd / "unet")
    shutil.copytree(SD_FOLDER / "scheduler", sd / "scheduler", dirs_exist_ok=True)
    shutil.copy(SD_FOLDER / "model_index.json", sd)


PARTS = {
    "vae": (train_looks_vae, VAE_STEPS),
    "clip": (train_looks_clip, CLIP_STEPS),
    "unet": (train_looks_unet, UNET_STEPS),
}


def main(words: list[str] | None = None) -> None:
    """Command line; `words` in place of the real one's."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("runs/evidence/models"))
    parser.add_argument("--parts", nargs="+", choices=[*PARTS], default=[*PARTS], help="default: all of them")
    for name, (_, steps) in PARTS.items():
        parser.add_argument(f"--{name}-steps", type=int, default=steps)
    parser.add_argument("--pictures", type=int, default=PICTURES)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args(words)
    torch.set_num_threads(arguments.threads)
    found, images = drawn(arguments.pictures, SCENES)
    for name in arguments.parts:
        train, _ = PARTS[name]
        done, steps = arguments.out / f"{name}.json", getattr(arguments, f"{name}_steps")
        if not done.exists():
            train(arguments.out, found, images, steps)
            took = {"steps": steps, "minutes": _minutes(arguments.out / f"{name}.pt")}
            write_json(done, took)
            log(f"{name}: {took}")


def _minutes(checkpoint: Path) -> float:
    """How long the training took, stops left out."""
    seconds = torch.load(checkpoint, map_location="cpu", weights_only=True)["seconds"]
    return round(seconds / 60, 1)


if __name__ == "__main__":
    main()

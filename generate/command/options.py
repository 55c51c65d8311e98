"""The options of `visunex-generate`: the original script's names, each with a hyphenated twin."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from visunex.base.console import proxy_option

from ..settings import DEFAULT_MODEL
from .method import METHODS
from .values import Finite, Folder, Names, Numbers, Share, Shares, Whole

__all__ = ["ELSEWHERE", "HEADINGS", "generate_options"]

Function = TypeVar("Function", bound=Callable[..., Any])

# Options of the original script and of other programs, and what they are here.
ELSEWHERE = {
    "config": "is not needed: a model says itself how it is built. Leave it out.",
    "laion400m": "is for a model older than Stable Diffusion. Leave it out, and name a newer one "
    "with --model.",
    "dpm_solver": "is --scheduler 'DPM++ 2M' here.",
    "steps": "is --ddim_steps here.",
    "width": "is --W here.",
    "height": "is --H here.",
    "sampler": "is --scheduler here.",
    "sampler_name": "is --scheduler here.",
    "cfg_scale": "is --scale here.",
    "guidance_scale": "is --scale here.",
    "batch_size": "is --n_samples here.",
    "batch_count": "is --n_iter here.",
    "aesthetic_slerp_angle": "is --aesthetic_text_angle here.",
    "aesthetic_learning_rate": "is --aesthetic_lr here.",
}

MOST_DRAWN = 1000  # for one picture
MOST_SAMPLES = 10_000  # in a batch; each has its noise drawn before memory can be seen not to suffice

FILE, PLACE = click.Path(path_type=Path, dir_okay=False), click.Path(path_type=Path)
AT_LEAST_ONE, NOT_NEGATIVE = Whole(min=1), Whole(min=0)
SHARE = Share(min=0, max=1)


def option(
    name: str, help_text: str, *more: str, field: str | None = None, **settings: Any
) -> Callable[[Function], Function]:
    """A click option under `name`, its twin with the other of `_` and `-`, and `more` names.

    `field` is what `request.Options` calls it, where that is not the name itself.
    """
    bare = name.removeprefix("--")
    twins = dict.fromkeys((name, "--" + bare.replace("_", "-"), "--" + bare.replace("-", "_"), *more))
    said = settings.get("is_flag") or "[default:" in help_text
    shown = not said and settings.get("default") not in (None, "")
    return click.option(
        *twins, field or bare.replace("-", "_"), help=help_text, show_default=shown, **settings
    )


WHAT = [
    option("--prompt", "What the picture shows."),
    option(
        "--from-file",
        "Read the prompts from this file, one a line; a line may end in options of its own: --n (negative "
        "prompt), --d (seed), --s (steps), --l (scale), --w, --h, --aesthetic_steps and the like.",
        type=FILE,
    ),
    option("--negative_prompt", "What the picture must not show.", default=""),
    option(
        "--prompt-syntax",
        "How prompts are read: plain words, cut where the model takes no more; or as the web UI reads them, "
        "(word:1.2), (word), [word], \\(, BREAK, and over 75 tokens in chunks.",
        type=click.Choice(["plain", "webui"]),
        default="plain",
    ),
    option(
        "--model",
        "A Stable Diffusion (1.x to 3.5, XL) or FLUX.1 model: a folder, a .safetensors or .ckpt file, or a "
        "name on the Hugging Face Hub, fetched when first used (4 to 34 GB); visunex-tiny is a toy without a "
        "network.",
        "--ckpt",
        default=DEFAULT_MODEL,
    ),
    option(
        "--variant",
        "Which files of a folder or Hub model, e.g. fp16; default: those without, else what there is.",
    ),
    option("--init-img", "Draw over this picture.", type=FILE),
    option(
        "--strength",
        "How much of the sampling is done over --init-img: 1 leaves nothing of it.  [default: 0.75, with "
        "--mask 1]",
        type=SHARE,
    ),
    option(
        "--mask", "Draw anew only where this picture is white; --init-img stays where it is black.", type=FILE
    ),
    option(
        "--from-image",
        "Make this picture again, from what it says of itself: ours, the web UI's, NovelAI's, ComfyUI's.",
        type=FILE,
    ),
    option("--recipe", "Take defaults from the [generate] part of this recipe (name or file)."),
]
ADDED = [
    option(
        "--lora",
        "A LoRA to add to the model, FILE or FILE:SCALE; several as often as this is given.",
        multiple=True,
        metavar="FILE[:SCALE]",
    ),
    option(
        "--textual-inversion",
        "A file with a word for prompts; the word is the file's name, or its own (`<cat-toy>`).",
        multiple=True,
        type=FILE,
    ),
    option("--vae", "A VAE in the place of the model's: a file, or a folder.", type=PLACE),
]
TASTE = [
    option(
        "--aesthetic_embedding",
        "The taste: a path, or the name of a run or of a published embedding, fetched when first used "
        "(`visunex-data embeddings list` names them). Several are moved towards at once, each with =WEIGHT "
        "behind it if they do not count alike; away from one with a negative weight.",
        multiple=True,
        metavar="NAME[=WEIGHT]",
    ),
    option("--aesthetic_steps", "Steps towards the taste; 0: none.", type=NOT_NEGATIVE, default=10),
    option("--aesthetic_lr", "Length of each such step.", type=Finite(), default=1e-4),
    option(
        "--method",
        "How the taste gets in: steps of the text encoder, SDXL's pooled vector, an IP-Adapter.",
        type=click.Choice(METHODS),
        default="steer",
    ),
    option("--adapter", "The file of a plain IP-Adapter, for --method ip-adapter.", type=FILE),
    option(
        "--text-encoder",
        "The text encoder of Stable Diffusion 1.x to personalise: its own, or OpenAI's as the original did.",
        type=click.Choice(["model", "openai"]),
        default="model",
    ),
    option(
        "--mirror",
        "A folder or URL that has the published embeddings, in place of their publisher's.",
        envvar="VISUNEX_MIRROR",
        metavar="PLACE",
    ),
    option(
        "--best-of",
        "Draw so many for each picture, with seeds that follow, and keep the one nearest the taste by its "
        "CLIP's image encoder; with --aesthetic_steps 0 also for models that cannot be steered.",
        type=Whole(1, MOST_DRAWN),
        default=1,
    ),
    option("--sweep-steps", "One labelled grid over these aesthetic steps, e.g. 0,5,8,20.", type=Numbers()),
    option("--sweep-embeddings", "One labelled grid over these embeddings, e.g. a,b,c.", type=Names()),
    option("--sweep-weights", "One labelled grid over these weights, e.g. 0,0.5,1.", type=Shares()),
]
CONTROL = [
    option(
        "--aesthetic_until",
        "End the steps at this cosine to the taste, e.g. 0.35, or once it has risen by so much, +0.1; at "
        "most 200.",
        metavar="COSINE",
    ),
    option(
        "--aesthetic_weight",
        "Blend of the moved conditioning (1) with the plain one (0).",
        type=SHARE,
        default=1.0,
    ),
    option("--aesthetic_slerp", "Blend along the arc between the two, not the line.", is_flag=True),
    option("--aesthetic_text", "Turn the taste towards what this text says.", default=""),
    option("--aesthetic_text_negative", "Turn it away from the text.", is_flag=True),
    option(
        "--aesthetic_text_angle",
        "By so much of the angle between taste and text: 0 is the taste, 1 the text.",
        type=SHARE,
        default=0.1,
    ),
    option(
        "--aesthetic_from",
        "Share of the sampling before which the plain prompt counts.",
        type=SHARE,
        default=0.0,
    ),
    option(
        "--aesthetic_to",
        "Share of the sampling after which the plain prompt counts.",
        type=SHARE,
        default=1.0,
    ),
    option(
        "--clip_skip",
        "Last layers of the text encoder to stop before, as the web UI counts: 2 leaves out one.",
        type=AT_LEAST_ONE,
        default=1,
    ),
    option(
        "--aesthetic_space",
        "Of which CLIP an embedding is that does not say so, e.g. ViT-bigG-14:laion2b_s39b_b160k.",
    ),
]
OWN = "Without it the model's own; of Stable Diffusion 1, 2 and XL"
SAMPLING = [
    option("--ddim_steps", f"Steps of the sampler.  {OWN} 50.", type=AT_LEAST_ONE),
    option("--plms", "Sample with PLMS.", is_flag=True),
    option(
        "--scheduler",
        "ddim, plms, or a sampler's name in diffusers or the web UI, e.g. 'Euler a', 'DPM++ 2M Karras'.  "
        f"{OWN} ddim.",
    ),
    option(
        "--prediction",
        "What the UNet estimates: noise or v.  [default: as the model says]",
        type=click.Choice(["epsilon", "v"]),
    ),
    option("--ddim_eta", "Share of new noise in each DDIM step.", type=Finite(0), default=0.0),
    option("--scale", f"Guidance scale; 1: no guidance.  {OWN} 7.5.", type=Finite()),
    option("--H", "Height in pixels.  [default: the model's]", type=AT_LEAST_ONE, field="height"),
    option("--W", "Width in pixels.  [default: the model's]", type=AT_LEAST_ONE, field="width"),
    option("--C", "Latent channels: the model's, or it is refused.", type=int, field="channels"),
    option("--f", "Pixels per latent: the model's, or it is refused.", type=int, field="factor"),
    option("--n_samples", "Pictures in a batch.", type=Whole(1, MOST_SAMPLES), default=1),
    option("--n_iter", "Batches for each prompt.", type=AT_LEAST_ONE, default=1),
    option(
        "--seed",
        "Seed of the noise; -1: a random one, which is told.",
        type=Whole(-1, 2**64 - 1),
        default=42,
    ),
    option(
        "--seed_of",
        "image: each has a seed of its own, counted up from --seed; run: one for all, as the original.",
        type=click.Choice(["image", "run"]),
        default="image",
    ),
    option("--fixed_code", "The same starting noise for every batch.", is_flag=True),
    option(
        "--rng",
        "Where noise is drawn; cpu: the same on every machine.",
        type=click.Choice(["device", "cpu"]),
        default="device",
    ),
]
MACHINE = [
    option(
        "--precision",
        "full: fp32; autocast: fp16 on a GPU.",
        type=click.Choice(["full", "autocast"]),
        default="autocast",
    ),
    option("--device", "cpu, cuda, mps, ...; auto: a GPU if there is one.", default="auto"),
    option("--lowvram", "Keep only the part at work on the GPU, decode in tiles.", is_flag=True),
    option("--safety_checker", "Black out what the safety checker objects to.", is_flag=True),
    proxy_option,
]
OUTPUT = [
    option(
        "--outdir",
        "Folder for samples/00000.png and grid-0000.png.",
        type=Folder(path_type=Path),
        default="outputs",
    ),
    option("--n_rows", "Pictures in a row of the grid.  [default: n_samples]", type=NOT_NEGATIVE, default=0),
    option("--skip_grid", "Save no grid.", is_flag=True),
    option("--skip_save", "Save no single pictures.", is_flag=True),
]


# What `--help` puts above the option of this field and those behind it.
HEADINGS = {
    "prompt": "What to draw",
    "lora": "What is added to the model",
    "aesthetic_embedding": "The taste",
    "aesthetic_until": "How the taste is used",
    "ddim_steps": "How it is sampled",
    "precision": "The machine",
    "outdir": "What is written",
    "version": "Other",
}


def generate_options(function: Function) -> Function:
    """Give a command every option of `visunex-generate`, in the order in which `--help` shows them."""
    for add in reversed(WHAT + ADDED + TASTE + CONTROL + SAMPLING + MACHINE + OUTPUT):
        function = add(function)
    return function

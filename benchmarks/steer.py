"""Personalising one prompt: `visunex.generate.steering.steer` against the plain method, `reference`."""

import contextlib
import multiprocessing
import statistics
import time
from collections.abc import Callable, Iterator
from functools import cache

import numpy as np
import torch
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel

from visunex.base.machine import keep_memory
from visunex.generate.families.loading import KEPT
from visunex.generate.steering.reference import aesthetic_gradients
from visunex.generate.steering.steer import personalise

TOKENS = (8, 20, 40, 77)  # of a prompt, the start and the end of the text not counted; 77 is cut to 75
REPEATS = 5
STEPS = 10  # the command's default
LR = 1e-4


def full_size_text_encoder() -> CLIPTextModel:
    """CLIP-L's text encoder with random weights."""
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
    return CLIPTextModel(config).eval()


def prompt(tokens: int) -> Tensor:
    """Ids `[1, 77]` of a prompt of so many tokens."""
    ids = torch.full((1, 77), 49407)
    ids[0, 0] = 49406
    words = torch.randint(0, 49406, (min(tokens, 75),), generator=torch.Generator().manual_seed(tokens))
    ids[0, 1 : 1 + len(words)] = words
    return ids


def plain(ids: Tensor) -> Tensor:
    text_encoder, projection, embedding = given()
    return aesthetic_gradients(text_encoder, projection, ids, embedding, steps=STEPS, lr=LR)


def steer(ids: Tensor) -> Tensor:
    text_encoder, projection, embedding = given()
    return personalise(text_encoder, projection, ids, embedding, steps=STEPS, lr=LR)


@cache
def given() -> tuple[CLIPTextModel, Tensor, Tensor]:
    """The text encoder, its projection and an embedding."""
    return full_size_text_encoder(), torch.randn(768, 768) * 768**-0.5, torch.randn(1, 768)


def work(pipe, method: str) -> None:
    """A process of its own for each method: ours keeps its memory, as the command's does."""
    if method == "steer":
        keep_memory(KEPT)
    does = {"plain": plain, "steer": steer}[method]
    while (tokens := pipe.recv()) is not None:
        ids = prompt(tokens)
        began = time.perf_counter()
        result = does(ids)
        pipe.send((time.perf_counter() - began, result.numpy()))


@contextlib.contextmanager
def at_work(method: str) -> Iterator[Callable[[int], tuple[float, np.ndarray]]]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=work, args=(theirs, method))
    process.start()

    def timed(tokens: int) -> tuple[float, np.ndarray]:
        ours.send(tokens)
        return ours.recv()

    yield timed
    ours.send(None)
    process.join()


def main() -> None:
    """Print the table; the two methods take turns, so that both meet the same machine."""
    print(f"## Steering: CLIP-L's text encoder (random weights), {STEPS} steps, fp32, medians of {REPEATS}\n")
    print(
        "| tokens | plain | steer | ratio | largest difference of the conditioning |\n|---|---|---|---|---|"
    )
    with at_work("plain") as plain_method, at_work("steer") as own_method:
        for tokens in TOKENS:
            plain_method(tokens), own_method(tokens)  # warm up: allocator, threads
            pairs = [(plain_method(tokens), own_method(tokens)) for _ in range(REPEATS)]
            slow, fast = (statistics.median(pair[place][0] for pair in pairs) for place in (0, 1))
            ratio = statistics.median(pair[0][0] / pair[1][0] for pair in pairs)
            apart = max(np.abs(pair[0][1] - pair[1][1]).max() for pair in pairs)
            print(f"| {tokens} | {slow:.2f} s | {fast:.2f} s | {ratio:.1f}x | {apart:.1e} |", flush=True)


if __name__ == "__main__":
    main()

"""Personalising one prompt: `visunex.generate.steer` against the paper's method written plainly."""

import copy
import statistics
import time

import torch
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel

from visunex.generate.steer import personalise

TOKENS = (8, 20, 40, 77)  # of a prompt, the start and the end of the text not counted; 77 is cut to 75
REPEATS = 5
STEPS = 10  # the command's default
LR = 1e-4


def full_size_tower() -> CLIPTextModel:
    """CLIP-L's text tower with random weights."""
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


def plainly(tower: CLIPTextModel, projection: Tensor, ids: Tensor, embedding: Tensor) -> Tensor:
    """The method as the paper has it: a copy of the tower, all of its tokens and parameters, Adam."""
    tower = copy.deepcopy(tower)
    optimizer = torch.optim.Adam(tower.parameters(), lr=LR)
    target = embedding / embedding.norm(dim=-1, keepdim=True)
    for _ in range(STEPS):
        feature = tower(input_ids=ids).pooler_output @ projection.T
        loss = -(feature / feature.norm(dim=-1, keepdim=True) @ target.T).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        return tower(input_ids=ids).last_hidden_state


def prompt(tokens: int) -> Tensor:
    """Ids `[1, 77]` of a prompt of so many tokens."""
    ids = torch.full((1, 77), 49407)
    ids[0, 0] = 49406
    words = torch.randint(0, 49406, (min(tokens, 75),), generator=torch.Generator().manual_seed(tokens))
    ids[0, 1 : 1 + len(words)] = words
    return ids


def seconds(method, *given) -> tuple[float, Tensor]:
    began = time.perf_counter()
    result = method(*given)
    return time.perf_counter() - began, result


def main() -> None:
    """Print the table; the two methods take turns, so that both meet the same machine."""
    tower, projection = full_size_tower(), torch.randn(768, 768) * 768**-0.5
    embedding = torch.randn(1, 768)

    def ours(ids: Tensor) -> Tensor:
        return personalise(tower, projection, ids, embedding, steps=STEPS, lr=LR)

    def plain(ids: Tensor) -> Tensor:
        return plainly(tower, projection, ids, embedding)

    print(f"## Steering: CLIP-L's text tower (random weights), {STEPS} steps, fp32, medians of {REPEATS}\n")
    print(
        "| tokens | plain | steer | ratio | largest difference of the conditioning |\n|---|---|---|---|---|"
    )
    for tokens in TOKENS:
        ids = prompt(tokens)
        ours(ids)  # warms up both: allocator, threads
        pairs = [(seconds(plain, ids), seconds(ours, ids)) for _ in range(REPEATS)]
        slow, fast = (statistics.median(pair[place][0] for pair in pairs) for place in (0, 1))
        ratio = statistics.median(pair[0][0] / pair[1][0] for pair in pairs)
        apart = max((pair[0][1] - pair[1][1]).abs().max().item() for pair in pairs)
        print(f"| {tokens} | {slow:.2f} s | {fast:.2f} s | {ratio:.1f}x | {apart:.1e} |", flush=True)


if __name__ == "__main__":
    main()

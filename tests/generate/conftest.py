"""Text towers with random weights, and the method written out plainly: what `steer.py` must agree with."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel

# Tiny models on a shared machine: threads would cost more than they bring, and results must not vary.
torch.set_num_threads(1)


def random_tower(width: int, layers: int, **changes: object) -> CLIPTextModel:
    """A CLIP text tower of Stable Diffusion 1's shape, `width` wide and `layers` deep."""
    torch.manual_seed(0)
    settings = {
        "vocab_size": 49408 if width == 768 else 500,
        "hidden_size": width,
        "intermediate_size": 4 * width,
        "num_hidden_layers": layers,
        "num_attention_heads": width // 16 if width < 768 else width // 64,
        "projection_dim": width,
        "bos_token_id": 0,
        "eos_token_id": 2,  # the legacy value that SD 1.x's own config carries
    }
    return CLIPTextModel(CLIPTextConfig(**(settings | changes))).eval()


def plainly(
    tower: CLIPTextModel, projection: Tensor, ids: Tensor, embedding: Tensor, steps: int, lr: float
) -> Tensor:
    """The paper's method and nothing else: 77 tokens, every parameter, a copy of the whole tower, Adam."""
    tower = copy.deepcopy(tower)
    optimizer = torch.optim.Adam(tower.parameters(), lr=lr, foreach=False)
    target = embedding / embedding.norm(dim=-1, keepdim=True)
    for _ in range(steps):
        feature = tower(input_ids=ids).pooler_output @ projection.T
        feature = feature / feature.norm(dim=-1, keepdim=True)
        loss = -(feature @ target.T).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        return tower(input_ids=ids).last_hidden_state


def a_prompt(tower: CLIPTextModel, tokens: int) -> Tensor:
    """Ids `[1, 77]` of a prompt of so many random tokens, cut and padded as SD 1's tokenizer does."""
    length, end = tower.config.max_position_embeddings, tower.config.vocab_size - 1
    words = torch.randint(0, end - 1, (tokens,), generator=torch.Generator().manual_seed(tokens))
    words = words[: length - 2]
    ids = torch.full((1, length), end)
    ids[0, 0] = end - 1
    ids[0, 1 : 1 + len(words)] = words
    return ids


@pytest.fixture(scope="session")
def plain_method() -> Callable[..., Tensor]:
    return plainly


@pytest.fixture(scope="session")
def prompt() -> Callable[..., Tensor]:
    return a_prompt


@pytest.fixture(scope="session")
def tower() -> Callable[..., CLIPTextModel]:
    return random_tower


@pytest.fixture(scope="session")
def small_tower() -> CLIPTextModel:
    return random_tower(64, 3)


@pytest.fixture(scope="session")
def full_tower() -> CLIPTextModel:
    return random_tower(768, 12)

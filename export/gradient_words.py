"""Words found by gradients: PEZ (Wen et al., "Hard Prompts Made Easy", arXiv 2302.03668).

Vectors in the place of tokens are moved by the gradient that their nearest real tokens have; what the nearest
tokens were on the way are the candidates. Only tokens that are whole words are allowed, so that what is found
can be written, and read back as the same tokens.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import normalize

from visunex.base.progress import Progress

from .encoder import Rows, TextSide
from .prompt_set import PromptSet
from .training import batch_of

__all__ = ["found"]

STEPS, RATE, DECAY = 200, 0.1, 0.1  # the paper's rate and decay, of AdamW
BATCH = 6
KEPT = 24  # candidates: those that were best on the prompts of their step
SHORTEST = 3  # letters of a word


def found(
    side: TextSide,
    prompts: PromptSet,
    count: int,
    seed: int,
    is_allowed: Callable[[str], bool],
) -> list[str]:
    """The texts of `count` words that were nearest to the taste on the way, best first."""
    ids, names = vocabulary(side, is_allowed)
    table = side.table[ids].float()
    units = normalize(table, dim=1)
    texts = [side.words(f"{prompt},") for prompt in prompts.train]
    rows = side.rows(texts, [int(ids[0])] * count)
    soft = table[torch.randperm(len(table), generator=torch.Generator().manual_seed(seed))[:count]].clone()
    soft.requires_grad_()
    adam = torch.optim.AdamW([soft], lr=RATE, weight_decay=DECAY)
    best: dict[tuple[int, ...], float] = {}
    with Progress("Searching by gradients", STEPS, "steps") as progress:
        for step in range(STEPS):
            nearest = (normalize(soft.detach(), dim=1) @ units.T).argmax(dim=1)
            batch = rows[batch_of(step, len(texts), seed, BATCH)].cut
            cosine, gradient = _climb(side, batch, table[nearest])
            key = tuple(nearest.tolist())
            best[key] = max(best.get(key, -1.0), cosine)
            adam.zero_grad()
            soft.grad = gradient
            adam.step()
            progress.advance(1, f"cosine {cosine:.3f}")
    order = sorted(best, key=lambda key: (-best[key], key))
    texts_found = (" ".join(names[place] for place in key) for key in order)
    return [text for text in dict.fromkeys(texts_found) if is_allowed(text)][:KEPT]


def _climb(side: TextSide, rows: Rows, vectors: Tensor) -> tuple[float, Tensor]:
    """The mean cosine with `vectors` [n, D] behind the texts, and the gradient of its negative."""
    hard = vectors.clone().requires_grad_()
    with side.replaced(rows, hard):
        features = side.features(side.states(rows))
    loss = -(features @ side.direction).mean()
    (gradient,) = torch.autograd.grad(loss, hard)
    return -float(loss.detach()), gradient


def vocabulary(side: TextSide, is_allowed: Callable[[str], bool]) -> tuple[Tensor, list[str]]:
    """The ids `[V]` and the texts of tokens that are whole words of plain letters, in the table's order."""
    words = {
        place: token.removesuffix("</w>")
        for token, place in side.tokenizer.get_vocab().items()
        if token.endswith("</w>") and place < len(side.table)
    }
    kept = [
        (place, word)
        for place, word in sorted(words.items())
        if len(word) >= SHORTEST
        and word.isascii()
        and word.isalpha()
        and is_allowed(word)
        and side.words(word) == [place]
    ]
    return torch.tensor([place for place, _ in kept], device=side.device), [word for _, word in kept]

"""What the training scripts share: pictures in bulk, and a loop that resumes and keeps to its minutes."""

import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import distributed

from .scenes import Scene, random_scene, render

__all__ = [
    "Checkpoint",
    "Clock",
    "draw_scenes",
    "fit",
    "is_first",
    "learning_rate",
    "log",
    "start_processes",
    "to_unit",
]


def draw_scenes(count: int, seed: int) -> tuple[list[Scene], npt.NDArray[np.uint8]]:
    """`count` random scenes and their pictures as one array [count, 64, 64, 3]."""
    rng = Random(seed)  # noqa: S311
    scenes = [random_scene(rng) for _ in range(count)]
    images = np.empty((count, 64, 64, 3), dtype=np.uint8)
    for row, scene in enumerate(scenes):
        images[row] = np.asarray(render(scene))
    return scenes, images


def to_unit(images: npt.NDArray[np.uint8]) -> torch.Tensor:
    """uint8 [N, H, W, 3] to float [N, 3, H, W] in -1..1, channels last in memory."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1


class Clock:
    """Training time over all runs of a script, against its budget in minutes."""

    def __init__(self, minutes: float, spent: float = 0.0) -> None:
        self._budget, self._start = minutes * 60, time.monotonic() - spent

    @property
    def spent(self) -> float:
        """Seconds used so far, those before a resume included."""
        return time.monotonic() - self._start

    @property
    def share(self) -> float:
        """Share of the budget used, 0..1."""
        return min(1.0, self.spent / self._budget)


def learning_rate(share: float, peak: float, warmup: float = 0.02) -> float:
    """Linear warm-up, then half a cosine to 2 % of the peak, at this share (0..1) of the budget."""
    return peak * min(1.0, (share + 1e-4) / warmup) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * share)))


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give every parameter group the same rate."""
    for group in optimizer.param_groups:
        group["lr"] = rate


class Restorable(Protocol):
    """Something with a state to keep in a checkpoint."""

    def state_dict(self) -> dict[str, Any]:
        """Its state."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> Any:
        """Take a state on."""


class Checkpoint:
    """A file with the state of several parts and how far they have come."""

    def __init__(self, path: Path, parts: dict[str, Restorable]) -> None:
        self._path, self._parts = path, parts

    def load(self) -> tuple[int, float]:
        """Give every part its saved state; returns steps and seconds done, (0, 0.0) for a fresh start."""
        if not self._path.is_file():
            return 0, 0.0
        state = torch.load(self._path, map_location="cpu", weights_only=True)
        for name, part in self._parts.items():
            part.load_state_dict(state[name])
        return state["step"], state["seconds"]

    def save(self, step: int, seconds: float) -> None:
        """Write through a temporary name, so that a killed run leaves the last whole checkpoint."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self._path.with_suffix(".part")
        states = {name: part.state_dict() for name, part in self._parts.items()}
        torch.save({**states, "step": step, "seconds": seconds}, temporary)
        temporary.replace(self._path)


def fit(
    model: torch.nn.Module,
    loss_of_batch: Callable[[], torch.Tensor],
    checkpoint: Path,
    minutes: float,
    *,
    peak_rate: float,
    steps: int | None = None,
    after_step: Callable[[], None] = lambda: None,
    report: Callable[[], str] = str,
    **extra_parts: Restorable,
) -> None:
    """Minimise with AdamW for `minutes` in all, resuming from `checkpoint`, which is saved every 50 steps.

    With `steps` it is so many in place of the minutes: with the same random numbers the same weights.
    `report` adds to each log line; `extra_parts` are kept in the checkpoint too.
    """
    optimizer = torch.optim.AdamW(model.parameters(), lr=peak_rate, betas=(0.9, 0.98), weight_decay=0.01)
    keeper = Checkpoint(checkpoint, {"model": model, "optimizer": optimizer, **extra_parts})
    step, seconds = keeper.load()
    share_weights(model)
    clock, losses = Clock(minutes, seconds), list[float]()
    share = agree(step / steps if steps else clock.share)
    while share < 1:
        set_learning_rate(optimizer, learning_rate(share, peak_rate))
        losses.append(descend(model, loss_of_batch(), optimizer))
        after_step()
        step += 1
        share = agree(step / steps if steps else clock.share)
        if (step % 50 == 0 or share >= 1) and is_first():
            mean = sum(losses) / len(losses)
            log(f"{checkpoint.stem} step {step}, {clock.spent / 60:.1f} min: loss {mean:.4f} {report()}")
            keeper.save(step, clock.spent)
            losses.clear()


def descend(model: torch.nn.Module, loss: torch.Tensor, optimizer: torch.optim.Optimizer) -> float:
    """One step down the gradient, which is cut to a norm of one; returns the loss."""
    optimizer.zero_grad()
    loss.backward()
    average_gradients(model)
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return loss.item()


# --- several processes of one thread each: on a busy machine faster than one process of several threads ---


def start_processes(seed: int) -> None:
    """Join the other processes if `torchrun` started us, and draw other random numbers than they do."""
    if distributed.is_torchelastic_launched():
        distributed.init_process_group("gloo")
    torch.manual_seed(seed * 1000 + (distributed.get_rank() if distributed.is_initialized() else 0))


def is_first() -> bool:
    """Whether this process is the one that writes."""
    return not distributed.is_initialized() or distributed.get_rank() == 0


def agree(value: float) -> float:
    """The first process's value, in every process."""
    shared = torch.tensor([value], dtype=torch.float64)
    if distributed.is_initialized():
        distributed.broadcast(shared, src=0)
    return shared.item()


def average_gradients(model: torch.nn.Module) -> None:
    """Replace gradients by their mean over processes, in one message."""
    if not distributed.is_initialized():
        return
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    distributed.all_reduce(flat)
    flat /= distributed.get_world_size()
    for gradient, mean in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(mean.view_as(gradient))


def share_weights(model: torch.nn.Module) -> None:
    """Give every process the first one's weights."""
    if distributed.is_initialized():
        for tensor in model.state_dict().values():
            distributed.broadcast(tensor, src=0)


def log(message: str) -> None:
    """A line on stderr with the time of day."""
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} {message}\n")

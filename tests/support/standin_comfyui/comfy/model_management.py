"""Devices, and which patcher's patches are in a model now."""

from typing import Any

import torch

OOM_EXCEPTION = torch.cuda.OutOfMemoryError
interrupted = False


class InterruptProcessingException(Exception):
    """Cancel was pressed."""


def intermediate_device() -> torch.device:
    return torch.device("cpu")


def soft_empty_cache(force: bool = False) -> None:
    """Nothing is cached on a CPU."""


def throw_exception_if_processing_interrupted() -> None:
    if interrupted:
        raise InterruptProcessingException


def load_models_gpu(models: list[Any], memory_required: int = 0) -> None:
    for patcher in models:
        patcher.patch_model()

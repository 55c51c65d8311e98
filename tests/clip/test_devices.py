"""Device and precision: chosen, or named where they are not here."""

import pytest
import torch

from visunex.clip.devices import choose_device, choose_precision
from visunex.clip.errors import ModelError
from visunex.clip.factory import load_image_encoder


def test_precision_is_chosen_by_what_the_device_is_good_at() -> None:
    assert choose_precision("fp16", "cpu") == "fp16"
    assert choose_precision("auto", "mps") == "fp32"
    good = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    assert choose_precision("auto", "cpu") == ("bf16" if good else "fp32")
    assert choose_device("cpu") == "cpu"
    assert choose_device() in {"cpu", "cuda", "mps"}


def test_devices_that_are_not_here_are_named(small: str) -> None:
    if not torch.cuda.is_available():
        with pytest.raises(ModelError, match="cuda"):
            load_image_encoder(small, device="cuda")
    with pytest.raises(ModelError, match="no device 'nonsense' here"):
        load_image_encoder(small, device="nonsense")

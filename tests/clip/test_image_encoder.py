"""Vectors: the same numbers as transformers', wherever images are resized, whatever their batch."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import odd
import pytest
import torch
from encoding import cosines, some_pixels
from numpy.typing import NDArray

from visunex.clip.errors import ModelError
from visunex.clip.factory import load_image_encoder
from visunex.clip.image_encoder import ImageEncoder, resized
from visunex.clip.preprocess import Pixels, Preprocessing, Seen
from visunex.demo import TINY_MODEL
from visunex.images.decode import open_rgb


def as_transformers_sees(pixels: Pixels, model: Any) -> NDArray[np.float32]:
    from transformers import CLIPImageProcessor

    processor = CLIPImageProcessor(do_resize=False, do_center_crop=False)
    with torch.inference_mode():
        return model(processor(list(pixels), return_tensors="pt")["pixel_values"]).image_embeds.numpy()


def parity(files: list[bytes], published: tuple[ImageEncoder, Any]) -> NDArray[np.float64]:
    """Our vectors against those of transformers' tower on the pixels of OpenAI's own transform."""
    from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Resize

    clips_own = Compose([Resize(224, interpolation=InterpolationMode.BICUBIC), CenterCrop(224)])
    encoder, theirs = published
    ours = encoder.encode(np.stack([encoder.preprocessing.pixels(data) for data in files]))
    theirs_see = np.stack([np.asarray(clips_own(open_rgb(data))) for data in files])
    return cosines(ours, as_transformers_sees(theirs_see, theirs))


def test_paintings_get_the_vectors_that_transformers_gives(
    reference: Path, published: tuple[ImageEncoder, Any]
) -> None:
    paintings = [path.read_bytes() for path in sorted((reference / "aivazovsky").glob("*.jpg"))]
    assert len(paintings) == 3
    assert parity(paintings, published).min() > 0.99999


def test_reduced_scale_gives_nearly_the_same_vectors(published: tuple[ImageEncoder, Any]) -> None:
    """Two photographs differ by twenty times as much and more."""
    exact, fast = published[0].preprocessing, replace(published[0].preprocessing, exact=False)
    files = [odd.file(odd.photograph((1801, 1203), seed), "JPEG", quality=90) for seed in range(2)]
    whole, reduced = (
        published[0].encode(np.stack([how.pixels(data) for data in files])) for how in (exact, fast)
    )
    assert cosines(whole, reduced).min() > 0.9995
    assert 1 - cosines(whole[:1], whole[1:])[0] > 20 * (1 - cosines(whole, reduced).min())


def test_reduced_scale_gives_nearly_the_same_vectors_of_the_trained_tower() -> None:
    exact, fast = (
        load_image_encoder(TINY_MODEL, precision="fp32", exact_decode=flag) for flag in (True, False)
    )
    assert exact.identity() != fast.identity()
    data = [odd.file(odd.photograph((611, 403), seed), "JPEG", quality=90) for seed in range(8)]
    whole, reduced = (
        each.encode(np.stack([each.preprocessing.pixels(one) for one in data])) for each in (exact, fast)
    )
    assert cosines(whole, reduced).min() > 0.9995


SHAPES = [(700, 500), (500, 701), (333, 90), (90, 333), (64, 64), (20, 31), (900, 40), (256, 256)]


@pytest.mark.parametrize("device", ["cpu", "cpu:0"])
@pytest.mark.parametrize("resize", ["shortest", "squash"])
def test_a_resize_on_the_device_gives_pillows_pixels(device: str, resize: Any) -> None:
    """Nearly: in whole numbers (on the CPU) as in floating point (elsewhere; tried here, too)."""
    how = Preprocessing(size=64, resize=resize, exact=True, on_device=True)
    for seed, shape in enumerate(SHAPES):
        data = odd.file(odd.photograph(shape, seed), "PNG")
        there = resized(how.seen(data), how, device).permute(1, 2, 0).numpy().astype(int)
        difference = np.abs(there - how.pixels(data))
        assert difference.mean() < 0.6  # of 255
        assert np.quantile(difference, 0.99) <= 2


def test_vectors_are_the_same_wherever_pictures_are_resized() -> None:
    host, device = (
        load_image_encoder(TINY_MODEL, precision="fp32", preprocess=way) for way in ("host", "device")
    )
    assert host.identity() == device.identity()
    data = [odd.file(odd.photograph(shape, seed), "JPEG") for seed, shape in enumerate(SHAPES)]
    there, here = (
        each.vectors(each.stage([each.preprocessing.seen(one) for one in data])) for each in (device, host)
    )
    assert cosines(there, here).min() > 0.9999


def test_pictures_too_large_or_long_for_the_device_are_resized_on_the_host() -> None:
    how = Preprocessing(size=32, on_device=True)
    for shape in ((400, 300), (300, 20), (20, 300)):
        seen = how.seen(odd.file(odd.photograph(shape), "PNG"))
        assert (seen.pixels.shape, seen.resized) == ((32, 32, 3), (32, 32))
    assert how.seen(odd.file(odd.photograph((180, 120)), "PNG")).resized == (48, 32)


@pytest.mark.slow
@pytest.mark.parametrize("kind", list(odd.every_kind()))
def test_odd_files_get_the_vectors_that_transformers_gives(
    kind: str, published: tuple[ImageEncoder, Any]
) -> None:
    assert parity([odd.every_kind()[kind]], published).min() > 0.99999


def test_normalisation_is_that_of_transformers(small: str) -> None:
    from transformers import CLIPImageProcessor

    encoder = load_image_encoder(small, precision="fp32")
    pixels = encoder.preprocessing.pixels(odd.every_kind()["rotated.jpg"]).copy()[None]
    mean, std = list(encoder.preprocessing.mean), list(encoder.preprocessing.std)
    plain = CLIPImageProcessor(do_resize=False, do_center_crop=False, image_mean=mean, image_std=std)
    theirs = plain(list(pixels), return_tensors="pt")["pixel_values"]
    staged = encoder.stage([Seen(each, (32, 32)) for each in pixels])
    assert torch.allclose(encoder._normalised(staged), theirs, atol=1e-6)


def test_vectors_depend_on_the_picture_and_not_on_its_batch(small: str) -> None:
    encoder = load_image_encoder(small, precision="fp32")
    pixels = some_pixels(encoder)
    together = encoder.encode(pixels)
    alone = np.concatenate([encoder.encode(pixels[i : i + 1]) for i in range(len(pixels))])
    assert np.abs(together - alone).max() < 1e-5
    assert cosines(together[:1], together[1:2])[0] < 0.9999


@pytest.mark.weights
def test_real_weights_give_the_published_embedding_of_the_three_paintings(
    reference: Path, tmp_path: Path
) -> None:
    from visunex.aesthetic_embeddings import Embedding, compare, reduce
    from visunex.aesthetic_embeddings import load as load_embedding

    try:
        encoder = load_image_encoder("ViT-L-14", precision="fp32")
    except ModelError as error:
        pytest.skip(f"OpenAI's weights are not here (VISUNEX_REAL_WEIGHTS=1 fetches them): {error}")
    paintings = sorted((reference / "aivazovsky").glob("*.jpg"))
    pixels = np.stack([encoder.preprocessing.pixels(path.read_bytes()) for path in paintings])
    made = Embedding("made", reduce([encoder.encode(pixels)], "mean"))
    assert compare(made, load_embedding(reference / "aesthetic_embeddings" / "aivazovsky.pt")) >= 0.999

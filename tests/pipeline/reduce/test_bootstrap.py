"""The interval that a cosine lies in when the images are drawn again."""

import numpy as np

from visunex.pipeline.reduce.bootstrap import block_sums, cosine_interval


def test_the_interval_holds_the_cosine_and_narrows_with_more_images() -> None:
    rng = np.random.default_rng(0)
    centre = rng.normal(size=32)
    widths = []
    for count in (30, 3000, 9000):
        images = (centre + 2 * rng.normal(size=(count, 32))).astype(np.float32)
        sums = block_sums([images[:7], images[7:]], count)
        assert sums is not None
        low, high = cosine_interval(sums, centre) or (1, 0)
        mean = images.mean(0)
        cosine = mean @ centre / np.linalg.norm(mean) / np.linalg.norm(centre)
        assert low <= cosine + 0.02
        assert cosine - 0.02 <= high
        assert cosine_interval(sums, centre) == (low, high)
        widths.append(high - low)
    assert widths[0] > 5 * widths[1] > 5 * widths[2] / 2
    assert block_sums([], 0) is None
    one = block_sums([np.ones((1, 4), np.float32)], 1)
    assert one is not None
    assert cosine_interval(one, np.ones(4)) is None


def test_the_interval_is_that_of_drawing_images_again() -> None:
    """Against the bootstrap written out: multinomial draws of a few hundred images."""
    rng = np.random.default_rng(2)
    images = (rng.normal(size=(300, 8)) + np.arange(8) / 4).astype(np.float32)
    target = np.ones(8)
    cosines = []
    for _ in range(2000):
        mean = images[rng.integers(0, 300, 300)].mean(0)
        cosines.append(mean @ target / np.linalg.norm(mean) / np.sqrt(8))
    sums = block_sums([images], 300)
    assert sums is not None
    np.testing.assert_allclose(cosine_interval(sums, target), np.percentile(cosines, [2.5, 97.5]), atol=0.02)

"""The cores are split between encoder and decoders by what both take."""

import pytest

from visunex.pipeline.encode.decoding.cpu_split import CpuSplit, split_cpu


@pytest.mark.parametrize(
    ("cores", "decode", "encode", "split"),
    [
        (2, 0.008, 0.26, CpuSplit(1, 2)),  # ViT-L/14 on two cores: decoding is nothing beside it
        (2, 0.008, 0.013, CpuSplit(2, 2)),  # ViT-B/32: half a core's worth, on both cores alike
        (1, 0.008, 0.013, CpuSplit(1, 1)),
        (64, 0.008, 0.0008, CpuSplit(9, 55)),
        (8, 0.1, 0.001, CpuSplit(7, 1)),  # nearly all is decoding
    ],
)
def test_a_cpu_is_split_by_what_decoding_and_encoding_take(
    cores: int, decode: float, encode: float, split: CpuSplit
) -> None:
    assert split_cpu(cores, cores, decode, encode, on_cpu=True) == split


def test_a_gpu_gets_as_many_decoders_as_keep_it_fed() -> None:
    assert split_cpu(16, 8, 0.008, 0.002, on_cpu=False) == CpuSplit(5, 8)
    assert split_cpu(16, 8, 0.008, 0.0002, on_cpu=False) == CpuSplit(15, 8)
    assert split_cpu(1, 1, 0.008, 0.0002, on_cpu=False) == CpuSplit(1, 1)

"""Several devices on one folder of vectors: the same result, whatever becomes of the other processes."""

import sys
from pathlib import Path

import numpy as np
import odd
import pytest

from visunex.base.progress import Progress
from visunex.clip.devices import every_device
from visunex.clip.factory import load_image_encoder
from visunex.clip.image_encoder import ImageEncoder
from visunex.pipeline.encode import multi_device
from visunex.pipeline.encode.counts import OutcomeCounts
from visunex.pipeline.encode.multi_device import Job, Rank
from visunex.pipeline.encode.partition_encoder import encode_vectors
from visunex.pipeline.errors import EncodeError, ModelError
from visunex.pipeline.shards.samples import Source, sources
from visunex.pipeline.vectors.store import read_vectors
from visunex.pipeline.workers import executor
from visunex.pipeline.workers.spawn import module_command, start_connected
from visunex.recipes import Encode

SETTINGS = Encode(model="visunex-tiny", workers=0)


@pytest.fixture(scope="module")
def encoder() -> ImageEncoder:
    return load_image_encoder("visunex-tiny", device="cpu,cpu")


@pytest.fixture
def places(tmp_path: Path) -> list[Source]:
    """Five folders: with one partition each."""
    for folder in range(5):
        (tmp_path / f"{folder}").mkdir()
        for picture in range(3):
            file = odd.file(odd.gradient((30 + folder, 20 + picture)), "PNG")
            (tmp_path / f"{folder}" / f"{picture}.png").write_bytes(file)
    (tmp_path / "1" / "9.png").write_bytes(b"broken")
    return sources(tmp_path / f"{folder}" for folder in range(5))


def vectors(folder: Path) -> np.ndarray:
    return np.concatenate(list(read_vectors(folder).raw()))


def encoded(
    encoder: ImageEncoder, places: list[Source], folder: Path, progress: Progress
) -> tuple[OutcomeCounts, int]:
    return encode_vectors(places, folder, encoder, SETTINGS, progress)


@pytest.fixture
def alone(encoder: ImageEncoder, places: list[Source], tmp_path: Path) -> np.ndarray:
    one = load_image_encoder("visunex-tiny", device="cpu")
    encoded(one, places, tmp_path / "alone", Progress("encode", None))
    return vectors(tmp_path / "alone")


def test_two_devices_give_what_one_gives(encoder, places, alone, tmp_path, capfd, monkeypatch) -> None:
    progress = Progress("encode", 16)
    counts, fresh = encoded(encoder, places, tmp_path / "both", progress)
    assert encoder.others == ("cpu",)
    assert (counts.images, counts.encoded, dict(counts.failed)) == (16, 15, {"not_an_image": 1})
    assert fresh == 15
    assert (progress.done, progress.total) == (16, 16)
    assert np.allclose(vectors(tmp_path / "both"), alone, atol=1e-4)
    assert "ended early" not in capfd.readouterr().err

    worker(monkeypatch, "c.send('no worker is started where nothing is left to do')")
    again = Progress("encode", 16)
    counts, fresh = encoded(encoder, places, tmp_path / "both", again)
    assert (counts.encoded, fresh) == (15, 0)
    assert (again.done, again.total) == (0, 0)
    assert not capfd.readouterr().err


def worker(monkeypatch: pytest.MonkeyPatch, does: str) -> None:
    """Have a worker get its job and do this."""
    begin = "import sys; from multiprocessing.connection import Connection; c = Connection(int(sys.argv[1]))"
    program = f"{begin}; c.recv(); {does}"
    command = (sys.executable, "-P", "-W", "ignore", "-c", program)
    monkeypatch.setattr(executor, "module_command", lambda _: command)


def test_the_share_of_a_process_that_dies_is_made_up_for(
    encoder, places, alone, tmp_path, capfd, monkeypatch
) -> None:
    worker(monkeypatch, "import os; os.kill(os.getpid(), 9)")
    counts, fresh = encoded(encoder, places, tmp_path / "both", Progress("encode", None))
    assert (counts.encoded, fresh) == (15, 15)
    assert np.allclose(vectors(tmp_path / "both"), alone, atol=1e-4)
    assert "the process on cpu ended early (status -9); its share is done here" in capfd.readouterr().err


def test_an_error_on_another_device_is_said_with_its_name(encoder, places, tmp_path, monkeypatch) -> None:
    worker(monkeypatch, "from visunex.pipeline.encode.multi_device import Failed; c.send(Failed('no room'))")
    with pytest.raises(EncodeError, match=r"^cpu: no room$"):
        encoded(encoder, places, tmp_path / "both", Progress("encode", None))
    assert len(vectors(tmp_path / "both")) == 9  # our own share is kept


def test_a_worker_ends_with_the_process_that_has_it(places, tmp_path) -> None:
    process, connection = start_connected(module_command(multi_device._PROGRAM))
    connection.send(Job(tuple(places), (tmp_path / "both",), (SETTINGS,), "cpu", Rank()))
    connection.close()
    assert process.wait(timeout=60) == 1
    assert not (tmp_path / "both").exists()


def test_every_partition_is_of_one_rank() -> None:
    for world_size in (1, 2, 3):
        ranks = [Rank(rank, world_size) for rank in range(world_size)]
        owners = [[each for each in ranks if each.takes(number)] for number in range(10)]
        assert all(len(each) == 1 for each in owners)


def test_devices_are_named_with_commas() -> None:
    assert every_device("cpu") == ("cpu",)
    assert every_device("cpu, cpu") == ("cpu", "cpu")
    with pytest.raises(ModelError, match="no device 'gpu9'"):
        every_device("cpu,gpu9")


def test_all_cuda_devices_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert every_device() == ("cuda:0", "cuda:1")

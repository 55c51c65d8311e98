"""Several devices on one folder of vectors: the same result, whatever becomes of the other processes."""

import sys
from pathlib import Path

import numpy as np
import odd
import pytest

from visunex.base.progress import Progress
from visunex.clip.devices import every_device
from visunex.clip.factory import load
from visunex.clip.image_encoder import ImageEncoder
from visunex.pipeline.encode import multi_device as shares
from visunex.pipeline.encode.multi_device import Job, Share
from visunex.pipeline.encode.partition_encoder import Account, encode_vectors
from visunex.pipeline.errors import EncodeError, ModelError
from visunex.pipeline.shards.samples import Source, sources
from visunex.pipeline.vectors.store import read_vectors
from visunex.pipeline.workers.spawn import beside
from visunex.recipes import Encode

SETTINGS = Encode(model="visunex-tiny", workers=0)


@pytest.fixture(scope="module")
def encoder() -> ImageEncoder:
    return load("visunex-tiny", device="cpu,cpu")


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
) -> tuple[Account, int]:
    return encode_vectors(places, folder, encoder, SETTINGS, progress)


@pytest.fixture
def alone(encoder: ImageEncoder, places: list[Source], tmp_path: Path) -> np.ndarray:
    one = load("visunex-tiny", device="cpu")
    encoded(one, places, tmp_path / "alone", Progress("encode", None))
    return vectors(tmp_path / "alone")


def test_two_devices_give_what_one_gives(encoder, places, alone, tmp_path, capfd, monkeypatch) -> None:
    progress = Progress("encode", 16)
    account, fresh = encoded(encoder, places, tmp_path / "both", progress)
    assert encoder.others == ("cpu",)
    assert (account.images, account.encoded, dict(account.failed)) == (16, 15, {"not_an_image": 1})
    assert fresh == 15
    assert (progress.done, progress.total) == (16, 16)
    assert np.allclose(vectors(tmp_path / "both"), alone, atol=1e-4)
    assert "ended early" not in capfd.readouterr().err

    helper(monkeypatch, "c.send('no helper is started where nothing is left to do')")
    again = Progress("encode", 16)
    account, fresh = encoded(encoder, places, tmp_path / "both", again)
    assert (account.encoded, fresh) == (15, 0)
    assert (again.done, again.total) == (0, 0)
    assert not capfd.readouterr().err


def helper(monkeypatch: pytest.MonkeyPatch, does: str) -> None:
    """Have a helper get its job and do this."""
    begin = "import sys; from multiprocessing.connection import Connection; c = Connection(int(sys.argv[1]))"
    program = f"{begin}; c.recv(); {does}"
    monkeypatch.setattr(shares, "_PROGRAM", (sys.executable, "-P", "-W", "ignore", "-c", program))


def test_the_share_of_a_process_that_dies_is_made_up_for(
    encoder, places, alone, tmp_path, capfd, monkeypatch
) -> None:
    helper(monkeypatch, "import os; os.kill(os.getpid(), 9)")
    account, fresh = encoded(encoder, places, tmp_path / "both", Progress("encode", None))
    assert (account.encoded, fresh) == (15, 15)
    assert np.allclose(vectors(tmp_path / "both"), alone, atol=1e-4)
    assert "the process on cpu ended early (status -9); its share is done here" in capfd.readouterr().err


def test_an_error_on_another_device_is_said_with_its_name(encoder, places, tmp_path, monkeypatch) -> None:
    helper(monkeypatch, "from visunex.pipeline.encode.multi_device import Failed; c.send(Failed('no room'))")
    with pytest.raises(EncodeError, match=r"^cpu: no room$"):
        encoded(encoder, places, tmp_path / "both", Progress("encode", None))
    assert len(vectors(tmp_path / "both")) == 9  # our own share is kept


def test_a_helper_ends_with_the_process_that_has_it(places, tmp_path) -> None:
    process, connection = beside(shares._PROGRAM)
    connection.send(Job(tuple(places), tmp_path / "both", SETTINGS, "cpu", Share()))
    connection.close()
    assert process.wait(timeout=60) == 1
    assert not (tmp_path / "both").exists()


def test_shares_are_disjoint_and_complete() -> None:
    for of in (1, 2, 3):
        owners = [[at for at in range(of) if Share(at, of).holds(number)] for number in range(10)]
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

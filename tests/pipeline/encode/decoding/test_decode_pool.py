"""Worker processes that decode: in order, bounded, and never a hang."""

import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import odd
import pytest

from visunex.clip.preprocess import Preprocessing
from visunex.pipeline.encode.decoding import decode_pool
from visunex.pipeline.encode.decoding.decode_pool import Decoded, Decoders, decode_here
from visunex.pipeline.shards.samples import Sample, samples, sources

SMALL = Preprocessing(size=16)


def many(tmp_path: Path, count: int) -> list[Sample]:
    """Pictures of different colours, every seventh broken."""
    for index in range(count):
        good = odd.file(odd.gradient((20 + index % 7, 20)), "PNG")
        (tmp_path / f"{index:04d}.png").write_bytes(b"broken" if index % 7 == 0 else good)
    return list(samples(sources([tmp_path])))


def decode(pool: Decoders, given: Iterable[Sample]) -> Iterator[Decoded]:
    return (each[0] for each, _ in pool.decode((sample, (0,), None) for sample in given))


@pytest.mark.parametrize("on_device", [False, True])
@pytest.mark.parametrize(("workers", "prefetch"), [(1, 1), (2, 64)])
def test_workers_give_what_this_process_gives_in_the_same_order(
    tmp_path: Path, workers: int, prefetch: int, on_device: bool
) -> None:
    given, how = many(tmp_path, 50), replace(SMALL, on_device=on_device)
    with Decoders([how], workers, prefetch) as pool:
        there = list(decode(pool, given))
        assert pool.done == 50
        assert pool.seconds > 0
    here = [decode_here(each, how) for each in given]
    assert [(each.sample, each.reason) for each in there] == [(each.sample, each.reason) for each in here]
    assert sum(each.reason == "not_an_image" for each in there) == 8
    for a, b in zip(there, here, strict=True):
        assert (a.seen is None) == (b.seen is None)
        if a.seen is not None and b.seen is not None:
            assert a.seen.resized == b.seen.resized
            assert np.array_equal(a.seen.pixels, b.seen.pixels)


@pytest.mark.parametrize("workers", [0, 2])
def test_what_comes_along_with_an_image_stays_with_it(tmp_path: Path, workers: int) -> None:
    given = [(sample, (0,), sample.key) for sample in many(tmp_path, 20)]
    with Decoders([SMALL], workers, prefetch=8) as pool:
        assert [(each[0].sample, (0,), other) for each, other in pool.decode(given)] == given


def test_only_so_much_is_read_ahead(tmp_path: Path) -> None:
    given = many(tmp_path, 60)
    taken = 0

    def counted() -> Iterator[Sample]:
        nonlocal taken
        for sample in given:
            taken += 1
            yield sample

    with Decoders([SMALL], 1, prefetch=8) as pool:
        stream = decode(pool, counted())
        next(stream)
        assert taken <= 8 + 2 * decode_pool.CHUNK
        assert sum(1 for _ in stream) == 59


def test_long_names_and_many_failures_do_not_block_the_pipes(tmp_path: Path) -> None:
    """More is under way at once than a pipe holds, in both directions."""
    folder = tmp_path.joinpath(*["long" * 40] * 12)
    missing = [Sample(str(i), "w" * 3000, folder / f"{i}.png", 0, 5, "caption " * 2000) for i in range(2000)]
    with Decoders([SMALL], 1, prefetch=2000) as pool:
        assert {each.reason for each in decode(pool, missing)} == {"unreadable"}


def test_workers_are_added_at_work_up_to_the_most(tmp_path: Path) -> None:
    given = many(tmp_path, 60)
    with Decoders([SMALL], 1, prefetch=8, most=3) as pool:
        stream = decode(pool, given)
        first = next(stream)
        pool.grow(9)
        assert len(pool._workers) == 3
        assert [each.sample for each in (first, *stream)] == given


def test_leaving_early_ends_the_workers(tmp_path: Path) -> None:
    given = many(tmp_path, 40)
    with Decoders([SMALL], 2, prefetch=16) as pool:
        next(decode(pool, given))
        processes = [worker.process for worker in pool._workers]
        started = time.monotonic()
    assert time.monotonic() - started < 5
    assert all(process.poll() is not None for process in processes)


def test_workers_start_without_torch() -> None:
    """It is what makes them start in a fraction of a second."""
    for module in ("decode_pool", "decode_worker"):
        code = f"import sys, visunex.pipeline.encode.decoding.{module}\n"
        code += "print('torch' in sys.modules, 'pyarrow' in sys.modules)"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.split() == ["False", "False"]


def test_a_program_needs_no_main_guard(tmp_path: Path) -> None:
    """As a person writes it: workers must not load the program that has them."""
    many(tmp_path, 12)
    (tmp_path / "program.py").write_text(
        "from visunex.clip.preprocess import Preprocessing\n"
        "from visunex.pipeline.encode.decoding.decode_pool import Decoders\n"
        "from visunex.pipeline.shards.samples import samples, sources\n"
        f"pairs = ((sample, (0,), None) for sample in samples(sources([{str(tmp_path)!r}])))\n"
        "with Decoders([Preprocessing(size=32)], workers=2, prefetch=8) as pool:\n"
        "    print(sum(decoded[0].seen is not None for decoded, _ in pool.decode(pairs)))\n"
    )
    command = [sys.executable, str(tmp_path / "program.py")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (done.stdout.strip(), done.stderr) == ("10", "")  # two are broken


def test_too_little_shared_memory_is_no_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small /dev/shm or TMPDIR: missing pages end a process by SIGBUS, so all are asked for first."""

    def full(*_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    given = many(tmp_path, 8)
    with Decoders([SMALL], 2, prefetch=8) as pool:
        pool.grow(4)
        assert [each.reason for each in decode(pool, given)] == [
            decode_here(each, SMALL).reason for each in given
        ]
        assert pool.done == 0


def test_without_memory_files_a_temporary_one_is_shared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(_: str) -> int:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "memfd_create", refused)
    given = many(tmp_path, 8)
    with Decoders([SMALL], 1, prefetch=8) as pool:
        assert sum(each.seen is not None for each in decode(pool, given)) == 6
        assert pool.done == 8

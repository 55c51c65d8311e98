"""Pictures that are given more than once: counted, and left out where that is asked for."""

from pathlib import Path

import odd
from PIL import Image
from shard_files import tar

from visunex.pipeline.shards.repeats import Dedupe, find_repeats
from visunex.pipeline.shards.samples import listing, samples, sources


def picture(seed: int, kind: str = "PNG", size: int = 64) -> bytes:
    return odd.file(odd.photograph((64, 64), seed).resize((size, size)), kind)


def given(folder: Path) -> list[Path]:
    """Three pictures: one of them four times as a file, once more in another size and format."""
    folder.mkdir()
    for name in ("a.png", "b.png", "c.png"):
        (folder / name).write_bytes(picture(1))
    (folder / "d.png").write_bytes(picture(2))
    (folder / "alike.jpg").write_bytes(picture(1, "JPEG", 60))
    return [folder, tar(folder.parent / "x.tar", {"e.png": picture(1), "f.png": picture(3)})]


def kept(places: list[Path], dedupe: Dedupe) -> tuple[int, list[str]]:
    found = find_repeats(sources(places), dedupe)
    assert found.left_out == (dedupe != "none")
    return found.count, sorted(each.key for each in samples(found.places))


def test_they_are_counted_and_left_out_where_asked(tmp_path: Path) -> None:
    places = given(tmp_path / "folder")
    assert kept(places, "none") == (3, ["a.png", "alike.jpg", "b.png", "c.png", "d.png", "e", "f"])
    assert kept(places, "exact") == (3, ["a.png", "alike.jpg", "d.png", "f"])
    assert kept(places, "near") == (4, ["a.png", "d.png", "f"])


def test_files_that_only_begin_alike_are_not_the_same(tmp_path: Path) -> None:
    base = bytearray(odd.file(Image.new("RGB", (200, 200)), "BMP"))
    for last in (1, 2):
        base[-1] = last
        (tmp_path / f"{last}.bmp").write_bytes(base)
    assert find_repeats(sources([tmp_path]), "exact").count == 0


def test_what_cannot_be_read_is_left_to_the_encoder(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"nothing")
    assert find_repeats(sources([tmp_path]), "near").count == 0
    before = listing(sources([tmp_path]))
    assert listing(find_repeats(sources([tmp_path]), "exact").places) == before

"""Files are whole or absent."""

from pathlib import Path

import pytest

from visunex.base.files import atomic, fingerprint, sha256_file, sweep_temporary, write_json, write_text


def test_an_interrupted_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file.txt"
    write_text(path, "old")
    with pytest.raises(KeyboardInterrupt), atomic(path) as temporary:
        temporary.write_text("half of the n")
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    assert list(path.parent.iterdir()) == [path]


def test_sweep_removes_only_our_leftovers(tmp_path: Path) -> None:
    ours = tmp_path / "a" / ".x.tar.visunex-tmp"
    theirs = tmp_path / "a" / ".x.tar.tmp"
    ours.parent.mkdir()
    ours.touch()
    theirs.touch()
    sweep_temporary(tmp_path)
    assert not ours.exists()
    assert theirs.exists()


def test_fingerprint_ignores_the_order_of_keys_and_nothing_else() -> None:
    assert fingerprint({"a": 1, "b": [1, 2]}) == fingerprint({"b": [1, 2], "a": 1})
    assert fingerprint({"a": 1, "b": [1, 2]}) != fingerprint({"a": 1, "b": [2, 1]})


def test_sha256_of_a_file(tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", "é")
    assert (tmp_path / "x.json").read_text() == '"é"\n'
    assert (
        sha256_file(tmp_path / "x.json") == "784656ac6cca14999ba38ddbeefd825edaec9e0f6233dccf8daa29880b7c34e5"
    )

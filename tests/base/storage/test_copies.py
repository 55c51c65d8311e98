"""Working copies: what is copied here, what is published, in which order, and who is right."""

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from s3_server import BUCKET, s3_server

from visunex.base.errors import UsageError
from visunex.base.storage import (
    Sender,
    StorageError,
    Store,
    WorkingCopy,
    is_stored,
    shown,
    stored_input,
    stored_output,
    working_folder,
)
from visunex.base.storage.addresses import address_of
from visunex.base.storage.sending import SENT


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with s3_server() as address:
        yield address


@pytest.fixture
def address(server: str, request: pytest.FixtureRequest) -> str:
    return f"s3://{BUCKET}/{request.node.name}"


def order(name: str) -> int | None:
    return (
        None if name.endswith(".lock") or name == ".visunex/lease.json" else int(name.endswith("_stats.json"))
    )


@pytest.fixture
def machines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str) -> list[WorkingCopy]:
    """The working copies of two machines."""
    made = []
    for machine in ("a", "b"):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / machine))
        made.append(WorkingCopy(working_folder(address), address, order))
    return made


def write(copy: WorkingCopy, **files: str) -> None:
    for name, text in files.items():
        (copy.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (copy.folder / name).write_text(text)


def contents(copy: WorkingCopy) -> dict[str, str]:
    return {name: (copy.folder / name).read_text() for name in copy.states()}


def there(address: str) -> dict[str, str]:
    store = Store(address)
    return {name: store.read(name).decode() for name in store.listed() if name != ".visunex/lease.json"}


def test_what_one_machine_did_the_other_goes_on_with(machines: list[WorkingCopy], address: str) -> None:
    one, other = machines
    with one.held():
        write(one, a="1", b="2", **{"x.lock": "mine"})
    assert there(address) == {"a": "1", "b": "2"}
    with other.held():
        assert contents(other) == {"a": "1", "b": "2"}
        write(other, a="3")
        (other.folder / "b").unlink()
    assert there(address) == {"a": "3"}
    with one.held():
        assert contents(one) == {"a": "3"}


def test_what_a_killed_process_did_is_published_unless_another_went_on(
    machines: list[WorkingCopy], address: str
) -> None:
    one, other = machines
    with one.held():
        write(one, a="1")
    write(one, a="2", c="3")  # by a process that was killed before it published it
    with one.held():
        pass
    assert there(address) == {"a": "2", "c": "3"}
    write(one, a="never published", d="neither")
    with other.held():
        write(other, a="other")
    with one.held():
        assert contents(one) == {"a": "other", "c": "3"}


def test_a_copy_that_was_stopped_on_the_way_is_not_taken_for_the_latest(
    machines: list[WorkingCopy], address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = machines
    with one.held():
        write(one, a="1", b="2", c="3")
    fetch, count = Store.fetch, 0

    def stop(self: Store, name: str, to: Path) -> None:
        nonlocal count
        count += 1
        if count > 1:
            raise KeyboardInterrupt
        fetch(self, name, to)

    monkeypatch.setattr(Store, "fetch", stop)
    with pytest.raises(KeyboardInterrupt), other.held():
        pass
    monkeypatch.undo()
    with other.held():
        pass
    assert contents(other) == there(address) == {"a": "1", "b": "2", "c": "3"}


def test_what_marks_others_as_whole_goes_first_and_comes_last(
    machines: list[WorkingCopy], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, _ = machines
    with one.held():
        write(one, **{"0.tar": "old", "0_stats.json": "old"})
    calls: list[tuple[str, str]] = []
    put, remove = Store.put, Store.remove
    monkeypatch.setattr(
        Store, "put", lambda self, file, name: (calls.append(("put", name)), put(self, file, name))
    )
    monkeypatch.setattr(
        Store,
        "remove",
        lambda self, names: (calls.extend(("remove", each) for each in names), remove(self, names)),
    )
    with one.held():
        write(one, **{"0.tar": "new!", "0_stats.json": "new!"})
    assert sorted(calls[:2]) == [("remove", "0.tar"), ("remove", "0_stats.json")]
    assert calls[2:] == [("put", "0.tar"), ("put", "0_stats.json")]


def test_files_of_others_stay_and_lead_nowhere(
    machines: list[WorkingCopy], address: str, tmp_path: Path
) -> None:
    one, _ = machines
    Store(address).write("../../escaped", b"x")
    Store(address).write("my.lock", b"x")
    with one.held():
        write(one, a="1")
    assert not list(tmp_path.rglob("escaped"))
    assert "my.lock" in Store(address).listed()


def test_a_failed_block_is_published_too(machines: list[WorkingCopy], address: str) -> None:
    with pytest.raises(ValueError, match="why"), machines[0].held():
        write(machines[0], a="1")
        raise ValueError("why")
    assert there(address) == {"a": "1"}


def test_outputs_are_seen_replaced_and_published(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with stored_output(f"{address}/me.pt") as out:
        assert not out.exists()
        out.write_text("1")
        out.with_suffix(".json").write_text("{}")
        assert shown(f"written to {out}") == f"written to {address}/me.pt"
    with stored_output(f"{address}/me.pt") as out:
        assert out.with_suffix(".json").exists()
    with pytest.raises(UsageError), stored_output(f"{address}/other.pt") as out:
        out.write_text("1")
        raise UsageError("no")
    assert there(address) == {"me.pt": "1", "me.json": "{}"}
    with stored_output(tmp_path / "here") as out:
        assert out == tmp_path / "here"


@pytest.mark.parametrize("place", ["https://x/y", "hf://x/y", "s3://", Path("s3://bucket/x")])
def test_where_nothing_can_be_kept(place: str | Path) -> None:
    with pytest.raises(UsageError):
        is_stored(place)


def test_addresses_are_called_by_themselves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = working_folder("s3://b/my runs/ü/")
    assert address_of(folder) == "s3://b/my runs/ü"
    assert shown(f"{folder}/a, {tmp_path}") == f"s3://b/my runs/ü/a, {tmp_path}"
    assert address_of(tmp_path) is None


def test_what_its_maker_has_sent_is_not_put_again_unless_it_got_lost(
    machines: list[WorkingCopy], address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, _ = machines
    puts: list[str] = []
    put = Store.put
    monkeypatch.setattr(Store, "put", lambda self, file, name: (puts.append(name), put(self, file, name)))
    with one.held():
        maker = Sender(one.folder)
        for name in ("a", "lost", "changed", "not-yet"):
            write(one, **{f"work.lock/{name}.lock": name})
            maker.send(made := one.folder / "work.lock" / f"{name}.lock", name)
            if name != "not-yet":
                made.replace(one.folder / name)
        Store(address).remove(["lost"])
        write(one, changed="changed since")
    assert sorted(puts) == ["a", "changed", "changed", "lost", "lost", "not-yet"]
    assert there(address) == {"a": "a", "lost": "lost", "changed": "changed since", "not-yet": "not-yet"}
    with one.held():
        pass
    Sender(one.folder).send(one.folder / "a", "unheld")  # which nobody has permitted
    with one.held():
        permit = one.folder / SENT / "permit"
        long_ago = time.time() - 100
        os.utime(permit, (long_ago, long_ago))  # as of a holder that could not renew its lease
        Sender(one.folder).send(one.folder / "a", "late")
    assert len(puts) == 6
    Sender(one.folder.parent).send(one.folder / "a", "nowhere")  # which is no working copy


def test_a_copy_that_has_no_room_is_refused_with_what_it_takes(
    machines: list[WorkingCopy], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = machines
    with one.held():
        write(one, a="x" * 3_000_000)
    usage = shutil.disk_usage(other.folder.parent)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=2_000_000))
    with (
        pytest.raises(StorageError, match=r"takes 3(.0)? MB more .*and 2(.0)? MB are free there"),
        other.held(),
    ):
        pass
    with one.held():  # which has it already
        pass


def test_a_file_that_is_read_comes_with_what_lies_beside_it(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for name in ("me.pt", "me.json", "me-a.pt", "other.pt", "deep/me.pt"):
        Store(address).write(name, name.encode())
    found = stored_input(address, "me.pt", 100)
    assert found is not None
    assert found.parent.name == address.rpartition("/")[2]
    assert sorted(path.name for path in found.parent.iterdir()) == ["me-a.pt", "me.json", "me.pt"]
    assert stored_input(address, "none.pt", 100) is None
    with pytest.raises(StorageError, match=r"me-a.pt has 7 bytes, more than 6"):
        stored_input(address, "me.pt", 6)

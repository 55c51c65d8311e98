"""Pictures inside a file behind an address: what a download moves of it, and in how much memory.

python -m benchmarks.inside
python -m benchmarks.inside --pictures 2000 --wanted 20
"""

import argparse
import contextlib
import io
import random
import re
import subprocess
import sys
import tarfile
import tempfile
import threading
import zipfile
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from visunex.base.text import size_shown
from visunex.pipeline.inside.location import parse
from visunex.pipeline.rundir import RunDir

SIZE = 10_000  # bytes of a picture
COMMAND = [sys.executable, "-m", "visunex.pipeline"]
MEASURED = """
import resource, subprocess, sys
status = subprocess.run(sys.argv[1:]).returncode
print("peak", resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(status)
"""
Pictures = Sequence[tuple[str, bytes]]


def pictures(count: int, wanted: int) -> Iterator[tuple[str, bytes]]:
    """Captions, `wanted` of which say flower, and JPEGs of about SIZE bytes, each another."""
    chance, buffer = random.Random(0), io.BytesIO()
    Image.new("RGB", (64, 64), "green").save(buffer, "JPEG")
    whole = buffer.getvalue()
    flowers = set(chance.sample(range(count), wanted))
    for number in range(count):
        comment = chance.randbytes(SIZE - len(whole) - 4)
        data = whole[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + whole[2:]
        yield f"a {'flower' if number in flowers else 'castle'}, number {number}", data


def table(found: Pictures) -> pa.Table:
    images = [{"bytes": data, "path": None} for _, data in found]
    return pa.table({"image": images, "caption": [caption for caption, _ in found]})


def as_groups(path: Path, found: Pictures) -> None:
    pq.write_table(table(found), path, row_group_size=100)


def as_one_group(path: Path, found: Pictures) -> None:
    pq.write_table(table(found), path, row_group_size=len(found), write_page_index=True,
                   use_dictionary=False, data_page_size=2**16, write_batch_size=4)  # fmt: skip


def as_arrow(path: Path, found: Pictures) -> None:
    whole = table(found)
    with pa.ipc.new_stream(str(path), whole.schema) as writer:
        writer.write_table(whole, max_chunksize=100)


def as_tar(path: Path, found: Pictures) -> None:
    with tarfile.open(path, mode="w") as tar:
        for number, (caption, data) in enumerate(found):
            for kind, content in (("jpg", data), ("txt", caption.encode())):
                info = tarfile.TarInfo(f"{number:06d}.{kind}")
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))


def as_zip(path: Path, found: Pictures) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for number, (caption, data) in enumerate(found):
            archive.writestr(f"{number:06d}.jpg", data)
            archive.writestr(f"{number:06d}.txt", caption)


FORMS: dict[str, tuple[str, Callable[[Path, Pictures], None]]] = {
    "parquet, row groups of 100": ("parquet", as_groups),
    "parquet, one row group, page index": ("parquet", as_one_group),
    "Arrow stream, batches of 100": ("arrow", as_arrow),
    "tar": ("tar", as_tar),
    "zip": ("zip", as_zip),
}


class Handler(BaseHTTPRequestHandler):
    """One file, in ranges; counts what it sends."""

    protocol_version, disable_nagle_algorithm = "HTTP/1.1", True
    file = Path()
    sent = requests = 0

    def do_GET(self) -> None:
        size = self.file.stat().st_size
        found = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        begin, end = (int(found[1]), min(int(found[2]) + 1, size)) if found else (0, size)
        self.send_response(206 if found else 200)
        self.send_header("Content-Length", str(max(0, end - begin)))
        self.send_header("Content-Range", f"bytes {begin}-{end - 1}/{size}")
        self.send_header("ETag", '"1"')
        self.end_headers()
        with self.file.open("rb") as file, contextlib.suppress(ConnectionError):
            file.seek(begin)
            while begin < end and (data := file.read(min(1 << 20, end - begin))):
                self.wfile.write(data)
                begin += len(data)
                Handler.sent += len(data)
        Handler.requests += 1

    def log_message(self, *_: Any) -> None:
        pass


def command(*arguments: str) -> tuple[str, int]:
    """What a command says, and the most memory that a process of it took, in kB."""
    whole = [sys.executable, "-c", MEASURED, *COMMAND, *arguments]  # memory is inherited from who forks
    done = subprocess.run(whole, stderr=subprocess.STDOUT, stdout=subprocess.PIPE, text=True, check=False)
    said, _, peak = done.stdout.rpartition("peak ")
    if done.returncode:
        raise SystemExit(done.stdout)
    return said, int(peak)


def measured(name: str, address: str, path: Path, run: RunDir, wanted: int) -> str:
    asked = ["--run", str(run.path)]
    command("filter", f"{address}/{path.name}", "--keywords", "flower", "--top", str(wanted), *asked)
    filtered, Handler.sent, Handler.requests = Handler.sent, 0, 0
    said, memory = command("download", "--processes", "1", *asked)
    before = (re.search(r"to be moved: (.*?) in ", said) or [""] * 2)[1]
    places = pq.read_table(run.selected)["location"].to_pylist()
    own = sum(parse(place).size or SIZE for place in places[:wanted])
    return (
        f"| {name} | {size_shown(path.stat().st_size)} | {size_shown(filtered)} | {before} | "
        f"{size_shown(Handler.sent)} | {Handler.sent / own:.2f} | {Handler.requests} | {memory >> 10} MB |"
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pictures", type=int, default=20_000)
    parser.add_argument("--wanted", type=int, default=200)
    asked = parser.parse_args()
    print(f"## Pictures inside files: {asked.wanted:,} out of {asked.pictures:,}, behind an address\n")
    print(
        f"JPEGs of {size_shown(SIZE)}; `filter` and `download`, whole commands. Row groups and pages with a "
        "chosen picture are moved whole, of Arrow files, tars and zips the pictures.\n"
    )
    print(
        "| form | file | moved by filter | said before | moved by download | of the pictures' own bytes | "
        "requests | peak memory |\n|---|---|---|---|---|---|---|---|"
    )
    found = list(pictures(asked.pictures, asked.wanted))
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_address[1]}"
    for name, (suffix, write) in FORMS.items():
        with tempfile.TemporaryDirectory() as folder:
            Handler.file, Handler.sent, Handler.requests = Path(folder, f"set.{suffix}"), 0, 0
            write(Handler.file, found)
            print(
                measured(name, address, Handler.file, RunDir(Path(folder, "run")), asked.wanted), flush=True
            )


if __name__ == "__main__":
    main()

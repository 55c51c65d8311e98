"""What we bend in img2dataset, a test for each trick: they fail when another img2dataset makes it wrong.

Each runs in a process of its own, as img2dataset loads half of PyPI and warns, and as a worker does.
"""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

START = """
import inspect, json, os, sys, tempfile, warnings
from pathlib import Path
warnings.simplefilter("ignore")
from visunex.images.validate import Limits
from visunex.net.fetcher import FetchSettings
from visunex.pipeline.download import img2dataset_adapter as adapter
from visunex.pipeline.download.messages import MakerSettings, ShardJob
from visunex.pipeline.download.worker import load_maker
output = Path(tempfile.mkdtemp())
if "fresh" not in sys.argv:
    adapter.load_quickly()

def settings_for(**changes):
    given = {"output": output, "columns": ("caption", "url"), "shard_size": 10, "threads": 2}
    return MakerSettings(**given, fetch=FetchSettings(deadline=1.0), limits=Limits(), **changes)
"""

# A shard made by img2dataset itself, of rows that come from here; `rows` are those of its parquet.
SHARD = """
import io, pyarrow as pa, pyarrow.parquet as pq
from PIL import Image
from visunex.pipeline.download.shard_maker import LostRowsError, ProgressCounter, RowFetcher, ShardMaker

def picture(seed, size=40):
    buffer = io.BytesIO()
    Image.new("RGB", (size, size // 2), (seed, 2 * seed, 90)).save(buffer, "JPEG")
    return buffer.getvalue()

def job_for(shard=0, count=4, **given):
    folder = Path(tempfile.mkdtemp())
    table = pa.table({"caption": list("abcdefghij")[:count], "url": [f"http://a/{n}" for n in range(count)]})
    with pa.OSFile(str(folder / "rows.arrow"), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    return ShardJob(shard, folder, **given)

class Images:
    def __init__(self, get):
        self.get = get

def make(maker, job, get):
    maker.images.get = get
    maker.make(job, ProgressCounter(job.shard))
    return pq.read_table(output / f"{job.shard:05d}.parquet").to_pylist()

def fetch(url):
    number = int(url.rpartition("/")[2])
    return (None, "http_404: gone") if number == 1 else (picture(number), "")
"""


def passes(program: str, *arguments: str) -> None:
    """Run a program that ends by printing `sound`; img2dataset is loaded, unless it is to be `fresh`."""
    command = [sys.executable, "-c", f'{START}\n{program}\nprint("sound")', *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert done.stdout.endswith("sound\n"), done.stdout + done.stderr


def test_nothing_that_the_tricks_lean_on_is_missing() -> None:
    passes("assert adapter.missing_parts() == [], adapter.missing_parts()")


def test_what_is_missing_is_named() -> None:
    passes("""
import img2dataset.downloader as downloader, img2dataset.writer as writer
class Other:
    def __init__(self, sample_writer_class, resizer, thread_count, timeout, **more): ...
    def download_shard(self): download_image_with_retry(timeout=self.timeout)
inspect.getsource = lambda function: "self.resizer(img_stream, sample_writer.write("
downloader.Downloader = Other
missing = adapter.missing_parts()
assert {"timeout=self.timeout", "Other(retries=)", "Other(encode_format=)"} <= set(missing), missing
del downloader.write_stats
assert adapter.missing_parts() == ["write_stats"]
""")


def test_no_other_module_imports_it() -> None:
    root = Path(__file__).parents[3]
    users = [
        path.relative_to(root).as_posix()
        for room in ("base", "clip", "demo", "generate", "images", "net", "pipeline", "recipes")
        for path in (root / room).rglob("*.py")
        if any(
            line.strip().startswith(("import img2dataset", "from img2dataset"))
            for line in path.read_text(encoding="utf-8").splitlines()
        )
    ]
    assert users == ["pipeline/download/img2dataset_adapter.py"]


class TestQuickStart:
    """Modules that are never used are left out of a worker."""

    def test_what_is_heavy_stays_out_and_pyarrow_does_without_pandas(self) -> None:
        passes(
            """
load_maker(settings_for())
assert sys.modules["torch"] is None
unused = {"albumentations", "wandb", "pandas", "polars", "pydantic", "click", "filelock", "ray"}
assert not unused & sys.modules.keys()
import pyarrow as pa
assert pa.Table.from_pydict({"a": ["b"]}, pa.schema({"a": pa.string()})).num_rows == 1, "without pandas"
""",
            "fresh",
        )

    def test_one_that_needs_what_is_left_out_is_loaded_as_it_is(self, tmp_path: Path) -> None:
        """An img2dataset of another make, which uses at once what ours only imports."""
        (tmp_path / "img2dataset").mkdir()
        (tmp_path / "img2dataset" / "__init__.py").write_text("import pandas\nFRAME = pandas.DataFrame\n")
        (tmp_path / "img2dataset" / "downloader.py").touch()
        passes(
            """
sys.path.insert(0, sys.argv[1])
adapter.load_quickly()
import img2dataset, pandas
assert img2dataset.__file__.startswith(sys.argv[1])
assert img2dataset.FRAME is pandas.DataFrame
assert sys.modules.get("torch", "absent") is not None
""",
            str(tmp_path),
            "fresh",
        )


class TestQuiet:
    """Its libraries ask the network for nothing when they are loaded."""

    def test_the_variables_are_set_before_it_is_loaded(self) -> None:
        passes(
            """
os.environ.pop("NO_ALBUMENTATIONS_UPDATE", None), os.environ.pop("WANDB_MODE", None)
adapter.load_quickly()
assert (os.environ["NO_ALBUMENTATIONS_UPDATE"], os.environ["WANDB_MODE"]) == ("1", "disabled")
""",
            "fresh",
        )

    @pytest.mark.parametrize(
        ("library", "variable"), [("albumentations", "NO_ALBUMENTATIONS_UPDATE"), ("wandb", "WANDB_MODE")]
    )
    def test_the_libraries_still_read_them(self, library: str, variable: str) -> None:
        spec = importlib.util.find_spec(library)
        assert spec is not None
        assert spec.origin is not None
        sources = Path(spec.origin).parent.rglob("*.py")
        if library == "wandb":  # it puts the name together of a prefix and a setting's name
            settings = Path(spec.origin).with_name("sdk") / "wandb_settings.py"
            assert '"WANDB_' in settings.read_text(encoding="utf-8")
            return
        assert any(variable in path.read_text(encoding="utf-8", errors="ignore") for path in sources)


def test_the_fetch_is_ours_and_told_apart_by_shard() -> None:
    passes(
        SHARD
        + """
maker = load_maker(settings_for())
import img2dataset.downloader as downloader
adapter.replace_fetch()

def deadline(shard, **given):
    fetcher = RowFetcher(maker.images, ShardJob(shard, output, **given), 10, ProgressCounter(shard))
    return adapter._Deadline(1.0, fetcher.fetch_row)

# What img2dataset's own retry function makes of its parameters reaches our function, however many there are.
retry = inspect.signature(downloader.download_image_with_retry).parameters
one = deadline(0, not_fetched={7: "excluded: by the test"})
arguments = {name: one if name == "timeout" else 0 for name in retry if name != "row"}
assert one == 1.0
answer = (7, None, "excluded: by the test")
assert downloader.download_image_with_retry((7, "http://a"), **arguments) == answer
assert downloader.download_image((7, "http://a"), 1, 2, one, more=4) == answer

# Whatever goes wrong in it comes back as a message.
maker.images.get = None
assert downloader.download_image((1, "http://a"), one) == (1, None, "internal: TypeError")
assert downloader.download_image((1, "http://a"), 5.0)[2].startswith("internal: ")

# Shards in work at the same time are told apart.
other = deadline(1, not_fetched={7: "excluded: from another shard"})
assert downloader.download_image((7, "http://a"), other) == (7, None, "excluded: from another shard")
assert downloader.download_image((7, "http://a"), one) == answer
"""
    )


def test_a_shard_is_made_of_what_our_fetch_gives() -> None:
    passes(
        SHARD
        + """
rows = make(load_maker(settings_for(perceptual_hash=True)), job_for(3), fetch)
assert [row["key"] for row in rows] == ["000030", "000031", "000032", "000033"]
assert [row["status"] for row in rows] == ["success", "failed_to_download", "success", "success"]
assert [row["error_message"] for row in rows] == [None, "http_404: gone", None, None]
assert (rows[0]["width"], rows[0]["height"], rows[0]["caption"]) == (40, 20, "a")
import hashlib
assert rows[2]["sha256"] == hashlib.sha256(picture(2)).hexdigest()
assert len(rows[2]["dhash"]) == 16 and rows[1]["dhash"] is None
stats = json.loads((output / "00003_stats.json").read_text())
assert (stats["count"], stats["successes"], stats["failed_to_download"]) == (4, 3, 1)
"""
    )


def test_the_writer_has_our_order_and_no_time() -> None:
    """Answers come the other way round, and later: the same bytes."""
    passes(
        SHARD
        + """
import time
maker = load_maker(settings_for())
make(maker, job_for(), fetch)
first = (output / "00000.tar").read_bytes()
time.sleep(1.1)
make(maker, job_for(), lambda url: (time.sleep(0.05 * (4 - int(url[-1]))), fetch(url))[1])
assert (output / "00000.tar").read_bytes() == first
"""
    )


def test_images_are_checked_and_resized_by_us() -> None:
    passes(
        SHARD
        + """
from visunex.images.resize import Resize, resize
maker = load_maker(settings_for(resize=Resize(24)))
large = picture(1, 80)
returned = adapter.CheckedResizer(Limits(), Resize(24))(io.BytesIO(large))
assert returned == (resize(large, Resize(24)).data, 48, 24, 80, 40, None), returned[1:]
rows = make(maker, job_for(), lambda url: (large[:-200] if url.endswith("2") else large, ""))
assert [row["status"] for row in rows] == ["success", "success", "failed_to_resize", "success"]
assert rows[2]["error_message"].startswith("truncated: ")
assert (rows[0]["width"], rows[0]["original_width"]) == (48, 80)

# Images of an earlier attempt pass as they are, with their sizes.
job = job_for(keep_previous=True, not_fetched={2: "http_404: gone"})
again = make(maker, job, lambda url: (None, "must not be asked"))
assert [row["status"] for row in again] == ["success", "success", "failed_to_download", "success"]
assert [row["width"] for row in again] == [row["width"] if n != 2 else None for n, row in enumerate(rows)]
"""
    )


def test_rows_that_it_loses_are_noticed() -> None:
    """It logs an error in its own code and goes on with the next row."""
    passes(
        SHARD
        + """
maker = load_maker(settings_for())
check = adapter.CheckedResizer.__call__
def failing(self, stream, boxes=None):
    if stream.getvalue() == picture(2):
        raise KeyError("a fault in the resizer")
    return check(self, stream, boxes)
adapter.CheckedResizer.__call__ = failing
try:
    make(maker, job_for(), fetch)
except LostRowsError as error:
    assert error.rows == (2,)
    assert not list(output.glob("*")), "nothing is put in place"
else:
    raise AssertionError("the lost row is not noticed")
"""
    )


def test_the_writers_failure_is_raised_again() -> None:
    """It prints what its writer raises for a row; a full disk must not end as a shard without rows."""
    passes(
        SHARD
        + """
from visunex.pipeline.download import shard_writer
maker = load_maker(settings_for())
def full(self, *sample):
    raise OSError(28, "No space left on device")
shard_writer.OrderedWriter._write_next = full
try:
    make(maker, job_for(), fetch)
except OSError as error:
    assert error.errno == 28
else:
    raise AssertionError("the failure is lost")
"""
    )


def test_its_calls_are_as_we_expect() -> None:
    passes("""
import img2dataset.downloader as downloader, img2dataset.writer
source = inspect.getsource(downloader.Downloader.download_shard)
for part in ("download_image_with_retry(", "timeout=self.timeout", "self.resizer(img_stream",
             "self.sample_writer_class(", "sample_writer.write(", "sample_writer.close()", "write_stats("):
    assert part in source, part
assert list(inspect.signature(img2dataset.writer.WebDatasetSampleWriter.__init__).parameters)[5] == "schema"
assert list(inspect.signature(img2dataset.writer.WebDatasetSampleWriter.write).parameters) == [
    "self", "img_str", "key", "caption", "meta"]
""")


def test_robots_tags_are_read_as_it_reads_them() -> None:
    passes("""
from email.message import Message
import img2dataset.downloader as downloader
from visunex.net.robots import forbidden
directives = {"noai", "noimageai", "noindex", "noimageindex"}
for tag in ("noai", "all", "Googlebot: noindex", "VisuNex: NOINDEX", "", "nofollow, noimageai", "a: b: noai"):
    headers = Message()
    headers["X-Robots-Tag"] = tag
    assert bool(forbidden([tag])) == downloader.is_disallowed(headers, "visunex", directives), tag
""")

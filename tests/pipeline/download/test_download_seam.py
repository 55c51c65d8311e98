"""The seam to img2dataset: what we hand it and what it calls, so that a new release that differs is noticed.

In a process of its own, as img2dataset loads half of PyPI and warns.
"""

import subprocess
import sys

PROGRAM = """
import inspect, os, sys, tempfile, warnings
from email.message import Message
from pathlib import Path
warnings.simplefilter("ignore")
from visunex.pipeline.worker import _engine_class
from visunex.pipeline.fetch import FetchSettings, is_unwanted
from visunex.pipeline.jobs import EngineSettings, ShardJob
from visunex.pipeline.pictures import Limits

output = Path(tempfile.mkdtemp())
settings = EngineSettings(output, ("caption", "url"), 10, 2, FetchSettings(deadline=1.0), Limits())
engine = _engine_class(settings)(settings)
assert "albumentations" not in sys.modules and sys.modules["torch"] is None, "the light way of loading works"
import img2dataset.downloader as seam
import pyarrow as pa
assert pa.Table.from_pydict({"a": ["b"]}, pa.schema({"a": pa.string()})).num_rows == 1, "without pandas"

# What img2dataset's own retry function makes of its parameters reaches our function, however many there are.
retry = inspect.signature(seam.download_image_with_retry).parameters
maker = engine.shard(ShardJob(0, output, verdicts={7: "excluded: by the test"}))
arguments = {name: maker.timeout if name == "timeout" else 0 for name in retry if name != "row"}
assert maker.timeout == 1.0
assert seam.download_image_with_retry((7, "http://a"), **arguments) == (7, None, "excluded: by the test")
assert seam.download_image((7, "http://a"), 1, 2, maker.timeout, more=4) == (7, None, "excluded: by the test")

# Whatever goes wrong in it comes back as a message.
engine.fetcher = None
assert seam.download_image((1, "http://a"), maker.timeout) == (1, None, "internal: AttributeError")
assert seam.download_image((1, "http://a"), 5.0)[2].startswith("internal: ")

# Shards in work at the same time are told apart.
other = engine.shard(ShardJob(1, output, verdicts={7: "excluded: from another shard"}))
assert seam.download_image((7, "http://a"), other.timeout) == (7, None, "excluded: from another shard")
assert seam.download_image((7, "http://a"), maker.timeout) == (7, None, "excluded: by the test")

# The class that we extend calls them as we expect.
source = inspect.getsource(seam.Downloader.download_shard)
for part in ("download_image_with_retry(", "timeout=self.timeout", "self.resizer(img_stream",
             "self.sample_writer_class(", "sample_writer.write(", "sample_writer.close()", "write_stats("):
    assert part in source, part
import img2dataset.resizer, img2dataset.writer
assert list(inspect.signature(img2dataset.writer.WebDatasetSampleWriter.__init__).parameters)[5] == "schema"
assert list(inspect.signature(img2dataset.writer.WebDatasetSampleWriter.write).parameters) == [
    "self", "img_str", "key", "caption", "meta"]

# X-Robots-Tag is read as img2dataset reads it.
directives = {"noai", "noimageai", "noindex", "noimageindex"}
for tag in ("noai", "all", "Googlebot: noindex", "VisuNex: NOINDEX", "", "nofollow, noimageai", "a: b: noai"):
    headers = Message()
    headers["X-Robots-Tag"] = tag
    assert is_unwanted([tag]) == seam.is_disallowed(headers, "visunex", directives), tag
print("sound")
"""


def test_the_seam_is_sound() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=120)
    assert done.stdout == "sound\n", done.stderr

"""A recipe from start to end. Each stage finds what is already done, so running again goes on."""

import contextlib
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from visunex.base.files import write_bytes

from .rundir import RunDir

if TYPE_CHECKING:
    from visunex.recipes import Recipe

    from .download import DownloadReport
    from .encode import EncodeReport
    from .filter import FilterReport

DEMO_SOURCE = "demo"


@dataclass(frozen=True)
class RunReport:
    """What the three stages did."""

    run: Path
    filter: "FilterReport"
    download: "DownloadReport"
    encode: "EncodeReport"

    def as_dict(self) -> dict[str, Any]:
        """The report for JSON: one entry per stage."""
        return {
            "run": str(self.run),
            "filter": self.filter.as_dict(),
            "download": self.download.as_dict(),
            "encode": self.encode.as_dict(),
        }

    def as_text(self) -> str:
        """The report for a person: what each stage did, and where the files are."""
        stages = {"filter": self.filter, "download": self.download, "encode": self.encode}
        parts = [f"{name}\n{textwrap.indent(report.as_text(), '  ')}" for name, report in stages.items()]
        return "\n\n".join([*parts, f"files\n  {self.run}/ (open report.html)"])


def run_recipe(run: RunDir, recipe: "Recipe", *, overwrite: bool = False) -> RunReport:
    """Filter, download and encode as `recipe` says, in a run folder that the caller holds locked.

    Raises the errors of the three stages; what is done by then is kept.
    """
    from .download import download
    from .encode import encode
    from .filter import filter_rows

    with served(recipe, run) as metadata:
        filtered = filter_rows(run, recipe, overwrite=overwrite, metadata=metadata)
        downloaded = download(run, recipe, overwrite=overwrite)
        encoded = encode(run, recipe, overwrite=overwrite)
    return RunReport(run.path, filtered, downloaded, encoded)


@contextlib.contextmanager
def served(recipe: "Recipe", run: RunDir) -> Iterator[str | None]:
    """For the demo world: serve it, write its metadata into the run and yield the path; else yield None."""
    if recipe.source.data != DEMO_SOURCE:
        yield None
        return
    from visunex.demo.server import serve
    from visunex.demo.world import metadata_bytes

    with serve() as address:
        path = run.path / ".visunex" / "demo.parquet"
        metadata = metadata_bytes(address)
        if not path.exists() or path.read_bytes() != metadata:  # an untouched file keeps its identity
            write_bytes(path, metadata)
        yield str(path)

"""What is asked of the stage: which images are encoded, and where their vectors and embeddings go."""

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from visunex.base.files import fingerprint

from ..errors import EncodeError
from ..rundir import RunDir, beside
from ..score.ratings import Ratings
from ..shards.repeats import Repeats, RunningRepeats
from ..shards.samples import Source, listing, run_sources
from .elsewhere import Elsewhere

__all__ = ["EncodeRequest"]


@dataclass(frozen=True)
class EncodeRequest:
    """Which images are encoded, and where their embedding goes: into the run, and to `out`.

    The images are the run's, or those `given` and in files `elsewhere`, which the user calls `names`, with
    the `repeats` among them; `ratings` say where their scores are from. The caller holds the run's lock.
    """

    run: RunDir | None
    given: tuple[Source, ...] | None = None
    names: tuple[str, ...] = ()
    out: Path | None = None
    repeats: Repeats | RunningRepeats | None = None
    elsewhere: Elsewhere | None = None
    ratings: Ratings | None = None

    def sources(self) -> list[Source]:
        """Where the images are. Raises EncodeError where there are none."""
        if self.given is not None:
            return list(self.given)
        found = run_sources(self.run.shards, self.run.downloaded) if self.run is not None else []
        if not found:
            where = self.run.shards if self.run is not None else "no run"
            raise EncodeError(
                f"there is nothing to encode in {where}; run `visunex-data download` first, or name pictures "
                "with --images"
            )
        return found

    def lots(self) -> Iterator[Sequence[Source]]:
        """The images, those of each file that lies elsewhere apart; it is gone when the next is asked for."""
        found = self.sources()
        yield from [found] if self.elsewhere is None else self.elsewhere.lots(self.run, found)

    def of_encoder(self, space: str) -> "EncodeRequest":
        """The same images, for a further encoder with files of its own; the request itself for no `space`."""
        run = None if self.run is None else self.run.of_encoder(space)
        out = None if self.out is None else beside(self.out, space)
        return replace(self, run=run, out=out)

    @contextlib.contextmanager
    def vectors_folders(self, spaces: Sequence[str]) -> Iterator[list[Path]]:
        """The run's folders for the vectors of each encoder; without a run some that are gone at the end."""
        if self.run is not None:
            yield [self.run.of_encoder(space).vectors for space in spaces]
            return
        with tempfile.TemporaryDirectory(prefix="visunex-") as folder:
            yield [Path(folder) / str(number) for number, _ in enumerate(spaces)]

    def identity(self, run: RunDir) -> str:
        """What the images are: those of the run's download, else files of these names, sizes and times."""
        own = run.identity("download") if self.given is None else None
        own = own or listing(self.sources())
        return own if self.elsewhere is None else fingerprint([own, *self.elsewhere.identity])

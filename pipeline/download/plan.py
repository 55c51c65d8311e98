"""What a download is to do: which images for which run, with how many processes and which limits."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from visunex.base.machine import cores
from visunex.images.resize import Resize
from visunex.images.validate import Limits
from visunex.net.fetcher import FetchSettings

from ..earlier import Earlier
from ..rundir import RunDir
from ..workers.executor import LOCAL, Executor
from .candidates import Candidates
from .messages import MakerSettings

if TYPE_CHECKING:
    from visunex.recipes import Download

__all__ = ["Plan", "fetch_settings"]

_MOST_PROCESSES = 16  # two per core, as each shard ends with waiting for the slowest of its links
_PATIENCE = 60.0  # seconds beyond the deadline within which some row of a shard must end


@dataclass(frozen=True)
class Plan:
    """What to fetch, and for which run: the best `target` images that the `candidates` give.

    What is known of `earlier` selections of the run is not fetched again.
    """

    run: RunDir
    settings: "Download"
    candidates: Candidates
    target: int
    earlier: Earlier = Earlier({}, {})  # noqa: RUF009 - nobody writes into it
    executor: Executor = LOCAL

    @property
    def is_inside(self) -> bool:
        """Whether the pictures lie inside files rather than on the web."""
        return self.settings.images is not None or self.candidates.locations is not None

    @cached_property
    def processes(self) -> int:
        """How many worker processes there may be."""
        here = self.settings.processes or min(2 * cores(), _MOST_PROCESSES)
        return self.executor.workers(here, self.settings.host_connections)

    @property
    def patience(self) -> float:
        """Seconds after which a shard of which no row ends is begun anew."""
        rate = self.settings.host_rate
        pause = self.processes / rate if rate else 0.0
        return 2 * self.settings.deadline + _PATIENCE + self.settings.patience + 2 * pause

    def maker_settings(self, spool: Path | None) -> MakerSettings:
        """What the workers need to know; `spool` is the file with images that are not on the web."""
        settings = self.settings
        return MakerSettings(
            output=self.run.shards,
            columns=self.candidates.columns,
            shard_size=self.candidates.shard_size,
            threads=settings.threads,
            fetch=fetch_settings(settings, self.processes),
            limits=Limits(
                settings.min_image_size,
                settings.max_pixels,
                settings.max_aspect_ratio,
                settings.check == "decode",
            ),
            resize=Resize(settings.resize, settings.resize_mode) if settings.resize else None,
            perceptual_hash=settings.dedupe_images == "near",
            spool=spool,
            patience=settings.patience,
            sends=self.executor is not LOCAL,
        )


def fetch_settings(settings: "Download", processes: int) -> FetchSettings:
    """The limits of one of so many processes: those of a host hold for all together."""
    return FetchSettings(
        deadline=settings.deadline,
        max_bytes=settings.max_bytes,
        retries=settings.retries,
        connections=settings.threads,
        host_connections=max(1, settings.host_connections // processes),
        host_rate=settings.host_rate / processes if settings.host_rate else None,
        allow_private=settings.allow_private,
        insecure=settings.insecure,
        respect=settings.respected,
        contact=settings.contact,
        user_agent=settings.user_agent,
        patience=settings.patience,
    )

"""The run folder: where each stage's files lie, what they were made from, and who works on them."""

import contextlib
import json
import os
import shutil
import socket
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from filelock import FileLock, Timeout

from visunex.base.files import fingerprint, sweep_temporary, write_json
from visunex.base.folders import EMBEDDING, RUNS, expanded
from visunex.base.storage import is_stored

from .errors import PipelineError, RunBusyError, StaleRunError
from .shards.discard import discarded_tars
from .stored import names_stored_run, published, with_all, with_recipe

Stage = Literal["filter", "download", "encode"]
STAGES: tuple[Stage, ...] = get_args(Stage)


@dataclass(frozen=True)
class RunDir:
    """A run folder. Creating the object touches nothing; `locked()` creates the folder.

    Of several encoders each but the first has files of its own, named by its `space` (see `of_encoder`).
    """

    path: Path
    space: str = ""

    @property
    def recipe(self) -> Path:
        """The resolved recipe: everything needed to repeat the run."""
        return self.path / "recipe.toml"

    @property
    def selected(self) -> Path:
        """The candidates, best first."""
        return self.path / "selected.parquet"

    @property
    def downloaded(self) -> Path:
        """The candidates with what became of each: `status`, `error_message`, `chosen`."""
        return self.path / "downloaded.parquet"

    @property
    def shards(self) -> Path:
        """WebDataset shards in img2dataset's layout."""
        return self.path / "shards"

    @property
    def vectors(self) -> Path:
        """Image vectors in clip-retrieval's layout."""
        return self.path / f"vectors{self._suffix}"

    @property
    def embedding(self) -> Path:
        """The aesthetic embedding."""
        return beside(self.path / EMBEDDING, self.space)

    @property
    def provenance(self) -> Path:
        """How the embedding was made."""
        return self.embedding.with_suffix(".json")

    @property
    def report(self) -> Path:
        """Counts, reasons, seconds and throughput of every stage."""
        return self.path / "report.json"

    @property
    def report_page(self) -> Path:
        """The same as `report`, for a person."""
        return self.path / "report.html"

    @property
    def choice(self) -> Path:
        """What was told of each image by its own vector, and which were chosen by that."""
        return self.path / "choice.parquet"

    @property
    def groups(self) -> Path:
        """The k-means group of each picture that counts."""
        return self.path / "groups.parquet"

    @property
    def contact(self) -> Path:
        """Contact sheets of all pictures, beside the page."""
        return self.path / "contact"

    @property
    def thumbnails(self) -> Path:
        """Small copies of the pictures, which stay when the pictures are discarded."""
        return self.path / "thumbnails"

    @property
    def earlier(self) -> Path:
        """Pictures and vectors of earlier selections, to be taken over, by stage and in numbered folders."""
        return self.path / ".visunex" / "earlier"

    @property
    def _suffix(self) -> str:
        return f"-{self.space}" if self.space else ""

    def of_encoder(self, space: str) -> "RunDir":
        """The same run as a further encoder has it: vectors, embedding and what they were made from."""
        return RunDir(self.path, space)

    @property
    def encoders(self) -> "list[RunDir]":
        """The run as each encoder has it that has encoded its images, the run's own first."""
        names = sorted(path.stem for path in (self.path / ".visunex").glob("encode-*.json"))
        return [RunDir(self.path), *(self.of_encoder(name.removeprefix("encode-")) for name in names)]

    def outputs(self, stage: Stage) -> tuple[Path, ...]:
        """What `stage` writes, and `--overwrite` removes."""
        own = () if self.space else (self.groups, self.choice)
        return {
            "filter": (self.selected,),
            "download": (self.shards, self.downloaded, self.thumbnails),
            "encode": (self.vectors, self.embedding, self.provenance, *own),
        }[stage]

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder against other processes, and sweep what killed ones left unfinished.

        Of a run in an object store this is its working copy, which is held there by a lease, and published.
        Raises RunBusyError, saying who holds it; StorageError. The lock dies with its process, however that
        ends.
        """
        state = self._state_folder()
        holder = state / "holder.json"
        lock = FileLock(state / "lock", timeout=0)
        try:
            lock.acquire()
        except Timeout:
            raise RunBusyError(
                f"{self.path} is in use by {_describe_holder(holder)}; wait, or choose --run"
            ) from None
        try:
            write_json(holder, {"pid": os.getpid(), "host": socket.gethostname(), "since": time.ctime()})
            sweep_temporary(self.path)
            with published(self.path):
                yield
            holder.unlink(missing_ok=True)
        finally:
            lock.release()

    def begin(self, stage: Stage, made_from: Mapping[str, Any], *, overwrite: bool) -> None:
        """Note what `stage` is about to be made from, or refuse to mix it with what is there.

        `made_from` maps short human names to JSON-able values. Raises StaleRunError, naming what changed,
        when outputs of the stage made from something else exist and `overwrite` is False; with `overwrite`
        the old outputs are removed first. Vectors whose pictures were discarded are never removed.
        """
        noted = self._state_folder() / self._note(stage)
        present = [output for output in self.outputs(stage) if output.exists()]
        before = self.made_from(stage)
        changed = before is not None and sorted(_differences(before, made_from))
        if present and (changed or overwrite) and stage == "encode" and discarded_tars(self.shards):
            raise StaleRunError(
                f"the pictures of {self.path} were discarded when they had their vectors, so those cannot be "
                "made anew; `visunex-data download --overwrite` fetches pictures again, --run DIR keeps both"
            )
        if present and changed and not overwrite:
            why = f"was made from something else ({', '.join(changed)} changed since)"
            if not before:
                why = f"may be made from anything, as {noted} is damaged"
            raise StaleRunError(f"{present[0]} {why}; --overwrite starts it anew, --run DIR keeps both")
        if changed or overwrite:
            self.discard(stage)
        write_json(noted, dict(made_from))

    def made_from(self, stage: Stage) -> dict[str, Any] | None:
        """What `begin` noted for `stage`; None when the stage never began here (a peer's files, say).

        Nothing of what it was made from is known where that file is damaged.
        """
        return _read_object(self.path / ".visunex" / self._note(stage))

    def note(self, stage: Stage, made_from: Mapping[str, Any]) -> None:
        """Note that what is there may as well have been made from this."""
        write_json(self._state_folder() / self._note(stage), dict(made_from))

    @property
    def mirror(self) -> str | None:
        """Where the run was told to take what is published from."""
        found = (_read_object(self.path / ".visunex" / "run.json") or {}).get("mirror")
        return found if isinstance(found, str) else None

    def note_mirror(self, mirror: str) -> None:
        """Note it, for the run to go on by its folder alone."""
        write_json(self._state_folder() / "run.json", {"mirror": mirror})

    @property
    def places(self) -> frozenset[str] | None:
        """The files (or folders) in which the selection's pictures lie, where filter noted them."""
        found = (_read_object(self.path / ".visunex" / "places.json") or {}).get("places")
        return frozenset(map(str, found)) if isinstance(found, list) else None

    def note_places(self, places: Iterable[str]) -> None:
        """Note them: a selection that was changed since may name any file."""
        write_json(self._state_folder() / "places.json", {"places": sorted(places)})

    def identity(self, stage: Stage) -> str | None:
        """A hash of what `stage` was made from, for the next stage to be made from."""
        noted = self.made_from(stage)
        return None if noted is None else fingerprint(noted)

    def discard(self, stage: Stage) -> None:
        """Remove the outputs of `stage`."""
        for output in self.outputs(stage):
            if output.is_dir():
                shutil.rmtree(output)
            else:
                output.unlink(missing_ok=True)

    def record(self, stage: str, report: Mapping[str, Any]) -> None:
        """Put a stage's report into `report.json`, beside those of the other stages."""
        write_json(self.report, {**self.reports(), stage: dict(report)})

    def reports(self) -> dict[str, Any]:
        """The reports of all stages so far, by stage; what cannot be read is absent."""
        found = _read_object(self.report) or {}
        return {stage: report for stage, report in found.items() if isinstance(report, dict)}

    @property
    def taken(self) -> dict[str, Any] | None:
        """Which of its places a source known by name was taken from, as the filter reports it."""
        found = self.reports().get("filter", {}).get("taken")
        return found if isinstance(found, dict) and found else None

    @property
    def licence(self) -> str | None:
        """The licence of the source itself, where the filter knew it."""
        found = self.reports().get("filter", {}).get("licence")
        return found if isinstance(found, str) else None

    @property
    def license_column(self) -> str | None:
        """What the selection calls the column with the images' licences, where the source has one."""
        found = self.reports().get("filter", {}).get("license_column")
        return found if isinstance(found, str) else None

    def _note(self, stage: Stage) -> str:
        return f"{stage}{self._suffix if stage == 'encode' else ''}.json"

    def _state_folder(self) -> Path:
        state = self.path / ".visunex"
        try:
            state.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError):
            raise PipelineError(
                f"{self.path} is a file, not a run folder; choose another with --run"
            ) from None
        return state


def here(what: str) -> str:
    """The working copy of a run that an address in an object store names, with all of it; else the same."""
    return str(with_all(what)) if names_stored_run(what) else what


def beside(path: Path, space: str) -> Path:
    """Where a further encoder's embedding lies, by where the first one's does: NAME-SPACE.pt."""
    return path.with_name(f"{path.stem}-{space}{path.suffix}") if space else path


def run_at(place: str | Path) -> RunDir:
    """The run in a folder, or at an address in an object store, of which the recipe alone is brought here.

    Raises UsageError, StorageError.
    """
    return RunDir(with_recipe(str(place)) if is_stored(place) else Path(place))


def run_named(what: str) -> RunDir | None:
    """The run in a folder, or of a name under runs/; None where there is none.

    Of one in an object store all that is there is brought here.
    """
    if names_stored_run(what):
        return RunDir(with_all(what))
    found = (RunDir(path) for path in (expanded(what), RUNS / what))
    return next(
        (run for run in found if any(map(Path.exists, (run.report, run.selected, run.downloaded)))), None
    )


def _describe_holder(holder: Path) -> str:
    try:
        who = json.loads(holder.read_text(encoding="utf-8"))
        return f"process {who['pid']} on {who['host']} since {who['since']}"
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return "another process"


def _read_object(path: Path) -> dict[str, Any] | None:
    """The JSON object in a file of ours: {} where it holds none (half-written), None without a file."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, RecursionError):
        return {}
    except OSError as error:
        raise PipelineError(f"{path} cannot be read: {error.strerror}") from None
    return found if isinstance(found, dict) else {}


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> set[str]:
    # Through JSON, as tuples come back from the file as lists.
    after = json.loads(json.dumps(dict(now)))
    return {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}

"""The folder of an evaluation: pictures under names that say how they were made, and who works on it."""

import contextlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout
from PIL import Image

from visunex.base.files import atomic, fingerprint, sweep_temporary

from .errors import EvaluateError
from .measures import Floats

__all__ = ["Folder"]

_LONGEST = 40  # letters of a prompt in a file's name


@dataclass(frozen=True)
class Folder:
    """The folder at `path`. What is in it already is taken as it is, since its name says how it was made."""

    path: Path

    @property
    def results(self) -> Path:
        """A row for each picture and taste."""
        return self.path / "results.parquet"

    @property
    def report(self) -> Path:
        """What the rows say, by setting."""
        return self.path / "report.json"

    @property
    def page(self) -> Path:
        """The same for a person, with the pictures."""
        return self.path / "report.html"

    @property
    def learnt(self) -> Path:
        """LoRAs and words, made of the tastes."""
        return self.path / "learnt"

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder against other processes. Raises EvaluateError where one holds it, or it is none."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.path / ".lock", timeout=0)
            lock.acquire()
        except Timeout:
            raise EvaluateError(f"{self.path} is in use by another process; wait, or give --outdir") from None
        except OSError as error:
            raise EvaluateError(f"{self.path} cannot be written: {error.strerror or error}") from None
        try:
            sweep_temporary(self.path)
            yield
        finally:
            lock.release()

    def image(self, setting: str, prompt: str, seed: int) -> Path:
        """Where the picture of a prompt and a seed lies, under the name of its setting."""
        plain = re.sub(r"[^a-z0-9]+", "-", prompt.lower()).strip("-")[:_LONGEST].strip("-")
        return self.path / "pictures" / setting / f"{plain}-{fingerprint(prompt)[:8]}-{seed}.png"

    def write(self, path: Path, image: Image.Image) -> None:
        """Write a picture, whole or not at all."""
        with atomic(path) as temporary:
            image.convert("RGB").save(temporary, format="PNG")

    def read(self, paths: Sequence[Path]) -> list[Image.Image]:
        """Pictures that were written. Raises EvaluateError for one that is damaged."""
        found = []
        for path in paths:
            try:
                with Image.open(path, formats=["PNG"]) as image:
                    found.append(image.convert("RGB"))
            except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
                raise EvaluateError(
                    f"{path} is damaged ({error}); remove it, and it is drawn again"
                ) from None
        return found

    def vectors(self, name: str) -> Floats | None:
        """An array that was kept under this name; None where there is none, or a damaged one."""
        with contextlib.suppress(OSError, ValueError, EOFError):
            return np.asarray(np.load(self._kept(name), allow_pickle=False), np.float64)
        return None

    def keep(self, name: str, values: Floats) -> None:
        """Keep an array under a name."""
        with atomic(self._kept(name)) as temporary, temporary.open("wb") as file:
            np.save(file, values, allow_pickle=False)

    def _kept(self, name: str) -> Path:
        return self.path / "vectors" / f"{name}.npy"

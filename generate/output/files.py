"""Pictures on disk: numbered PNG files that say how they were made, and grids of them."""

import errno
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from PIL import Image, PngImagePlugin

from visunex.base.files import atomic

from ..errors import OutputError, PictureError

__all__ = ["Making", "Writer", "parameters_text", "read_making"]

JSON_KEY, WEB_UI_KEY = "visunex", "parameters"


@dataclass(frozen=True)
class Making:
    """How one picture was made: enough to make it again. `prompts` are those of its batch, `position` its
    own."""

    prompts: tuple[str, ...]
    position: int
    batch: int
    negative_prompt: str
    seed: int
    scheduler: str
    ddim_steps: int
    ddim_eta: float
    scale: float
    height: int
    width: int
    n_samples: int
    fixed_code: bool
    rng: str
    model: str
    model_fingerprint: str
    text_encoder: str
    precision: str
    device: str
    lowvram: bool
    aesthetic_embedding: str | None
    aesthetic_sha256: str | None
    aesthetic_steps: int
    aesthetic_lr: float
    versions: dict[str, str]

    @property
    def prompt(self) -> str:
        """The prompt of this picture."""
        return self.prompts[self.position]


def parameters_text(making: Making) -> str:
    """The text that the Stable Diffusion web UI reads from a picture and shows."""
    fields = {
        "Steps": making.ddim_steps,
        "Sampler": making.scheduler.upper() if making.scheduler in ("ddim", "plms") else making.scheduler,
        "CFG scale": f"{making.scale:g}",
        "Seed": making.seed,
        "Size": f"{making.width}x{making.height}",
        "Model hash": making.model_fingerprint[:10],
        "Model": _quoted(Path(making.model).stem),
    }
    if making.ddim_eta:
        fields["Eta"] = f"{making.ddim_eta:g}"
    if making.n_samples > 1:
        fields |= {"Batch size": making.n_samples, "Batch pos": making.position}
    if making.aesthetic_embedding:
        fields |= {
            "Aesthetic embedding": _quoted(making.aesthetic_embedding),
            "Aesthetic steps": making.aesthetic_steps,
            "Aesthetic LR": f"{making.aesthetic_lr:g}",
        }
    lines = [making.prompt]
    if making.negative_prompt:
        lines.append(f"Negative prompt: {making.negative_prompt}")
    return "\n".join([*lines, ", ".join(f"{name}: {value}" for name, value in fields.items())])


def _quoted(text: str) -> str:
    """The web UI's own quoting of values that hold its separators."""
    return json.dumps(text, ensure_ascii=False) if re.search(r'[,:\n"]', text) else text


def read_making(path: Path) -> Making:
    """How the picture at `path` was made. Raises PictureError where it does not say so."""
    from pydantic import TypeAdapter, ValidationError

    try:
        with Image.open(path) as image:
            image.load()  # text may come after the pixels
            text = getattr(image, "text", {}).get(JSON_KEY)
    except FileNotFoundError:
        raise PictureError(f"no picture {path}") from None
    except Exception as error:  # Pillow has many
        raise PictureError(f"{path} cannot be read as a picture: {error}") from None
    if text is None:
        raise PictureError(f"{path} does not say how it was made: it holds no `{JSON_KEY}` text")
    try:
        making = TypeAdapter(Making).validate_json(text)
    except ValidationError:
        making = None
    if making is None or not 0 <= making.position < len(making.prompts) or making.batch < 0:
        raise PictureError(f"{path} says how it was made in a form that this version cannot read")
    return making


class Writer:
    """Writes pictures into `folder`, numbering on from what is there; two processes never take one number."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.written: list[Path] = []

    def sample(self, image: Image.Image, making: Making) -> Path:
        """Write one picture to `samples/00000.png` and on. Raises OutputError when it cannot be written."""
        notes = PngImagePlugin.PngInfo()
        notes.add_text(WEB_UI_KEY, parameters_text(making))
        notes.add_text(JSON_KEY, json.dumps(asdict(making)))
        return self._write(image, self.folder / "samples", "", 5, notes)

    def grid(self, image: Image.Image, parameters: str) -> Path:
        """Write one grid to `grid-0000.png` and on. Raises OutputError when it cannot be written."""
        notes = PngImagePlugin.PngInfo()
        notes.add_text(WEB_UI_KEY, parameters)
        return self._write(image, self.folder, "grid-", 4, notes)

    def _write(
        self, image: Image.Image, folder: Path, prefix: str, digits: int, notes: PngImagePlugin.PngInfo
    ) -> Path:
        with self._said_plainly(folder):
            folder.mkdir(parents=True, exist_ok=True)
            path = _claim(folder, prefix, digits)
            try:
                with atomic(path) as temporary:
                    image.save(temporary, format="PNG", pnginfo=notes)
            except BaseException:
                path.unlink(missing_ok=True)  # the claim: an empty file
                raise
        self.written.append(path)
        return path

    @contextmanager
    def _said_plainly(self, folder: Path) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            reason = "the disk is full" if error.errno == errno.ENOSPC else error.strerror or str(error)
            kept = f"; the {len(self.written)} written before are kept" if self.written else ""
            raise OutputError(f"no picture could be written to {folder}: {reason}{kept}") from None


def _claim(folder: Path, prefix: str, digits: int) -> Path:
    """The file of the next number, created empty so that no other process takes it."""
    pattern = re.compile(rf"{prefix}(\d+)\.png")
    taken = [int(match[1]) for path in folder.iterdir() if (match := pattern.fullmatch(path.name))]
    number = max(taken, default=-1) + 1
    while True:
        path = folder / f"{prefix}{number:0{digits}}.png"
        try:
            path.open("x").close()
            return path
        except FileExistsError:
            number += 1


def tile(images: Sequence[Image.Image], per_row: int, padding: int = 2) -> Image.Image:
    """A grid as the original drew it: `per_row` pictures in a row, black lines of 2 pixels between and
    around."""
    width, height = images[0].size
    columns = min(per_row, len(images))
    rows = -(-len(images) // columns)
    step = (width + padding, height + padding)
    grid = Image.new("RGB", (columns * step[0] + padding, rows * step[1] + padding))
    for place, image in enumerate(images):
        grid.paste(image, (padding + place % columns * step[0], padding + place // columns * step[1]))
    return grid

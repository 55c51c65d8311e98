"""The README's picture of a run's page, `docs/images/report.webp`: `make demo images`.

Debian's Chromium draws the page of the demo without a screen; the picture is small, as every clone has it.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).parents[2]
TARGET = ROOT / "docs" / "images" / "report.webp"
WIDTH, HEIGHT, SHOWN = 1200, 1240, 900  # pixels of the window, and the picture's width
LARGEST = 80_000  # bytes


def drawn(page: Path, width: int, height: int) -> Image.Image:
    """The upper part of a page, in a window of this size."""
    with tempfile.TemporaryDirectory() as folder:
        shot = Path(folder) / "shot.png"
        options = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--hide-scrollbars",
        ]
        options += [f"--user-data-dir={folder}/profile", f"--window-size={width},{height}"]
        command = ["chromium", *options, f"--screenshot={shot}", page.resolve().as_uri()]
        subprocess.run(command, check=True, capture_output=True, timeout=120)
        with Image.open(shot) as image:
            return image.convert("RGB")


def save(image: Image.Image, target: Path) -> None:
    """As WebP, in the best quality that keeps to LARGEST."""
    target.parent.mkdir(parents=True, exist_ok=True)
    for quality in range(85, 20, -5):
        image.save(target, "WEBP", quality=quality, method=6)
        if target.stat().st_size <= LARGEST:
            return
    sys.exit(f"{target} is larger than {LARGEST} bytes in any quality")


def main(run: Path) -> None:
    """Draw the page of a run."""
    page = run / "report.html"
    if not page.exists():
        sys.exit(f"{page} is not there: `make demo` makes it")
    image = drawn(page, WIDTH, HEIGHT)
    save(image.resize((SHOWN, SHOWN * HEIGHT // WIDTH), Image.Resampling.LANCZOS), TARGET)
    print(f"{TARGET.relative_to(ROOT)}: {TARGET.stat().st_size:,} bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

"""What `pip install` brings: every package under its name, with recipes, catalogues and the tiny models."""

import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_wheel_holds_the_packages_and_their_data(tmp_path: Path) -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "wheel",
            "--verbose",
            "--no-deps",
            "--no-build-isolation",
            "-w",
            tmp_path,
            ROOT,
        ],
        check=True,
        capture_output=True,
        text=True,
    )
    assert "is absent from the `packages` configuration" not in done.stdout + done.stderr
    (wheel,) = tmp_path.glob("visunex-*.whl")
    held = set(zipfile.ZipFile(wheel).namelist())
    for package in (
        "aesthetic_embeddings",
        "base",
        "clip",
        "demo",
        "export",
        "generate",
        "images",
        "net",
        "pipeline",
        "recipes",
        "studio",
    ):
        modules = {path.relative_to(ROOT) for path in (ROOT / package).rglob("*.py")}
        data = {
            path.relative_to(ROOT)
            for path in (ROOT / package).rglob("*.*")
            if path.suffix in (".toml", ".txt", ".j2", ".css")
        }
        assert {f"visunex/{path.as_posix()}" for path in modules | data} <= held
        assert f"visunex/{package}/py.typed" in held
    weights = {path.relative_to(ROOT) for path in (ROOT / "demo" / "weights").rglob("*") if path.is_file()}
    assert weights
    assert {f"visunex/{path.as_posix()}" for path in weights} <= held
    assert not [name for name in held if "test" in name]

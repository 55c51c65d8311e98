"""Small loaded models that additions are put into; no test writes to them."""

from pathlib import Path
from typing import Any

import pytest

from visunex.generate.families.loading import load


@pytest.fixture(scope="session")
def sd1(clip_folder: Path) -> Any:
    return load(str(clip_folder), device="cpu")


@pytest.fixture(scope="session")
def xl(xl_folder: Path) -> Any:
    return load(str(xl_folder), device="cpu")

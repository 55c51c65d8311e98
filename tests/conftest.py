"""What tests share: the published reference data, and a quiet, offline environment for every process."""

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

# Helpers that tests share are imported by their bare names.
sys.path.insert(0, str(Path(__file__).parent / "support"))

# Before anything imports img2dataset or a Hub client, here and in every process a test starts.
os.environ.update(
    NO_ALBUMENTATIONS_UPDATE="1",
    WANDB_MODE="disabled",
    HF_HUB_OFFLINE="1" if not os.environ.get("VISUNEX_REAL_WEIGHTS") else "0",
    TOKENIZERS_PARALLELISM="false",
)

# A port for each of pytest's processes: one that ends its demo world must not take another's pictures.
os.environ["VISUNEX_DEMO_PORT"] = str(
    8767 + int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
)

# The same examples in every run, and no verdict on how fast a busy machine is.
settings.register_profile("fixed", derandomize=True, deadline=None)
settings.load_profile("fixed")


class _Started(subprocess.Popen[Any]):
    """A process that a test starts, again where Linux answers "Bad address" for a moment (seen on 6.18)."""

    def __init__(self, *command: Any, **how: Any) -> None:
        for _ in range(3):
            try:
                super().__init__(*command, **how)
            except OSError as error:
                if error.errno != errno.EFAULT:
                    raise
            else:
                return
        super().__init__(*command, **how)


subprocess.Popen = _Started  # type: ignore[misc] # what the commands themselves start they start again themselves


@pytest.fixture(scope="session")
def reference() -> Path:
    """The folder of published embeddings, paintings, rating vectors and predictors."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "reference"
    folder = Path(os.environ.get("VISUNEX_REFERENCE", beside))
    if not (folder / "README.md").exists():
        pytest.skip("the published reference data is not here; name its folder in $VISUNEX_REFERENCE")
    return folder


LONG = (
    *(
        "test_page.py",
        "test_on_ray.py",
        "test_sac.py",
        "test_adding.py",
        "test_kill_resume.py",
        "test_stage.py",
    ),
    *("test_docs.py", "test_fuzz.py", "test_outage.py", "test_interrupt.py", "test_offline.py"),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first: else one process is left with one of them while the other has nothing to do."""
    items.sort(key=lambda item: LONG.index(item.path.name) if item.path.name in LONG else len(LONG))

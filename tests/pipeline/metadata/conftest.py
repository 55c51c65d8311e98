"""What the tests of metadata share."""

import pytest

from visunex.pipeline.metadata.formats import reader_process


@pytest.fixture
def read_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read files of every kind in this process: for tests of what is read, not of the process that reads.

    The process of its own, which takes half a second to begin, is shown by `test_bombs`, `test_formats` and
    `test_text_files`.
    """
    monkeypatch.setattr(reader_process, "_NATIVE", frozenset())

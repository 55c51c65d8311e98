"""The Hub's client as in a process started with other `HF_...` variables, which it reads on import."""

from pathlib import Path

import pytest


def configure(monkeypatch: pytest.MonkeyPatch, home: Path, endpoint: str = "") -> None:
    """Give the client `home` as `$HF_HOME` and `endpoint` as `$HF_ENDPOINT`; without one it is offline."""
    from huggingface_hub import constants

    monkeypatch.setenv("HF_HUB_OFFLINE", "0" if endpoint else "1")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", not endpoint)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(home / "hub"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(home / "token"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    if endpoint:
        monkeypatch.setattr(constants, "ENDPOINT", endpoint)
        template = constants.HUGGINGFACE_CO_URL_TEMPLATE.partition("/{")
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", f"{endpoint}/{{{template[2]}")

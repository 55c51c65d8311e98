"""Nothing phones home: importing and running opens no connection but the ones asked for."""

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

AUDIT = Path(__file__).parent / "audit"
LOOPBACK = re.compile(
    r"'(127\.0\.0\.1|localhost|::1)'|^socket\.connect '|getaddrinfo \(None"
)  # or a Unix socket


def free_port() -> int:
    """A port that nobody listens on, so that no other demo run of this machine lends its server."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def addresses_asked_for(log: Path) -> list[str]:
    """The addresses off this machine that audited processes asked for."""
    lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
    return [line for line in lines if not LOOPBACK.search(line)]


def audited(tmp_path: Path, *command: str) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """Run a command without our test settings of the environment; what it asked the network for."""
    kept = ("PATH", "HOME", "LANG", "SYSTEMROOT", "COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG")
    log = tmp_path / "audit.log"
    environment = {name: os.environ[name] for name in kept if name in os.environ}
    environment |= {
        "PYTHONPATH": str(AUDIT),
        "VISUNEX_AUDIT_LOG": str(log),
        "VISUNEX_DEMO_PORT": str(free_port()),
    }
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=240)
    return done, addresses_asked_for(log)


def test_the_audit_sees_a_connection(tmp_path: Path) -> None:
    program = "import socket; s = socket.socket(); s.settimeout(0.01); s.connect_ex(('192.0.2.1', 9))"
    _, asked = audited(tmp_path, sys.executable, "-c", program)
    assert asked == ["socket.connect ('192.0.2.1', 9)"]


@pytest.mark.parametrize(
    "module",
    [
        "pipeline.download.stage",
        "pipeline.encode.stage",
        "pipeline.download.shard_maker",
        "pipeline.download.img2dataset_adapter as adapter; adapter.missing_parts()",
        "pipeline.filter.stage",
        "pipeline.shards.samples",
        "generate.sampling.sampler",
        "demo.server",
        "studio.page.app as it; from visunex.studio.work.state import Studio; it.application(Studio())",
    ],
)
def test_importing_asks_for_nothing(tmp_path: Path, module: str) -> None:
    done, asked = audited(tmp_path, sys.executable, "-c", f"import visunex.{module}")
    assert done.returncode == 0, done.stderr
    assert asked == []


def test_a_run_asks_for_the_pictures_and_nothing_else(tmp_path: Path) -> None:
    run = ["run", "demo_flower", "--set", "filter.top=10", "--set", "download.shard_size=10"]
    done, asked = audited(tmp_path, sys.executable, "-m", "visunex.pipeline", *run)
    assert done.returncode == 0, done.stderr
    assert asked == []
    assert (tmp_path / "runs" / "demo_flower" / "embedding.pt").exists()

"""Nothing phones home: importing and running opens no connection but the ones asked for."""

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

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


EVERYTHING = """
import sys
import visunex.pipeline.download.stage
import visunex.pipeline.encode.stage
import visunex.pipeline.download.shard_maker
import visunex.pipeline.filter.stage
import visunex.pipeline.shards.samples
import visunex.generate.sampling.sampler
import visunex.demo.server
from visunex.pipeline.download import img2dataset_adapter
from visunex.studio.page import app
from visunex.studio.work.state import Studio
img2dataset_adapter.missing_parts()
app.application(Studio())
from visunex.pipeline.cli import main
main(sys.argv[1:])
"""


def test_importing_everything_and_a_run_ask_for_the_pictures_and_nothing_else(tmp_path: Path) -> None:
    settings = ("filter.top=10", "download.shard_size=10", "download.processes=2")
    run = ["run", "demo_flower", *(f"--set={each}" for each in settings)]
    done, asked = audited(tmp_path, sys.executable, "-c", EVERYTHING, *run)
    assert done.returncode == 0, done.stderr
    assert asked == []
    assert (tmp_path / "runs" / "demo_flower" / "embedding.pt").exists()

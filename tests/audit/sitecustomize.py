"""Loaded first by every Python process whose PYTHONPATH names this folder: notes each address asked for."""

import os
import sys


def _note(event: str, arguments: tuple[object, ...]) -> None:
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"):
        address = arguments[1] if event in ("socket.connect", "socket.sendto") else arguments[:2]
        with open(os.environ["VISUNEX_AUDIT_LOG"], "a", encoding="utf-8") as log:  # noqa: PTH123 - before pathlib is imported
            log.write(f"{event} {address!r}\n")


sys.addaudithook(_note)

"""The studio's server: a socket of its own, and a browser that is shown the page."""

import contextlib
import socket
import threading
from collections.abc import Callable

from visunex.base.errors import UsageError

from .work.state import Studio

__all__ = ["address_of", "bound", "serve"]

PORT, _TRIES = 7860, 20  # the first port that is tried, and how many behind it


def bound(host: str, port: int | None) -> socket.socket:
    """A socket that listens at `host`: at `port`, or at the first free one from PORT on; 0: any.

    Raises UsageError where it cannot.
    """
    wanted = [port] if port is not None else [*range(PORT, PORT + _TRIES)]
    for each in wanted:
        made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            made.bind((host, each))
        except (OSError, OverflowError) as error:
            made.close()
            why = getattr(error, "strerror", None) or str(error)
        else:
            made.listen()
            return made
    raise UsageError(
        f"nothing can be served at {host}, port {wanted[-1]}: {why}; give another --host or --port"
    )


def address_of(listening: socket.socket) -> str:
    """The page's address."""
    host, port = listening.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def serve(studio: Studio, listening: socket.socket, started: Callable[[], None] = lambda: None) -> None:
    """Serve the studio until the process is interrupted; `started` is called when it can be looked at."""
    import uvicorn

    from .page.app import application
    from .page.guard import is_loopback

    only_here = is_loopback(listening.getsockname()[0])
    config = uvicorn.Config(
        application(studio, only_here=only_here), log_level="warning", timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    threading.Thread(target=_warm, daemon=True).start()
    threading.Timer(0.3, started).start()
    with contextlib.suppress(KeyboardInterrupt):
        server.run(sockets=[listening])


def _warm() -> None:
    """Load what the first opened taste would wait for."""
    with contextlib.suppress(Exception):  # whoever needs it will say what is wrong
        import open_clip  # noqa: F401
        import torch  # noqa: F401

"""When to ask again: pauses that grow, and what a server says of its own accord."""

import random
import time
from email.utils import parsedate_to_datetime

from .errors import FetchError

__all__ = ["FIRST_PAUSE", "pause_before", "retry_after"]

LONGEST_RETRY_AFTER = 10.0  # seconds; a server that asks for more patience is not asked again
FIRST_PAUSE = 0.2  # seconds before the first retry; doubled before each further one


def pause_before(tries: int, failure: FetchError) -> float | None:
    """Seconds between try number `tries`, which failed, and the next, growing and never quite the same.

    None when there should be no other.
    """
    if not failure.retryable:
        return None
    pause = FIRST_PAUSE * 2 ** (tries - 1) * random.uniform(0.5, 1.5)  # noqa: S311
    if failure.wait is None:
        return pause
    return max(pause, failure.wait) if failure.wait <= LONGEST_RETRY_AFTER else None


def retry_after(value: str | None) -> float | None:
    """Seconds to wait from a Retry-After header, in seconds or as a date; None when there is none to read."""
    if value is None:
        return None
    if value.strip().isdecimal():
        return float(value.strip()[:9])
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return None

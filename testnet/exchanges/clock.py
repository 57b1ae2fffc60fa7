"""Times as exchanges print them."""

import time
from functools import lru_cache


def rfc3339_micros(time_ns: int) -> str:
    """Return Unix nanoseconds as UTC with microseconds: `2026-08-12T19:29:02.066592Z`."""
    second, nanos = divmod(time_ns, 1_000_000_000)
    return f"{_second(second)}.{nanos // 1_000:06d}Z"


def rfc3339_nanos(time_ns: int) -> str:
    """Return Unix nanoseconds as UTC with all of them: `2026-08-12T19:29:02.066592713Z`."""
    second, nanos = divmod(time_ns, 1_000_000_000)
    return f"{_second(second)}.{nanos:09d}Z"


@lru_cache(maxsize=64)
def _second(unix_s: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(unix_s))

"""A node that is told to stop ends in time, whatever hangs.

All that matters is durable before it is said, so an end in the midst of anything loses nothing; to
close in order is only kinder to the others.
"""

import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import structlog

STOP_SECONDS: Final = 4.0
"""A supervisor is promised 5 s."""

_log = structlog.get_logger("node.stopping")


def end_within(seconds: float = STOP_SECONDS, end: Callable[[int], object] = os._exit) -> None:
    """End the process in so many seconds if it has not ended by itself; exit status 0."""

    def late() -> None:
        busy = sorted(thread.name for thread in threading.enumerate() if thread.is_alive())
        _log.warning("node_stopped_late", seconds=seconds, threads=busy)
        with suppress(OSError, ValueError):
            sys.stderr.flush()
        end(0)

    timer = threading.Timer(seconds, late)
    timer.name = "stop"
    timer.daemon = True
    timer.start()

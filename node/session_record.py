"""What exchanges say now, written down as a session."""

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from aggregation.quote import RawQuote
from aggregation.sources import SourceKey
from aggregation.table import FeedTable
from feeds.service import FeedService
from feeds.venue import VenueEndpoint
from node.session_file import Withdrawn, line_of

_BUFFERED_BYTES = 1 << 20


async def record_session(
    table: FeedTable, endpoints: Mapping[str, VenueEndpoint], path: Path, seconds: float
) -> int:
    """Write every quote of a table's sources into a new file; return how many there were.

    Raises OSError, as when there is such a file.
    """
    written = 0
    with path.open("xb", buffering=_BUFFERED_BYTES) as file:
        clock = _Clock()

        def take(quote: RawQuote) -> None:
            nonlocal written
            written += 1
            _write(file, clock, quote)

        def withdraw(key: SourceKey) -> None:
            _write(file, clock, Withdrawn(key))

        venues = {source.venue for feed in table.feeds for source in feed.sources}
        reached = {venue: at for venue, at in endpoints.items() if venue in venues}
        service = FeedService(table, reached, take, withdraw=withdraw)
        task = asyncio.create_task(service.run())
        try:
            await asyncio.wait({task}, timeout=seconds)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
    return written


class _Clock:
    """Unix milliseconds that never go back, as sessions demand."""

    def __init__(self) -> None:
        self._begun_ms = time.time_ns() // 1_000_000
        self._begun_ns = time.monotonic_ns()

    def now_ms(self) -> int:
        return self._begun_ms + (time.monotonic_ns() - self._begun_ns) // 1_000_000


def _write(file: BinaryIO, clock: _Clock, what: RawQuote | Withdrawn) -> None:
    file.write(line_of((clock.now_ms(), what)))

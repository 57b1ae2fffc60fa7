"""Conflation: between two looks only the newest quote of each source is kept."""

import asyncio
from collections.abc import Mapping

from aggregation.quote import RawQuote

SourceKey = tuple[str, str, str]
"""Venue, base and quote currency."""


class NewestQuotes:
    """The newest quote of each source since the last look; bounded by the number of sources."""

    def __init__(self) -> None:
        self._quotes: dict[SourceKey, RawQuote] = {}
        self._some = asyncio.Event()

    def offer(self, quote: RawQuote) -> None:
        """Put a quote in the place of an older one of the same source."""
        self._quotes[quote.venue, quote.base, quote.quote] = quote
        self._some.set()

    async def take(self) -> Mapping[SourceKey, RawQuote]:
        """Wait for at least one quote, then return all and forget them."""
        await self._some.wait()
        self._some.clear()
        taken, self._quotes = self._quotes, {}
        return taken

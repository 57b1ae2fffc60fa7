"""What a member itself sees of the market: the newest quotes, and what they amount to."""

import threading
import time
from collections.abc import Mapping, Sequence

from aggregation.member import MemberPrice, member_prices
from aggregation.observation import ObservationBody
from aggregation.quote import RawQuote
from aggregation.sources import SourceKey
from aggregation.table import FeedTable
from node.runtime import OwnObservation


class Observer:
    """Keeps the newest quote of every source and makes observations of them.

    Quotes are conflated where they arrive and fetched when they are needed: a hop between threads
    for each of them would cost more than all else.
    """

    def __init__(self, table: FeedTable) -> None:
        self._table = table
        self._mutex = threading.Lock()
        self._arrived: dict[SourceKey, RawQuote] = {}
        self._quotes: dict[SourceKey, RawQuote] = {}
        self._newest_ns: int | None = None
        self._prices: list[MemberPrice] = []

    @property
    def prices(self) -> Sequence[MemberPrice]:
        """The member's prices as last observed, in table order; empty before the first."""
        return self._prices

    def take(self, quotes: Mapping[SourceKey, RawQuote]) -> None:
        """Take newer quotes; any thread may call."""
        with self._mutex:
            self._arrived.update(quotes)

    def observe(self, now_ms: int) -> OwnObservation:
        """Return what this member sees at this moment (Unix ms)."""
        with self._mutex:
            arrived, self._arrived = self._arrived, {}
        for key, quote in arrived.items():
            self._quotes[key] = quote
            self._newest_ns = max(quote.received_ns, self._newest_ns or 0)
        self._prices = member_prices(
            self._table,
            self._quotes,
            time.monotonic_ns(),
            unix_ms=now_ms,
            before=self._prices,
        )
        entries = tuple(price.entry for price in self._prices)
        return OwnObservation(ObservationBody(now_ms, entries), self._newest_ns)

"""What a member itself sees of the market: the newest quotes, and what they amount to."""

import time
from collections.abc import Sequence

from aggregation.member import MemberPrice, member_prices
from aggregation.memory import PriceMemory
from aggregation.observation import ObservationBody
from aggregation.quote import RawQuote
from aggregation.sources import SourceKey
from aggregation.table import FeedTable
from node.runtime import OwnObservation


class Observer:
    """Keeps the newest quote of every source and makes observations of them.

    Quotes are conflated where they arrive and looked at when they are needed: a hop between threads
    for each of them would cost more than all else.
    """

    def __init__(self, table: FeedTable) -> None:
        self._table = table
        self._quotes: dict[SourceKey, RawQuote] = {}
        self._newest_ns: int | None = None
        self._prices: list[MemberPrice] = []
        self._memory = PriceMemory(table)

    @property
    def prices(self) -> Sequence[MemberPrice]:
        """The member's prices as last observed, in table order; empty before the first."""
        return self._prices

    def begin(self, table: FeedTable) -> None:
        """Observe another epoch's feeds from now on."""
        if table != self._table:
            self._table = table
            self._prices = []
            self._memory = PriceMemory(table)

    def take(self, quote: RawQuote) -> None:
        """Take a newer quote; one thread may call, another than `observe`'s."""
        self._quotes[quote.venue, quote.base, quote.quote] = quote
        self._newest_ns = quote.received_ns

    def withdraw(self, key: SourceKey) -> None:
        """Forget a source's quote, which must not be used any more; `take`'s thread may call."""
        self._quotes.pop(key, None)

    def observe(self, now_ms: int) -> OwnObservation:
        """Return what this member sees at this moment (Unix ms)."""
        # The copy is one step of the interpreter: nothing is taken halfway through it.
        newest_ns, quotes = self._newest_ns, self._quotes.copy()
        self._prices = member_prices(
            self._table,
            quotes,
            time.monotonic_ns(),
            unix_ms=now_ms,
            before=self._prices,
            memory=self._memory,
        )
        entries = tuple(price.entry for price in self._prices)
        return OwnObservation(ObservationBody(now_ms, entries), newest_ns)

"""Which prices of a member are what they were, so that they need not be computed again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import is_
from typing import TYPE_CHECKING

from aggregation.feed import FeedSpec
from aggregation.quote import FUTURE_STAMP_MAX_MS, NS_OF_MS, RawQuote
from aggregation.sources import Clocks, SourceKey, conversion_rate
from aggregation.table import FeedTable

if TYPE_CHECKING:
    from aggregation.member import MemberPrice


@dataclass(frozen=True, slots=True)
class _Known:
    """All that a price was computed from, and until when the clocks change nothing about it."""

    raws: Sequence[RawQuote | None]
    rates: Sequence[tuple[FeedSpec, int | None]]
    were_outliers: frozenset[SourceKey]
    since: Clocks
    until_ns: int
    price: "MemberPrice"


class PriceMemory:
    """The prices of one table as they were computed last; exact: it answers only for equal inputs.

    Quotes are compared by identity: a new one is another object.
    """

    def __init__(self, table: FeedTable) -> None:
        self._table = table
        self._keys = [[source.key for source in feed.sources] for feed in table.feeds]
        self._known: list[_Known | None] = [None] * table.count

    def recall(
        self,
        index: int,
        quotes: Mapping[SourceKey, RawQuote],
        clocks: Clocks,
        rates: dict[str, int | None],
        were_outliers: frozenset[SourceKey],
    ) -> "MemberPrice | None":
        """Return a feed's price if everything it depends on is what it was; `rates` may grow."""
        known = self._known[index]
        if (
            known is None
            or not known.since.now_ns <= clocks.now_ns <= known.until_ns
            or not _not_before(clocks.unix_ms, known.since.unix_ms)
            or known.were_outliers != were_outliers
            or not all(map(is_, known.raws, map(quotes.get, self._keys[index])))
        ):
            return None
        for conversion, rate in known.rates:
            if conversion.pair not in rates:
                rates[conversion.pair] = conversion_rate(quotes, conversion, clocks)
            if rates[conversion.pair] != rate:
                return None
        return known.price

    def keep(
        self,
        index: int,
        quotes: Mapping[SourceKey, RawQuote],
        clocks: Clocks,
        rates: Mapping[str, int | None],
        were_outliers: frozenset[SourceKey],
        price: "MemberPrice",
    ) -> None:
        """Remember a feed's price, unless a quote from the future may count later."""
        feed = self._table.feeds[index]
        raws = [quotes.get(key) for key in self._keys[index]]
        until_ns = clocks.now_ns + _FOREVER_NS
        self._known[index] = None
        for raw, source in zip(raws, feed.sources, strict=True):
            if raw is None:
                continue
            stamp_ms = raw.exchange_time_ms
            if (
                clocks.unix_ms is not None
                and stamp_ms is not None
                and stamp_ms > clocks.unix_ms + FUTURE_STAMP_MAX_MS
            ):
                return
            stale_ns = raw.received_ns + source.max_age_ms * NS_OF_MS
            if clocks.now_ns <= stale_ns < until_ns:
                until_ns = stale_ns
        used = {
            conversion.pair: conversion
            for source in feed.sources
            if not feed.is_native(source)
            and (conversion := self._table.conversion_feed(feed, source)).pair in rates
        }
        known_rates = [(conversion, rates[pair]) for pair, conversion in used.items()]
        self._known[index] = _Known(raws, known_rates, were_outliers, clocks, until_ns, price)


_FOREVER_NS = 10**18


def _not_before(now_ms: int | None, then_ms: int | None) -> bool:
    if now_ms is None or then_ms is None:
        return now_ms is then_ms
    return now_ms >= then_ms

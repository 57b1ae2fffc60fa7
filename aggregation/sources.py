"""Which sources of a feed count right now, at which price and weight."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from aggregation.feed import FeedSpec, SourceSpec
from aggregation.feed_check import CONVERSION_VENUES_MIN
from aggregation.median import low_weighted_median
from aggregation.price import PRICE_MAX, divide_up
from aggregation.quote import (
    FUTURE_STAMP_MAX_MS,
    RawQuote,
    Rejected,
    RejectReason,
    SourcePrice,
    quote_for,
    source_price,
)
from aggregation.table import FeedTable
from aggregation.weights import cap_converted, cap_venues

SourceKey = tuple[str, str, str]
"""Venue, base, quote."""


@dataclass(frozen=True, slots=True)
class Clocks:
    """The caller's clocks: monotonic for ages, Unix for stamps from the future (None: no check)."""

    now_ns: int
    unix_ms: int | None = None


class UsedSource(NamedTuple):
    """A source that counts, with its capped weight; prices in the feed's units.

    A tuple and no dataclass, because each observation makes one of every source.
    """

    source: SourceSpec
    price: int
    half_spread: int
    weight: int


def priced(
    quotes: Mapping[SourceKey, RawQuote], source: SourceSpec, feed: FeedSpec, clocks: Clocks
) -> SourcePrice | Rejected:
    """Return a source's price in its own quote currency."""
    raw = quotes.get(source.key)
    if raw is None:
        return Rejected(RejectReason.NO_QUOTE)
    if (
        clocks.unix_ms is not None
        and raw.exchange_time_ms is not None
        and raw.exchange_time_ms > clocks.unix_ms + FUTURE_STAMP_MAX_MS
    ):
        return Rejected(RejectReason.FUTURE_STAMP)
    return source_price(quote_for(raw, feed, clocks.now_ns), source, feed)


def conversion_rate(
    quotes: Mapping[SourceKey, RawQuote], conversion: FeedSpec, clocks: Clocks
) -> int | None:
    """Return a stablecoin's rate in its feed's units, None with too few direct books.

    The low weighted median of the direct books, weights capped per venue.
    """
    direct = [
        (source, price)
        for source in conversion.sources
        if isinstance(price := priced(quotes, source, conversion, clocks), SourcePrice)
    ]
    if len({source.house for source, _ in direct}) < CONVERSION_VENUES_MIN:
        return None
    weights = cap_venues(
        [(source.house, source.weight) for source, _ in direct], conversion.venue_cap_ppm
    )
    return low_weighted_median(
        (price.price, weight) for (_, price), weight in zip(direct, weights, strict=True)
    )


def convert(price: SourcePrice, rate: int, rate_decimals: int) -> SourcePrice | Rejected:
    """Return a source's price in the feed's quote currency: rounded down, the half-spread up."""
    one = 10**rate_decimals
    converted = price.price * rate // one
    if not 1 <= converted <= PRICE_MAX:
        return Rejected(RejectReason.UNREPRESENTABLE)
    return SourcePrice(converted, divide_up(price.half_spread * rate, one))


@dataclass(frozen=True, slots=True)
class Usable:
    """The usable sources of one feed, native ones first, and the rejected ones."""

    native: tuple[UsedSource, ...]
    converted: tuple[UsedSource, ...]
    rejected: tuple[tuple[SourceSpec, RejectReason], ...]


def usable_sources(
    table: FeedTable,
    feed: FeedSpec,
    quotes: Mapping[SourceKey, RawQuote],
    clocks: Clocks,
    rates: dict[str, int | None],
) -> Usable:
    """Return which sources count for a feed.

    Each group is capped per venue on its own, so that a venue's share of both together is capped
    too; then the converted group is cut below the native one. `rates` keeps the conversion rates
    of one pass over the table.
    """
    native: list[tuple[SourceSpec, SourcePrice]] = []
    converted: list[tuple[SourceSpec, SourcePrice]] = []
    rejected: list[tuple[SourceSpec, RejectReason]] = []
    for source in feed.sources:
        price = priced(quotes, source, feed, clocks)
        is_native = feed.is_native(source)
        if not is_native and isinstance(price, SourcePrice):
            conversion = table.conversion_feed(feed, source)
            if conversion.pair not in rates:
                rates[conversion.pair] = conversion_rate(quotes, conversion, clocks)
            rate = rates[conversion.pair]
            if rate is None:
                price = Rejected(RejectReason.NO_CONVERSION_RATE)
            else:
                price = convert(price, rate, conversion.decimals)
        if isinstance(price, Rejected):
            rejected.append((source, price.reason))
        else:
            (native if is_native else converted).append((source, price))
    native_weights = _capped(native, feed)
    converted_weights = cap_converted(native_weights, _capped(converted, feed))
    return Usable(_used(native, native_weights), _used(converted, converted_weights), (*rejected,))


def _capped(sources: list[tuple[SourceSpec, SourcePrice]], feed: FeedSpec) -> list[int]:
    return cap_venues([(source.house, source.weight) for source, _ in sources], feed.venue_cap_ppm)


def _used(
    sources: list[tuple[SourceSpec, SourcePrice]], weights: list[int]
) -> tuple[UsedSource, ...]:
    return tuple(
        [
            UsedSource(source, price, half_spread, weight)
            for (source, (price, half_spread)), weight in zip(sources, weights, strict=True)
        ]
    )

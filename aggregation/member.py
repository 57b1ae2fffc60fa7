"""A member's own price of every feed: what it puts into its observation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from aggregation.feed import FeedSpec, SourceSpec
from aggregation.median import low_weighted_median
from aggregation.memory import PriceMemory
from aggregation.observation import LACKING, Entry
from aggregation.outlier import is_outlier
from aggregation.price import divide_up
from aggregation.quote import RawQuote, RejectReason
from aggregation.sources import Clocks, SourceKey, Usable, UsedSource, usable_sources
from aggregation.table import FeedTable

RISK_NONE = 0
RISK_SOURCES_MISSING = 1
"""Some of the feed's sources do not count right now."""
RISK_FEW_SOURCES = 2
"""One source less, and the feed is unavailable."""

_MAD_TO_SIGMA = (14826, 10000)
"""The MAD of a normal distribution times 1.4826 is its standard deviation."""


class Shortage(StrEnum):
    """Why a member lacks a feed."""

    TOO_FEW_SOURCES = "fewer sources than the feed's minimum"
    TOO_FEW_NATIVE = "too few venues that quote in the feed's own currency"


@dataclass(frozen=True, slots=True)
class MemberPrice:
    """What a member says of one feed, and what it is made of.

    Price 0 means that the member lacks the feed; `shortage` then says why. Price and confidence
    are in the feed's units.
    """

    price: int
    confidence: int
    risk: int
    sources_used: int
    used: tuple[UsedSource, ...] = ()
    rejected: tuple[tuple[SourceSpec, RejectReason], ...] = ()
    outliers: frozenset[SourceKey] = frozenset()
    shortage: Shortage | None = None

    @property
    def entry(self) -> Entry:
        """The price as an entry of an observation."""
        return Entry(self.price, self.confidence, self.risk) if self.price else LACKING


def member_prices(
    table: FeedTable,
    quotes: Mapping[SourceKey, RawQuote],
    now_ns: int,
    *,
    unix_ms: int | None = None,
    before: Sequence[MemberPrice] = (),
    memory: PriceMemory | None = None,
) -> list[MemberPrice]:
    """Return a member's prices in table order, from the newest quote of each source.

    `now_ns` is the monotonic clock that stamped the quotes; with `unix_ms` quotes stamped from
    the future are refused. `before` is the previous result, by which outliers are re-admitted.
    `memory` is of the same table and saves work; it never changes the result.
    """
    clocks = Clocks(now_ns, unix_ms)
    rates: dict[str, int | None] = {}
    prices = []
    for index, feed in enumerate(table.feeds):
        were_outliers = before[index].outliers if before else frozenset()
        price = None
        if memory is not None:
            price = memory.recall(index, quotes, clocks, rates, were_outliers)
        if price is None:
            usable = usable_sources(table, feed, quotes, clocks, rates)
            price = _member_price(feed, usable, were_outliers)
            if memory is not None:
                memory.keep(index, quotes, clocks, rates, were_outliers, price)
        prices.append(price)
    return prices


def _member_price(
    feed: FeedSpec, usable: Usable, were_outliers: frozenset[SourceKey]
) -> MemberPrice:
    used = usable.native + usable.converted
    shortage = None
    if len({native.source.house for native in usable.native}) < feed.minimum_native_venues:
        shortage = Shortage.TOO_FEW_NATIVE
    if len(used) < feed.minimum_sources:
        shortage = Shortage.TOO_FEW_SOURCES
    if shortage is not None:
        return MemberPrice(
            0, 0, 0, len(used), used=used, rejected=usable.rejected, shortage=shortage
        )
    price = low_weighted_median([(one.price, one.weight) for one in used])
    confidence = member_confidence(price, used)
    outliers = frozenset(
        [
            one.source.key
            for one in used
            if is_outlier(abs(one.price - price), confidence, one.source.key in were_outliers)
        ]
    )
    risk = _risk(feed, len(used))
    return MemberPrice(price, confidence, risk, len(used), used, usable.rejected, outliers)


def member_confidence(price: int, used: Sequence[UsedSource]) -> int:
    """Return the larger of 1.4826 · weighted MAD and the median half-spread, at least 1 unit.

    Rounded up; weights are the capped ones of the price.
    """
    deviation = low_weighted_median([(abs(one.price - price), one.weight) for one in used])
    half_spread = low_weighted_median([(one.half_spread, one.weight) for one in used])
    numerator, denominator = _MAD_TO_SIGMA
    return max(divide_up(deviation * numerator, denominator), half_spread, 1)


def _risk(feed: FeedSpec, used: int) -> int:
    configured = len(feed.sources)
    if used == configured:
        return RISK_NONE
    return RISK_FEW_SOURCES if used == feed.minimum_sources else RISK_SOURCES_MISSING

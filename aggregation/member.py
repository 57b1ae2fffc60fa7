"""A member's own price of every feed: what it puts into its observation."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from aggregation.alarm import MARKET_ALARMS, Alarm, risk_level
from aggregation.feed import PPM, FeedSpec, SourceSpec
from aggregation.median import low_weighted_median
from aggregation.memory import PriceMemory
from aggregation.observation import LACKING, Entry
from aggregation.outlier import is_outlier
from aggregation.path import PricePath, next_path
from aggregation.price import divide_up
from aggregation.quote import RawQuote, RejectReason
from aggregation.sources import Clocks, SourceKey, Usable, UsedSource, usable_sources
from aggregation.table import FeedTable

PEG_LOST_MULTIPLE = 5
"""So many times the distance at which a coin is off its peg, the peg is lost."""

_MAD_TO_SIGMA = (14826, 10000)
"""The MAD of a normal distribution times 1.4826 is its standard deviation."""


class Shortage(StrEnum):
    """Why a member lacks a feed."""

    TOO_FEW_SOURCES = "fewer sources than the feed's minimum"
    TOO_FEW_VENUES = "fewer venues than the feed's minimum"
    TOO_FEW_NATIVE = "too few venues that quote in the feed's own currency"


@dataclass(frozen=True, slots=True)
class MemberPrice:
    """What a member says of one feed, and what it is made of.

    Price 0 means that the member lacks the feed; `shortage` then says why. Price and confidence
    are in the feed's units. `risk` is the level of `alarms`; `path` is what they need to know of
    earlier prices.
    """

    price: int
    confidence: int
    risk: int
    sources_used: int
    used: tuple[UsedSource, ...] = ()
    rejected: tuple[tuple[SourceSpec, RejectReason], ...] = ()
    outliers: frozenset[SourceKey] = frozenset()
    shortage: Shortage | None = None
    alarms: frozenset[Alarm] = frozenset()
    path: PricePath | None = None

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
    the future are refused. `before` is the previous result, by which outliers are re-admitted and
    alarms know the path of a price; without it both begin anew.
    `memory` is of the same table and saves work; it never changes the result.
    """
    clocks = Clocks(now_ns, unix_ms)
    rates: dict[str, int | None] = {}
    prices = []
    for index, feed in enumerate(table.feeds):
        previous = before[index] if before else None
        were_outliers = previous.outliers if previous is not None else frozenset()
        price = None
        if memory is not None:
            price = memory.recall(index, quotes, clocks, rates, were_outliers)
        if price is None:
            usable = usable_sources(table, feed, quotes, clocks, rates)
            price = _member_price(table, feed, usable, were_outliers, rates)
            if memory is not None:
                memory.keep(index, quotes, clocks, rates, were_outliers, price)
        prices.append(_on_its_path(feed, price, previous, now_ns))
    return prices


def _member_price(
    table: FeedTable,
    feed: FeedSpec,
    usable: Usable,
    were_outliers: frozenset[SourceKey],
    rates: Mapping[str, int | None],
) -> MemberPrice:
    used = usable.native + usable.converted
    shortage = None
    native = len({one.source.house for one in usable.native})
    if native < feed.minimum_native_venues:
        shortage = Shortage.TOO_FEW_NATIVE
    venues = len({one.source.house for one in used})
    if venues < feed.minimum_venues:
        shortage = Shortage.TOO_FEW_VENUES
    if len(used) < feed.minimum_sources:
        shortage = Shortage.TOO_FEW_SOURCES
    if shortage is not None:
        return MemberPrice(
            0, 0, 0, len(used), used=used, rejected=usable.rejected, shortage=shortage
        )
    price = low_weighted_median([(one.price, one.weight) for one in used])
    confidence = member_confidence(price, used)
    floor = feed.alarms.outlier_floor_ppm * price // PPM
    outliers = frozenset(
        [
            one.source.key
            for one in used
            if is_outlier(
                abs(one.price - price), confidence, floor, one.source.key in were_outliers
            )
        ]
    )
    alarms = set(_peg_alarms(table, feed, usable, rates, price))
    if usable.rejected:
        scarce = (
            len(used) == feed.minimum_sources
            or venues == feed.minimum_venues
            or native == feed.minimum_native_venues
        )
        alarms.add(Alarm.FEW_SOURCES if scarce else Alarm.SOURCES_MISSING)
    if outliers:
        apart = {one.source.house for one in used if one.source.key in outliers}
        weight = sum([one.weight for one in used if one.source.key in outliers])
        grave = len(apart) > 1 and 4 * weight > sum([one.weight for one in used])
        alarms.add(Alarm.SCATTERED if grave else Alarm.OUTLIER)
    if confidence * PPM > feed.alarms.dispersion_ppm * price:
        alarms.add(Alarm.DISPERSION)
    return MemberPrice(
        price,
        confidence,
        risk_level(alarms),
        len(used),
        used,
        usable.rejected,
        outliers,
        alarms=frozenset(alarms),
    )


def _peg_alarms(
    table: FeedTable,
    feed: FeedSpec,
    usable: Usable,
    rates: Mapping[str, int | None],
    price: int,
) -> Iterator[Alarm]:
    """Yield what is to be said of the coins that a price is of or was converted by."""
    rests_on = [(feed, price)] if feed.alarms.peg_ppm else []
    for quote in {one.source.quote: one.source for one in usable.converted}.values():
        conversion = table.conversion_feed(feed, quote)
        rate = rates[conversion.pair]
        if conversion.alarms.peg_ppm and rate is not None:
            rests_on.append((conversion, rate))
    for coin, worth in rests_on:
        one = 10**coin.decimals
        distance_ppm = abs(worth - one) * PPM // one
        if distance_ppm > PEG_LOST_MULTIPLE * coin.alarms.peg_ppm:
            yield Alarm.PEG_LOST
        elif distance_ppm > coin.alarms.peg_ppm:
            yield Alarm.OFF_PEG


def _on_its_path(
    feed: FeedSpec, price: MemberPrice, previous: MemberPrice | None, now_ns: int
) -> MemberPrice:
    """Return a price with the alarms of its path; the previous one itself if nothing is new."""
    path = previous.path if previous is not None else None
    if price.price:
        path = next_path(path, price.price, now_ns, feed.alarms)
    # What a price is made of is made anew with it.
    if (
        previous is not None
        and price.used is previous.used
        and price.rejected is previous.rejected
        and path is previous.path
    ):
        return previous
    if path is None:
        return price
    alarms = price.alarms - MARKET_ALARMS
    if price.price:
        alarms |= path.raised
    return replace(price, risk=risk_level(alarms), alarms=alarms, path=path)


def member_confidence(price: int, used: Sequence[UsedSource]) -> int:
    """Return the larger of 1.4826 · weighted MAD and the median half-spread, at least 1 unit.

    Rounded up; weights are the capped ones of the price.
    """
    deviation = low_weighted_median([(abs(one.price - price), one.weight) for one in used])
    half_spread = low_weighted_median([(one.half_spread, one.weight) for one in used])
    numerator, denominator = _MAD_TO_SIGMA
    return max(divide_up(deviation * numerator, denominator), half_spread, 1)

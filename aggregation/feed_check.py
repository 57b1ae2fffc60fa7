"""What a feed table must satisfy before anything is priced by it."""

from collections.abc import Iterator, Sequence
from re import compile as pattern

from aggregation.feed import PPM, FeedSpec, SourceSpec
from aggregation.observation import FEEDS_MAX, RISK_MAX

CONVERSION_VENUES_MIN = 3
"""A stablecoin's rate needs direct books of at least as many venues."""

SOURCES_MAX = 64
WEIGHT_MAX = 1_000_000
DAY_MS = 86_400_000

_CURRENCY = pattern(r"[A-Z0-9]{1,12}")
_VENUE = pattern(r"[a-z0-9][a-z0-9_:-]{0,31}")

_FEED_RANGES = {
    "decimals": (0, 18),
    "tier": (1, 255),
    "minimum_sources": (1, SOURCES_MAX),
    "minimum_native_venues": (1, SOURCES_MAX),
    "minimum_venues": (1, SOURCES_MAX),
    "max_half_spread_ppm": (1, PPM),
    "deviation_ppm": (1, PPM),
    "calm_deviation_ppm": (0, PPM),
    "heartbeat_ms": (1, 30 * DAY_MS),
    "venue_cap_ppm": (1, PPM),
}
_BREAKER_RANGES = {
    "sigma_multiple": (0, 1000),
    "floor_ppm": (1, PPM),
    "recovery_rounds": (1, 65535),
    "recovery_band_ppm": (1, PPM),
    "degraded_confidence_ppm": (1, PPM),
    "halted_confidence_ppm": (1, PPM),
    "degraded_risk_level": (1, RISK_MAX),
    "volatility_half_life_ms": (1, DAY_MS),
    "nominal_round_ms": (1, 60_000),
    "recovery_sigma_multiple": (0, 1000),
    "calm_rounds": (1, 65535),
}
_ALARM_RANGES = {
    "sample_ms": (1, 60_000),
    "slow_half_life_ms": (1, DAY_MS),
    "fast_half_life_ms": (1, DAY_MS),
    "sigma_floor_ppb": (1, 1_000_000_000),
    "burst_ratio": (2, PPM),
    "drift_allowance_permille": (1, PPM),
    "drift_limit": (1, PPM),
    "event_sigmas": (1, 1000),
    "event_half_life_ms": (1, DAY_MS),
    "event_limit": (1, 1000),
    "dispersion_ppm": (1, PPM),
    "outlier_floor_ppm": (0, PPM),
    "peg_ppm": (0, PPM),
}
_SOURCE_RANGES = {"weight": (1, WEIGHT_MAX), "max_age_ms": (1, 600_000)}


def feed_problems(feeds: Sequence[FeedSpec]) -> Iterator[str]:
    """Yield what is wrong with a table, each as a sentence that names the feed."""
    if not 1 <= len(feeds) <= FEEDS_MAX:
        yield f"a feed table has 1 to {FEEDS_MAX} feeds, not {len(feeds)}"
        return
    by_pair: dict[str, FeedSpec] = {}
    for index, feed in enumerate(feeds):
        for problem in _own_problems(feed):
            yield f"feed {index} ({feed.pair}): {problem}"
        if feed.pair in by_pair:
            yield f"feed {index} ({feed.pair}): the pair stands in the table twice"
        by_pair[feed.pair] = feed
    for index, feed in enumerate(feeds):
        for source in feed.sources:
            if not feed.is_native(source):
                for problem in _conversion_problems(feed, source, by_pair):
                    yield f"feed {index} ({feed.pair}): {problem}"


def _own_problems(feed: FeedSpec) -> Iterator[str]:
    for name in (feed.base, feed.quote):
        if not _CURRENCY.fullmatch(name):
            yield f"a currency is 1 to 12 of A-Z and 0-9, not {name!r}"
    if feed.base == feed.quote:
        yield "base and quote are the same"
    yield from _range_problems(feed, _FEED_RANGES)
    yield from _range_problems(feed.breaker, _BREAKER_RANGES)
    yield from _range_problems(feed.alarms, _ALARM_RANGES)
    if feed.calm_deviation_ppm > feed.deviation_ppm:
        yield "calm_deviation_ppm is greater than the published deviation_ppm"
    if feed.alarms.fast_half_life_ms >= feed.alarms.slow_half_life_ms:
        yield "fast_half_life_ms is not shorter than slow_half_life_ms"
    if feed.breaker.degraded_confidence_ppm > feed.breaker.halted_confidence_ppm:
        yield "degraded_confidence_ppm is greater than halted_confidence_ppm"
    if not 1 <= len(feed.sources) <= SOURCES_MAX:
        yield f"a feed has 1 to {SOURCES_MAX} sources, not {len(feed.sources)}"
    for source in feed.sources:
        name = "/".join(source.key)
        if not _VENUE.fullmatch(source.venue):
            yield (
                "a venue is 1 to 32 of a-z, 0-9, _, - and :, the first a letter or digit, not "
                f"{source.venue!r}"
            )
        if source.counts_as and not _VENUE.fullmatch(source.counts_as):
            yield f"source {name}: counts_as is no venue's name: {source.counts_as!r}"
        if not _CURRENCY.fullmatch(source.quote):
            yield f"a currency is 1 to 12 of A-Z and 0-9, not {source.quote!r}"
        if source.base != feed.base:
            yield f"source {name} prices {source.base}, not {feed.base}"
        for problem in _range_problems(source, _SOURCE_RANGES):
            yield f"source {name}: {problem}"
    if len({source.key for source in feed.sources}) != len(feed.sources):
        yield "a source stands in it twice"
    if feed.minimum_sources > len(feed.sources):
        yield f"minimum_sources {feed.minimum_sources} is more than its {len(feed.sources)} sources"
    venues = len({source.house for source in feed.sources})
    if feed.minimum_venues > venues:
        yield f"minimum_venues {feed.minimum_venues} is more than its {venues} venues"
    native = len(native_venues(feed))
    if feed.minimum_native_venues > native:
        yield (
            f"minimum_native_venues {feed.minimum_native_venues} is more than its {native} venues"
            f" that quote in {feed.quote}"
        )


def _range_problems(spec: object, ranges: dict[str, tuple[int, int]]) -> Iterator[str]:
    for name, (low, high) in ranges.items():
        value = getattr(spec, name)
        if type(value) is not int or not low <= value <= high:
            yield f"{name} must be a whole number from {low} to {high}, is {value!r}"


def _conversion_problems(
    feed: FeedSpec, source: SourceSpec, by_pair: dict[str, FeedSpec]
) -> Iterator[str]:
    pair = f"{source.quote}/{feed.quote}"
    conversion = by_pair.get(pair)
    if conversion is None or conversion is feed:
        yield f"source {'/'.join(source.key)} needs the feed {pair}, which is not in the table"
    elif not all(conversion.is_native(direct) for direct in conversion.sources):
        yield f"the feed {pair} converts other sources, so all of its own must be direct"
    elif len(native_venues(conversion)) < CONVERSION_VENUES_MIN:
        yield f"the feed {pair} converts, so it needs at least {CONVERSION_VENUES_MIN} venues"


def native_venues(feed: FeedSpec) -> frozenset[str]:
    """Return the venues that quote in the feed's own quote currency."""
    return frozenset(source.house for source in feed.sources if feed.is_native(source))

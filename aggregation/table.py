"""The feeds of an epoch, in the order that gives them their index."""

from dataclasses import dataclass
from functools import cached_property
from struct import Struct, pack

from aggregation.digests import TAG_FEED_PARAMETERS, TAG_FEED_TABLE, keccak
from aggregation.feed import FeedSpec, SourceSpec
from aggregation.feed_check import feed_problems

FEEDS_PER_WORD = 4

_WORD_0 = Struct(">12s12sBB6x")
_WORD_1 = Struct(">II24x")
_PARAMETERS = Struct(">HHHIII11I13IH")
_SOURCE = Struct(">32s12s12sII32s")


@dataclass(frozen=True)
class FeedTable:
    """The feeds of an epoch, checked as a whole; raises `ValueError` that names the feed."""

    feeds: tuple[FeedSpec, ...]

    def __post_init__(self) -> None:
        """Refuse a table that could not be served."""
        for problem in feed_problems(self.feeds):
            raise ValueError(problem)

    @property
    def count(self) -> int:
        """The number of feeds."""
        return len(self.feeds)

    @property
    def words(self) -> int:
        """The number of words that hold the answers, four each."""
        return -(-len(self.feeds) // FEEDS_PER_WORD)

    @cached_property
    def _indices(self) -> dict[str, int]:
        return {feed.pair: index for index, feed in enumerate(self.feeds)}

    def index(self, pair: str) -> int:
        """Return the index of a feed by its pair; raises `KeyError` if there is none."""
        return self._indices[pair]

    def conversion_feed(self, feed: FeedSpec, source: SourceSpec) -> FeedSpec:
        """Return the feed through which a source that is not native is converted."""
        return self.feeds[self._indices[f"{source.quote}/{feed.quote}"]]

    @cached_property
    def _digest(self) -> bytes:
        records = b"".join([feed_record(feed) for feed in self.feeds])
        return keccak(TAG_FEED_TABLE + pack(">H", len(self.feeds)) + records)

    def digest(self) -> bytes:
        """Return the digest that the configuration of an epoch holds."""
        return self._digest


def feed_record(feed: FeedSpec) -> bytes:
    """Return what the table's digest covers of one feed: two words and a digest, 96 bytes.

    A contract reads the words; the digest covers every other number.
    """
    word_0 = _WORD_0.pack(feed.base.encode(), feed.quote.encode(), feed.decimals, feed.tier)
    word_1 = _WORD_1.pack(feed.deviation_ppm, feed.heartbeat_ms)
    return word_0 + word_1 + parameters_digest(feed)


def parameters_digest(feed: FeedSpec) -> bytes:
    """Return the digest of what a contract need not know of a feed."""
    breaker, alarms = feed.breaker, feed.alarms
    numbers = _PARAMETERS.pack(
        feed.minimum_sources,
        feed.minimum_native_venues,
        feed.minimum_venues,
        feed.max_half_spread_ppm,
        feed.venue_cap_ppm,
        feed.calm_deviation_ppm,
        breaker.sigma_multiple,
        breaker.floor_ppm,
        breaker.recovery_rounds,
        breaker.recovery_band_ppm,
        breaker.degraded_confidence_ppm,
        breaker.halted_confidence_ppm,
        breaker.degraded_risk_level,
        breaker.volatility_half_life_ms,
        breaker.nominal_round_ms,
        breaker.recovery_sigma_multiple,
        breaker.calm_rounds,
        alarms.sample_ms,
        alarms.slow_half_life_ms,
        alarms.fast_half_life_ms,
        alarms.sigma_floor_ppb,
        alarms.burst_ratio,
        alarms.drift_allowance_permille,
        alarms.drift_limit,
        alarms.event_sigmas,
        alarms.event_half_life_ms,
        alarms.event_limit,
        alarms.dispersion_ppm,
        alarms.outlier_floor_ppm,
        alarms.peg_ppm,
        len(feed.sources),
    )
    sources = [
        _SOURCE.pack(
            source.venue.encode(),
            source.base.encode(),
            source.quote.encode(),
            source.weight,
            source.max_age_ms,
            source.counts_as.encode(),
        )
        for source in feed.sources
    ]
    return keccak(TAG_FEED_PARAMETERS + numbers + b"".join(sources))

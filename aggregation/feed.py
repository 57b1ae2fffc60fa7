"""What is priced, from which sources, and within which limits: the parameters of one feed.

All of it is part of an epoch's configuration: `FeedTable.digest` goes into D.
"""

from dataclasses import dataclass
from functools import cached_property

PPM = 1_000_000


@dataclass(frozen=True)
class SourceSpec:
    """One venue's stream for one pair, as a feed uses it.

    `base` and `quote` are what the venue really trades (`BTC`, `USDT`); a quote currency that is
    not the feed's is converted through the feed `<quote>/<feed's quote>`, which must stand in the
    same table. `weight` is static; `max_age_ms` counts on the local monotonic clock.
    `counts_as` names the venue whose book this really is, if that is another: two streams of one
    exchange are one venue where venues are counted and where their weight is capped.
    """

    venue: str
    base: str
    quote: str
    weight: int
    max_age_ms: int
    counts_as: str = ""

    @property
    def house(self) -> str:
        """The venue that it counts as."""
        return self.counts_as or self.venue

    @cached_property
    def key(self) -> tuple[str, str, str]:
        """What its quotes are filed under: venue, base, quote."""
        return (self.venue, self.base, self.quote)


@dataclass(frozen=True, slots=True)
class BreakerSpec:
    """When a feed is degraded or halted, and how it heals.

    A jump beyond `sigma_multiple` · σ · √Δt + `floor_ppm` of the last price halts the feed; after
    `recovery_rounds` consecutive rounds that agree within `recovery_band_ppm` of each other it is
    degraded, and after as many again live. Δt counts as at least `nominal_round_ms`, so that
    rounds in quick succession cannot inflate the volatility.
    """

    sigma_multiple: int = 12
    floor_ppm: int = 10_000
    recovery_rounds: int = 12
    recovery_band_ppm: int = 5_000
    degraded_confidence_ppm: int = 3_000
    halted_confidence_ppm: int = 30_000
    degraded_risk_level: int = 2
    volatility_half_life_ms: int = 60_000
    nominal_round_ms: int = 250


@dataclass(frozen=True, slots=True)
class FeedSpec:
    """One feed. Prices are unsigned integers scaled by 10**decimals.

    `minimum_sources` is the least number of usable sources for a member's price, and
    `minimum_native_venues` the least number of venues among them that quote in the feed's own
    quote currency: with a single one, that venue alone would decide the price.
    `venue_cap_ppm` is the largest share of the weight that one venue can have;
    `deviation_ppm` and `heartbeat_ms` are the push thresholds that are published on chain;
    `tier` is the risk tier, 1 the safest.
    """

    base: str
    quote: str
    decimals: int
    tier: int
    minimum_sources: int
    max_half_spread_ppm: int
    deviation_ppm: int
    heartbeat_ms: int
    sources: tuple[SourceSpec, ...]
    breaker: BreakerSpec = BreakerSpec()
    minimum_native_venues: int = 2
    venue_cap_ppm: int = 400_000

    @property
    def pair(self) -> str:
        """The feed's name, as in `BTC/USD`."""
        return f"{self.base}/{self.quote}"

    def is_native(self, source: SourceSpec) -> bool:
        """Tell whether a source quotes in the feed's own quote currency."""
        return source.quote == self.quote

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
    degraded, and after as many again live. The band is wider by `recovery_sigma_multiple` · σ over
    the time of those rounds, or a feed in a market that keeps falling would never heal. A feed
    that is degraded for its confidence or risk level is live again after `calm_rounds` consecutive
    rounds with at most half the confidence that degrades and a lower risk level. Δt counts as at
    least `nominal_round_ms`, so that rounds in quick succession cannot inflate the volatility.
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
    recovery_sigma_multiple: int = 3
    calm_rounds: int = 8


@dataclass(frozen=True, slots=True)
class AlarmSpec:
    """When a member warns of a feed; its warnings become the risk level in its observation.

    The price is sampled every `sample_ms`. Its slow volatility (an EWMA, never taken below
    `sigma_floor_ppb`, parts per billion per √second) is what is usual: a fast variance above
    `burst_ratio` times the slow one is a burst; a CUSUM beyond `drift_limit` (σ·√s), of which
    `drift_allowance_permille` (thousandths of σ per second) is forgiven, is a drift; a
    return beyond `event_sigmas` · σ · √Δt is an event, of which more than `event_limit`, each
    halved after `event_half_life_ms`, are a cluster. A confidence above `dispersion_ppm` of the
    price is a dispersion; a source nearer than `outlier_floor_ppm` is no outlier, however close
    together the others are. With `peg_ppm`, the feed is of a coin that is worth one of its quote
    currency: farther away it is off its peg, five times as far the peg is lost, which also
    counts for each feed that is converted by it.
    """

    sample_ms: int = 1_000
    slow_half_life_ms: int = 600_000
    fast_half_life_ms: int = 10_000
    sigma_floor_ppb: int = 30_000
    burst_ratio: int = 64
    drift_allowance_permille: int = 500
    drift_limit: int = 80
    event_sigmas: int = 7
    event_half_life_ms: int = 30_000
    event_limit: int = 4
    dispersion_ppm: int = 1_500
    outlier_floor_ppm: int = 400
    peg_ppm: int = 0


@dataclass(frozen=True, slots=True)
class FeedSpec:
    """One feed. Prices are unsigned integers scaled by 10**decimals.

    `minimum_sources` is the least number of usable sources for a member's price,
    `minimum_venues` the least number of venues that they are of, and
    `minimum_native_venues` the least number of venues among them that quote in the feed's own
    quote currency: with a single one, that venue alone would decide the price.
    `venue_cap_ppm` is the largest share of the weight that one venue can have;
    `deviation_ppm` and `heartbeat_ms` are the push thresholds that are published on chain;
    `calm_deviation_ppm` is the threshold of a market that stands still, from which it grows with
    the volatility up to the published one (0: the published one always);
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
    minimum_venues: int = 2
    calm_deviation_ppm: int = 0
    alarms: AlarmSpec = AlarmSpec()

    @property
    def pair(self) -> str:
        """The feed's name, as in `BTC/USD`."""
        return f"{self.base}/{self.quote}"

    def is_native(self, source: SourceSpec) -> bool:
        """Tell whether a source quotes in the feed's own quote currency."""
        return source.quote == self.quote

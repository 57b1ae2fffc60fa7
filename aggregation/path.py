"""What a member keeps of a price's path, and the alarms that it raises: drift, burst, cluster.

All of it is relative to the path's own slow volatility, in integers: returns in parts per billion
(ppb), variances in ppb² per second. Nothing of it is agreed on; a member's own clock may be used.

- *burst*: a fast variance far above the slow one (two EWMAs, as in RiskMetrics 1996);
- *drift*: Page's CUSUM (Biometrika 1954) of returns in units of σ, either way;
- *cluster*: how many unusual returns came lately, each counting less as time goes by: the
  intensity of a Hawkes process (Biometrika 1971) with an exponential kernel.
"""

from dataclasses import dataclass
from math import isqrt

from aggregation.alarm import Alarm
from aggregation.feed import AlarmSpec
from aggregation.volatility import ELAPSED_MAX_MS, PPB, VARIANCE_MAX, decay, next_variance

STILL_SAMPLES = 4
"""A price that stands still is sampled only once in so many sample times."""

_NS_OF_MS = 1_000_000
_ONE_BITS = 64
_MILLI = 1_000
_NO_ALARMS: frozenset[Alarm] = frozenset()


@dataclass(frozen=True, slots=True)
class PricePath:
    """A price's path up to its last sample, taken at `sampled_ns` of the caller's clock.

    `rise` and `fall` are the CUSUMs in thousandths of σ·√s, `excitement` the intensity of unusual
    returns in thousandths of one. An alarm in `raised` stands until its measure is half its limit.
    """

    sampled_ns: int
    price: int
    slow: int
    fast: int
    rise: int = 0
    fall: int = 0
    excitement: int = 0
    raised: frozenset[Alarm] = _NO_ALARMS


def next_path(before: PricePath | None, price: int, now_ns: int, spec: AlarmSpec) -> PricePath:
    """Return the path with a price (positive, in any unit) added; at most one a sample time.

    Between samples, and with a clock that goes backwards, the path is as it was. A price that
    stands still is sampled less often: its next return counts over the whole time.
    """
    if before is None:
        variance = spec.sigma_floor_ppb * spec.sigma_floor_ppb
        return PricePath(now_ns, price, variance, variance)
    elapsed_ms = (now_ns - before.sampled_ns) // _NS_OF_MS
    if elapsed_ms < spec.sample_ms:
        return before
    if price == before.price and not before.raised and elapsed_ms < STILL_SAMPLES * spec.sample_ms:
        # Nothing to tell; of a thousand feeds most stand still for a second.
        return before
    elapsed_ms = min(elapsed_ms, ELAPSED_MAX_MS)
    move_ppb = (price - before.price) * PPB // before.price
    size_ppb = min(abs(move_ppb), PPB)
    slow = max(before.slow, spec.sigma_floor_ppb * spec.sigma_floor_ppb)
    # As far as a usual return goes: what is beyond says nothing of the usual ones, so that one
    # jump makes neither the slow variance nor a drift.
    usual_ppb = spec.event_sigmas * isqrt(slow * elapsed_ms // _MILLI)
    fast = next_variance(before.fast, size_ppb, elapsed_ms, spec.fast_half_life_ms)
    excitement = before.excitement * decay(elapsed_ms, spec.event_half_life_ms) >> _ONE_BITS
    if size_ppb > usual_ppb:
        excitement = min(excitement + _MILLI, 2 * spec.event_limit * _MILLI)
    step = min(size_ppb, usual_ppb) * _MILLI // isqrt(slow)
    if move_ppb < 0:
        step = -step
    allowance = spec.drift_allowance_permille * elapsed_ms // _MILLI
    # No more than a little above the limit: a drift that is over must not be told for long.
    most = spec.drift_limit * _MILLI * 5 // 4
    rise = min(max(before.rise + step - allowance, 0), most)
    fall = min(max(before.fall - step - allowance, 0), most)
    raised = _raised(before.raised, slow, fast, max(rise, fall), excitement, spec)
    slow = next_variance(slow, min(size_ppb, usual_ppb), elapsed_ms, spec.slow_half_life_ms)
    return PricePath(now_ns, price, min(slow, VARIANCE_MAX), fast, rise, fall, excitement, raised)


def _raised(
    before: frozenset[Alarm], slow: int, fast: int, drift: int, excitement: int, spec: AlarmSpec
) -> frozenset[Alarm]:
    raised = _NO_ALARMS
    for alarm, measure, limit in (
        (Alarm.BURST, fast, spec.burst_ratio * slow),
        (Alarm.DRIFT, drift, spec.drift_limit * _MILLI),
        (Alarm.CLUSTER, excitement, spec.event_limit * _MILLI),
    ):
        if 2 * measure > limit if alarm in before else measure > limit:
            raised |= {alarm}
    return before if raised == before else raised

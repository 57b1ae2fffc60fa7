"""The status rule: live, carried, degraded, halted, unavailable, and the way back.

Pure over (the feed's state after the parent block, this block's agreement). A halted feed keeps
its last live price and heals by itself, so that no crash of a market freezes it for good.
"""

from aggregation.agreed import Absence, Agreement
from aggregation.feed import PPM, BreakerSpec
from aggregation.state import FeedState
from aggregation.status import Cause, Phase, Status
from aggregation.volatility import (
    ELAPSED_MAX_MS,
    PPB,
    jump_bound_ppb,
    next_variance,
    relative_return_ppb,
)


def next_feed_state(
    before: FeedState,
    outcome: Agreement | Absence,
    observed_at_ms: int,
    breaker: BreakerSpec,
    carry_ms: int,
) -> FeedState:
    """Return a feed's state after a block whose agreed time is `observed_at_ms`."""
    if isinstance(outcome, Absence):
        return _without_agreement(before, outcome, observed_at_ms, carry_ms)
    dispersed = outcome.confidence * PPM > breaker.halted_confidence_ppm * outcome.price
    if before.kept_price == 0:
        if dispersed:
            return _unavailable(before, Cause.NO_LIVE_PRICE)
        # The first agreement is live at once: there is no history that it could contradict.
        return _served(before, outcome, observed_at_ms, breaker, Phase.STEADY, 0, 0)

    # Compared in place of `min` and `max`: this runs for each feed of each round.
    elapsed_ms = observed_at_ms - before.agreed_at_ms
    if elapsed_ms < breaker.nominal_round_ms:
        elapsed_ms = breaker.nominal_round_ms
    if elapsed_ms > ELAPSED_MAX_MS:
        elapsed_ms = ELAPSED_MAX_MS
    bound_ppb = jump_bound_ppb(
        before.variance, elapsed_ms, breaker.sigma_multiple, breaker.floor_ppm
    )
    # A jump counts only as far as it was allowed: else one would excuse the next.
    return_ppb = relative_return_ppb(before.agreed_price, outcome.price)
    if return_ppb > bound_ppb:
        return_ppb = bound_ppb
    variance = next_variance(
        before.variance, return_ppb, elapsed_ms, breaker.volatility_half_life_ms
    )
    halted = before.phase in (Phase.HALTED_BY_JUMP, Phase.HALTED_BY_DISPERSION)
    if dispersed:
        phase = Phase.HALTED_BY_DISPERSION
        return _halted(before, outcome, observed_at_ms, phase, (0, 0, 0), variance)
    if halted:
        # In a market that keeps falling no band of fixed width holds any run of rounds.
        band_ppb = jump_bound_ppb(
            variance,
            # A long gap is no part of the run, and allows nothing.
            min(elapsed_ms, 4 * breaker.nominal_round_ms) * breaker.recovery_rounds,
            breaker.recovery_sigma_multiple,
            breaker.recovery_band_ppm,
        )
        rounds, low, high = _level(before, outcome.price, band_ppb)
        if rounds < breaker.recovery_rounds:
            level = (rounds, low, high)
            return _halted(before, outcome, observed_at_ms, before.phase, level, variance)
        return _served(before, outcome, observed_at_ms, breaker, Phase.HEALING, 0, variance)
    if abs(outcome.price - before.kept_price) * PPB > bound_ppb * before.kept_price:
        level = (1, outcome.price, outcome.price)
        return _halted(before, outcome, observed_at_ms, Phase.HALTED_BY_JUMP, level, variance)
    if before.phase is Phase.HEALING and before.rounds + 1 < breaker.recovery_rounds:
        healed = before.rounds + 1
        return _served(before, outcome, observed_at_ms, breaker, Phase.HEALING, healed, variance)
    return _served(before, outcome, observed_at_ms, breaker, Phase.STEADY, 0, variance)


def _without_agreement(
    before: FeedState, absence: Absence, observed_at_ms: int, carry_ms: int
) -> FeedState:
    if absence is Absence.LACKED:
        return _unavailable(before, Cause.LACKED)
    if absence is Absence.UNREPRESENTABLE:
        return _unavailable(before, Cause.UNREPRESENTABLE)
    if before.status is Status.UNAVAILABLE:
        return before
    if observed_at_ms - before.agreed_at_ms > carry_ms:
        return _unavailable(before, Cause.CARRY_EXPIRED)
    if before.status is Status.HALTED:
        # Carried, a halted price would look usable. The rounds of healing stay counted, or a
        # leader that leaves observations out could keep a feed from healing for ever.
        return before
    return before._replace(status=Status.CARRIED, cause=Cause.TOO_FEW_OBSERVATIONS)


def _unavailable(before: FeedState, cause: Cause) -> FeedState:
    """Return the state of a feed without an answer: its history stays, a run of rounds ends."""
    return before._replace(
        status=Status.UNAVAILABLE, cause=cause, rounds=0, level_low=0, level_high=0
    )


def _level(before: FeedState, price: int, band_ppb: int) -> tuple[int, int, int]:
    """Return (rounds, low, high) of the run of rounds that agree within the band of each other."""
    if before.rounds > 0:
        low, high = min(before.level_low, price), max(before.level_high, price)
        if (high - low) * PPB <= band_ppb * low:
            return before.rounds + 1, low, high
    return 1, price, price


def _halted(
    before: FeedState,
    outcome: Agreement,
    observed_at_ms: int,
    phase: Phase,
    level: tuple[int, int, int],
    variance: int,
) -> FeedState:
    cause = Cause.JUMP if phase is Phase.HALTED_BY_JUMP else Cause.DISPERSION
    rounds, low, high = level
    return FeedState(
        Status.HALTED,
        cause,
        phase,
        outcome.risk,
        rounds,
        before.kept_price,
        before.kept_confidence,
        outcome.price,
        observed_at_ms,
        low,
        high,
        variance,
    )


def _served(
    before: FeedState,
    outcome: Agreement,
    observed_at_ms: int,
    breaker: BreakerSpec,
    phase: Phase,
    rounds: int,
    variance: int,
) -> FeedState:
    price, confidence, risk = outcome
    status, cause = Status.DEGRADED, Cause.NONE
    if confidence * PPM > breaker.degraded_confidence_ppm * price:
        cause = Cause.WIDE_CONFIDENCE
    elif risk >= breaker.degraded_risk_level:
        cause = Cause.HIGH_RISK
    if phase is Phase.STEADY:
        phase, rounds = _settled(before, outcome, breaker, cause)
    if cause is Cause.NONE:
        if phase is Phase.HEALING:
            cause = Cause.HEALING
        elif phase is Phase.UNSETTLED:
            cause = Cause.SETTLING
        else:
            status = Status.LIVE
    return FeedState(
        status,
        cause,
        phase,
        risk,
        rounds,
        price,
        confidence,
        price,
        observed_at_ms,
        0,
        0,
        variance,
    )


def _settled(
    before: FeedState, outcome: Agreement, breaker: BreakerSpec, cause: Cause
) -> tuple[Phase, int]:
    """Return (phase, rounds of calm) of a feed that is not healing; `cause` is what degrades it.

    It leaves at half the distance and after some rounds, so that it does not flicker.
    """
    if cause is not Cause.NONE:
        return Phase.UNSETTLED, 0
    if before.phase is not Phase.UNSETTLED:
        return Phase.STEADY, 0
    calm = 2 * outcome.confidence * PPM <= breaker.degraded_confidence_ppm * outcome.price
    rounds = before.rounds + 1 if calm else 0
    return (Phase.UNSETTLED, rounds) if rounds < breaker.calm_rounds else (Phase.STEADY, 0)

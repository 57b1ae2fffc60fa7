"""A feed halts on a jump or a wide dispersion, says why, and heals by itself."""

from dataclasses import replace
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from aggregation.agreed import Absence, Agreement
from aggregation.breaker import next_feed_state
from aggregation.feed import BreakerSpec
from aggregation.price import PRICE_MAX, UINT64_MAX
from aggregation.state import AgreedState, FeedState
from aggregation.status import CAUSES, Cause, Phase, Status

BREAKER = BreakerSpec()
ROUNDS = BREAKER.recovery_rounds
CARRY_MS = 3_000
PRICE = 650_000_000_000
NEW = FeedState(Status.UNAVAILABLE, Cause.NEVER_AGREED)


class Feed:
    """One feed under the status rule, a round every 250 ms."""

    def __init__(self, breaker: BreakerSpec = BREAKER) -> None:
        self.breaker = breaker
        self.now_ms = 1_000
        self.state = NEW

    def step(self, outcome: Agreement | Absence, elapsed_ms: int = 250) -> FeedState:
        self.now_ms += elapsed_ms
        self.state = next_feed_state(self.state, outcome, self.now_ms, self.breaker, CARRY_MS)
        return self.state

    def agree(self, price: int, confidence: int = 1_000, risk: int = 0) -> FeedState:
        return self.step(Agreement(price, confidence, risk))

    def shown(self) -> tuple[Status, Cause]:
        return (self.state.status, self.state.cause)


def live_feed(breaker: BreakerSpec = BREAKER) -> Feed:
    feed = Feed(breaker)
    for _ in range(4):
        feed.agree(PRICE)
    assert feed.shown() == (Status.LIVE, Cause.NONE)
    return feed


def halted_feed() -> Feed:
    feed = live_feed()
    feed.agree(PRICE * 8 // 10)
    assert feed.shown() == (Status.HALTED, Cause.JUMP)
    return feed


def test_the_first_agreement_is_live_at_once() -> None:
    feed = Feed()
    feed.agree(PRICE)
    assert feed.shown() == (Status.LIVE, Cause.NONE)
    assert feed.state.price == PRICE


@given(st.integers(1, PRICE_MAX), st.integers(1, PRICE_MAX))
def test_a_jump_beyond_the_bound_halts_and_keeps_the_last_live_price(
    before: int, after: int
) -> None:
    feed = Feed()
    for _ in range(3):
        feed.agree(before, 0)
    state = feed.agree(after, 0)
    # Without volatility only the floor of 1 % is allowed.
    if abs(after - before) * 1_000_000 > BREAKER.floor_ppm * before:
        assert (state.status, state.cause) == (Status.HALTED, Cause.JUMP)
        assert state.price == before
    else:
        assert (state.status, state.cause) == (Status.LIVE, Cause.NONE)
        assert state.price == after


@given(st.integers(1_000_000, PRICE_MAX), st.data())
def test_a_halted_feed_heals_by_itself_at_any_steady_level(level: int, data: st.DataObject) -> None:
    feed = halted_feed()
    wiggles = st.integers(0, level * BREAKER.recovery_band_ppm // 2_000_000)
    statuses = [
        feed.agree(min(level + data.draw(wiggles), PRICE_MAX), 1).status
        for _ in range(2 * ROUNDS + 1)
    ]
    healed = statuses.index(Status.DEGRADED)
    # One round less if the new level is that of the jump itself.
    assert healed in (ROUNDS - 1, ROUNDS - 2)
    assert set(statuses[:healed]) == {Status.HALTED}
    assert statuses[healed : healed + ROUNDS] == [Status.DEGRADED] * ROUNDS
    assert set(statuses[healed + ROUNDS :]) == {Status.LIVE}


def test_healing_takes_exactly_the_rounds_of_the_feed() -> None:
    feed = halted_feed()
    level = PRICE * 8 // 10
    for _ in range(ROUNDS - 2):
        feed.agree(level)
        assert feed.shown() == (Status.HALTED, Cause.JUMP)
        assert feed.state.price == PRICE
    feed.agree(level)
    assert feed.shown() == (Status.DEGRADED, Cause.HEALING)
    assert feed.state.price == level
    for _ in range(ROUNDS - 1):
        feed.agree(level)
        assert feed.shown() == (Status.DEGRADED, Cause.HEALING)
    feed.agree(level)
    assert feed.shown() == (Status.LIVE, Cause.NONE)


def rounds_to_heal(breaker: BreakerSpec) -> int | None:
    """Return after how many rounds a feed heals whose price falls by 0.1 % in each of them."""
    feed = live_feed(breaker)
    price = PRICE * 8 // 10
    for round_ in range(50 * ROUNDS):
        price = price * 999 // 1000
        if feed.agree(price).status is not Status.HALTED:
            return round_
        assert feed.state.price == PRICE
    return None


def test_a_level_that_keeps_moving_heals_once_its_volatility_is_known() -> None:
    # Each step is within the band of the step before, the run as a whole is not.
    healed = rounds_to_heal(BREAKER)
    assert healed is not None
    assert healed > 2 * ROUNDS
    assert rounds_to_heal(replace(BREAKER, recovery_sigma_multiple=0)) is None


def test_a_gap_in_time_does_not_widen_the_band_of_recovery() -> None:
    feed = halted_feed()
    level = PRICE * 8 // 10
    for _ in range(ROUNDS - 2):
        feed.agree(level)
    feed.step(Agreement(level * 102 // 100, 1_000, 0), elapsed_ms=3_600_000)
    assert feed.shown() == (Status.HALTED, Cause.JUMP)
    assert feed.state.rounds == 1


def test_a_second_jump_while_healing_halts_again() -> None:
    feed = halted_feed()
    for _ in range(ROUNDS):
        feed.agree(PRICE * 8 // 10)
    assert feed.shown() == (Status.DEGRADED, Cause.HEALING)
    feed.agree(PRICE // 2)
    assert feed.shown() == (Status.HALTED, Cause.JUMP)
    assert feed.state.price == PRICE * 8 // 10


def test_a_wide_dispersion_halts_and_a_narrow_one_heals() -> None:
    feed = live_feed()
    wide = PRICE * (BREAKER.halted_confidence_ppm + 1) // 1_000_000
    for _ in range(2 * ROUNDS):
        feed.agree(PRICE, wide)
        assert feed.shown() == (Status.HALTED, Cause.DISPERSION)
    for _ in range(ROUNDS - 1):
        feed.agree(PRICE)
        assert feed.shown() == (Status.HALTED, Cause.DISPERSION)
    feed.agree(PRICE)
    assert feed.shown() == (Status.DEGRADED, Cause.HEALING)


def test_a_dispersion_before_any_live_price_is_unavailable() -> None:
    feed = Feed()
    feed.agree(PRICE, PRICE)
    assert feed.shown() == (Status.UNAVAILABLE, Cause.NO_LIVE_PRICE)
    feed.agree(PRICE)
    assert feed.shown() == (Status.LIVE, Cause.NONE)


def wide(ppm: int) -> int:
    return PRICE * ppm // 1_000_000


def test_wide_confidence_and_high_risk_degrade() -> None:
    feed = live_feed()
    feed.agree(PRICE, wide(BREAKER.degraded_confidence_ppm + 1))
    assert feed.shown() == (Status.DEGRADED, Cause.WIDE_CONFIDENCE)
    feed.agree(PRICE, risk=BREAKER.degraded_risk_level)
    assert feed.shown() == (Status.DEGRADED, Cause.HIGH_RISK)
    fresh = live_feed()
    fresh.agree(PRICE, wide(BREAKER.degraded_confidence_ppm), BREAKER.degraded_risk_level - 1)
    assert fresh.shown() == (Status.LIVE, Cause.NONE)


def test_a_degraded_feed_is_live_again_after_its_rounds_of_calm() -> None:
    feed = live_feed()
    feed.agree(PRICE, risk=BREAKER.degraded_risk_level)
    for _ in range(BREAKER.calm_rounds - 1):
        feed.agree(PRICE + 1)
        assert feed.shown() == (Status.DEGRADED, Cause.SETTLING)
        assert feed.state.price == PRICE + 1
    feed.agree(PRICE)
    assert feed.shown() == (Status.LIVE, Cause.NONE)


def test_a_degraded_feed_settles_at_half_the_distance_only() -> None:
    feed = live_feed()
    limit = BREAKER.degraded_confidence_ppm
    feed.agree(PRICE, wide(limit + 1))
    for _ in range(3 * BREAKER.calm_rounds):
        feed.agree(PRICE, wide(limit // 2 + 1))
        assert feed.shown() == (Status.DEGRADED, Cause.SETTLING)
    for _ in range(BREAKER.calm_rounds):
        assert feed.state.status is Status.DEGRADED
        feed.agree(PRICE, wide(limit // 2))
    assert feed.shown() == (Status.LIVE, Cause.NONE)


@given(st.lists(st.booleans(), min_size=1, max_size=60))
def test_a_feed_at_its_limit_does_not_flicker(troubled: list[bool]) -> None:
    feed = live_feed()
    limit = BREAKER.degraded_confidence_ppm
    statuses = [feed.agree(PRICE, wide(limit + 1 if bad else limit)).status for bad in troubled]
    changes = sum(one is not other for one, other in pairwise([Status.LIVE, *statuses]))
    assert changes <= 1


def test_a_carried_round_neither_counts_as_calm_nor_ends_it() -> None:
    feed = live_feed()
    feed.agree(PRICE, risk=BREAKER.degraded_risk_level)
    for _ in range(BREAKER.calm_rounds - 1):
        feed.agree(PRICE)
        feed.step(Absence.TOO_FEW)
        assert feed.shown() == (Status.CARRIED, Cause.TOO_FEW_OBSERVATIONS)
    feed.agree(PRICE)
    assert feed.shown() == (Status.LIVE, Cause.NONE)


def test_a_halted_feed_is_never_carried_and_keeps_its_healing_rounds() -> None:
    feed = halted_feed()
    level = PRICE * 8 // 10
    for _ in range(ROUNDS - 2):
        feed.agree(level)
        feed.step(Absence.TOO_FEW)
        assert feed.shown() == (Status.HALTED, Cause.JUMP)
    feed.agree(level)
    assert feed.shown() == (Status.DEGRADED, Cause.HEALING)


def test_unavailability_does_not_clear_a_halt() -> None:
    feed = halted_feed()
    feed.step(Absence.LACKED)
    assert feed.shown() == (Status.UNAVAILABLE, Cause.LACKED)
    feed.agree(PRICE * 8 // 10)
    assert feed.shown() == (Status.HALTED, Cause.JUMP)
    feed.step(Absence.TOO_FEW, CARRY_MS + 1)
    assert feed.shown() == (Status.UNAVAILABLE, Cause.CARRY_EXPIRED)


def test_a_halted_feed_heals_in_its_rounds_even_at_the_old_level_after_a_gap() -> None:
    feed = halted_feed()
    feed.step(Absence.LACKED)
    for _ in range(ROUNDS - 1):
        feed.agree(PRICE)
        assert feed.shown() == (Status.HALTED, Cause.JUMP)
    feed.agree(PRICE)
    assert feed.shown() == (Status.DEGRADED, Cause.HEALING)


def test_unavailability_does_not_excuse_a_jump() -> None:
    feed = live_feed()
    feed.step(Absence.LACKED)
    feed.agree(PRICE * 2)
    assert feed.shown() == (Status.HALTED, Cause.JUMP)
    assert feed.state.price == PRICE


def test_a_price_that_does_not_fit_is_unavailable() -> None:
    feed = live_feed()
    feed.step(Absence.UNREPRESENTABLE)
    assert feed.shown() == (Status.UNAVAILABLE, Cause.UNREPRESENTABLE)
    assert feed.state.price == 0


def test_agreed_volatility_widens_the_bound() -> None:
    restless = live_feed()
    for step in range(400):
        restless.agree(PRICE + (PRICE // 200 if step % 2 else 0))
        assert restless.shown() == (Status.LIVE, Cause.NONE)
    calm = live_feed()
    jump = PRICE * 985 // 1000
    assert calm.agree(jump).status is Status.HALTED
    assert restless.agree(jump).status is Status.LIVE


def test_a_halting_jump_does_not_excuse_the_next() -> None:
    feed = live_feed()
    for level in (PRICE // 2, PRICE, PRICE // 2, PRICE):
        assert feed.agree(level).status is Status.HALTED
        for _ in range(2 * ROUNDS):
            feed.agree(level)
        assert feed.shown() == (Status.LIVE, Cause.NONE)


agreements = st.builds(
    Agreement,
    st.integers(1, PRICE_MAX) | st.integers(PRICE - 10**9, PRICE + 10**9),
    st.integers(0, UINT64_MAX) | st.integers(0, 10**9),
    st.integers(0, 255) | st.just(0),
)
outcomes = agreements | st.sampled_from(Absence)


@settings(max_examples=100)
@given(
    st.lists(st.tuples(outcomes, st.integers(1, 5_000) | st.just(2**50)), max_size=40),
    st.integers(1, 4),
)
def test_any_history_gives_a_state_that_says_its_cause_and_is_canonical(
    history: list[tuple[Agreement | Absence, int]], recovery_rounds: int
) -> None:
    feed = Feed(replace(BREAKER, recovery_rounds=recovery_rounds, recovery_band_ppm=500_000))
    for outcome, elapsed_ms in history:
        before = feed.state
        state = feed.step(outcome, elapsed_ms)
        assert state.cause in CAUSES[state.status]
        encoded = AgreedState(feed.now_ms, (state,)).encode()
        assert AgreedState.decode(encoded).feeds == (state,)
        if state.status is Status.HALTED:
            assert state.price == before.kept_price
        if state.phase in (Phase.HALTED_BY_JUMP, Phase.HALTED_BY_DISPERSION):
            assert state.status in (Status.HALTED, Status.UNAVAILABLE)


@settings(max_examples=50)
@given(st.lists(outcomes, max_size=20))
def test_whatever_happened_a_steady_market_is_live_again(
    history: list[Agreement | Absence],
) -> None:
    feed = Feed()
    for outcome in history:
        feed.step(outcome)
    for _ in range(2 * ROUNDS + 1):
        feed.agree(PRICE)
    assert feed.shown() == (Status.LIVE, Cause.NONE)

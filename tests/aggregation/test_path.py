"""What a member notices in a price's path, how soon, and that it lets go of it again."""

from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregation.alarm import RISK_HIGH, RISK_NONE, RISK_NOTICE, Alarm, risk_level
from aggregation.feed import AlarmSpec
from aggregation.path import PricePath, next_path
from aggregation.price import PRICE_MAX
from aggregation.volatility import ELAPSED_MAX_MS, VARIANCE_MAX

SPEC = AlarmSpec()
PRICE = 10**12
S = 10**9
SIGMA_PPM = 40


class Walk:
    """A seeded random walk of `SIGMA_PPM` a second, sampled once a second."""

    def __init__(self, seed: int = 1, spec: AlarmSpec = SPEC) -> None:
        self.spec = spec
        self.random = Random(seed)
        self.price = PRICE
        self.now_ns = 0
        self.path: PricePath | None = None
        self.told: set[Alarm] = set()

    def step(self, drift_ppm: float = 0.0, sigma_ppm: float = SIGMA_PPM, times: int = 1) -> None:
        for _ in range(times):
            move = 1 + (drift_ppm + self.random.gauss(0, sigma_ppm)) / 1e6
            self.price = max(1, round(self.price * move))
            self.now_ns += S
            self.path = next_path(self.path, self.price, self.now_ns, self.spec)
            self.told |= self.path.raised

    @property
    def raised(self) -> frozenset[Alarm]:
        assert self.path is not None
        return self.path.raised


def settled(seed: int = 1) -> Walk:
    walk = Walk(seed)
    walk.step(times=1_800)
    walk.told.clear()
    return walk


@pytest.mark.parametrize("seed", range(5))
def test_a_steady_random_walk_raises_nothing_for_hours(seed: int) -> None:
    walk = settled(seed)
    walk.step(times=3 * 3_600)
    assert not walk.told, f"seed {seed}"


@pytest.mark.parametrize("drift_ppm", [500, -500, 60, -60])
def test_a_drift_is_told_either_way_and_forgotten(drift_ppm: int) -> None:
    walk = settled()
    walk.step(drift_ppm, times=120)
    assert Alarm.DRIFT in walk.raised
    walk.step(times=300)
    assert Alarm.DRIFT not in walk.raised


def test_a_fast_drift_is_told_within_seconds() -> None:
    walk = settled()
    walk.step(500, times=20)
    assert Alarm.DRIFT in walk.raised
    assert risk_level(walk.raised) == RISK_HIGH


def test_a_burst_of_volatility_is_told_and_forgotten() -> None:
    walk = settled()
    walk.step(sigma_ppm=SIGMA_PPM * 12, times=15)
    assert {Alarm.BURST, Alarm.CLUSTER} <= walk.raised
    assert risk_level(walk.raised) == RISK_HIGH
    walk.step(times=300)
    assert not walk.raised


def test_one_jump_is_a_burst_and_no_cluster_or_drift() -> None:
    walk = settled()
    walk.price = walk.price * 101 // 100
    walk.step(times=1)
    assert walk.raised == {Alarm.BURST}
    assert risk_level(walk.raised) == RISK_NOTICE
    walk.step(times=120)
    assert not walk.raised


def test_a_higher_volatility_becomes_the_usual_one() -> None:
    walk = settled()
    walk.step(sigma_ppm=SIGMA_PPM * 4, times=3_600)
    walk.told.clear()
    walk.step(sigma_ppm=SIGMA_PPM * 4, times=1_800)
    assert not walk.told


def test_what_is_below_the_floor_is_no_burst() -> None:
    still = Walk()
    still.step(sigma_ppm=0, times=600)
    still.step(sigma_ppm=SPEC.sigma_floor_ppb / 1_000, times=600)
    assert not still.told


def test_between_samples_and_back_in_time_nothing_changes() -> None:
    path = next_path(None, PRICE, 5 * S, SPEC)
    assert next_path(path, 2 * PRICE, 6 * S - 1, SPEC) is path
    assert next_path(path, 2 * PRICE, 0, SPEC) is path
    assert next_path(path, 2 * PRICE, 6 * S, SPEC) is not path


prices = st.integers(1, PRICE_MAX) | st.integers(PRICE - 10**9, PRICE + 10**9)
specs = st.builds(
    AlarmSpec,
    sample_ms=st.just(1),
    sigma_floor_ppb=st.integers(1, 10**9),
    drift_limit=st.integers(1, 10**6),
    event_limit=st.integers(1, 1_000),
)


@given(specs, st.lists(st.tuples(prices, st.integers(0, 2 * ELAPSED_MAX_MS)), max_size=30))
def test_whatever_a_price_does_the_path_stays_bounded(
    spec: AlarmSpec, steps: list[tuple[int, int]]
) -> None:
    path, now_ns = None, 0
    for price, passed_ms in steps:
        now_ns += passed_ms * 1_000_000
        path = next_path(path, price, now_ns, spec)
        assert 0 <= path.slow <= VARIANCE_MAX
        assert 0 <= path.fast <= VARIANCE_MAX
        assert min(path.rise, path.fall) >= 0
        assert max(path.rise, path.fall) <= spec.drift_limit * 1_250
        assert 0 <= path.excitement <= 2_000 * spec.event_limit


@given(st.integers(0, 2**32))
def test_up_and_down_are_told_alike(seed: int) -> None:
    chance = Random(seed)
    up = down = PricePath(0, 10**14, 10**9, 10**9)
    for second in range(1, 60):
        move = chance.randint(-(10**8), 10**8)
        up = replace(next_path(up, 10**14 + move, second * S, SPEC), price=10**14)
        down = replace(next_path(down, 10**14 - move, second * S, SPEC), price=10**14)
        assert (up.rise, up.fall, up.raised) == (down.fall, down.rise, down.raised)


def test_risk_levels() -> None:
    assert risk_level(frozenset()) == RISK_NONE
    for alarm in Alarm:
        grave = alarm in (Alarm.FEW_SOURCES, Alarm.SCATTERED, Alarm.PEG_LOST)
        assert risk_level({alarm}) == (RISK_HIGH if grave else RISK_NOTICE)
    assert risk_level({Alarm.DRIFT, Alarm.OUTLIER}) == RISK_NOTICE
    assert risk_level({Alarm.DRIFT, Alarm.BURST}) == RISK_HIGH

"""The EWMA is bounded by what goes in, grows with it, and forgets at its half life."""

from hypothesis import given
from hypothesis import strategies as st

from aggregation.volatility import (
    PPB,
    VARIANCE_MAX,
    decay,
    jump_bound_ppb,
    next_variance,
    relative_return_ppb,
)

variances = st.integers(0, VARIANCE_MAX)
returns = st.integers(0, PPB)
times = st.integers(1, 7 * 86_400_000)
half_lives = st.integers(1, 86_400_000)
prices = st.integers(1, 2**48 - 1)

ONE = 1 << 64


@given(variances, returns, times, half_lives)
def test_the_ewma_lies_between_the_old_variance_and_the_newest(
    variance: int, newest: int, elapsed_ms: int, half_life_ms: int
) -> None:
    term = min(newest * newest * 1000 // elapsed_ms, VARIANCE_MAX)
    after = next_variance(variance, newest, elapsed_ms, half_life_ms)
    assert min(variance, term) <= after <= max(variance, term) <= VARIANCE_MAX


@given(variances, variances, returns, returns, times, half_lives)
def test_the_ewma_grows_with_the_old_variance_and_with_the_return(
    one: int, other: int, less: int, more: int, elapsed_ms: int, half_life_ms: int
) -> None:
    low = next_variance(min(one, other), min(less, more), elapsed_ms, half_life_ms)
    assert low <= next_variance(max(one, other), min(less, more), elapsed_ms, half_life_ms)
    assert low <= next_variance(min(one, other), max(less, more), elapsed_ms, half_life_ms)


@given(half_lives, st.integers(0, 63))
def test_the_weight_of_the_past_halves_at_each_half_life(half_life_ms: int, halvings: int) -> None:
    assert decay(half_life_ms * halvings, half_life_ms) == ONE >> halvings


@given(times, times, half_lives)
def test_the_weight_of_the_past_never_grows(one: int, other: int, half_life_ms: int) -> None:
    assert 0 <= decay(max(one, other), half_life_ms) <= decay(min(one, other), half_life_ms) <= ONE


@given(st.integers(1, 2**20 - 1))
def test_the_fixed_point_decay_is_2_to_the_minus_x(fraction: int) -> None:
    exact = 2.0 ** (-fraction / 2**20)
    assert abs(decay(fraction, 2**20) / ONE - exact) < 1e-12


@given(variances, half_lives)
def test_a_still_market_forgets(variance: int, half_life_ms: int) -> None:
    assert next_variance(variance, 0, half_life_ms, half_life_ms) == variance // 2


@given(prices, prices)
def test_a_return_is_at_most_100_percent(before: int, after: int) -> None:
    assert 0 <= relative_return_ppb(before, after) <= PPB


@given(variances, times, times, st.integers(0, 1000), st.integers(1, 10**6))
def test_the_jump_bound_grows_with_time_and_never_falls_below_the_floor(
    variance: int, one: int, other: int, multiple: int, floor_ppm: int
) -> None:
    sooner = jump_bound_ppb(variance, min(one, other), multiple, floor_ppm)
    later = jump_bound_ppb(variance, max(one, other), multiple, floor_ppm)
    assert floor_ppm * 1000 <= sooner <= later


def test_the_jump_bound_is_multiple_sigma_root_time_plus_floor() -> None:
    sigma_ppb = 100_000
    assert jump_bound_ppb(sigma_ppb**2, 4_000, 12, 10_000) == 12 * sigma_ppb * 2 + 10_000_000


def test_a_steady_volatility_is_found() -> None:
    variance = 0
    for _ in range(5_000):
        variance = next_variance(variance, 50_000, 250, 60_000)
    steady = 50_000**2 * 4
    assert steady * 99 // 100 < variance <= steady

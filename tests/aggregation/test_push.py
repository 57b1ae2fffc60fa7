"""The deviation push follows the volatility and never exceeds what is published."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from aggregation.feed import FeedSpec
from aggregation.push import push_deviation_ppm
from aggregation.volatility import VARIANCE_MAX

FEED = FeedSpec("BTC", "USD", 7, 1, 3, 2_000, 1_000, 25_000, (), calm_deviation_ppm=200)


def sigma(ppm: int) -> int:
    """Return the variance of a volatility in ppm per square root of a second."""
    return (ppm * 1_000) ** 2


def test_a_market_that_stands_still_is_told_from_its_least_threshold_on() -> None:
    assert push_deviation_ppm(FEED, 0) == 200
    assert push_deviation_ppm(FEED, sigma(40)) == 200


def test_the_threshold_is_sigma_over_a_heartbeat() -> None:
    assert push_deviation_ppm(FEED, sigma(100)) == 500
    assert push_deviation_ppm(FEED, sigma(199)) == 995


def test_a_storm_keeps_to_the_published_threshold() -> None:
    assert push_deviation_ppm(FEED, sigma(1_000)) == 1_000
    assert push_deviation_ppm(FEED, VARIANCE_MAX) == 1_000


@given(st.integers(0, VARIANCE_MAX), st.integers(0, VARIANCE_MAX))
def test_it_grows_with_the_volatility_within_its_bounds(one: int, other: int) -> None:
    low, high = (push_deviation_ppm(FEED, v) for v in sorted((one, other)))
    assert FEED.calm_deviation_ppm <= low <= high <= FEED.deviation_ppm


@given(st.integers(0, VARIANCE_MAX))
def test_without_a_least_threshold_the_published_one_holds(variance: int) -> None:
    assert push_deviation_ppm(replace(FEED, calm_deviation_ppm=0), variance) == FEED.deviation_ppm

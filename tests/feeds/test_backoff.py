from random import Random

from hypothesis import given
from hypothesis import strategies as st

from feeds.backoff import Backoff

BACKOFF = Backoff(base_s=0.5, cap_s=30)


@given(st.integers(0, 10**6), st.integers(0, 2**32))
def test_a_wait_lies_below_its_ceiling(failures: int, seed: int) -> None:
    assert 0 <= BACKOFF.wait_s(failures, Random(seed)) <= min(30, 0.5 * 2 ** min(failures, 10))


def test_waits_spread_over_the_whole_range() -> None:
    rng = Random(1)
    waits = [BACKOFF.wait_s(20, rng) for _ in range(200)]
    assert min(waits) < 3
    assert max(waits) > 27


def test_one_seed_gives_one_sequence() -> None:
    first, second = Random(5), Random(5)
    assert [BACKOFF.wait_s(n, first) for n in range(9)] == [
        BACKOFF.wait_s(n, second) for n in range(9)
    ]

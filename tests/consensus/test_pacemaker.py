"""Views only go forwards; time-outs back off, within bounds, and come back."""

from hypothesis import given
from hypothesis import strategies as st

from consensus.pacemaker import Pacemaker


@given(st.integers(10, 10_000), st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=80))
def test_views_go_forwards_and_timeouts_stay_in_bounds(
    base_ms: int, steps: list[tuple[int, bool]]
) -> None:
    pacemaker = Pacemaker(base_ms)
    for step, by_timeout in steps:
        before = (pacemaker.view, pacemaker.timeout_ms())
        entered = pacemaker.enter(before[0] + step, by_timeout)
        assert entered is (step > 0)
        assert entered or (pacemaker.view, pacemaker.timeout_ms()) == before
        assert base_ms <= pacemaker.timeout_ms() <= 8 * base_ms


def test_the_back_off_grows_by_half_up_to_eight_times() -> None:
    pacemaker = Pacemaker(1000)
    waits = []
    for view in range(1, 10):
        pacemaker.enter(view, by_timeout=True)
        waits.append(pacemaker.timeout_ms())
    assert waits == [1500, 2250, 3375, 5062, 7593, 8000, 8000, 8000, 8000]


def test_two_qcs_in_a_row_end_the_back_off_and_one_does_not() -> None:
    pacemaker = Pacemaker(1000)
    pacemaker.enter(1, by_timeout=True)
    pacemaker.enter(2, by_timeout=False)
    assert pacemaker.timeout_ms() == 1500
    pacemaker.enter(3, by_timeout=True)
    assert pacemaker.timeout_ms() == 2250, "failures add up as long as nothing becomes final"
    pacemaker.enter(4, by_timeout=False)
    pacemaker.enter(5, by_timeout=False)
    assert pacemaker.timeout_ms() == 1000

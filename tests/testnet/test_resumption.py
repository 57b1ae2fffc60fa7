import pytest

from testnet.faults import Outage
from testnet.resumption import limit_ms, resumption_of

BASE_MS = 1_000


def test_what_was_under_way_is_no_sign_of_life() -> None:
    # View 3 was all but decided when the member went; view 4 began after that, and was late.
    certified = {1: 0, 2: 250, 3: 510, 4: 1_700, 5: 1_950}
    found = resumption_of([Outage("node1", 500, 1)], certified, 9_000, BASE_MS)
    assert (found.faults, found.p50, found.max) == (1, 1_200, 1_200)
    assert (found.within_one_timeout, found.late) == (1, 0)


@pytest.mark.parametrize(("away", "late"), [(1, 1), (2, 0)])
def test_more_members_away_may_cost_more_timeouts(away: int, late: int) -> None:
    certified = {1: 0, 2: 100, 3: 3_400}
    found = resumption_of([Outage("node1", 0, away)], certified, 9_000, BASE_MS)
    assert found.max == 3_400
    assert (found.within_one_timeout, found.late) == (0, late)


def test_a_network_that_never_resumes_is_late_unless_it_was_stopped_at_once() -> None:
    outage = Outage("node1", 1_000, 1)
    stopped = resumption_of([outage], {1: 900, 2: 1_010}, 9_000, BASE_MS)
    assert (stopped.faults, stopped.late, stopped.max) == (1, 1, None)
    assert resumption_of([outage], {1: 900, 2: 1_010}, 2_500, BASE_MS).faults == 0


def test_members_that_never_lead_well_are_away_too() -> None:
    found = resumption_of([Outage("node1", 0, 1)], {1: 0, 3: 3_400}, 9_000, BASE_MS, never_here=1)
    assert found.late == 0


def test_time_to_the_return() -> None:
    outages = [Outage("a", 0, 1, over_ms=100, back_ms=400), Outage("b", 0, 2, over_ms=100)]
    found = resumption_of(outages, {1: 0}, 1, BASE_MS)
    assert (found.rejoined_p50, found.rejoined_max) == (300, 300)


def test_timeouts_grow_up_to_a_bound() -> None:
    assert limit_ms(1, BASE_MS) == 2_000
    assert limit_ms(3, BASE_MS) == 1_000 + 1_500 + 2_250 + 1_000
    assert limit_ms(9, BASE_MS) - limit_ms(8, BASE_MS) == 8_000

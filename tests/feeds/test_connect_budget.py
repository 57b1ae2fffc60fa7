from hypothesis import given
from hypothesis import strategies as st

from feeds.connect_budget import ConnectBudget
from feeds.venue import ConnectLimit

SECOND_NS = 10**9


def test_a_window_takes_so_many_connects_and_then_makes_wait() -> None:
    budget = ConnectBudget(ConnectLimit(2, 10))
    for at_s in (1, 3):
        assert budget.wait_s(at_s * SECOND_NS) == 0
        budget.spend(at_s * SECOND_NS)
    assert budget.wait_s(4 * SECOND_NS) == 7
    assert budget.wait_s(11 * SECOND_NS) == 0
    budget.spend(11 * SECOND_NS)
    assert budget.wait_s(11 * SECOND_NS) == 2


@given(st.lists(st.integers(0, 4 * SECOND_NS), max_size=60), st.integers(1, 5))
def test_whoever_waits_as_told_never_exceeds_the_limit(pauses: list[int], connects: int) -> None:
    budget = ConnectBudget(ConnectLimit(connects, 3))
    now_ns, made = 0, []
    for pause in pauses:
        now_ns += pause
        now_ns += round(budget.wait_s(now_ns) * SECOND_NS) + 1
        budget.spend(now_ns)
        made.append(now_ns)
        recent = [at for at in made if at > now_ns - 3 * SECOND_NS + 1000]
        assert len(recent) <= connects

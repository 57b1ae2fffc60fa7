"""A1: more than f faulty members can fork the chain, but not without convicting f + 1 of them."""

from collections import Counter

import pytest

from testnet.forks import Outcome, overwhelmed, reconcile


def _outcomes(n: int, seeds: range, *, twins: bool) -> Counter[str]:
    """Run them; return how often which promises fell. Nobody honest is accused in any."""
    seen: Counter[str] = Counter()
    for seed in seeds:
        simulation = overwhelmed(n, seed, twins=twins)
        outcome: Outcome = reconcile(simulation)
        seen["+".join(sorted(outcome.broken)) or "nothing"] += 1
        if outcome.broken:
            # By what certificates say alone: whoever forks need do nothing else that is wrong.
            assert len(outcome.by_certificates) > simulation.context.f, f"{seed}: {outcome}"
            assert outcome.accused <= simulation.faulty
    print(f"\nn = {n}, {'twins' if twins else 'a coalition'}: {dict(seen)}")
    return seen


@pytest.mark.parametrize(("n", "count"), [(4, 10), (5, 2), (7, 1)])
@pytest.mark.parametrize("twins", [False, True])
def test_a1_a_fork_convicts_more_than_f(n: int, count: int, *, twins: bool) -> None:
    seen = _outcomes(n, range(count), twins=twins)
    assert sum(seen.values()) == count
    if n == 4:
        assert any("S1" in broken for broken in seen)


@pytest.mark.slow
@pytest.mark.parametrize(("n", "count"), [(4, 150), (5, 60), (7, 30), (10, 5), (13, 3)])
@pytest.mark.parametrize("twins", [False, True])
def test_a1_many_forks(n: int, count: int, *, twins: bool) -> None:
    seen = _outcomes(n, range(10_000, 10_000 + count), twins=twins)
    assert sum(times for broken, times in seen.items() if broken != "nothing") > count // 8
    if n == 4:
        assert seen["S2"], "no fork of later views alone, so no hidden certificate was needed"

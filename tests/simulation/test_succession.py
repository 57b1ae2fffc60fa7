"""Committees that follow each other under faults and Byzantine members, 4 -> 5 -> 7 -> 4.

`make simulate KIND=succession SEED=… TRACE=1` shows one. S1 to S5 are judged in every epoch, and
what joins two epochs is: one handover, nothing final after it, no price after it, one genesis.
"""

import os

import pytest

from testnet.long_run import main, rate, run_many
from testnet.succession import SIZES, Succession, succession


@pytest.mark.parametrize(
    ("n", "seeds"), [(4, range(40)), (5, range(100, 110)), (7, range(200, 208))]
)
def test_a_succession_of_committees(n: int, seeds: range) -> None:
    for seed in seeds:
        scenario = succession(n, seed)
        assert 2 <= len(scenario.epochs) <= len(SIZES[n])
        for epoch in scenario.epochs:
            assert epoch.faults >= 1
            assert epoch.judge.certifiable_views >= 1


@pytest.mark.slow
@pytest.mark.parametrize(("n", "count"), [(4, 4000), (5, 1000), (7, 1000)])
def test_many_successions_of_committees(n: int, count: int) -> None:
    done, spent, failed = 0, 0.0, []
    jobs = os.cpu_count() or 1
    for batch, seconds, failures in run_many(n, range(count), jobs, kind="succession"):
        done, spent, failed = done + batch, spent + seconds, failed + failures
    print(f"\nfrom n = {n}: {done} successions, {rate(done, spent)}")
    assert not failed
    assert done == count


def test_what_successions_are_made_of() -> None:
    made = [succession(4, seed) for seed in range(500, 540)]
    sizes = [[epoch.context.n for epoch in one.epochs] for one in made]
    assert max(map(len, sizes)) == 4
    assert any(one == [4, 5, 7, 4] for one in sizes)
    assert 10 <= sum(bool(one.faulty) for one in made) <= 35
    assert any(one.jumped for one in made)
    deeds = {
        deed
        for one in made
        for epoch in one.epochs
        if epoch.coalition
        for deed in epoch.coalition.deeds
    }
    assert {"misdirect", "equivocate", "stale"} <= deeds
    # Of two approved successors now one, now the other is decided.
    assert any(_took_the_rival(one) for one in made)
    assert not all(_took_the_rival(one) for one in made)


def _took_the_rival(scenario: Succession) -> bool:
    return any(
        who != planned for who, planned in zip(scenario.who, scenario.committees, strict=False)
    )


def test_a_succession_depends_on_its_seed_alone(capsys: pytest.CaptureFixture[str]) -> None:
    shown = []
    for _ in range(2):
        assert main(["--kind", "succession", "--seed", "3", "--trace"]) == 0
        shown.append(capsys.readouterr().out)
    assert shown[0] == shown[1]
    assert "leaves for epoch 1" in shown[0]
    assert "@1" in shown[0]

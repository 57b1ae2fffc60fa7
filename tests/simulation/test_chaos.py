"""Random faults and Byzantine members from a seed, which a failure names.

`python -m testnet.simulation --nodes N --seed SEED --trace` repeats a failure and shows it.
"""

import os

import pytest

from testnet.chaos import SCENARIO_VIEWS_MIN, chaos
from testnet.long_run import main, rate, run_many
from testnet.simulation import Simulation


def _require_a_scenario(simulation: Simulation) -> None:
    assert simulation.highest_view >= SCENARIO_VIEWS_MIN
    assert simulation.faults >= 1
    assert min(node.running.root.height for node in simulation.honest) >= 2


@pytest.mark.parametrize("block", range(4))
def test_chaos_of_four(block: int) -> None:
    for seed in range(100 * block, 100 * block + 100):
        _require_a_scenario(chaos(4, seed))


@pytest.mark.parametrize(("n", "count"), [(5, 20), (7, 40), (10, 6), (13, 4)])
def test_chaos_of_more(n: int, count: int) -> None:
    for seed in range(1000, 1000 + count):
        _require_a_scenario(chaos(n, seed))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("n", "count"), [(4, 20_000), (5, 1500), (7, 5000), (10, 300), (13, 100), (31, 10)]
)
def test_long_chaos(n: int, count: int) -> None:
    done, spent, failed = 0, 0.0, []
    for batch, seconds, failures in run_many(n, range(count), jobs=os.cpu_count() or 1):
        done, spent, failed = done + batch, spent + seconds, failed + failures
    print(f"\nn = {n}: {done} scenarios, {rate(done, spent)}")
    assert not failed
    assert done == count


def test_two_of_three_scenarios_have_byzantine_members() -> None:
    with_coalition = [chaos(4, seed).coalition for seed in range(2000, 2060)]
    coalitions = [one for one in with_coalition if one is not None]
    assert 30 <= len(coalitions) <= 50
    deeds = {vice for one in coalitions for vice in one.deeds}
    assert {"stale", "equivocate", "overreach", "hide", "lie", "future", "garbage"} <= deeds


def test_a_scenario_can_be_shown_from_its_seed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--nodes", "4", "--seed", "7", "--trace"]) == 0
    shown = capsys.readouterr().out
    lines = shown.splitlines()
    assert lines[0] == "scenario 7 of 4 members (chaos)"
    assert any(" ms  2   votes for block " in line for line in lines)
    assert any("enters view 8: view 7 was" in line for line in lines)
    assert any("does not reach" in line for line in lines)
    assert lines[-1].startswith("all is well")
    assert "Send" not in shown


def test_a_failure_names_its_seed_and_its_promise(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("consensus.rules.commits_parent", lambda block: True)
    assert main(["--count", "20"]) == 1
    captured = capsys.readouterr()
    assert "S2" in captured.err
    assert "20 scenarios" in captured.out
    seed = captured.out.partition("seeds ")[2].partition(",")[0].partition(";")[0]
    assert f"make simulate N=4 SEED={seed} TRACE=1" in captured.err
    assert main(["--seed", seed, "--trace"]) == 1
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("FAILED: S2")
    assert f"seed {seed}," in last

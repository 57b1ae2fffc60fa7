"""Members with two voices: S1 and S2 hold, they are found out, nobody else is accused."""

import os

import pytest

from consensus.committee import Timing
from consensus.evidence import kind_of
from testnet import twins as enumeration
from testnet.long_run import rate
from testnet.simulation import Conditions, Simulation

TIMING = Timing(round_interval_ms=0, base_timeout_ms=300)


@pytest.mark.parametrize(("n", "twins"), [(4, [0]), (4, [2]), (7, [1, 4]), (13, [0, 5, 6, 12])])
@pytest.mark.parametrize("seed", range(3))
def test_twins_are_found_out_and_change_nothing(n: int, twins: list[int], seed: int) -> None:
    conditions = Conditions(delay_ms=(1, 40), loss=30)
    simulation = Simulation(n, seed, timing=TIMING, conditions=conditions, twins=twins)
    simulation.run(6_000)
    simulation.require_commits(3, 30_000)
    evidence = [e for node in simulation.honest for e in node.evidence]
    assert {member for e in evidence for member in e.members} <= set(twins)
    assert any(kind_of(e.evidence) == "two-votes" for e in evidence)
    assert all(node.halted is None for node in simulation.honest)


@pytest.mark.parametrize("seed", range(6))
def test_twins_on_both_sides_of_a_partition(seed: int) -> None:
    """Each half of n = 4 sees one voice of the twin: only one half may certify."""
    simulation = Simulation(4, seed, timing=TIMING, twins=[0])
    honest = [i for i, node in enumerate(simulation.nodes) if node.member != 0]
    voices = [i for i, node in enumerate(simulation.nodes) if node.member == 0]
    for step in range(6):
        cut = simulation.random.randint(1, 2)
        simulation.random.shuffle(honest)
        simulation.groups = [{voices[0], *honest[:cut]}, {voices[1], *honest[cut:]}]
        simulation.run(700 + 100 * step)
    simulation.groups = None
    simulation.require_commits(3, 30_000)


@pytest.mark.parametrize(
    ("length", "classes"), [(1, 15), (2, 510), pytest.param(3, 25_740, marks=pytest.mark.slow)]
)
def test_renaming_the_schedules_gives_every_one(length: int, classes: int) -> None:
    renaming = enumeration.Renaming(4)
    first = list(enumeration.schedules(4, length))
    everything = [variant for one in first for variant in renaming.variants(one)]
    assert len(first) == classes
    assert len(everything) == len(set(everything)) == len(enumeration.rounds(4)) ** length


@pytest.mark.parametrize(
    ("length", "count"), [(1, 15), (2, 510), pytest.param(3, 25_740, marks=pytest.mark.slow)]
)
def test_every_schedule_of_leaders_and_halves(length: int, count: int) -> None:
    """n = 4, one member twice: all leaders and two-partitions, up to renaming, then healing."""
    done, spent, failed = 0, 0.0, []
    jobs = (os.cpu_count() or 1) if length > 2 else 1
    for batch, seconds, failures in enumeration.run_all(4, length, jobs):
        done, spent, failed = done + batch, spent + seconds, failed + failures
    print(f"\n{length} rounds: {done} schedules, {rate(done, spent)}")
    assert not failed
    assert done == count

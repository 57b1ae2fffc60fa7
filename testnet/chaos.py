"""Random scenarios: faults of every kind from a seed, then peace, in which all must go on."""

from collections.abc import Callable
from dataclasses import replace
from random import Random

from consensus.committee import Timing, faulty_max
from testnet.byzantine import Coalition
from testnet.setting import Setting
from testnet.simulation import Conditions, Simulation, SimulationFailed

SCENARIO_VIEWS_MIN = 8

MakeSetting = Callable[[int, Timing, frozenset[int]], Setting]
"""Makes an epoch of so many members, some of them faulty."""

Trace = Callable[[str], object]
"""Takes one line after the other of what happens."""


def chaos(
    n: int, seed: int, *, make: MakeSetting | None = None, trace: Trace | None = None
) -> Simulation:
    """Run one scenario of random faults, then heal everything and require progress.

    In two of three, f members are Byzantine and stay so. Every run has at least 8 views, a fault,
    and a commit by every honest member after the last fault of the network, the disks and the
    power. Signatures are stubs unless `make` makes others. Raises `SimulationFailed`, which names
    the seed.
    """
    random = Random(f"chaos {seed}")
    timing, conditions = draw_timing(random), draw_conditions(random)
    faulty = random.sample(range(n), faulty_max(n)) if random.randrange(3) else []
    simulation = Simulation(
        n,
        seed,
        timing=timing,
        conditions=conditions,
        faulty=faulty,
        setting=None if make is None else make(n, timing, frozenset(faulty)),
        trace=trace,
    )
    if faulty:
        simulation.coalition = Coalition(simulation, Random(f"byzantine {seed}"))
    for node in simulation.nodes:
        node.skew_ms = random.randint(-200, 200)
        if seed % 8 == 5:
            node.disk.keeps = seed % 3  # So that checkpoints are needed.
    if trace is not None:
        tell_what_is_drawn(simulation)
    _break_and_heal(simulation, random, long=random.randrange(32) == 0)
    require_nobody_wronged(simulation)
    return simulation


def draw_timing(random: Random) -> Timing:
    """Choose an epoch's timing."""
    return Timing(
        round_interval_ms=random.choice((0, 250)), base_timeout_ms=random.choice((400, 1000))
    )


def draw_conditions(random: Random) -> Conditions:
    """Choose what the network, the disks and the power do."""
    return Conditions(
        delay_ms=(1, random.choice((5, 60, 400))),
        loss=random.choice((0, 20, 100, 250)),
        repetition=random.choice((0, 50)),
        disk_ms=(0, random.choice((0, 0, 10, 80))),
        crash=random.choice((0, 0, 0, 1, 5)),
    )


def tell_what_is_drawn(simulation: Simulation) -> None:
    """Begin a trace with what the seed has chosen."""
    timing, given = simulation.context.configuration.timing, simulation.conditions
    simulation.note(None, f"{simulation.context.n} members, epoch {simulation.context.epoch}")
    simulation.note(
        None,
        f"a round every {timing.round_interval_ms} ms, base timeout {timing.base_timeout_ms} ms",
    )
    simulation.note(
        None,
        f"delays of {given.delay_ms[0]} to {given.delay_ms[1]} ms; of 1000 messages {given.loss} "
        f"are lost and {given.repetition} repeated; disks take up to {given.disk_ms[1]} ms; of "
        f"1000 effects {given.crash} find the power gone",
    )
    if simulation.coalition is not None:
        vices = ", ".join(sorted(simulation.coalition.vices))
        simulation.note(None, f"Byzantine: {sorted(simulation.faulty)}, who {vices}")


def heal(simulation: Simulation) -> None:
    """End every fault of the network, the disks and the power."""
    simulation.note(None, "everything heals; Byzantine members stay so")
    simulation.faults += 1
    simulation.groups = None
    simulation.cut = None
    simulation.conditions = replace(
        simulation.conditions, delay_ms=(1, 10), loss=0, crash=0, disk_ms=(0, 0)
    )
    simulation.after(0, simulation.restart_all)


def _break_and_heal(simulation: Simulation, random: Random, *, long: bool) -> None:
    timing = simulation.context.configuration.timing
    conditions = simulation.conditions
    pace_ms = max(timing.round_interval_ms, 2 * conditions.delay_ms[1])
    span_ms = 8 * timing.base_timeout_ms
    count = random.randint(1, 4 if long else 3)
    for _ in range(count):
        plan_fault(simulation, random, span_ms if long else 4 * pace_ms, span_ms // 2)
    views = 10_000 if long else SCENARIO_VIEWS_MIN - 2

    def broken() -> bool:
        return simulation.highest_view >= views and simulation.faults > 0

    simulation.run(span_ms, broken)
    heal(simulation)
    simulation.require_commits(2, 60 * timing.base_timeout_ms)
    limit_ms = 60 * timing.base_timeout_ms
    if not simulation.run(limit_ms, lambda: simulation.highest_view >= SCENARIO_VIEWS_MIN):
        raise SimulationFailed(f"no {SCENARIO_VIEWS_MIN} views within {limit_ms} ms ({simulation})")


def plan_fault(simulation: Simulation, random: Random, begin_max_ms: int, length_ms: int) -> None:
    """Crash a node, or cut the network in two, for a while; more than f may be down at once."""
    begin_ms, length_ms = random.randrange(begin_max_ms), random.randrange(length_ms)
    if random.randrange(2):
        node = random.choice(simulation.nodes)
        simulation.after(begin_ms, simulation.crash, node)
        simulation.after(begin_ms + length_ms, simulation.start, node)
        return
    count = len(simulation.nodes)
    side = set(random.sample(range(count), random.randint(1, count - 1)))
    simulation.after(begin_ms, _part, simulation, [side, set(range(count)) - side])
    simulation.after(begin_ms + length_ms, _part, simulation, None)


def _part(simulation: Simulation, groups: list[set[int]] | None) -> None:
    simulation.groups = groups
    simulation.faults += groups is not None
    what = "whole again" if groups is None else f"cut into {' and '.join(map(str, groups))}"
    simulation.note(None, f"the network is {what}")


def require_nobody_wronged(simulation: Simulation) -> None:
    """Raise `SimulationFailed` if an honest member has halted or is accused by another."""
    for node in simulation.honest:
        accused = {member for one in node.evidence for member in one.members}
        accused |= {one.member for one in node.faults}
        if node.halted is not None or not accused <= simulation.faulty:
            text = f"member {node.member} halts: {node.halted}, or accuses one of {accused}"
            raise SimulationFailed(f"{text} ({simulation})")

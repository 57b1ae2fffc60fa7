"""One fault at a time; the judge watches S1, S2, S4 and A1 in each."""

from collections.abc import Callable
from dataclasses import replace
from random import Random

import pytest

from consensus.committee import Timing
from consensus.messages import BlockResponse, Message, Proposal, Vote
from testnet.simulation import Conditions, Node, Simulation

RESPONSIVE = Timing(round_interval_ms=0, base_timeout_ms=400)
USUAL = Timing()


@pytest.mark.parametrize("n", [4, 5, 7, 13])
@pytest.mark.parametrize("timing", [RESPONSIVE, USUAL], ids=["interval 0", "interval 250"])
def test_f_dead_members_cost_their_views_only(n: int, timing: Timing) -> None:
    simulation = Simulation(n, seed=n, timing=timing)
    simulation.run(500)
    for node in simulation.nodes[: simulation.context.f]:
        simulation.crash(node)
    simulation.require_commits(8, 25 * timing.base_timeout_ms)


@pytest.mark.parametrize("seed", range(6))
def test_members_that_start_at_different_times(seed: int) -> None:
    simulation = Simulation(4, seed, asleep=range(4))
    random = Random(seed)
    for node in simulation.nodes:
        simulation.after(random.randrange(20_000), lambda node=node: simulation.start(node))
    simulation.run(20_000)
    simulation.require_commits(5, 8_000)


def test_exactly_a_quorum_starting_late_is_enough() -> None:
    simulation = Simulation(4, 1, asleep=range(4))
    for number, node in enumerate(simulation.nodes[:3]):
        simulation.after(2_700 * number, lambda node=node: simulation.start(node))
    simulation.run(6_000)
    simulation.require_commits(3, 15_000)


@pytest.mark.parametrize("n", [4, 5, 7])
def test_without_a_quorum_nothing_is_certified_and_afterwards_it_goes_on(n: int) -> None:
    simulation = Simulation(n, seed=3, timing=RESPONSIVE)
    simulation.run(500)
    half = n // 2
    simulation.groups = [set(range(half)), set(range(half, n))]
    simulation.run(500)
    certifiable = simulation.judge.certifiable_views
    simulation.run(20_000)
    assert simulation.judge.certifiable_views <= certifiable + (half < n - simulation.context.q)
    simulation.groups = None
    simulation.require_commits(5, 10_000)


def test_a_network_slower_than_the_base_timeout_still_commits() -> None:
    timing = Timing(round_interval_ms=0, base_timeout_ms=400)
    simulation = Simulation(4, 2, timing=timing, conditions=Conditions(delay_ms=(170, 190)))
    simulation.require_commits(8, 60_000)


@pytest.mark.parametrize("seed", range(4))
def test_a_member_that_was_away_for_hundreds_of_blocks_comes_back(seed: int) -> None:
    simulation = Simulation(4, seed, timing=Timing(round_interval_ms=20))
    simulation.run(500)
    away = simulation.nodes[seed % 4]
    if seed % 2:
        simulation.crash(away)
    else:
        simulation.groups = [{i for i in range(4) if i != seed % 4}]
    simulation.run(40_000)
    assert max(node.core.root.height for node in simulation.nodes if node.core) > 100
    simulation.groups = None
    simulation.start(away)
    simulation.require_commits(5, 10_000)


def test_a_member_whose_blocks_were_lost_fetches_them_from_stores() -> None:
    simulation = Simulation(4, 3, timing=RESPONSIVE)
    simulation.run(1_500)
    node = simulation.nodes[0]
    safety = node.running.safety
    simulation.crash(node)
    node.disk = simulation.empty_disk()
    node.disk.safety = safety
    simulation.start(node)
    simulation.require_commits(5, 10_000)


def test_a_returning_member_gets_past_peers_that_lie_about_blocks() -> None:
    simulation = Simulation(4, 9, timing=Timing(round_interval_ms=20), faulty=[1])
    simulation.run(300)
    away = simulation.nodes[0]
    simulation.crash(away)
    simulation.run(5_000)

    def lie(node: Node, _to: int, message: Message) -> list[Message]:
        if isinstance(message, BlockResponse) and message.blocks:
            false = _with_genesis(simulation, message)
            return [false, replace_blocks(message, message.blocks[1:]), false]
        return [message]

    simulation.nodes[1].intercept = lie
    simulation.start(away)
    simulation.require_commits(5, 15_000)
    assert away.halted is None
    assert any("link" in text for text in away.refused)


def _with_genesis(simulation: Simulation, message: BlockResponse) -> BlockResponse:
    import msgspec

    first = msgspec.structs.replace(message.blocks[0], justify=simulation.context.genesis_qc)
    return replace_blocks(message, (first,))


def replace_blocks(message: BlockResponse, blocks: object) -> BlockResponse:
    import msgspec

    return msgspec.structs.replace(message, blocks=blocks)


@pytest.mark.parametrize("what", [Vote, Proposal])
@pytest.mark.parametrize("seed", range(3))
def test_messages_that_come_late_do_not_hold_up_the_rest(what: type[Message], seed: int) -> None:
    """Votes overtake proposals, and proposals their predecessors."""
    simulation = Simulation(4, seed, timing=RESPONSIVE)

    def delay(node: Node, to: int, message: Message) -> list[Message]:
        if isinstance(message, what) and simulation.random.randrange(3) == 0:
            simulation.after(30, lambda: simulation.send(node, to, message))
            return []
        return [message]

    for node in simulation.nodes:
        node.intercept = delay
    simulation.require_commits(20, 8_000)


@pytest.mark.parametrize("seed", range(8))
def test_crashes_at_any_effect_boundary(seed: int) -> None:
    conditions = Conditions(delay_ms=(1, 20), crash=15, down_ms=(10, 500), disk_ms=(0, 10))
    simulation = Simulation(4, seed, timing=RESPONSIVE, conditions=conditions)
    simulation.run(15_000)
    assert sum(node.life for node in simulation.nodes) > 5
    simulation.conditions = Conditions()
    simulation.after(0, simulation.restart_all)
    simulation.require_commits(5, 15_000)


def test_a_crash_before_each_single_effect() -> None:
    """The k-th effect of a node is never performed, for every k of a run with a timeout."""
    for number in range(0, 100, 7):
        simulation = Simulation(4, 11, timing=RESPONSIVE)
        victim = simulation.nodes[1]
        simulation.after(60, lambda s=simulation: s.crash(s.nodes[2]))
        simulation.after(900, lambda s=simulation: s.start(s.nodes[2]))
        _crash_before(simulation, victim, number)
        simulation.run(1_500)
        simulation.start(victim)
        simulation.require_commits(3, 10_000)


def _crash_before(simulation: Simulation, victim: Node, number: int) -> None:
    perform: Callable[..., None] = simulation._perform
    seen = 0

    def counting(node: Node, effect: object) -> None:
        nonlocal seen
        if node is victim:
            seen += 1
            if seen == number + 1:
                simulation.crash(node)
                simulation.after(50, lambda: simulation.start(node))
                return
        perform(node, effect)

    simulation._perform = counting  # type: ignore[method-assign]


def test_a_clock_beyond_the_limit_excludes_its_member_only() -> None:
    simulation = Simulation(4, 4, timing=RESPONSIVE)
    simulation.nodes[2].skew_ms = 60_000
    simulation.require_commits(10, 12_000)


def test_slow_disks_delay_and_nothing_else() -> None:
    conditions = Conditions(disk_ms=(5, 60))
    simulation = Simulation(4, 4, timing=RESPONSIVE, conditions=conditions)
    simulation.require_commits(20, 10_000)
    assert replace(conditions) == simulation.conditions


def test_repeated_and_reordered_messages_change_nothing() -> None:
    conditions = Conditions(delay_ms=(1, 150), repetition=500)
    simulation = Simulation(7, 4, timing=USUAL, conditions=conditions)
    simulation.require_commits(10, 15_000)
    assert not any(node.evidence or node.faults or node.refused for node in simulation.nodes)

"""An epoch that ends, in whatever way it can go wrong; signatures are stubs."""

from dataclasses import replace
from random import Random

import pytest

from consensus import effects as fx
from consensus.committee import EpochContext, Timing
from consensus.handover import terms_of
from testnet.simulation import Conditions, Node, Simulation

DOCUMENT = b"next epoch"


def ended(simulation: Simulation) -> bool:
    return all(node.handed_over is not None for node in simulation.nodes)


def approve(simulation: Simulation, document: bytes = DOCUMENT) -> None:
    context = simulation.context
    simulation.approve(simulation.signatures.change(document, range(context.q)))


def require_end(simulation: Simulation, within_ms: int = 60_000) -> None:
    """Run until all have handed over; then see what must hold of every such run."""
    assert ended(simulation) or simulation.run(within_ms, lambda: ended(simulation)), simulation
    handed = [node.handed_over for node in simulation.nodes if node.handed_over is not None]
    terms = {over.terms for over in handed}
    assert len(terms) == 1
    (ending,) = terms
    for node in simulation.nodes:
        simulation.signatures.check(0, handed[0].certificate)
        head = node.disk.head
        assert head.block_id == ending.deciding_id
        assert head.block is not None
        assert any(head.block.header.feed_root)
        require_no_price_after(simulation.context, node, ending.deciding_id)


def require_no_price_after(context: EpochContext, node: Node, deciding_id: bytes) -> None:
    after = {deciding_id}
    for block_id, block in sorted(node.disk.blocks.items(), key=lambda item: item[1].view):
        if context.id_of(block.justify) in after:
            after.add(block_id)
            assert block.header.feed_root == bytes(32)


def test_an_epoch_ends_in_a_few_network_delays() -> None:
    simulation = Simulation(4, 1, timing=Timing(round_interval_ms=0))
    simulation.run(500)
    approve(simulation)
    begun = simulation.now_ms
    require_end(simulation)
    assert simulation.now_ms - begun < 1_000


@pytest.mark.parametrize("n", [1, 4, 5, 7])
def test_committees_of_any_size_hand_over(n: int) -> None:
    simulation = Simulation(n, n)
    simulation.run(700)
    approve(simulation)
    require_end(simulation)


def test_a_single_honest_leader_that_knows_of_it_is_enough() -> None:
    simulation = Simulation(4, 2)
    simulation.run(300)
    change = simulation.signatures.change(DOCUMENT, range(3))
    node = simulation.nodes[2]
    node.change = change
    node.running.on_change(change)
    require_end(simulation)


def test_without_a_quorum_of_approvals_nothing_ends() -> None:
    simulation = Simulation(4, 3)
    simulation.run(300)
    simulation.approve(simulation.signatures.change(DOCUMENT, range(2)))
    simulation.run(5_000)
    assert not any(node.handed_over or node.disk.safety.closed for node in simulation.nodes)
    simulation.require_commits(3, 5_000)
    assert all(not node.refused for node in simulation.nodes)


def test_of_two_approved_successors_one_is_decided() -> None:
    for seed in range(30):
        simulation = Simulation(4, seed, conditions=Conditions(loss=100, delay_ms=(1, 60)))
        simulation.run(400)
        for index, node in enumerate(simulation.nodes):
            document = DOCUMENT + bytes([index % 2])
            node.change = simulation.signatures.change(document, range(3))
            node.running.on_change(node.change)
        require_end(simulation)


def test_a_minority_that_crashed_before_the_end_follows_when_it_is_back() -> None:
    simulation = Simulation(4, 5)
    simulation.run(500)
    sleeper = simulation.nodes[1]
    simulation.crash(sleeper)
    approve(simulation)
    others = [node for node in simulation.nodes if node is not sleeper]
    assert simulation.run(10_000, lambda: all(node.handed_over for node in others))
    simulation.start(sleeper)
    require_end(simulation)


def test_two_that_closed_bring_the_two_that_did_not() -> None:
    """Those that closed never time out again, so the others could not go on by themselves."""
    found = 0
    for seed in range(60):
        simulation = Simulation(4, seed)
        simulation.run(400)
        approve(simulation)

        def some_closed(simulation: Simulation = simulation) -> bool:
            return any(node.disk.safety.closed for node in simulation.nodes)

        assert simulation.run(10_000, some_closed)
        closed = {i for i, node in enumerate(simulation.nodes) if node.disk.safety.closed}
        open_ = set(range(4)) - closed
        found += 0 < len(closed) < 3
        simulation.groups = [closed, open_]
        simulation.run(3_000)
        simulation.groups = None
        require_end(simulation)
    assert found


def test_a_deciding_block_that_is_certified_and_never_committed_does_not_bind() -> None:
    """Its certificate reaches nobody: the next block skips it, and a later one decides."""
    found = 0
    for seed in range(40):
        simulation = Simulation(4, seed)
        simulation.run(300)
        knowing = simulation.nodes[1]
        knowing.change = simulation.signatures.change(DOCUMENT, range(3))
        knowing.running.on_change(knowing.change)
        first: set[bytes] = set()
        for _ in range(10_000):
            simulation.run(1)
            first = deciding_blocks(simulation)
            if first:
                break
        assert first
        simulation.groups = [{0}, {1}, {2}, {3}]
        simulation.run(3_000)
        # The one that has the block is away: it may be lost, or be found by its certificate.
        simulation.groups = [{0, 2, 3}, {1}]
        simulation.run(4_000)
        simulation.groups = None
        approve(simulation)
        require_end(simulation)
        over = simulation.nodes[0].handed_over
        assert over is not None
        found += over.terms.deciding_id not in first
    assert found


def deciding_blocks(simulation: Simulation) -> set[bytes]:
    return {
        block_id
        for node in simulation.nodes
        for block_id, block in node.disk.blocks.items()
        if DOCUMENT in block.payload
    }


def test_a_crash_before_any_effect_of_the_handover_loses_nothing() -> None:
    """Kill one member, then another, before each of the effects that surround the end."""
    kinds = (fx.Committed, fx.Persist, fx.SendHandoverShare, fx.CertifyHandover, fx.HandedOver)
    for kind in kinds:
        for victims in ((0,), (0, 1), (0, 1, 2, 3)):
            simulation = CrashBefore(4, 11, kind, victims)
            simulation.run(400)
            approve(simulation)
            simulation.armed = True
            require_end(simulation)
            assert not simulation.armed_for, kind


class CrashBefore(Simulation):
    """Kills each of some members once, right before its first effect of a kind at the end."""

    def __init__(self, n: int, seed: int, kind: type, victims: tuple[int, ...]) -> None:
        super().__init__(n, seed)
        self.kind = kind
        self.armed = False
        self.armed_for = set(victims)

    def _perform(self, node: Node, effect: fx.Effect) -> None:
        ends = not isinstance(effect, fx.Committed) or effect.successor is not None
        ends = ends and (not isinstance(effect, fx.Persist) or effect.safety.closed)
        if self.armed and node.member in self.armed_for and isinstance(effect, self.kind) and ends:
            self.armed_for.discard(node.member)
            self.crash(node)
            self.after(700, lambda: self.start(node))
            return
        super()._perform(node, effect)


@pytest.mark.parametrize("block", range(4))
def test_chaos_through_the_end_of_an_epoch(block: int) -> None:
    for seed in range(block * 100, block * 100 + 60):
        chaos_through_the_end(4, seed)


@pytest.mark.slow
@pytest.mark.parametrize("n", [4, 5, 7])
def test_much_chaos_through_the_end_of_an_epoch(n: int) -> None:
    for seed in range(1_000, 1_300):
        chaos_through_the_end(n, seed)


def chaos_through_the_end(n: int, seed: int) -> None:
    random = Random(f"end {seed}")
    conditions = Conditions(
        delay_ms=(1, random.choice((5, 60, 300))),
        loss=random.choice((0, 50, 250)),
        repetition=random.choice((0, 50)),
        disk_ms=(0, random.choice((0, 20))),
        crash=random.choice((0, 2, 10)),
    )
    simulation = Simulation(n, seed, conditions=conditions)
    keeps = Random(f"keeps {seed}").choice((None, 0, 4))
    for node in simulation.nodes:
        node.disk.keeps = keeps
    simulation.run(random.randint(0, 1_500))
    for document in (DOCUMENT, DOCUMENT + b" other")[: random.randint(1, 2)]:
        change = simulation.signatures.change(document, range(simulation.context.q))
        for node in random.sample(simulation.nodes, random.randint(1, n)):
            node.change = change
            if node.core is not None:
                node.core.on_change(change)
    for _ in range(random.randint(0, 3)):
        side = set(random.sample(range(n), random.randint(1, n - 1)))
        simulation.groups = [side, set(range(n)) - side]
        simulation.run(random.randint(0, 2_000))
        simulation.groups = None
        simulation.run(random.randint(0, 2_000))
    simulation.conditions = replace(conditions, delay_ms=(1, 10), loss=0, crash=0, disk_ms=(0, 0))
    simulation.after(0, simulation.restart_all)
    simulation.run(0)
    require_end(simulation)


def test_terms_bind_epoch_network_and_configuration() -> None:
    context = Simulation(4, 0).context
    one = terms_of(context, b"c" * 32, b"d" * 32, 5)
    other_network = replace(context, network=b"o" * 32)
    later = replace(context, epoch=1)
    digests = {
        one.digest,
        terms_of(other_network, b"c" * 32, b"d" * 32, 5).digest,
        terms_of(later, b"c" * 32, b"d" * 32, 5).digest,
        terms_of(context, b"e" * 32, b"d" * 32, 5).digest,
        terms_of(context, b"c" * 32, b"e" * 32, 5).digest,
        terms_of(context, b"c" * 32, b"d" * 32, 6).digest,
    }
    assert len(digests) == 6

"""Members that were away for longer than a chain may be held, or than the others keep blocks."""

from dataclasses import replace
from random import Random

import pytest
from msgspec.structs import replace as replaced

from consensus import effects as fx
from consensus.committee import Timing
from consensus.messages import BlockRequest, CheckpointRequest, CheckpointResponse, Message
from consensus.safety import SafetyState
from testnet.byzantine import Coalition
from testnet.chaos import require_nobody_wronged
from testnet.simulation import Conditions, Disk, Node, Simulation

QUICK = Timing(round_interval_ms=20, base_timeout_ms=100)
KEEPS = 20
"""So many views are kept on a disk that is pruned."""


@pytest.mark.parametrize("loss", [0, 200])
def test_a_long_absence_is_caught_up_with_in_pieces(
    monkeypatch: pytest.MonkeyPatch, loss: int
) -> None:
    monkeypatch.setattr("consensus.fetch.CHAIN_BLOCKS_MAX", 40)
    monkeypatch.setattr("consensus.core.FAR_BLOCKS", 1 << 30)
    simulation = Simulation(4, 5, timing=QUICK)
    simulation.run(300)
    away = simulation.nodes[2]
    simulation.crash(away)
    simulation.run(25_000)
    height = max(node.core.root.height for node in simulation.nodes if node.core)
    assert height > 3 * 64, "several responses, and more pieces than one"
    simulation.conditions = Conditions(loss=loss)
    simulation.start(away)
    held = 0
    for _ in range(60):
        simulation.run(250)
        held = max(held, *(len(want.chain) for want in away.running._fetcher.all()), 0)
    assert away.running.root.height > height
    assert held < 40 + 64, "no more than a piece and the response that filled it"


def pruned(simulation: Simulation, keeps: int = KEEPS) -> None:
    for node in simulation.nodes:
        node.disk.keeps = keeps


def highest(simulation: Simulation) -> int:
    return max(node.core.root.height for node in simulation.honest if node.core)


def require_agreement(simulation: Simulation) -> None:
    """See that members that are equally far hold one state, and that no honest one was wronged."""
    simulation.require_commits(3, 30_000)
    states: dict[bytes, set[object]] = {}
    for node in simulation.honest:
        root = node.running.root
        states.setdefault(root.block_id, set()).add(root.state)
        assert root.block is not None
        restored = simulation.rule.restore(simulation.rule.encode_state(root.state))
        assert restored.state_digest == root.block.state_digest
    assert all(len(held) == 1 for held in states.values())
    require_nobody_wronged(simulation)


class Watched(Simulation):
    """Notes what members skip, and may kill one right before an effect, once it is catching up."""

    skipped: list[tuple[Node, fx.StoreCheckpoint]]
    victim: Node | None = None
    effects_left: int = 0

    def _perform(self, node: Node, effect: fx.Effect) -> None:
        if node is self.victim:
            if self.effects_left == 0:
                self.victim = None
                self.crash(node)
                self.after(50, self.start, node)
                return
            self.effects_left -= 1
        if isinstance(effect, fx.StoreCheckpoint):
            self.skipped.append((node, effect))
        super()._perform(node, effect)


def watched(n: int, seed: int, faulty: tuple[int, ...] = (), timing: Timing = QUICK) -> Watched:
    simulation = Watched(n, seed, timing=timing, faulty=faulty)
    simulation.skipped = []
    return simulation


def stay_away(simulation: Simulation, away: Node, duration_ms: int) -> int:
    """Kill a node and let the others go on; return how high they are."""
    simulation.run(300)
    simulation.crash(away)
    simulation.run(duration_ms)
    return highest(simulation)


def come_back(simulation: Simulation, away: Node, height: int, within_ms: int = 20_000) -> None:
    simulation.start(away)
    reached = simulation.run(
        within_ms, lambda: away.core is not None and away.core.root.height >= height
    )
    assert reached, f"at {away.running.root.height} of {height} ({simulation})"


@pytest.mark.slow
def test_thousands_of_blocks_that_nobody_has_any_more() -> None:
    simulation = watched(4, 1)
    pruned(simulation, 200)
    away = simulation.nodes[3]
    height = stay_away(simulation, away, 170_000)
    assert height > 3_000
    come_back(simulation, away, height)
    assert {node for node, _ in simulation.skipped} == {away}
    require_agreement(simulation)


def test_a_gap_that_nobody_can_fill_is_skipped() -> None:
    for seed in range(4):
        simulation = watched(4, seed)
        pruned(simulation)
        away = simulation.nodes[seed]
        height = stay_away(simulation, away, 3_000)
        before = away.disk.safety
        come_back(simulation, away, height)
        assert {node for node, _ in simulation.skipped} == {away}
        assert away.disk.safety.last_voted_view >= before.last_voted_view
        require_agreement(simulation)


def test_views_that_pass_faster_than_anyone_can_be_asked_twice_do_not_keep_a_member_out() -> None:
    """Each certificate's block is looked for, and gives way to the next before it is missed."""
    timing = Timing(round_interval_ms=0, base_timeout_ms=400)
    for seed in range(4):
        simulation = watched(7, seed, timing=timing)
        pruned(simulation, seed % 3)
        away = simulation.nodes[seed]
        height = stay_away(simulation, away, 3_000)
        come_back(simulation, away, height)
        assert simulation.skipped
        require_agreement(simulation)


def test_a_long_gap_is_skipped_though_it_could_be_filled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("consensus.core.FAR_BLOCKS", 70)
    simulation = watched(4, 2)
    away = simulation.nodes[0]
    height = stay_away(simulation, away, 12_000)
    assert height > 70 + 64, "more than one response and what is fetched block by block"
    asked = 0

    def count(node: Node, to: int, message: Message) -> list[Message]:
        nonlocal asked
        asked += isinstance(message, BlockRequest)
        return [message]

    away.intercept = count
    come_back(simulation, away, height)
    assert simulation.skipped
    assert asked < 20, "the gap is not fetched block by block"
    require_agreement(simulation)


@pytest.mark.parametrize("n", [4, 7])
def test_all_but_an_honest_one_of_those_asked_may_lie(n: int) -> None:
    """f members answer with wrong and with old checkpoints, all the time and first."""
    for seed in range(5):
        f = (n - 1) // 3
        away_member = seed % n
        faulty = tuple((away_member + 1 + i) % n for i in range(f))
        simulation = watched(n, seed, faulty)
        coalition = Coalition(simulation, Random(seed), ["misinform"])
        simulation.coalition = coalition
        pruned(simulation)
        away = simulation.nodes[away_member]
        height = stay_away(simulation, away, 3_000)
        come_back(simulation, away, height)
        assert {node.member for node, _ in simulation.skipped} <= {away_member, *faulty}
        require_agreement(simulation)


@pytest.mark.parametrize("n", [4, 7])
def test_one_that_tells_the_truth_is_found_among_all_the_others(n: int) -> None:
    """All but one answer wrongly, more than may be faulty: turns go round until it is asked."""
    for seed in range(4):
        simulation = watched(n, seed)
        pruned(simulation)
        away, honest = simulation.nodes[seed % n], simulation.nodes[(seed + 2) % n]
        random = Random(seed)

        def lie(node: Node, to: int, message: Message, random: Random = random) -> list[Message]:
            if isinstance(message, CheckpointResponse):
                return [replaced(message, state=random.randbytes(32))]
            return [message]

        for node in simulation.nodes:
            if node not in (away, honest):
                node.intercept = lie
        height = stay_away(simulation, away, 3_000)
        come_back(simulation, away, height)
        assert [node for node, _ in simulation.skipped] == [away]
        assert not any(text.startswith(f"{honest.member}:") for text in away.refused)
        require_agreement(simulation)


def test_old_checkpoints_of_a_liar_do_not_keep_a_member_behind() -> None:
    """The liar is asked first, is faster than all others, and always has the least that is new."""
    simulation = watched(4, 3, faulty=(1,))
    away = simulation.nodes[0]
    shown: list[CheckpointResponse] = []

    def learn(node: Node, to: int, message: Message) -> list[Message]:
        if isinstance(message, CheckpointResponse):
            ours = away.running.root.height
            older = [one for one in shown if one.block.height > ours]
            return [older[0] if older else message]
        return [message]

    simulation.nodes[1].intercept = learn
    pruned(simulation)
    simulation.run(300)
    simulation.crash(away)
    for _ in range(60):
        simulation.run(60)
        core = simulation.nodes[1].running
        for effect in core.on_checkpoint_request(3, CheckpointRequest(0), simulation.now_ms):
            assert isinstance(effect, fx.SendResponse)
            assert isinstance(effect.response, CheckpointResponse)
            shown.append(effect.response)
    height = highest(simulation)
    come_back(simulation, away, height)
    require_agreement(simulation)


def test_a_crash_before_any_effect_while_catching_up_loses_nothing() -> None:
    """Kill the member before its first effect since it came back, its second, and so on."""
    died = 0
    for count in range(0, 120, 3):
        simulation = watched(4, 11)
        pruned(simulation)
        away = simulation.nodes[1]
        height = stay_away(simulation, away, 2_000)
        simulation.victim, simulation.effects_left = away, count
        come_back(simulation, away, height)
        require_agreement(simulation)
        died += simulation.victim is None
    assert died > 20
    for kind in (fx.StoreCheckpoint, fx.Persist, fx.SetTimer, fx.SendRequest, fx.Observe):
        simulation = watched(4, 11)
        pruned(simulation)
        away = simulation.nodes[1]
        height = stay_away(simulation, away, 2_000)
        killed = kill_after_the_checkpoint(simulation, away, kind)
        come_back(simulation, away, height)
        require_agreement(simulation)
        assert killed, kind


def kill_after_the_checkpoint(simulation: Watched, away: Node, kind: type) -> list[type]:
    """Kill a member before its first effect of a kind from its checkpoint on."""
    killed: list[type] = []
    perform = simulation._perform

    def watch(node: Node, effect: fx.Effect) -> None:
        begun = bool(simulation.skipped) or isinstance(effect, fx.StoreCheckpoint)
        if node is away and begun and isinstance(effect, kind) and not killed:
            killed.append(type(effect))
            simulation.crash(node)
            simulation.after(50, simulation.start, node)
            return
        perform(node, effect)

    simulation._perform = watch  # type: ignore[method-assign]
    return killed


def test_a_member_that_lost_all_blocks_but_not_what_it_signed_comes_back() -> None:
    for seed in range(4):
        simulation = watched(4, seed)
        pruned(simulation)
        away = simulation.nodes[2]
        height = stay_away(simulation, away, 3_000)
        fresh = simulation.empty_disk()
        away.disk = Disk(away.disk.safety, fresh.head, keeps=KEEPS)
        come_back(simulation, away, height)
        require_agreement(simulation)


def test_a_member_that_is_new_begins_with_a_checkpoint() -> None:
    simulation = Watched(4, 6, timing=QUICK, asleep=[3])
    simulation.skipped = []
    pruned(simulation)
    simulation.run(4_000)
    new = simulation.nodes[3]
    come_back(simulation, new, highest(simulation))
    assert simulation.skipped[0][1].above_height == 0
    require_agreement(simulation)
    assert new.disk.safety.last_vote is not None, "it takes part"


def test_two_that_are_needed_come_back_one_after_the_other() -> None:
    """Nothing is agreed while the second is away: its last final block is the others' too."""
    simulation = watched(4, 8)
    pruned(simulation)
    first, second = simulation.nodes[0], simulation.nodes[1]
    height = stay_away(simulation, first, 3_000)
    simulation.crash(second)
    simulation.run(5_000)
    assert highest(simulation) <= height + 1
    # Those that are left restart as well: none has made anything final in this life.
    for node in simulation.nodes[2:]:
        simulation.crash(node)
        simulation.start(node)
    simulation.start(first)
    simulation.run(0)
    require_agreement_without(simulation, second)
    simulation.start(second)
    simulation.run(0)
    require_agreement(simulation)


def require_agreement_without(simulation: Simulation, away: Node) -> None:
    goal = highest(simulation) + 3
    nodes = [node for node in simulation.nodes if node is not away]
    assert simulation.run(
        60_000, lambda: all(n.core is not None and n.core.root.height >= goal for n in nodes)
    ), [n.running.root.height for n in nodes]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("needed", [False, True])
def test_a_member_that_is_behind_at_the_end_of_an_epoch_gets_there(needed: bool, seed: int) -> None:
    """`needed`: without its share there is no quorum, so the others wait with the epoch closed."""
    simulation = watched(4, seed)
    pruned(simulation)
    away = simulation.nodes[1]
    stay_away(simulation, away, 3_000)
    simulation.approve(simulation.signatures.change(b"next epoch", range(3)))
    others = [node for node in simulation.nodes if node is not away]
    assert simulation.run(10_000, lambda: all(n.disk.safety.closed for n in others))
    if needed:
        simulation.crash(others[seed % 3])
        restart_before_any_certificate(simulation, others)
    simulation.start(away)
    present = [node for node in simulation.nodes if node.core is not None]

    def ended() -> bool:
        return all(node.handed_over is not None for node in present)

    assert simulation.run(30_000, ended), simulation
    (terms,) = {node.handed_over.terms for node in present if node.handed_over is not None}
    assert away.disk.head.block_id == terms.deciding_id
    (skip,) = [effect for node, effect in simulation.skipped if node is away]
    assert skip.block_id == terms.deciding_id
    assert skip.successor == terms.configuration_hash


def restart_before_any_certificate(simulation: Simulation, nodes: list[Node]) -> None:
    """Restart members in the closed epoch, none of which has a certificate of its end."""
    for node in nodes:
        node.handed_over = None
        if node.core is not None:
            simulation.crash(node)
            simulation.start(node)


class LongAbsences:
    """A scenario of random faults with pruned disks, long absences, lost blocks and liars."""

    def __init__(self, n: int, seed: int) -> None:
        random = self.random = Random(f"behind {seed}")
        conditions = Conditions(
            delay_ms=(1, random.choice((3, 10, 40))),
            loss=random.choice((0, 20, 100)),
            repetition=random.choice((0, 50)),
            disk_ms=(0, random.choice((0, 10))),
            crash=random.choice((0, 0, 1)),
        )
        faulty = random.sample(range(n), (n - 1) // 3) if random.randrange(2) else []
        self.simulation = simulation = Watched(
            n, seed, timing=QUICK, conditions=conditions, faulty=faulty
        )
        simulation.skipped = []
        if faulty:
            vices = ["misinform", *random.sample(["withhold", "equivocate", "hide", "stale"], 2)]
            simulation.coalition = Coalition(simulation, Random(seed), vices)
        pruned(simulation, random.choice((3, 10, 30)))
        simulation.run(random.randint(100, 1_000))
        for _ in range(random.randint(1, 3)):
            self._be_away(random.choice(simulation.honest))
        simulation.groups = None
        simulation.cut = None
        simulation.conditions = replace(
            conditions, delay_ms=(1, 5), loss=0, crash=0, disk_ms=(0, 0)
        )
        simulation.after(0, simulation.restart_all)
        simulation.run(0)
        require_agreement(simulation)

    def _be_away(self, node: Node) -> None:
        random, simulation = self.random, self.simulation
        if random.randrange(2):
            side = set(range(len(simulation.nodes))) - {node.number}
            simulation.groups = [side, {node.number}]
            simulation.run(random.randint(200, 4_000))
            simulation.groups = None
        else:
            simulation.crash(node)
            simulation.run(random.randint(200, 4_000))
            if random.randrange(3) == 0:
                safety: SafetyState = node.disk.safety
                keeps = node.disk.keeps
                node.disk = Disk(safety, simulation.empty_disk().head, keeps=keeps)
            simulation.start(node)
        simulation.run(random.randint(0, 1_500))


@pytest.mark.parametrize("block", range(4))
def test_chaos_with_long_absences(block: int) -> None:
    skipped = sum(
        len(LongAbsences(4, seed).simulation.skipped)
        for seed in range(block * 100, block * 100 + 12)
    )
    assert skipped, "no member ever needed a checkpoint"


@pytest.mark.slow
@pytest.mark.parametrize("n", [4, 5, 7])
def test_much_chaos_with_long_absences(n: int) -> None:
    for seed in range(1_000, 1_150):
        LongAbsences(n, seed)

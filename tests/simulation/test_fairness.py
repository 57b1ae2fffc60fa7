"""The accounts of fairness on whole committees: nobody honest is accused, who censors is found."""

from collections.abc import Callable, Sequence
from hashlib import blake2b
from math import ceil, log
from random import Random
from typing import Any

import pytest

from consensus import effects as fx
from consensus.committee import Timing, quorum
from consensus.messages import Change, Message, ObservationMessage, Observed, Proposal
from node.fairness.accounts import Alarm, FairnessAccounts
from node.fairness.bias import TURNS_TO_ALARM as BIAS_TURNS
from node.fairness.inclusion import TURNS_TO_ALARM
from node.fairness.rarity import FACTOR_MAX, SCORE_MAX
from testnet.byzantine import Coalition
from testnet.simulation import Conditions, Node, Simulation
from testnet.stub_signatures import StubRule

PACED = Timing(round_interval_ms=250, base_timeout_ms=1000)
RESPONSIVE = Timing(round_interval_ms=0, base_timeout_ms=1000)


def price(view: int, member: int) -> int:
    """Return what a member would have observed: each leans to one side, and all have noise."""
    noise = blake2b(b"%d %d" % (view, member), digest_size=2).digest()
    return 10**6 + 30 * member + int.from_bytes(noise, "big") % 200


def body_of(view: int, member: int) -> bytes:
    return b"%d" % price(view, member)


class Watched(Simulation):
    """A simulation in which every honest node keeps accounts, as `node.telemetry` has it."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.accounts: dict[int, FairnessAccounts] = {}
        self.raised: list[tuple[int, Alarm]] = []
        """(watching member, alarm)."""
        self.turns: dict[tuple[int, int], int] = {}
        """By watching member and leader, final blocks so far."""
        self.first: dict[tuple[int, Alarm], int] = {}
        """After how many of its leader's turns the watching member raised an alarm."""
        super().__init__(*arguments, **options)

    def start(self, node: Node) -> None:
        context = self.context
        if node.core is None:
            self.accounts[node.number] = FairnessAccounts(
                context.n,
                context.f,
                context.q,
                node.member,
                small=context.n <= 10,
                grace_ms=context.configuration.timing.grace_ms,
                prices_of=lambda body: [int(body)],
            )
        super().start(node)

    def _see(self, sender: int, to: Node, message: Message) -> None:
        accounts = self.accounts[to.number]
        match message:
            case ObservationMessage(observed=observed):
                view = observed.view
                accounts.heard(view, sender, body_of(view, sender), self.now_ms)
            case Proposal(block=block):
                block_id = block.header.id(self.context.domain)
                accounts.proposed(block.view, block_id, self.now_ms)
            case _:
                pass

    def deliver(self, sender: int, to: Node, message: Message) -> None:
        super().deliver(sender, to, message)
        if to.core is not None and sender != to.member:
            self._see(sender, to, message)

    def _send(self, node: Node, to: Sequence[int], message: Message) -> None:
        if isinstance(message, ObservationMessage):
            self.accounts[node.number].sent(message.observed.view)
        if node.member in to:
            self._see(node.member, node, message)
        super()._send(node, to, message)

    def _perform(self, node: Node, effect: fx.Effect) -> None:
        accounts = self.accounts[node.number]
        match effect:
            case fx.EnteredView(view=view, by_timeout=by_timeout):
                accounts.entered(view, by_timeout, self.now_ms)
            case fx.SendTimeout(view=view):
                accounts.gave_up(view)
            case fx.Committed(block_id=block_id, block=block) if node in self.honest:
                view, leader = block.view, self.context.leader(block.view)
                turn = node.number, leader
                self.turns[turn] = self.turns.get(turn, 0) + 1
                members = [observed.member for observed in StubRule.decode(block.payload)]
                taken = [(member, body_of(view, member)) for member in members]
                for alarm in accounts.committed(view, block_id, leader, taken).raised:
                    self.raised.append((node.member, alarm))
                    self.first.setdefault((node.number, alarm), self.turns[turn])
            case _:
                pass
        super()._perform(node, effect)

    def pass_views(self, count: int) -> None:
        """Run until so many views have passed."""
        goal = self.highest_view + count
        assert self.run(count * 10_000, lambda: self.highest_view >= goal)


Pick = Callable[[int, list[Observed]], list[Observed]]


class Picking(StubRule):
    """A rule that proposes what it likes and judges like everyone's."""

    def __init__(self, n: int, pick: Pick) -> None:
        super().__init__(n)
        self.pick = pick

    def build(
        self, view: int, observations: Sequence[Observed], change: Change | None = None
    ) -> bytes:
        return super().build(view, self.pick(view, list(observations)), change)


def corrupt(simulation: Simulation, leader: int, pick: Pick) -> None:
    """Make a member propose only what it picks, once it has heard more than it needs."""
    simulation.run(0)
    core = simulation.nodes_of[leader][0].running
    core._rule = Picking(simulation.context.n, pick)


def without(censored: int, n: int) -> Pick:
    def pick(view: int, observations: list[Observed]) -> list[Observed]:
        others = [observed for observed in observations if observed.member != censored]
        return others if len(others) >= quorum(n) else observations

    return pick


def highest(n: int) -> Pick:
    def pick(view: int, observations: list[Observed]) -> list[Observed]:
        ordered = sorted(observations, key=lambda observed: price(view, observed.member))
        return ordered[-quorum(n) :]

    return pick


def run(
    n: int,
    views: int,
    *,
    timing: Timing = PACED,
    seed: int = 11,
    skew_ms: int = 20,
    delay_ms: tuple[int, int] = (1, 60),
    loss: int = 0,
    faulty: Sequence[int] = (),
) -> Watched:
    """Return a run of honest members on a network with these faults; clocks are a little off."""
    conditions = Conditions(delay_ms=delay_ms, loss=loss, repetition=20)
    simulation = Watched(n, seed, timing=timing, conditions=conditions, faulty=faulty)
    random = Random(seed)
    for node in simulation.nodes:
        node.skew_ms = random.randint(-skew_ms, skew_ms)
    simulation.pass_views(views)
    return simulation


def nearest_ppm(simulation: Watched) -> int:
    """Return how near the nearest alarm is, of any node."""
    names = [str(member) for member in range(simulation.context.n)]
    views = [accounts.view(names, ["feed"]) for accounts in simulation.accounts.values()]
    scores = [part.score_ppm for view in views for part in (*view.pairs, *view.shifts)]
    print(f"{simulation}: {sum(simulation.turns.values())} turns seen, nearest {max(scores)} ppm")
    return max(scores)


def rare_ppm(simulation: Watched) -> int:
    """Return how near fair leaders come at the most, in 999 of 1000 runs (`node.fairness.rarity`).

    Each turn that a node saw is a step of every other member's score, and of each side's.
    """
    steps = (simulation.context.n + 1) * sum(simulation.turns.values())
    return ceil(10**12 * log(1000 * FACTOR_MAX * steps) / SCORE_MAX)


NETWORKS = [
    (timing, delay_ms, loss)
    for timing in (PACED, RESPONSIVE)
    for delay_ms in ((1, 5), (1, 60), (1, 400))
    for loss in (0, 20, 100, 250)
]


@pytest.mark.parametrize("n", [4, 7])
@pytest.mark.parametrize(("delay_ms", "loss"), [((1, 5), 0), ((1, 60), 20), ((1, 400), 100)])
def test_nobody_honest_is_accused(n: int, delay_ms: tuple[int, int], loss: int) -> None:
    simulation = run(n, 300, delay_ms=delay_ms, loss=loss)
    assert simulation.raised == []
    assert nearest_ppm(simulation) < min(300_000, rare_ppm(simulation))


@pytest.mark.slow
@pytest.mark.parametrize("n", [4, 7, 10])
@pytest.mark.parametrize(("timing", "delay_ms", "loss"), NETWORKS)
def test_nobody_honest_is_accused_in_long_runs(
    n: int, timing: Timing, delay_ms: tuple[int, int], loss: int
) -> None:
    simulation = run(n, 2_000, timing=timing, delay_ms=delay_ms, loss=loss, seed=29)
    assert simulation.raised == []
    assert nearest_ppm(simulation) < min(400_000, rare_ppm(simulation))


def test_in_large_committees_nobody_is_accused_either() -> None:
    simulation = run(13, 150, delay_ms=(1, 60), loss=20)
    assert simulation.raised == []


def test_crashes_and_restarts_accuse_nobody() -> None:
    simulation = run(4, 20)
    for cycle in range(12):
        node = simulation.nodes[cycle % 4]
        simulation.crash(node)
        simulation.run(1_500)
        simulation.start(node)
        simulation.pass_views(20)
    assert simulation.raised == []


def test_a_node_whose_clock_is_late_is_told_so_and_accuses_nobody() -> None:
    simulation = Watched(4, 3, timing=PACED)
    simulation.nodes[2].skew_ms = -150
    simulation.pass_views(150)
    assert simulation.raised == [(2, Alarm("own_left_out_by_most", None, 2))]


@pytest.mark.parametrize("n", [4, 7])
@pytest.mark.parametrize("timing", [PACED, RESPONSIVE])
@pytest.mark.parametrize("loss", [0, 100])
def test_everyone_finds_a_leader_that_censors(n: int, timing: Timing, loss: int) -> None:
    conditions = Conditions(delay_ms=(1, 20), loss=loss)
    simulation = Watched(n, 5, timing=timing, conditions=conditions, faulty=[0])
    corrupt(simulation, 0, without(1, n))
    for _ in range(6 if loss else 2):
        simulation.pass_views(n * TURNS_TO_ALARM)
        if {member for member, _ in simulation.raised} == set(range(1, n)):
            break
    assert {member for member, _ in simulation.raised} == set(range(1, n))
    for member, alarm in simulation.raised:
        assert (alarm.leader, alarm.member) == (0, 1), alarm
        assert alarm.kind == ("own_left_out" if member == 1 else "left_out")
    # The first turns pass before all are heard from.
    turns = max(simulation.first.values())
    print(f"n = {n}, loss {loss}: found after {turns} turns")
    assert turns <= (4 * TURNS_TO_ALARM if loss else TURNS_TO_ALARM + 2)


@pytest.mark.parametrize("n", [4, 7])
def test_everyone_finds_a_leader_that_picks_the_highest_price(n: int) -> None:
    simulation = Watched(n, 5, timing=RESPONSIVE, faulty=[0])
    corrupt(simulation, 0, highest(n))
    simulation.pass_views(n * (BIAS_TURNS + 4))
    bent = {(member, alarm) for member, alarm in simulation.raised if alarm.kind == "price_bias"}
    assert bent == {(member, Alarm("price_bias", 0, None, 0, 1)) for member in range(1, n)}
    assert {alarm.leader for _, alarm in simulation.raised} == {0}


@pytest.mark.parametrize("seed", range(6))
def test_whatever_byzantine_members_do_no_two_honest_ones_are_at_odds(seed: int) -> None:
    random = Random(seed)
    n = (4, 7)[seed % 2]
    faulty = random.sample(range(n), (n - 1) // 3)
    simulation = Watched(n, seed, timing=PACED, faulty=faulty)
    simulation.coalition = Coalition(simulation, random)
    simulation.pass_views(250)
    for member, alarm in simulation.raised:
        assert {alarm.leader, alarm.member} & set(faulty), (member, alarm, str(simulation))

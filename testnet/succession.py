"""Scenarios in which the committee changes, and changes again, while everything goes wrong.

Every epoch is a simulation of its own, with its own judge; they share one time, so that those who
have not left an epoch yet live beside those who are in the next one already. Operators are the same
in all of them, some of them Byzantine for good.
"""

from collections.abc import Callable, Sequence
from random import Random

from consensus.committee import faulty_max
from consensus.core import Checkpoint
from consensus.messages import Change
from testnet.byzantine import Coalition
from testnet.chaos import (
    Trace,
    draw_conditions,
    draw_timing,
    heal,
    plan_fault,
    require_nobody_wronged,
    tell_what_is_drawn,
)
from testnet.setting import Setting
from testnet.simulated_node import Node
from testnet.simulation import Simulation, SimulationFailed
from testnet.stub_signatures import (
    GENESIS_STATE,
    GENESIS_TIME_MS,
    StubRule,
    StubSignatures,
    committee_document,
    committee_in,
    stub_context,
    succeeding_setting,
)

SIZES = {4: (4, 5, 7, 4), 5: (5, 7, 4), 7: (7, 4, 5)}
"""How large the committees are that follow each other, by the size of the first."""

REPLAYED_MAX = 40


class Succession:
    """One scenario: epochs that follow each other, under faults, until the last one goes on."""

    def __init__(self, n: int, seed: int, trace: Trace | None = None) -> None:
        self.seed = seed
        self.trace = trace
        self.random = random = Random(f"succession {seed}")
        self.timing = draw_timing(random)
        sizes = SIZES.get(n, (n, n + 1, n))
        self.committees = _draw_committees(random, sizes[: random.choice((2, 2, 3, len(sizes)))])
        self.faulty = _draw_faulty(random, self.committees) if random.randrange(3) else frozenset()
        self.skews_ms = {who: random.randint(-200, 200) for one in self.committees for who in one}
        self.epochs: list[Simulation] = []
        self.who: list[tuple[int, ...]] = []
        """The operators of each epoch that has begun, in the order of its members."""
        self.jumped = 0
        """Members that went by a handover certificate and never saw their old epoch's end."""

    def run(self) -> None:
        """Run every epoch; raise `SimulationFailed`, which names the seed."""
        context = stub_context(len(self.committees[0]), self.timing)
        signatures, rule = StubSignatures(context), StubRule(context.n)
        first = self._begin(
            Setting(context, signatures, rule, GENESIS_STATE), self.committees[0], GENESIS_TIME_MS
        )
        for node in first.nodes:
            first.after(0, first.start, node)
        for successor in self.committees[1:]:
            self._run_to_the_end(successor)
        last = self.epochs[-1]
        self._pass(last, 4_000)
        heal(last)
        last.require_commits(2, 60 * self.timing.base_timeout_ms)
        for epoch in self.epochs:
            require_nobody_wronged(epoch)

    def let_go(self) -> None:
        """Forget everything, so that nothing of it stays behind."""
        for epoch in self.epochs:
            epoch.let_go()

    def _begin(self, setting: Setting, who: Sequence[int], now_ms: int) -> Simulation:
        n, number = setting.context.n, setting.context.epoch
        faulty = [member for member in range(n) if who[member] in self.faulty]
        epoch = Simulation(
            n,
            self.seed,
            conditions=draw_conditions(self.random),
            faulty=faulty,
            asleep=range(n),
            setting=setting,
            now_ms=now_ms,
            trace=self.trace,
        )
        if self.epochs:
            epoch.begun_ms = self.epochs[0].begun_ms
        if faulty:
            epoch.coalition = Coalition(epoch, Random(f"byzantine {self.seed} {number}"))
        for node in epoch.nodes:
            node.skew_ms = self.skews_ms[who[node.member]]
        if self.trace is not None:
            epoch.note(None, f"the committee is {list(who)}")
            tell_what_is_drawn(epoch)
        for _ in range(self.random.randint(1, 2)):
            plan_fault(epoch, self.random, 3_000, 3_000)
        self.epochs.append(epoch)
        self.who.append(tuple(who))
        return epoch

    # One epoch, from its first view until everyone has left it.

    def _run_to_the_end(self, successor: Sequence[int]) -> None:
        ending, random = self.epochs[-1], self.random
        goal = random.randint(1, 6)
        self._pass(ending, 6_000, lambda: ending.highest_view >= goal)
        rivals = [successor, (*successor[1:], successor[0])][: random.choice((1, 1, 2))]
        documents = [committee_document(one, self.timing) for one in rivals]
        changes = [ending.signatures.change(one, range(ending.context.q)) for one in documents]
        knowing = random.sample(ending.nodes, random.randint(1, len(ending.nodes)))
        for node in knowing:
            _tell(node, random.choice(changes))
        self._pass(ending, random.randint(0, 6_000), lambda: self._all_left(ending))
        heal(ending)
        for node in ending.nodes:
            if node.change is None:
                _tell(node, changes[0])
        limit_ms = 80 * self.timing.base_timeout_ms
        if not self._pass(ending, limit_ms, lambda: self._all_left(ending)):
            views = [node.core.view if node.core else None for node in ending.nodes]
            raise SimulationFailed(f"no handover within {limit_ms} ms: views {views} ({ending})")
        self._judge_the_end(ending)
        self._replay(ending, self.epochs[-1])

    def _all_left(self, ending: Simulation) -> bool:
        return all(node.handed_over or node.core is None for node in ending.honest) and any(
            node.handed_over for node in ending.honest
        )

    def _pass(
        self, ending: Simulation, duration_ms: int, until: Callable[[], bool] | None = None
    ) -> bool:
        """Let time pass in an epoch and in the one after it, whose members begin as they come."""
        end_ms = ending.now_ms + duration_ms
        moved: set[int] = set()
        seen = (-1, -1)
        while True:
            running = [
                one for one in self.epochs[ending.context.epoch :] if one.next_ms is not None
            ]
            if not running:
                return False
            current = min(running, key=lambda one: one.next_ms or 0)
            if (current.next_ms or 0) > end_ms:
                for one in running:
                    one.now_ms = max(one.now_ms, end_ms)
                return False
            current.step()
            now_seen = (ending.progress, self.epochs[-1].progress)
            if now_seen == seen:
                continue
            seen = now_seen
            for node in ending.nodes:
                if node.handed_over is not None and node.member not in moved:
                    moved.add(node.member)
                    self._move(ending, node, current.now_ms)
            if until is not None and until():
                return True

    # From an epoch into the next.

    def _move(self, ending: Simulation, node: Node, now_ms: int) -> None:
        """Let a member that has left an epoch, and newcomers that hear of it, begin the next."""
        number = ending.context.epoch
        if node.member in ending.faulty and len(self.epochs) == number + 1:
            return  # What a Byzantine member says of the end convinces nobody.
        first = len(self.epochs) == number + 1
        if first:
            self._found(ending, node.disk.head, now_ms)
        following = self.epochs[number + 1]
        following.now_ms = max(following.now_ms, now_ms)
        who = self.who[number + 1]
        self._require_same_ground(ending, node, following)
        mine = self.who[number][node.member]
        if mine in who:
            following.after(
                self.random.randint(0, 50), following.start, _node(following, who, mine)
            )
        if not first:
            return
        for newcomer in set(who) - set(self.who[number]):
            delay_ms = self.random.choice((5, 300, 3_000))
            following.after(delay_ms, following.start, _node(following, who, newcomer))
        for late in ending.honest:
            # Who is far behind learns the end from the certificate, and leaves at once.
            if late.handed_over is None and not self.random.randrange(4):
                self._jump(ending, late, following)

    def _found(self, ending: Simulation, deciding: Checkpoint, now_ms: int) -> None:
        block = deciding.block
        change = None if block is None else StubRule.change_in(block.payload)
        if change is None:
            raise SimulationFailed(f"left after a block that decides nothing ({ending})")
        setting = succeeding_setting(ending.context, deciding)
        who, _ = committee_in(change.document)
        self._begin(setting, who, now_ms)

    def _jump(self, ending: Simulation, late: Node, following: Simulation) -> None:
        self.jumped += 1
        ending.crash(late)
        late.halted = "has left its epoch"
        ending.nodes_of[late.member].remove(late)
        ending.nodes.remove(late)
        number, mine = ending.context.epoch, self.who[ending.context.epoch][late.member]
        who = self.who[number + 1]
        if mine in who:
            following.after(
                self.random.randint(5, 500), following.start, _node(following, who, mine)
            )

    # What holds across epochs.

    def _require_same_ground(self, ending: Simulation, node: Node, following: Simulation) -> None:
        if node.member in ending.faulty:
            return
        over = node.handed_over
        assert over is not None
        ending.signatures.check(node.member, over.certificate)
        mine = succeeding_setting(ending.context, node.disk.head).context
        if (mine.domain, mine.genesis_id, mine.genesis_time_ms) != (
            following.context.domain,
            following.context.genesis_id,
            following.context.genesis_time_ms,
        ) or over.terms.next_domain != mine.domain:
            raise SimulationFailed(
                f"member {node.member} leaves for another epoch than the first did ({ending})"
            )

    def _judge_the_end(self, ending: Simulation) -> None:
        terms = {node.handed_over.terms for node in ending.honest if node.handed_over is not None}
        if len(terms) != 1:
            raise SimulationFailed(f"{len(terms)} handovers of one epoch ({ending})")
        (ended,) = terms
        committed = ending.judge.committed
        if committed[max(committed)] != ended.deciding_id:
            raise SimulationFailed(f"a block is final after the one that decided ({ending})")
        following = self.epochs[ending.context.epoch + 1].context
        if following.domain == ending.context.domain or following.deciding_id != ended.deciding_id:
            raise SimulationFailed(f"S5: the next epoch is not told apart ({ending})")
        after = {ended.deciding_id}
        blocks = {key: block for node in ending.honest for key, block in node.disk.blocks.items()}
        for block_id, block in sorted(blocks.items(), key=lambda item: item[1].view):
            if ending.context.id_of(block.justify) in after:
                after.add(block_id)
                if any(block.header.feed_root):
                    raise SimulationFailed(f"view {block.view} has prices after the end ({ending})")

    def _replay(self, ended: Simulation, following: Simulation) -> None:
        """Say again in the next epoch what was said in the one before."""
        if ended.coalition is None or not following.faulty:
            return
        liar = min(following.faulty)
        for message in self.random.sample(
            ended.coalition.knows.recent, min(REPLAYED_MAX, len(ended.coalition.knows.recent))
        ):
            for node in following.honest:
                delay_ms = self.random.randint(1, 2_000)
                following.after(delay_ms, following.deliver, liar, node, message)


def _tell(node: Node, change: Change) -> None:
    node.change = change
    if node.core is not None:
        node.core.on_change(change)


def _node(epoch: Simulation, who: Sequence[int], operator: int) -> Node:
    return epoch.nodes_of[who.index(operator)][0]


def _draw_committees(random: Random, sizes: Sequence[int]) -> list[tuple[int, ...]]:
    """Return committees of these sizes; some operators stay, some leave, some come."""
    committees = [tuple(range(sizes[0]))]
    newest = sizes[0]
    for size in sizes[1:]:
        staying = random.sample(
            committees[-1], min(size, len(committees[-1]) - random.randrange(2))
        )
        coming = range(newest, newest + size - len(staying))
        newest += len(coming)
        following = [*staying, *coming]
        random.shuffle(following)
        committees.append(tuple(following))
    return committees


def _draw_faulty(random: Random, committees: Sequence[Sequence[int]]) -> frozenset[int]:
    """Return operators of whom no committee has more than it tolerates."""
    everyone = sorted({who for committee in committees for who in committee})
    random.shuffle(everyone)
    faulty: set[int] = set()
    for who in everyone:
        more = faulty | {who}
        if all(len(more & set(one)) <= faulty_max(len(one)) for one in committees):
            faulty = more
    return frozenset(faulty)


def succession(n: int, seed: int, trace: Trace | None = None) -> Succession:
    """Run one scenario of committees that follow each other, the first one of n members."""
    scenario = Succession(n, seed, trace)
    scenario.run()
    return scenario


__all__ = ["SIZES", "Succession", "succession"]

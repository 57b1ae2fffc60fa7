"""A whole committee in one thread: the very `Core`, a seeded queue of events, and every fault.

Delay, loss, repetition, reordering, partitions, slow disks, clock skew and crashes at any effect
boundary, with a restart from what was durable. A run depends on its arguments and its seed alone:
`python -m testnet.simulation --nodes 4 --seed 17 --trace` shows what happened.
"""

import argparse
import heapq
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from random import Random

from consensus import effects as fx
from consensus.committee import EpochContext, Timing
from consensus.core import Checkpoint, Core, genesis_checkpoint, genesis_safety
from consensus.errors import InvalidMessage
from consensus.messages import (
    BLOCKS_PER_RESPONSE_MAX,
    Block,
    BlockRequest,
    BlockResponse,
    Message,
    ObservationMessage,
    Proposal,
    Timeout,
    Vote,
)
from consensus.messages import Certificate as CertificateMessage
from consensus.safety import SafetyState
from testnet.omniscient import Omniscient
from testnet.stub_signatures import (
    GENESIS_STATE,
    GENESIS_TIME_MS,
    StubRule,
    StubSignatures,
    stub_context,
)

Intercept = Callable[["Node", int, Message], list[Message]]
"""What a faulty node sends to a member in place of a message: nothing, that one, others."""


class SimulationFailed(AssertionError):
    """A run that went wrong; the text says how to see it again."""


@dataclass(frozen=True, slots=True)
class Conditions:
    """What the network, the disks and the power do; chances are in permille."""

    delay_ms: tuple[int, int] = (1, 5)
    loss: int = 0
    repetition: int = 0
    disk_ms: tuple[int, int] = (0, 0)
    crash: int = 0
    """The chance that a node dies before an effect; never more than f at once by chance."""
    down_ms: tuple[int, int] = (100, 4000)


@dataclass(slots=True)
class Disk:
    """What survives a crash. What was written after the last safety state may be lost."""

    safety: SafetyState
    head: Checkpoint
    blocks: dict[bytes, Block] = field(default_factory=dict)
    pending: list[Callable[["Disk"], None]] = field(default_factory=list)

    def write(self, change: Callable[["Disk"], None]) -> None:
        """Make a change that the next safety state makes durable."""
        self.pending.append(change)

    def save(self, safety: SafetyState) -> None:
        """Make a safety state durable, and what was written before it."""
        self.flush(len(self.pending))
        self.safety = safety

    def flush(self, count: int) -> None:
        """Apply so many of the pending changes and lose the others."""
        for change in self.pending[:count]:
            change(self)
        self.pending.clear()


class Node:
    """One process of one member: a core, a disk, timers, and the effects still to be performed."""

    def __init__(self, member: int, disk: Disk, side: int = 0) -> None:
        self.member = member
        self.side = side
        """Which of a member's twins this is; 0 unless it is faulty."""
        self.disk = disk
        self.core: Core | None = None
        self.life = 0
        self.timer = 0
        self.observing = 0
        self.skew_ms = 0
        self.intercept: Intercept | None = None
        self.writing = False
        self.effects: deque[fx.Effect] = deque()
        self.to_self: deque[Message] = deque()
        self.events: deque[Callable[[Core, int], list[fx.Effect]]] = deque()
        self.committed: list[bytes] = []
        self.evidence: list[fx.Equivocation] = []
        self.faults: list[fx.PeerFault] = []
        self.refused: list[str] = []
        self.halted: str | None = None

    @property
    def running(self) -> Core:
        """The core of a node that is up."""
        assert self.core is not None
        return self.core


class Simulation:
    """One run. `faulty` members have twins or an `intercept`; the judge takes them for liars."""

    def __init__(
        self,
        n: int,
        seed: int,
        *,
        timing: Timing | None = None,
        conditions: Conditions | None = None,
        twins: Sequence[int] = (),
        faulty: Sequence[int] = (),
        asleep: Sequence[int] = (),
        trace: bool = False,
    ) -> None:
        self.context: EpochContext = stub_context(n, timing)
        self.seed = seed
        self.random = Random(seed)
        self.conditions = conditions or Conditions()
        self.signatures = StubSignatures(self.context)
        self.faulty = frozenset(twins) | frozenset(faulty)
        self.judge = Omniscient(self.context, self.faulty)
        self.now_ms = GENESIS_TIME_MS
        self.trace: list[str] | None = [] if trace else None
        self.groups: list[set[int]] | None = None
        self._queue: list[tuple[int, int, Callable[[], None]]] = []
        self._count = 0
        self._everyone = tuple(range(n))
        self._rule = StubRule(n)
        self.nodes = [
            Node(member, self.empty_disk(), side)
            for member in range(n)
            for side in range(2 if member in twins else 1)
        ]
        for node in self.nodes:
            if node.member not in asleep:
                self.after(0, lambda node=node: self.start(node))  # type: ignore[misc]

    def empty_disk(self) -> Disk:
        """Return the disk of a member that never took part."""
        head = genesis_checkpoint(self.context, GENESIS_STATE)
        return Disk(genesis_safety(self.context), head)

    # What a test does to a run.

    @property
    def honest(self) -> list[Node]:
        """The nodes of members that are not faulty."""
        return [node for node in self.nodes if node.member not in self.faulty]

    def start(self, node: Node) -> None:
        """Start a node from what its disk holds."""
        if node.core is not None:
            return
        disk = node.disk
        node.core = Core(self.context, node.member, self._rule, disk.safety, disk.head)
        above = [block for block in disk.blocks.values() if block.view > disk.head.view]
        self._note(node, "starts")
        self._enqueue(node, lambda core, now_ms: core.start(above, now_ms))

    def crash(self, node: Node) -> None:
        """Kill a node; a random part of what was not yet durable is lost."""
        if node.core is None:
            return
        self._note(node, "crashes")
        disk = node.disk
        disk.flush(self.random.randint(0, len(disk.pending)))
        node.core = None
        node.life += 1
        node.writing = False
        node.effects.clear()
        node.to_self.clear()
        node.events.clear()

    def restart_all(self) -> None:
        """Start every node that is down."""
        for node in self.nodes:
            self.start(node)

    def after(self, delay_ms: int, action: Callable[[], None]) -> None:
        """Do something later."""
        self._count += 1
        heapq.heappush(self._queue, (self.now_ms + delay_ms, self._count, action))

    def run(self, duration_ms: int, until: Callable[[], bool] | None = None) -> bool:
        """Let time pass; stop early, and return True, once `until` holds."""
        end_ms = self.now_ms + duration_ms
        try:
            while self._queue and self._queue[0][0] <= end_ms:
                self.now_ms, _, action = heapq.heappop(self._queue)
                action()
                if until is not None and until():
                    return True
        except Exception as error:
            raise SimulationFailed(f"{error} ({self})") from error
        self.now_ms = end_ms
        return False

    def require_commits(self, more: int, within_ms: int) -> None:
        """Run until every honest node that is up has committed so many more blocks."""
        self.run(0)
        nodes = [node for node in self.honest if node.core is not None]
        goal = max(node.running.root.height for node in nodes) + more
        done = self.run(within_ms, lambda: all(n.running.root.height >= goal for n in nodes))
        if not done:
            heights = [node.running.root.height for node in nodes]
            views = [node.running.view for node in nodes]
            text = f"no {more} more commits within {within_ms} ms: heights {heights}, views {views}"
            raise SimulationFailed(f"{text} ({self})")

    def __str__(self) -> str:
        return f"seed {self.seed}, n = {self.context.n}, at {self.now_ms - GENESIS_TIME_MS} ms"

    # From the network to the core.

    def deliver(self, sender: int, to: Node, message: Message) -> None:
        """Hand a message to a node now, as the shell would."""
        if to.core is None:
            return
        try:
            self.signatures.check(sender, message)
        except InvalidMessage as error:
            to.refused.append(f"{sender}: {error}")
            return
        self._enqueue(to, lambda core, now_ms: handle(core, sender, message, now_ms), sender)

    def _enqueue(
        self,
        node: Node,
        event: Callable[[Core, int], list[fx.Effect]],
        sender: int | None = None,
    ) -> None:
        def guarded(core: Core, now_ms: int) -> list[fx.Effect]:
            try:
                return event(core, now_ms)
            except InvalidMessage as error:
                # Only what a peer sent may be refused; from anywhere else it would be our fault.
                if sender is None:
                    raise
                node.refused.append(f"{sender}: {error}")
                return []

        node.events.append(guarded)
        self._work(node)

    def _later(
        self, node: Node, delay_ms: int, event: Callable[[Core, int], list[fx.Effect]]
    ) -> None:
        life = node.life

        def come() -> None:
            if node.life == life and node.core is not None:
                self._enqueue(node, event)

        self.after(delay_ms, come)

    def _work(self, node: Node) -> None:
        """Perform effects in order; then own messages; then the next event."""
        while node.core is not None and not node.writing and node.halted is None:
            if node.effects:
                if self._dies_by_chance(node):
                    return
                self._perform(node, node.effects.popleft())
            elif node.to_self:
                message = node.to_self.popleft()
                node.effects.extend(handle(node.core, node.member, message, self._clock(node)))
            elif node.events:
                event = node.events.popleft()
                node.effects.extend(event(node.core, self._clock(node)))
            else:
                return

    def _clock(self, node: Node) -> int:
        return self.now_ms + node.skew_ms

    def _dies_by_chance(self, node: Node) -> bool:
        conditions = self.conditions
        if not conditions.crash or self.random.randrange(1000) >= conditions.crash:
            return False
        if sum(other.core is None for other in self.nodes) >= self.context.f:
            return False
        self.crash(node)
        self.after(self.random.randint(*conditions.down_ms), lambda: self.start(node))
        return True

    # From the core to the world.

    def _perform(self, node: Node, effect: fx.Effect) -> None:
        disk, judge, sign = node.disk, self.judge, self.signatures
        member = node.member
        honest = member not in self.faulty
        self._note(node, effect)
        match effect:
            case fx.Persist(safety=safety):
                self._persist(node, safety)
            case fx.StoreBlock(block_id=block_id, block=block):
                judge.learn(block_id, block)
                disk.write(lambda d: d.blocks.__setitem__(block_id, block))
            case fx.SendProposal(block=block, block_id=block_id, tc=tc):
                if honest:
                    judge.proposed(member, block, block_id, disk.safety)
                share = sign.share(member, block_id)
                signature = sign.proposal_signature(member, block_id)
                self._send(node, self._everyone, Proposal(block, tc, share, signature))
            case fx.SendVote(header=header, block_id=block_id, to=to):
                if honest:
                    judge.voted(member, header, block_id, disk.safety)
                self._send(node, to, Vote(header, sign.share(member, block_id)))
            case fx.SendTimeout(view=view, high_qc_view=high, qc=qc, tc=tc):
                if honest:
                    judge.timed_out(member, view, high, disk.safety)
                share = sign.timeout_share(member, view, high)
                self._send(node, self._everyone, Timeout(view, high, share, qc, tc))
            case fx.SendCertificate(certificate=certificate):
                others = [other for other in self._everyone if other != member]
                self._send(node, others, certificate)
            case fx.SendRequest(request=request, to=to):
                self._send(node, to, request)
            case fx.SendResponse(response=response, to=asker):
                self._send(node, (asker,), response)
            case fx.LoadBlocks(request=request, to=asker):
                blocks = self._stored_chain(disk, request)
                self._send(node, (asker,), BlockResponse(request.block_id, blocks))
            case fx.Observe():
                self._observe(node, effect)
            case fx.SetTimer(view=view, duration_ms=duration_ms):
                node.timer += 1
                self._set_timer(node, view, duration_ms, node.timer)
            case fx.SetGraceTimer(view=view, duration_ms=duration_ms):
                self._later(node, duration_ms, lambda core, now: core.on_grace(view, now))
            case fx.SetFetchTimer(block_id=block_id, duration_ms=duration_ms):
                self._later(node, duration_ms, lambda core, now: core.on_fetch_timer(block_id, now))
            case fx.CertifyVotes():
                self._certify_votes(node, effect)
            case fx.CertifyTimeouts():
                self._certify_timeouts(node, effect)
            case fx.Committed(block_id=block_id, block=block):
                if honest:
                    judge.commits(member, block_id, block)
                node.committed.append(block_id)
                head = Checkpoint(
                    block_id,
                    block.view,
                    block.height,
                    block.header.observed_at_ms,
                    effect.state,
                    block,
                )
                disk.write(lambda d: setattr(d, "head", head))
            case fx.Equivocation():
                node.evidence.append(effect)
            case fx.PeerFault():
                node.faults.append(effect)
            case fx.Halt(reason=reason):
                node.halted = reason
            case fx.Certified() | fx.EnteredView():
                pass

    def _persist(self, node: Node, safety: SafetyState) -> None:
        delay_ms = self.random.randint(*self.conditions.disk_ms)
        if not delay_ms:
            node.disk.save(safety)
            return
        node.writing = True
        life = node.life

        def written() -> None:
            if node.life == life:
                node.disk.save(safety)
                node.writing = False
                self._work(node)
            elif self.random.randrange(2) and node.core is None:
                # The write was on its way when the node died.
                node.disk.safety = safety if self._is_newer(node, safety) else node.disk.safety

        self.after(delay_ms, written)

    def _is_newer(self, node: Node, safety: SafetyState) -> bool:
        return safety.last_voted_view >= node.disk.safety.last_voted_view

    def _set_timer(self, node: Node, view: int, duration_ms: int, number: int) -> None:
        def ring(core: Core, now_ms: int) -> list[fx.Effect]:
            return core.on_timer(view, now_ms) if node.timer == number else []

        self._later(node, duration_ms, ring)

    def _observe(self, node: Node, effect: fx.Observe) -> None:
        node.observing += 1
        number = node.observing

        def observe(_core: Core, now_ms: int) -> list[fx.Effect]:
            if node.observing == number:
                observed = self.signatures.observed(node.member, effect.view, now_ms)
                self._send(node, effect.to, ObservationMessage(observed))
            return []

        self._later(node, max(0, effect.not_before_ms - self._clock(node)), observe)

    def _certify_votes(self, node: Node, effect: fx.CertifyVotes) -> None:
        bad = self.signatures.bad_votes(effect.block_id, effect.shares)
        header = effect.header
        if bad:
            self._later(node, 3, lambda core, now: core.on_bad_shares(header, bad, now))
            return
        qc = self.signatures.qc(header, list(effect.shares))
        self._later(node, 2, lambda core, now: core.on_certificate(qc, now))

    def _certify_timeouts(self, node: Node, effect: fx.CertifyTimeouts) -> None:
        bad = self.signatures.bad_timeouts(effect.view, effect.shares)
        if bad:
            view = effect.view
            self._later(node, 3, lambda core, now: core.on_bad_timeout_shares(view, bad, now))
            return
        reported = {member: high for member, (high, _) in effect.shares.items()}
        tc = self.signatures.tc(effect.view, reported, effect.high_qc)
        self._later(node, 2, lambda core, now: core.on_timeout_certificate(tc, now))

    def _stored_chain(self, disk: Disk, request: BlockRequest) -> tuple[Block, ...]:
        blocks: list[Block] = []
        block = disk.blocks.get(request.block_id)
        while (
            block is not None
            and block.view > request.known_view
            and len(blocks) < BLOCKS_PER_RESPONSE_MAX
        ):
            blocks.append(block)
            block = disk.blocks.get(self.context.id_of(block.justify))
        return tuple(blocks)

    # The wires.

    def _send(self, node: Node, to: Sequence[int], message: Message) -> None:
        for member in to:
            if member == node.member:
                if not isinstance(message, CertificateMessage | BlockRequest):
                    node.to_self.append(message)
                continue
            sent = [message] if node.intercept is None else node.intercept(node, member, message)
            for one in sent:
                self.send(node, member, one)

    def send(self, node: Node, member: int, message: Message) -> None:
        """Put a message on the wire from a node to every node of a member."""
        conditions, random = self.conditions, self.random
        for other in self.nodes:
            if other.member != member or not self._connected(node, other):
                continue
            if conditions.loss and random.randrange(1000) < conditions.loss:
                continue
            copies = 1
            if conditions.repetition and random.randrange(1000) < conditions.repetition:
                copies = 2
            for _ in range(copies):
                self._deliver_later(node.member, other, message)

    def _deliver_later(self, sender: int, other: Node, message: Message) -> None:
        delay_ms = self.random.randint(*self.conditions.delay_ms)
        self.after(delay_ms, lambda: self.deliver(sender, other, message))

    def _connected(self, one: Node, other: Node) -> bool:
        if one.side != other.side and one.member in self.faulty and other.member in self.faulty:
            return False
        if self.groups is None:
            return True
        index = self.nodes.index
        return any(index(one) in group and index(other) in group for group in self.groups)

    def _note(self, node: Node, what: object) -> None:
        if self.trace is not None:
            at_ms = self.now_ms - GENESIS_TIME_MS
            self.trace.append(f"{at_ms:>7} {node.member}{'' if not node.side else chr(39)} {what}")


def handle(core: Core, sender: int, message: Message, now_ms: int) -> list[fx.Effect]:
    """Call the handler of a message that the shell has checked."""
    match message:
        case Vote():
            return core.on_vote(sender, message, now_ms)
        case ObservationMessage(observed=observed):
            return core.on_observation(sender, observed, now_ms)
        case Proposal():
            return core.on_proposal(sender, message, now_ms)
        case Timeout():
            return core.on_timeout(sender, message, now_ms)
        case CertificateMessage():
            return core.on_certificate_message(sender, message, now_ms)
        case BlockRequest():
            return core.on_block_request(sender, message, now_ms)
        case BlockResponse():
            return core.on_block_response(sender, message, now_ms)


def chaos(n: int, seed: int, *, trace: bool = False) -> Simulation:
    """Run one scenario of random faults, then heal everything and require progress.

    Raises `SimulationFailed`, which names the seed.
    """
    random = Random(f"chaos {seed}")
    fast = random.randrange(2) == 0
    timing = Timing(
        round_interval_ms=random.choice((0, 250)), base_timeout_ms=random.choice((400, 1000))
    )
    conditions = Conditions(
        delay_ms=(1, random.choice((5, 60, 400))),
        loss=random.choice((0, 20, 100, 250)),
        repetition=random.choice((0, 50)),
        disk_ms=(0, random.choice((0, 0, 10, 80))),
        crash=0 if fast else random.choice((0, 1, 5)),
    )
    simulation = Simulation(n, seed, timing=timing, conditions=conditions, trace=trace)
    for node in simulation.nodes:
        node.skew_ms = random.randint(-200, 200)
    span_ms = 8 * timing.base_timeout_ms
    for _ in range(random.randint(1, 4)):
        _plan_fault(simulation, random, span_ms)
    simulation.run(span_ms)
    simulation.groups = None
    simulation.conditions = replace(conditions, delay_ms=(1, 10), loss=0, crash=0, disk_ms=(0, 0))
    simulation.after(0, simulation.restart_all)
    simulation.require_commits(3, 60 * timing.base_timeout_ms)
    return simulation


def _plan_fault(simulation: Simulation, random: Random, span_ms: int) -> None:
    """Crash a node, or cut the network in two, for a while; more than f may be down at once."""
    begin_ms, length_ms = random.randrange(span_ms), random.randrange(span_ms // 2)
    if random.randrange(2):
        node = random.choice(simulation.nodes)
        simulation.after(begin_ms, lambda: simulation.crash(node))
        simulation.after(begin_ms + length_ms, lambda: simulation.start(node))
        return
    count = len(simulation.nodes)
    side = set(random.sample(range(count), random.randint(1, count - 1)))
    simulation.after(
        begin_ms, lambda: setattr(simulation, "groups", [side, set(range(count)) - side])
    )
    simulation.after(begin_ms + length_ms, lambda: setattr(simulation, "groups", None))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run chaos scenarios from a seed onwards, or one with its trace; 1 if one failed."""
    parser = argparse.ArgumentParser(prog="python -m testnet.simulation", description=__doc__)
    parser.add_argument("--nodes", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=1)
    parser.add_argument("--trace", action="store_true", help="show every effect of every node")
    given = parser.parse_args(arguments)
    begun = time.process_time()
    for seed in range(given.seed, given.seed + given.count):
        try:
            simulation = chaos(given.nodes, seed, trace=given.trace)
        except SimulationFailed as error:
            print(f"failed: {error}", file=sys.stderr)
            return 1
        if simulation.trace is not None:
            print("\n".join(simulation.trace))
    spent = time.process_time() - begun
    print(f"{given.count} scenarios, {given.count / spent * 60:.0f} a minute and core")
    return 0


if __name__ == "__main__":
    sys.exit(main())

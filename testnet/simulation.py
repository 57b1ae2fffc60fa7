"""A whole committee in one thread: the very `Core`, a seeded queue of events, and every fault.

Delay, loss, repetition, reordering, partitions, slow disks, clock skew, crashes at any effect
boundary with a restart from what was durable, and Byzantine members (`testnet/byzantine.py`). A run
depends on its arguments and its seed alone. `testnet/chaos.py` makes scenarios of it, and
`python -m testnet.simulation` runs them (`testnet/long_run.py`).
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from heapq import heappop, heappush
from random import Random
from typing import Any

from consensus import effects as fx
from consensus.committee import EpochContext, Timing
from consensus.core import Checkpoint, Core, genesis_checkpoint, genesis_safety
from consensus.errors import InvalidMessage
from consensus.evidence import InvalidEvidence, verify_evidence
from consensus.messages import (
    BLOCKS_PER_RESPONSE_MAX,
    Block,
    BlockRequest,
    BlockResponse,
    Change,
    CheckpointRequest,
    CheckpointResponse,
    HandoverCertificate,
    HandoverShare,
    Message,
    ObservationMessage,
    Proposal,
    Testimony,
    Timeout,
    Vote,
)
from consensus.messages import Certificate as CertificateMessage
from consensus.safety import SafetyState
from node.verifier import BadShares
from testnet.byzantine import Coalition
from testnet.omniscient import Omniscient, Overwhelmed, PromiseBroken
from testnet.setting import Setting
from testnet.simulated_node import Conditions, Disk, Event, Intercept, Node
from testnet.stub_signatures import stub_setting
from testnet.trace import Narrator

Cut = Callable[[Node, Node, Message], bool]
"""Whether the network loses a message on its way from a node to another."""


class SimulationFailed(AssertionError):
    """A run that went wrong; the text says how to see it again."""


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
        schedule: Sequence[int] = (),
        setting: Setting | None = None,
        now_ms: int | None = None,
        trace: Callable[[str], object] | None = None,
    ) -> None:
        self.setting = setting or stub_setting(n, timing, schedule=tuple(schedule))
        self.context: EpochContext = self.setting.context
        assert self.context.n == n
        self.seed = seed
        self.random = Random(seed)
        self.conditions = conditions or Conditions()
        self.signatures = self.setting.signatures
        self.faulty = frozenset(twins) | frozenset(faulty)
        judged = len(self.faulty) <= self.context.f
        judge = Omniscient if judged else Overwhelmed
        self.judge = judge(self.context, self.faulty, self.setting.rule)
        self.now_ms = self.context.genesis_time_ms if now_ms is None else now_ms
        self.begun_ms = self.now_ms
        """When the time of traces and messages begins."""
        self.trace = trace
        self._narrator = Narrator(self.context)
        self.groups: list[set[int]] | None = None
        self.cut: Cut | None = None
        self.coalition: Coalition | None = None
        self.faults = 0
        """Crashes, partitions, lost messages and Byzantine deeds so far."""
        self.highest_view = 0
        """The highest view that a node has entered."""
        self._queue: list[tuple[int, int, Callable[..., None], tuple[object, ...]]] = []
        self._count = 0
        self.progress = 0
        """How often a node entered a view, committed, or signed or ended a handover."""
        self._everyone = tuple(range(n))
        self.rule = self.setting.rule
        self.nodes = [
            Node(member, self.empty_disk(), side)
            for member in range(n)
            for side in range(2 if member in twins else 1)
        ]
        for number, node in enumerate(self.nodes):
            node.number = number
        self.nodes_of = [
            [node for node in self.nodes if node.member == member] for member in self._everyone
        ]
        self._plain = not twins and type(self).send is Simulation.send
        for node in self.nodes:
            if node.member not in asleep:
                self.after(0, self.start, node)

    def empty_disk(self) -> Disk:
        """Return the disk of a member that never took part."""
        head = genesis_checkpoint(self.context, self.setting.genesis_state)
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
        node.core = Core(self.context, node.member, self.rule, disk.safety, disk.head)
        above = [block for block in disk.blocks.values() if block.view > disk.head.view]
        if node.change is not None:
            node.core.on_change(node.change)
        if self.trace is not None:
            self.note(node, f"starts, with {len(above)} blocks above height {disk.head.height}")
        witnessed = tuple(disk.witnessed)
        self._enqueue(node, lambda core, now_ms: core.start(above, now_ms, witnessed))

    def crash(self, node: Node) -> None:
        """Kill a node; a random part of what was not yet durable is lost."""
        if node.core is None:
            return
        disk = node.disk
        if self.trace is not None:
            self.note(node, f"crashes, with {len(disk.pending)} blocks not yet durable")
        self.faults += 1
        disk.flush(self.random.randint(0, len(disk.pending)))
        node.core = None
        node.life += 1
        node.timer += 1
        node.writing = False
        node.effects.clear()
        node.to_self.clear()
        node.events.clear()

    def approve(self, change: Change) -> None:
        """Tell every node of a next epoch that a quorum approved."""
        for node in self.nodes:
            node.change = change
            if node.core is not None:
                node.core.on_change(change)

    def restart_all(self) -> None:
        """Start every node that is down."""
        for node in self.nodes:
            self.start(node)

    def after(self, delay_ms: int, action: Callable[..., None], *arguments: object) -> None:
        """Do something later."""
        self._count += 1
        heappush(self._queue, (self.now_ms + delay_ms, self._count, action, arguments))

    def run(self, duration_ms: int, until: Callable[[], bool] | None = None) -> bool:
        """Let time pass; stop early, and return True, once `until` holds.

        It is looked at whenever a node has entered a view, committed a block, or signed or ended a
        handover.
        """
        end_ms = self.now_ms + duration_ms
        queue = self._queue
        seen = -1
        with self._failing():
            while queue and queue[0][0] <= end_ms:
                self.now_ms, _, action, arguments = heappop(queue)
                action(*arguments)
                if until is not None and seen != self.progress:
                    seen = self.progress
                    if until():
                        return True
        self.now_ms = end_ms
        return False

    @property
    def next_ms(self) -> int | None:
        """When the next thing happens; None if nothing does any more."""
        return self._queue[0][0] if self._queue else None

    def step(self) -> None:
        """Let the next thing happen."""
        with self._failing():
            self.now_ms, _, action, arguments = heappop(self._queue)
            action(*arguments)

    @contextmanager
    def _failing(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            kind = "" if isinstance(error, PromiseBroken) else f"{type(error).__name__}: "
            raise SimulationFailed(f"{kind}{error} ({self})") from error

    def let_go(self) -> None:
        """Forget what refers to this run, which has ended, so that nothing of it stays behind."""
        self._queue.clear()
        self.coalition = self.cut = None
        for node in self.nodes:
            node.intercept = None

    def require_commits(self, more: int, within_ms: int) -> None:
        """Run until every honest node that is up has committed so many more blocks."""
        self.run(0)
        nodes = [node for node in self.honest if node.core is not None]
        goal = max(node.running.root.height for node in nodes) + more

        def reached() -> bool:
            return all(node.core is not None and node.core.root.height >= goal for node in nodes)

        if not self.run(within_ms, reached):
            heights = [node.running.root.height for node in nodes]
            views = [node.running.view for node in nodes]
            text = f"no {more} more commits within {within_ms} ms: heights {heights}, views {views}"
            raise SimulationFailed(f"{text} ({self})")

    def __str__(self) -> str:
        epoch = f"epoch {self.context.epoch}, " if self.context.epoch else ""
        at_ms = self.now_ms - self.begun_ms
        return f"seed {self.seed}, {epoch}n = {self.context.n}, at {at_ms} ms"

    # From the network to the core.

    def deliver(self, sender: int, to: Node, message: Message) -> None:
        """Hand a message to a node now, as the shell would."""
        if to.core is None:
            return
        if type(message) is not Vote:  # Its share is verified with a quorum of them.
            try:
                self.signatures.check(sender, message)
            except InvalidMessage as error:
                self._refuse(to, sender, message, error)
                return
        if to.writing or to.halted is not None:
            to.events.append((sender, message))
        elif self._receive(to, to.core, sender, message):
            # Nothing waits at a node that may work, so this was next.
            self._work(to)

    def _enqueue(self, node: Node, event: Event) -> None:
        node.events.append(event)
        self._work(node)

    def _later(
        self, node: Node, delay_ms: int, event: Callable[[Core, int], list[fx.Effect]]
    ) -> None:
        self.after(delay_ms, self._come, node, node.life, event)

    def _come(self, node: Node, life: int, event: Event) -> None:
        if node.life == life and node.core is not None:
            node.events.append(event)
            self._work(node)

    def _work(self, node: Node) -> None:
        """Perform effects in order; then own messages; then the next event."""
        effects, to_self, events = node.effects, node.to_self, node.events
        while effects or to_self or events:
            core = node.core
            if core is None or node.writing or node.halted is not None:
                return
            if effects:
                if self.conditions.crash and self._dies_by_chance(node):
                    return
                effect = effects.popleft()
                if self.trace is not None:
                    self.note(node, self._narrator.effect(effect))
                self._perform(node, effect)
            elif to_self:
                message = to_self.popleft()
                handler = _HANDLERS.get(type(message))
                if handler is not None:
                    now_ms = self.now_ms + node.skew_ms
                    effects.extend(handler(core, node.member, message, now_ms))
            else:
                event = events.popleft()
                if isinstance(event, tuple):
                    self._receive(node, core, event[0], event[1])
                else:
                    effects.extend(event(core, self.now_ms + node.skew_ms))

    def _receive(self, node: Node, core: Core, sender: int, message: Message) -> bool:
        """Let the core handle a peer's message, the only event that may be refused.

        Return whether there is something to perform.
        """
        handler = _HANDLERS.get(type(message))
        if handler is None:
            return False
        try:
            out = handler(core, sender, message, self.now_ms + node.skew_ms)
        except InvalidMessage as error:
            self._refuse(node, sender, message, error)
            return False
        if out:
            node.effects.extend(out)
            return True
        return False

    def _refuse(self, node: Node, sender: int, message: Message, error: InvalidMessage) -> None:
        node.refused.append(f"{sender}: {error}")
        if self.trace is not None:
            self.note(node, f"refuses {self.say(message)}, from {sender}: {error}")

    def _clock(self, node: Node) -> int:
        return self.now_ms + node.skew_ms

    def _dies_by_chance(self, node: Node) -> bool:
        conditions = self.conditions
        if self.random.random() * 1000 >= conditions.crash:
            return False
        if sum(other.core is None for other in self.nodes) >= self.context.f:
            return False
        self.crash(node)
        self.after(self.random.randint(*conditions.down_ms), self.start, node)
        return True

    # From the core to the world.

    def _perform(self, node: Node, effect: fx.Effect) -> None:
        _PERFORM[type(effect)](self, node, effect)

    def _enter(self, node: Node, effect: fx.EnteredView) -> None:
        self.progress += 1
        if effect.view > self.highest_view:
            self.highest_view = effect.view
        if self.coalition is not None and node.member not in self.faulty:
            self.coalition.entered(effect.view)

    def _load_blocks(self, node: Node, effect: fx.LoadBlocks) -> None:
        blocks = self._stored_chain(node.disk, effect.request)
        self._send(node, (effect.to,), BlockResponse(effect.request.block_id, blocks))

    def _keep(self, node: Node, effect: fx.KeepWitnessed) -> None:
        record = effect.record
        node.disk.write(lambda disk: disk.witnessed.append(record))

    def _accuse(self, node: Node, effect: fx.Accusation) -> None:
        """Keep what convicts; whoever sent a share that does not verify is at fault itself."""
        try:
            verify_evidence(self.context, effect.evidence, self.signatures)
        except InvalidEvidence:
            assert effect.witness is not None
            node.faults.append(fx.PeerFault(effect.witness, "a bad share"))
        else:
            node.evidence.append(effect)

    def _halt(self, node: Node, effect: fx.Halt) -> None:
        node.halted = effect.reason

    # What is signed, under the eyes of the judge.

    def _vote(self, node: Node, effect: fx.SendVote) -> None:
        member, header, block_id = node.member, effect.header, effect.block_id
        if member not in self.faulty:
            self.judge.voted(member, header, block_id, node.disk.safety)
        self._send(node, effect.to, Vote(header, self.signatures.share(member, block_id)))

    def _time_out(self, node: Node, effect: fx.SendTimeout) -> None:
        member, view, high = node.member, effect.view, effect.high_qc_view
        if member not in self.faulty:
            self.judge.timed_out(member, view, high, node.disk.safety)
        share = self.signatures.timeout_share(member, view, high)
        self._send(node, self._everyone, Timeout(view, high, share, effect.qc, effect.tc))

    def _propose(self, node: Node, effect: fx.SendProposal) -> None:
        member, block, block_id = node.member, effect.block, effect.block_id
        if member not in self.faulty:
            self.judge.proposed(member, block, block_id, node.disk.safety)
        share = self.signatures.share(member, block_id)
        signature = self.signatures.proposal_signature(member, block_id)
        self._send(node, self._everyone, Proposal(block, effect.tc, share, signature))

    def _hand_over(self, node: Node, effect: fx.SendHandoverShare) -> None:
        self.progress += 1
        member, terms = node.member, effect.terms
        if member not in self.faulty:
            self.judge.hands_over(member, terms, node.disk.safety)
        share = self.signatures.share(member, terms.digest)
        handing = HandoverShare(
            terms.configuration_hash, terms.deciding_id, terms.observed_at_ms, share
        )
        self._send(node, self._everyone, handing)

    def _has_handed_over(self, node: Node, effect: fx.HandedOver) -> None:
        self.progress += 1
        node.handed_over = effect
        self._send(node, self._all_but(node.member), effect.certificate)

    # What is kept.

    def _store_block(self, node: Node, effect: fx.StoreBlock) -> None:
        block_id, block = effect.block_id, effect.block
        self.judge.learn(block_id, block)
        node.disk.write(lambda disk: disk.blocks.__setitem__(block_id, block))

    def _commit(self, node: Node, effect: fx.Committed | fx.StoreCheckpoint) -> None:
        block_id, block = effect.block_id, effect.block
        if node.member not in self.faulty:
            self.judge.commits(node.member, block_id, block)
        self.progress += 1
        node.committed.append(block_id)
        time_ms = block.header.observed_at_ms
        head = Checkpoint(
            block_id, block.view, block.height, time_ms, effect.state, block, effect.successor
        )
        node.disk.write(lambda disk: disk.advance(head))

    def _wait_grace(self, node: Node, effect: fx.SetGraceTimer) -> None:
        view = effect.view
        self._later(node, effect.duration_ms, lambda core, now: core.on_grace(view, now))

    def _wait_fetch(self, node: Node, effect: fx.SetFetchTimer) -> None:
        block_id = effect.block_id
        self._later(node, effect.duration_ms, lambda core, now: core.on_fetch_timer(block_id, now))

    def _persist(self, node: Node, effect: fx.Persist) -> None:
        safety = effect.safety
        if node.member not in self.faulty:
            self.judge.believes(node.member, safety)
        delay_ms = self._draw(self.conditions.disk_ms)
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

    def _set_timer(self, node: Node, effect: fx.SetTimer) -> None:
        node.timer += 1
        self._count += 1
        arguments = (node, effect.view, node.timer)
        heappush(
            self._queue, (self.now_ms + effect.duration_ms, self._count, self._ring, arguments)
        )

    def _ring(self, node: Node, view: int, number: int) -> None:
        if node.timer == number and node.core is not None:
            self._enqueue(
                node,
                lambda core, now_ms: core.on_timer(view, now_ms) if node.timer == number else [],
            )

    def _observe(self, node: Node, effect: fx.Observe) -> None:
        node.observing += 1
        number = node.observing

        def observe(core: Core, now_ms: int) -> list[fx.Effect]:
            if node.observing == number and not core.safety.closed:
                observed = self.signatures.observed(node.member, effect.view, now_ms)
                if node.member not in self.faulty:
                    self.judge.observed(observed)
                self._send(node, effect.to, ObservationMessage(observed))
            return []

        self._later(node, max(0, effect.not_before_ms - self._clock(node)), observe)

    def _certify_votes(self, node: Node, effect: fx.CertifyVotes) -> None:
        header = effect.header
        try:
            qc = self.signatures.certify_votes(header, effect.block_id, effect.shares)
        except BadShares as error:
            bad = error.signers
            self._later(node, 3, lambda core, now: core.on_bad_shares(header, bad, now))
            return
        self._later(node, 2, lambda core, now: core.on_certificate(qc, now))

    def _certify_timeouts(self, node: Node, effect: fx.CertifyTimeouts) -> None:
        view = effect.view
        try:
            tc = self.signatures.certify_timeouts(view, effect.shares, effect.high_qc)
        except BadShares as error:
            bad = error.signers
            self._later(node, 3, lambda core, now: core.on_bad_timeout_shares(view, bad, now))
            return
        self._later(node, 2, lambda core, now: core.on_timeout_certificate(tc, now))

    def _certify_handover(self, node: Node, effect: fx.CertifyHandover) -> None:
        try:
            certificate = self.signatures.certify_handover(effect.terms, effect.shares)
        except BadShares as error:
            bad = error.signers
            self._later(node, 3, lambda core, now: core.on_bad_handover_shares(bad, now))
            return
        self._later(node, 2, lambda core, now: core.on_handover_certificate(certificate, now))

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

    def _all_but(self, member: int) -> tuple[int, ...]:
        return tuple(other for other in self._everyone if other != member)

    def _send(self, node: Node, to: Sequence[int], message: Message) -> None:
        me, intercept = node.member, node.intercept
        if self.coalition is not None and me not in self.faulty:
            self.coalition.saw(me, message)
        if me in to and type(message) not in _NEVER_TO_ONESELF:
            node.to_self.append(message)
        whole = intercept is None and self.groups is None and self.cut is None
        if whole and self._plain:
            self._spread(node, to, message)
            return
        for member in to:
            if member == me:
                continue
            if intercept is None:
                self.send(node, member, message)
            else:
                for one in intercept(node, member, message):
                    self.send(node, member, one)

    def _spread(self, node: Node, to: Sequence[int], message: Message) -> None:
        """Put a message on whole wires to nodes without twins: what `send` does, in one go."""
        conditions, random, queue = self.conditions, self.random.random, self._queue
        loss, repetition = conditions.loss, conditions.repetition
        low, high = conditions.delay_ms
        soonest_ms, span = self.now_ms + low, high - low + 1
        me, deliver, nodes_of = node.member, self.deliver, self.nodes_of
        for member in to:
            # None, if the member has left the simulation.
            for other in nodes_of[member] if member != me else ():
                if loss and random() * 1000 < loss:
                    self._lose(node, other, message)
                    continue
                arguments = (me, other, message)
                self._count += 1
                at_ms = soonest_ms + int(random() * span)
                heappush(queue, (at_ms, self._count, deliver, arguments))
                if repetition and random() * 1000 < repetition:
                    self.after(self._draw(conditions.delay_ms), deliver, *arguments)

    def send(self, node: Node, member: int, message: Message) -> None:
        """Put a message on the wire from a node to every node of a member."""
        conditions, random = self.conditions, self.random.random
        whole = self.groups is None and node.side == 0
        for other in self.nodes_of[member]:
            if not (whole and other.side == 0) and not self._connected(node, other):
                if self.trace is not None:
                    self._tell_of_loss(node, other, message)
                continue
            if self.cut is not None and self.cut(node, other, message):
                self._lose(node, other, message)
                continue
            if conditions.loss and random() * 1000 < conditions.loss:
                self._lose(node, other, message)
                continue
            low, high = conditions.delay_ms
            arguments = (node.member, other, message)
            self._count += 1
            at_ms = self.now_ms + low + int(random() * (high - low + 1))
            heappush(self._queue, (at_ms, self._count, self.deliver, arguments))
            if conditions.repetition and random() * 1000 < conditions.repetition:
                self.after(self._draw(conditions.delay_ms), self.deliver, *arguments)

    def _lose(self, node: Node, to: Node, message: Message) -> None:
        self.faults += 1
        if self.trace is not None:
            self._tell_of_loss(node, to, message)

    def _tell_of_loss(self, node: Node, to: Node, message: Message) -> None:
        self.note(node, f"does not reach {to.member} with {self.say(message)}")

    def _draw(self, bounds: tuple[int, int]) -> int:
        low, high = bounds
        return low + int(self.random.random() * (high - low + 1)) if high > low else low

    def _connected(self, one: Node, other: Node) -> bool:
        if one.side != other.side and one.member in self.faulty and other.member in self.faulty:
            return False
        if self.groups is None:
            return True
        here, there = one.number, other.number
        return any(here in group and there in group for group in self.groups)

    def note(self, node: Node | None, what: str) -> None:
        """Tell whoever traces this run what a node does, or what befalls all of them."""
        if self.trace is not None:
            who = "*" if node is None else f"{node.member}{chr(39) if node.side else ''}"
            epoch = f"@{self.context.epoch}" if self.context.epoch else ""
            self.trace(f"{self.now_ms - self.begun_ms:>7} ms  {who + epoch:<3} {what}")

    def say(self, message: Message) -> str:
        """Return a message in words."""
        return self._narrator.message(message)


def handle(core: Core, sender: int, message: Message, now_ms: int) -> list[fx.Effect]:
    """Call the handler of a message that the shell has checked."""
    handler = _HANDLERS.get(type(message))
    return [] if handler is None else handler(core, sender, message, now_ms)


# A table, since a chain of patterns would be walked for each of hundreds of messages of a run.
_HANDLERS: dict[type, Callable[[Core, int, Any, int], list[fx.Effect]]] = {
    Vote: Core.on_vote,
    ObservationMessage: lambda core, sender, message, now_ms: core.on_observation(
        sender, message.observed, now_ms
    ),
    Proposal: Core.on_proposal,
    Timeout: Core.on_timeout,
    CertificateMessage: Core.on_certificate_message,
    BlockRequest: Core.on_block_request,
    BlockResponse: Core.on_block_response,
    CheckpointRequest: Core.on_checkpoint_request,
    CheckpointResponse: Core.on_checkpoint_response,
    Testimony: Core.on_testimony,
    HandoverShare: Core.on_handover_share,
    HandoverCertificate: lambda core, _, message, now_ms: core.on_handover_certificate(
        message, now_ms
    ),
}
"""What the core does with a message; candidates and successors are the shell's."""

_NEVER_TO_ONESELF = frozenset({CertificateMessage, BlockRequest, HandoverCertificate})

_PERFORM: dict[type, Callable[[Simulation, Node, Any], None]] = {
    fx.SetTimer: Simulation._set_timer,
    fx.EnteredView: Simulation._enter,
    fx.Observe: Simulation._observe,
    fx.Certified: lambda run, node, effect: None,
    fx.Persist: Simulation._persist,
    fx.StoreBlock: Simulation._store_block,
    fx.Committed: Simulation._commit,
    fx.StoreCheckpoint: Simulation._commit,
    fx.SendProposal: Simulation._propose,
    fx.SendVote: Simulation._vote,
    fx.SendTimeout: Simulation._time_out,
    fx.CertifyVotes: Simulation._certify_votes,
    fx.CertifyTimeouts: Simulation._certify_timeouts,
    fx.SetGraceTimer: Simulation._wait_grace,
    fx.SetFetchTimer: Simulation._wait_fetch,
    fx.SetCheckpointTimer: lambda run, node, effect: run._later(
        node, effect.duration_ms, Core.on_checkpoint_timer
    ),
    fx.SendCertificate: lambda run, node, effect: run._send(
        node, run._all_but(node.member), effect.certificate
    ),
    fx.SendRequest: lambda run, node, effect: run._send(node, effect.to, effect.request),
    fx.SendResponse: lambda run, node, effect: run._send(node, (effect.to,), effect.response),
    fx.LoadBlocks: Simulation._load_blocks,
    fx.KeepWitnessed: Simulation._keep,
    fx.SendTestimony: lambda run, node, effect: run._send(
        node, run._all_but(node.member), effect.testimony
    ),
    fx.Accusation: Simulation._accuse,
    fx.PeerFault: lambda run, node, effect: node.faults.append(effect),
    fx.Halt: Simulation._halt,
    fx.SendHandoverShare: Simulation._hand_over,
    fx.CertifyHandover: Simulation._certify_handover,
    fx.SendClosingQC: lambda run, node, effect: run._send(node, (effect.to,), effect.certificate),
    fx.SendHandoverCertificate: lambda run, node, effect: run._send(
        node, (effect.to,), effect.certificate
    ),
    fx.HandedOver: Simulation._has_handed_over,
}
"""How each effect is performed. A table, as of messages."""


__all__ = [
    "Conditions",
    "Cut",
    "Disk",
    "Intercept",
    "Node",
    "Simulation",
    "SimulationFailed",
    "handle",
]

if __name__ == "__main__":
    from testnet.long_run import main

    sys.exit(main())

"""A whole committee in one thread: the very `Core`, a seeded queue of events, and every fault.

Delay, loss, repetition, reordering, partitions, slow disks, clock skew, crashes at any effect
boundary with a restart from what was durable, and Byzantine members (`testnet/byzantine.py`). A run
depends on its arguments and its seed alone: `python -m testnet.simulation --nodes 4 --seed 17
--trace` shows what happened; `--count 1000000 --jobs 2` is a long run.
"""

import argparse
import gc
import multiprocessing
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from heapq import heappop, heappush
from random import Random
from typing import Any

from consensus import effects as fx
from consensus.committee import EpochContext, Timing
from consensus.core import Checkpoint, Core, genesis_checkpoint, genesis_safety
from consensus.errors import InvalidMessage
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
    Timeout,
    Vote,
)
from consensus.messages import Certificate as CertificateMessage
from consensus.safety import SafetyState
from testnet.byzantine import Coalition
from testnet.omniscient import Omniscient, PromiseBroken
from testnet.simulated_node import Conditions, Disk, Event, Intercept, Node
from testnet.stub_signatures import (
    GENESIS_STATE,
    GENESIS_TIME_MS,
    StubRule,
    StubSignatures,
    stub_context,
)

Cut = Callable[[Node, Node, Message], bool]
"""Whether the network loses a message on its way from a node to another."""

SCENARIO_VIEWS_MIN = 8


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
        trace: bool = False,
    ) -> None:
        self.context: EpochContext = stub_context(n, timing, schedule=tuple(schedule))
        self.seed = seed
        self.random = Random(seed)
        self.conditions = conditions or Conditions()
        self.signatures = StubSignatures(self.context)
        self.faulty = frozenset(twins) | frozenset(faulty)
        self.judge = Omniscient(self.context, self.faulty)
        self.now_ms = GENESIS_TIME_MS
        self.trace: list[str] | None = [] if trace else None
        self.groups: list[set[int]] | None = None
        self.cut: Cut | None = None
        self.coalition: Coalition | None = None
        self.faults = 0
        """Crashes, partitions, lost messages and Byzantine deeds so far."""
        self.highest_view = 0
        """The highest view that a node has entered."""
        self._queue: list[tuple[int, int, Callable[..., None], tuple[object, ...]]] = []
        self._count = 0
        self._progress = 0
        self._everyone = tuple(range(n))
        self.rule = StubRule(n)
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
        for node in self.nodes:
            if node.member not in asleep:
                self.after(0, self.start, node)

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
        node.core = Core(self.context, node.member, self.rule, disk.safety, disk.head)
        above = [block for block in disk.blocks.values() if block.view > disk.head.view]
        if node.change is not None:
            node.core.on_change(node.change)
        if self.trace is not None:
            self._note(node, "starts")
        self._enqueue(node, lambda core, now_ms: core.start(above, now_ms))

    def crash(self, node: Node) -> None:
        """Kill a node; a random part of what was not yet durable is lost."""
        if node.core is None:
            return
        if self.trace is not None:
            self._note(node, "crashes")
        self.faults += 1
        disk = node.disk
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
        try:
            while queue and queue[0][0] <= end_ms:
                self.now_ms, _, action, arguments = heappop(queue)
                action(*arguments)
                if until is not None and seen != self._progress:
                    seen = self._progress
                    if until():
                        return True
        except Exception as error:
            kind = "" if isinstance(error, PromiseBroken) else f"{type(error).__name__}: "
            raise SimulationFailed(f"{kind}{error} ({self})") from error
        self.now_ms = end_ms
        return False

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
                    self._note(node, effect)
                self._perform(node, effect)
            elif to_self:
                now_ms = self.now_ms + node.skew_ms
                effects.extend(handle(core, node.member, to_self.popleft(), now_ms))
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
        try:
            out = handle(core, sender, message, self.now_ms + node.skew_ms)
        except InvalidMessage as error:
            node.refused.append(f"{sender}: {error}")
            return False
        if out:
            node.effects.extend(out)
        return bool(out)

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
        self._progress += 1
        if effect.view > self.highest_view:
            self.highest_view = effect.view
        if self.coalition is not None and node.member not in self.faulty:
            self.coalition.entered(effect.view)

    def _load_blocks(self, node: Node, effect: fx.LoadBlocks) -> None:
        blocks = self._stored_chain(node.disk, effect.request)
        self._send(node, (effect.to,), BlockResponse(effect.request.block_id, blocks))

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
        self._progress += 1
        member, terms = node.member, effect.terms
        if member not in self.faulty:
            self.judge.hands_over(member, terms, node.disk.safety)
        share = self.signatures.share(member, terms.digest)
        handing = HandoverShare(
            terms.configuration_hash, terms.deciding_id, terms.observed_at_ms, share
        )
        self._send(node, self._everyone, handing)

    def _has_handed_over(self, node: Node, effect: fx.HandedOver) -> None:
        self._progress += 1
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
        self._progress += 1
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
        self.after(effect.duration_ms, self._ring, node, effect.view, node.timer)

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

    def _certify_handover(self, node: Node, effect: fx.CertifyHandover) -> None:
        bad = self.signatures.bad_handover_shares(effect.terms, effect.shares)
        if bad:
            self._later(node, 3, lambda core, now: core.on_bad_handover_shares(bad, now))
            return
        certificate = self.signatures.handover_certificate(effect.terms, list(effect.shares))
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
        for member in to:
            if member == me:
                continue
            if intercept is None:
                self.send(node, member, message)
            else:
                for one in intercept(node, member, message):
                    self.send(node, member, one)

    def send(self, node: Node, member: int, message: Message) -> None:
        """Put a message on the wire from a node to every node of a member."""
        conditions, random = self.conditions, self.random.random
        whole = self.groups is None and node.side == 0
        for other in self.nodes_of[member]:
            if not (whole and other.side == 0) and not self._connected(node, other):
                continue
            if self.cut is not None and self.cut(node, other, message):
                self.faults += 1
                continue
            if conditions.loss and random() * 1000 < conditions.loss:
                self.faults += 1
                continue
            low, high = conditions.delay_ms
            arguments = (node.member, other, message)
            self._count += 1
            at_ms = self.now_ms + low + int(random() * (high - low + 1))
            heappush(self._queue, (at_ms, self._count, self.deliver, arguments))
            if conditions.repetition and random() * 1000 < conditions.repetition:
                self.after(self._draw(conditions.delay_ms), self.deliver, *arguments)

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

    def _note(self, node: Node, what: object) -> None:
        if self.trace is not None:
            at_ms = self.now_ms - GENESIS_TIME_MS
            self.trace.append(f"{at_ms:>7} {node.member}{'' if not node.side else chr(39)} {what}")


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
    fx.Equivocation: lambda run, node, effect: node.evidence.append(effect),
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


def chaos(n: int, seed: int, *, trace: bool = False) -> Simulation:
    """Run one scenario of random faults, then heal everything and require progress.

    In two of three, f members are Byzantine and stay so. Every run has at least 8 views, a fault,
    and a commit by every honest member after the last fault of the network, the disks and the
    power. Raises `SimulationFailed`, which names the seed.
    """
    random = Random(f"chaos {seed}")
    timing = Timing(
        round_interval_ms=random.choice((0, 250)), base_timeout_ms=random.choice((400, 1000))
    )
    conditions = Conditions(
        delay_ms=(1, random.choice((5, 60, 400))),
        loss=random.choice((0, 20, 100, 250)),
        repetition=random.choice((0, 50)),
        disk_ms=(0, random.choice((0, 0, 10, 80))),
        crash=random.choice((0, 0, 0, 1, 5)),
    )
    f = stub_context(n).f
    faulty = random.sample(range(n), f) if random.randrange(3) else []
    simulation = Simulation(
        n, seed, timing=timing, conditions=conditions, faulty=faulty, trace=trace
    )
    if faulty:
        simulation.coalition = Coalition(simulation, Random(f"byzantine {seed}"))
    for node in simulation.nodes:
        node.skew_ms = random.randint(-200, 200)
        if seed % 8 == 5:
            node.disk.keeps = seed % 3  # So that checkpoints are needed.
    _break_and_heal(simulation, random, long=random.randrange(32) == 0)
    require_nobody_wronged(simulation)
    return simulation


def _break_and_heal(simulation: Simulation, random: Random, *, long: bool) -> None:
    timing = simulation.context.configuration.timing
    conditions = simulation.conditions
    pace_ms = max(timing.round_interval_ms, 2 * conditions.delay_ms[1])
    span_ms = 8 * timing.base_timeout_ms
    count = random.randint(1, 4 if long else 3)
    for _ in range(count):
        _plan_fault(simulation, random, span_ms if long else 4 * pace_ms, span_ms // 2)
    views = 10_000 if long else SCENARIO_VIEWS_MIN - 2

    def broken() -> bool:
        return simulation.highest_view >= views and simulation.faults > 0

    simulation.run(span_ms, broken)
    simulation.faults += 1
    simulation.groups = None
    simulation.cut = None
    simulation.conditions = replace(conditions, delay_ms=(1, 10), loss=0, crash=0, disk_ms=(0, 0))
    simulation.after(0, simulation.restart_all)
    simulation.require_commits(2, 60 * timing.base_timeout_ms)
    limit_ms = 60 * timing.base_timeout_ms
    if not simulation.run(limit_ms, lambda: simulation.highest_view >= SCENARIO_VIEWS_MIN):
        raise SimulationFailed(f"no {SCENARIO_VIEWS_MIN} views within {limit_ms} ms ({simulation})")


def _plan_fault(simulation: Simulation, random: Random, begin_max_ms: int, length_ms: int) -> None:
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


def require_nobody_wronged(simulation: Simulation) -> None:
    """Raise `SimulationFailed` if an honest member has halted or is accused by another."""
    for node in simulation.honest:
        accused = {one.member for one in node.evidence} | {one.member for one in node.faults}
        if node.halted is not None or not accused <= simulation.faulty:
            text = f"member {node.member} halts: {node.halted}, or accuses one of {accused}"
            raise SimulationFailed(f"{text} ({simulation})")


def _run_seeds(task: tuple[int, range]) -> tuple[int, float, list[str]]:
    """Run scenarios; return how many, their CPU seconds, and what failed."""
    n, seeds = task
    begun = time.process_time()
    failures = []
    with _no_garbage():
        for seed in seeds:
            try:
                chaos(n, seed).let_go()
            except SimulationFailed as error:
                failures.append(str(error))
    return len(seeds), time.process_time() - begun, failures


@contextmanager
def _no_garbage() -> Iterator[None]:
    """Keep the garbage collector still while runs go by that let go of everything themselves.

    It would look through all that lives on, again and again: a quarter of the time.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.collect()
        if was_enabled:
            gc.enable()


def run_many(
    n: int, seeds: range, jobs: int = 1, batch: int = 250
) -> Iterator[tuple[int, float, list[str]]]:
    """Run scenarios in so many processes; yield (count, CPU seconds, failures) of each batch."""
    tasks = [(n, seeds[i : i + batch]) for i in range(0, len(seeds), batch)]
    if jobs <= 1:
        yield from map(_run_seeds, tasks)
        return
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        yield from pool.imap_unordered(_run_seeds, tasks)


def _show(n: int, seed: int) -> int:
    try:
        shown = chaos(n, seed, trace=True)
    except SimulationFailed as error:
        print(f"failed: {error}", file=sys.stderr)
        return 1
    print("\n".join(shown.trace or ()))
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run chaos scenarios from a seed onwards, or one with its trace; 1 if one failed."""
    parser = argparse.ArgumentParser(prog="python -m testnet.simulation", description=__doc__)
    parser.add_argument("--nodes", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=1, help="processes that share the scenarios")
    parser.add_argument("--trace", action="store_true", help="show every effect of every node")
    given = parser.parse_args(arguments)
    done, spent, failed = 0, 0.0, 0
    if given.trace:
        failed += sum(_show(given.nodes, given.seed + i) for i in range(given.count))
    seeds = range(given.seed, given.seed + given.count)
    shown = time.monotonic()
    for count, seconds, failures in run_many(given.nodes, seeds, given.jobs):
        done, spent, failed = done + count, spent + seconds, failed + len(failures)
        for failure in failures:
            print(f"failed: {failure}", file=sys.stderr, flush=True)
        if time.monotonic() - shown > 10:
            shown = time.monotonic()
            print(f"{done} of {given.count}, {rate(done, spent)}", file=sys.stderr, flush=True)
    print(f"{done} scenarios, {failed} failed, {rate(done, spent)}")
    return 1 if failed else 0


def rate(count: int, cpu_seconds: float) -> str:
    """Say how fast scenarios were run."""
    return f"{count / max(cpu_seconds, 0.001) * 60:.0f} a minute and core"


__all__ = [
    "Conditions",
    "Cut",
    "Disk",
    "Intercept",
    "Node",
    "Simulation",
    "SimulationFailed",
    "chaos",
    "handle",
    "main",
    "rate",
    "require_nobody_wronged",
    "run_many",
]

if __name__ == "__main__":
    sys.exit(main())

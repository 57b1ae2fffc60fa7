"""The loop that performs effects: order, durability, hostile peers; a real store and real keys."""

import threading
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
import trio.testing

from consensus import messages as wire
from consensus.committee import Timing
from consensus.core import Core, genesis_checkpoint, genesis_safety
from consensus.errors import InvalidMessage
from consensus.evidence import (
    accused_by,
    decode_evidence,
    encode_evidence,
    single_vote,
    two_votes,
)
from consensus.safety import SafetyState
from node.backfill import Backfill
from node.candidates import Candidates
from node.epoch_state import decode_state, digest_of_state, encode_state
from node.evidence_book import PIECES_AT_ONCE, EvidenceBook
from node.running_epoch import RunningEpoch
from node.runtime import (
    REQUESTS_AT_ONCE,
    STALE_AT_ONCE,
    OwnObservation,
    Runtime,
    wall_clock_ms,
)
from node.store import Gap, Store
from node.store.errors import StoreFailed
from node.verifier import Verifier

PATIENT = Timing(round_interval_ms=0, base_timeout_ms=3_600_000)


class Wires:
    """A network that keeps what is sent and delivers what the test puts in."""

    def __init__(self, log: list[Any]) -> None:
        self.log = log
        self.sent: list[tuple[int, wire.Message]] = []
        self.drops: list[tuple[int, str]] = []
        self.waiting: dict[int, list[bytes]] = {}
        self._given = defaultdict[int, trio.Event](trio.Event)
        self.asked: list[int] = []
        self.forward: Callable[[int, bytes], None] | None = None

    def send(self, member: int, frame: bytes) -> bool:
        message = wire.decode(frame)
        self.sent.append((member, message))
        self.log.append(message)
        if self.forward is not None:
            self.forward(member, frame)
        return True

    async def receive_from(self, member: int) -> bytes:
        while not self.waiting.get(member):
            await self._given[member].wait()
        return self.waiting[member].pop(0)

    def drop(self, member: int, reason: str) -> None:
        self.drops.append((member, reason))

    def ask_successor(self, member: int) -> None:
        self.asked.append(member)

    def give(self, sender: int, message: wire.Message | bytes) -> None:
        frame = message if isinstance(message, bytes) else wire.encode(message)
        self.waiting.setdefault(sender, []).append(frame)
        self._given.pop(sender, trio.Event()).set()

    def of(self, kind: type) -> list[Any]:
        return [message for _, message in self.sent if isinstance(message, kind)]


class Seen:
    """What others were told of the agreement."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, tuple[Any, ...]]] = []

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *arguments: self.calls.append((name, arguments))

    def named(self, name: str) -> list[tuple[Any, ...]]:
        return [arguments for called, arguments in self.calls if called == name]


class LoggedStore(Store):
    """A store that says when a safety state is durable, waits at a gate, or fails."""

    log: list[Any]
    gate: threading.Event
    broken = False

    def save_safety(self, safety: SafetyState) -> None:
        self.gate.wait(20)
        if self.broken:
            raise StoreFailed("no space left")
        super().save_safety(safety)
        self.log.append(safety)


class Rig:
    """One runtime and everything around it."""

    def __init__(self, committee: Any, me: int, directory: Path) -> None:
        context = committee.context
        self.committee, self.me = committee, me
        self.log: list[Any] = []
        self.wires = Wires(self.log)
        self.seen = Seen()
        self.store = LoggedStore.create(directory / f"store-{me}")
        self.store.log = self.log
        self.store.gate = threading.Event()
        self.store.gate.set()
        safety = genesis_safety(context)
        root = genesis_checkpoint(context, committee.genesis)
        self.core = Core(context, me, committee.rule, safety, root)
        epoch = RunningEpoch("test", context, committee.table, (), committee.genesis)
        signer = committee.signer(me)
        self.told: list[tuple[int, bytes]] = []
        self.evidence = EvidenceBook(
            self.store,
            lambda: [epoch],
            lambda number, data: self.told.append((number, data)),
            self.seen.convicted,  # type: ignore[attr-defined]
        )
        self.runtime = Runtime(
            epoch,
            me,
            self.core,
            signer=signer,
            store=self.store,
            journal=None,
            network=self.wires,
            observe=lambda now_ms: OwnObservation(committee.body(now_ms), None),
            candidates=Candidates(epoch, me, self.store, signer.approval),
            evidence=self.evidence,
            events=self.seen,  # type: ignore[arg-type]
        )

    async def until(self, holds: Callable[[], object]) -> None:
        """Wait for something that must come."""
        with trio.fail_after(20):
            while not holds():  # noqa: ASYNC110 - what is waited for has no event of its own
                await trio.sleep(0.002)

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Rig"]:
        try:
            async with trio.open_nursery() as nursery:
                await nursery.start(self.runtime.run, [])
                yield self
                nursery.cancel_scope.cancel()
        finally:
            self.store.gate.set()
            self.store.close()


@pytest.fixture
def rig(keyed: Any, tmp_path: Path) -> Callable[..., Rig]:
    def make(leads: int = 0, n: int = 4) -> Rig:
        committee = keyed.Committee(n, timing=PATIENT, genesis_ms=wall_clock_ms() - 1000)
        return Rig(committee, committee.context.leader(leads), tmp_path)

    return make


def first_block(rig: Rig, offset_ms: int = 0) -> wire.Block:
    block: wire.Block = rig.committee.block(1, at_ms=wall_clock_ms() + offset_ms)
    return block


async def test_a_vote_leaves_only_after_it_is_durable(rig: Callable[..., Rig]) -> None:
    async with rig().running() as r:
        block = first_block(r)
        r.store.gate.clear()
        r.wires.give(r.committee.context.leader(1), r.committee.proposal(block))
        await r.until(lambda: r.core.safety.last_voted_view == 1)
        await trio.sleep(0.1)
        assert not r.wires.of(wire.Vote), "the core has decided, the disk has not"
        r.store.gate.set()
        await r.until(lambda: len(r.wires.of(wire.Vote)) == 3)
        (durable,) = [i for i, e in enumerate(r.log) if isinstance(e, SafetyState)]
        votes = [i for i, e in enumerate(r.log) if isinstance(e, wire.Vote)]
        assert durable < min(votes)
        assert r.log[durable].last_vote == block.header
        stored = r.store.load_safety(r.committee.domain)
        assert stored is not None
        assert stored.last_vote == block.header
        block_id = block.header.id(r.committee.domain)
        assert r.store.load_block(r.committee.domain, block_id) == block


async def test_a_store_that_fails_stops_the_node_before_anything_is_said(
    rig: Callable[..., Rig],
) -> None:
    r = rig()

    async def run_until_it_stops() -> None:
        async with r.running():
            r.store.broken = True
            r.wires.give(r.committee.context.leader(1), r.committee.proposal(first_block(r)))
            await trio.sleep(20)

    with pytest.raises(BaseExceptionGroup) as stopped:
        await run_until_it_stops()
    assert stopped.group_contains(StoreFailed)
    assert not r.wires.of(wire.Vote)


async def test_events_wait_their_turn_behind_a_slow_disk(rig: Callable[..., Rig]) -> None:
    async with rig().running() as r:
        leader = r.committee.context.leader(1)
        r.store.gate.clear()
        r.wires.give(leader, r.committee.proposal(first_block(r)))
        await r.until(lambda: r.core.safety.last_voted_view == 1)
        before = r.core.view
        tc = r.committee.tc(1, {0: 0, 1: 0, 2: 0})
        r.wires.give((r.me + 1) % 4, wire.Certificate(r.committee.context.genesis_qc, tc))
        await trio.sleep(0.1)
        assert r.core.view == before
        r.store.gate.set()
        await r.until(lambda: r.core.view == 2)


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"\x00",
        b"\x91\xa4\x00\x00\x00\x80",
        b"\x91" * 3000,
        b"\x93\xa4vote\x01\x02",
        bytes(wire.FRAME_BYTES_MAX + 1),
    ],
)
async def test_garbage_drops_the_peer_and_not_the_node(
    rig: Callable[..., Rig], frame: bytes
) -> None:
    async with rig().running() as r:
        leader = r.committee.context.leader(1)
        peer = next(i for i in range(4) if i not in (r.me, leader))
        r.wires.give(peer, frame)
        await r.until(lambda: r.wires.drops)
        assert [member for member, _ in r.wires.drops] == [peer]
        assert r.seen.named("invalid")[0][0] == peer
        r.wires.give(leader, r.committee.proposal(first_block(r)))
        await r.until(lambda: r.wires.of(wire.Vote))


async def test_invalid_messages_of_every_kind_drop_their_sender(rig: Callable[..., Rig]) -> None:
    async with rig().running() as r:
        c = r.committee
        replace = msgspec.structs.replace
        leader = c.context.leader(1)
        other = next(i for i in range(4) if i not in (r.me, leader))
        block = first_block(r)
        good = c.proposal(block)
        qc = c.qc(block.header)
        forged = replace(qc, aggregate=good.vote)
        short = c.observed(other, 1, type(c.body())(5, c.body().entries[:1]))
        invalid: list[tuple[int, wire.Message]] = [
            (leader, replace(good, signature=b"\x01" * 64)),
            (leader, replace(good, block=replace(block, height=2))),
            (other, good),
            (other, wire.ObservationMessage(c.observed(leader, 1))),
            (other, wire.ObservationMessage(short)),
            (other, wire.Certificate(forged, None)),
            (other, replace(c.timeout(other, 3), qc=forged)),
            (other, c.timeout(other, 3, 2)),
        ]
        for number, (sender, message) in enumerate(invalid):
            before = r.core.safety
            r.wires.give(sender, message)
            await r.until(lambda number=number: len(r.wires.drops) > number)
            assert r.wires.drops[number][0] == sender
            assert r.core.safety == before
        r.wires.give(leader, good)
        await r.until(lambda: r.wires.of(wire.Vote))


async def test_a_leader_counts_its_own_observation_and_its_own_vote(
    rig: Callable[..., Rig],
) -> None:
    async with rig(leads=1).running() as r:
        c = r.committee
        others = [i for i in range(4) if i != r.me]
        await r.until(lambda: r.wires.of(wire.ObservationMessage))
        for member in others[:2]:
            body = c.body(wall_clock_ms())
            r.wires.give(member, wire.ObservationMessage(c.observed(member, 1, body)))
        await r.until(lambda: r.wires.of(wire.Proposal))
        proposal = r.wires.of(wire.Proposal)[0]
        assert r.me not in [member for member, _ in r.wires.sent]
        durable = [i for i, e in enumerate(r.log) if isinstance(e, SafetyState)]
        said = [i for i, e in enumerate(r.log) if isinstance(e, wire.Proposal)]
        assert durable[0] < said[0]
        assert r.log[durable[0]].last_proposed_view == 1
        for member in others[:2]:
            r.wires.give(member, c.vote(member, proposal.block.header))
        await r.until(lambda: r.seen.named("certified"))
        ((block_id, block, qc, _, _),) = r.seen.named("certified")
        assert block == proposal.block
        assert block_id == block.header.id(c.domain)
        Verifier(c.context, 2).check_qc(qc)


async def test_a_bad_share_is_found_its_sender_dropped_and_the_rest_certified(
    rig: Callable[..., Rig],
) -> None:
    async with rig(n=5).running() as r:
        c = r.committee
        leader = c.context.leader(1)
        others = [i for i in range(5) if i not in (r.me, leader)]
        block = first_block(r)
        bad = wire.Vote(block.header, c.vote(others[0], first_block(r, 7).header).share)
        r.wires.give(others[0], bad)
        r.wires.give(others[1], c.vote(others[1], block.header))
        r.wires.give(leader, c.proposal(block))
        await r.until(lambda: r.wires.drops)
        assert {member for member, _ in r.wires.drops} == {others[0]}
        r.wires.give(others[2], c.vote(others[2], block.header))
        await r.until(lambda: r.seen.named("certified"))


async def test_two_votes_are_evidence_only_if_both_are_signed(rig: Callable[..., Rig]) -> None:
    async with rig().running() as r:
        c = r.committee
        one, two = first_block(r).header, first_block(r, 9).header
        honest, forger = [i for i in range(4) if i not in (r.me, c.context.leader(1))]
        r.wires.give(honest, c.vote(honest, one))
        r.wires.give(honest, c.vote(honest, two))
        await r.until(lambda: r.seen.named("convicted"))
        ((offence,),) = r.seen.named("convicted")
        assert (offence.member, offence.kind) == (honest, "two-votes")
        ((epoch, encoded),) = r.told
        assert epoch == c.context.epoch
        assert accused_by(c.context, decode_evidence(encoded)) == (honest,)
        r.wires.give(forger, c.vote(forger, one))
        r.wires.give(forger, wire.Vote(two, c.vote(honest, two).share))
        await r.until(lambda: forger in [member for member, _ in r.wires.drops])
        assert len(r.seen.named("convicted")) == 1


async def test_what_a_member_sends_too_fast_waits_with_the_network(
    rig: Callable[..., Rig],
) -> None:
    async with rig().running() as r:
        leader = r.committee.context.leader(1)
        flooder = next(i for i in range(4) if i not in (r.me, leader))
        r.store.gate.clear()
        r.wires.give(leader, r.committee.proposal(first_block(r)))
        await r.until(lambda: r.core.safety.last_voted_view == 1)
        for _ in range(300):
            r.wires.give(flooder, wire.BlockRequest(bytes(32), 0))
        await trio.testing.wait_all_tasks_blocked()
        assert len(r.wires.waiting[flooder]) == 299, "one is being handled, the rest is not taken"
        r.store.gate.set()
        await r.until(lambda: r.wires.of(wire.Vote))
        await r.until(lambda: not r.wires.waiting[flooder])


async def test_certificates_of_the_past_are_verified_at_a_bounded_rate(
    rig: Callable[..., Rig],
) -> None:
    async with rig().running() as r:
        genesis = r.committee.context.genesis_qc

        def admitted(*messages: wire.Message) -> int:
            return sum(r.runtime._is_wanted(1, message) for message in messages)

        known = wire.Certificate(genesis, None)
        stale = [
            wire.Certificate(msgspec.structs.replace(genesis, aggregate=bytes([i]) * 96), None)
            for i in range(1, 100)
        ]
        assert admitted(*stale) <= 2 * STALE_AT_ONCE
        assert admitted(*[known] * 100) == 100
        block = first_block(r)
        news = wire.Certificate(r.committee.qc(block.header), None)
        assert admitted(*[news] * 100) == 100


async def test_requests_for_blocks_are_answered_at_a_bounded_rate(rig: Callable[..., Rig]) -> None:
    async with rig().running() as r:
        leader = r.committee.context.leader(1)
        block = first_block(r)
        r.wires.give(leader, r.committee.proposal(block))
        await r.until(lambda: r.wires.of(wire.Vote))
        greedy, modest = [member for member in range(4) if member not in (r.me, leader)]
        request = wire.BlockRequest(block.header.id(r.committee.domain), 0)
        for _ in range(1000):
            r.wires.give(greedy, request)
        await r.until(lambda: not r.wires.waiting[greedy])
        r.wires.give(modest, request)

        def answers(to: int) -> list[wire.Message]:
            return [m for t, m in r.wires.sent if t == to and isinstance(m, wire.BlockResponse)]

        await r.until(lambda: answers(modest))
        assert answers(modest) == [wire.BlockResponse(request.block_id, (block,))]
        # What a second or more of a busy machine adds does not matter.
        assert REQUESTS_AT_ONCE <= len(answers(greedy)) < 500
        assert not r.wires.drops, "one that asks too often is not answered, and no more"


async def test_a_member_has_one_share_of_what_is_judged_in_all_epochs(
    rig: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Evidence comes by the present epoch's runtime, or for one that is over."""
    monkeypatch.setattr("node.evidence_book.PIECES_A_SECOND", 0)
    async with rig().running() as r:
        c = r.committee
        teller, offender = [member for member in range(4) if member != r.me][:2]

        def told(at_ms: int) -> wire.EvidenceMessage:
            one, other = first_block(r).header, first_block(r, at_ms).header
            votes = [
                single_vote(offender, h, c.signer(offender).vote(h.id(c.domain)))
                for h in (one, other)
            ]
            return wire.EvidenceMessage(encode_evidence(two_votes(c.context, *votes)))

        spent = told(7)
        for _ in range(PIECES_AT_ONCE + 5):  # The last of them may still be on its way.
            r.wires.give(teller, spent)
        await r.until(lambda: not r.wires.waiting[teller] and r.seen.named("convicted"))
        r.seen.calls.clear()
        epoch = RunningEpoch("test", c.context, c.table, (), c.genesis)
        forged = wire.EvidenceMessage(b"no evidence")
        # Its share is used up, so nobody looks; of another member somebody does.
        keys = [c.identities[member].public_key for member in (teller, offender)]
        await r.evidence.receive(keys[0], epoch, forged)
        with pytest.raises(InvalidMessage):
            await r.evidence.receive(keys[1], epoch, forged)


async def test_a_request_for_final_blocks_is_answered_from_the_store(
    rig: Callable[..., Rig],
) -> None:
    async with rig().running() as r:
        block = first_block(r)
        block_id = block.header.id(r.committee.domain)
        r.store.save_block(r.committee.domain, block_id, block)
        peer = (r.me + 1) % 4
        r.wires.give(peer, wire.BlockRequest(block_id, 0))
        await r.until(lambda: r.wires.of(wire.BlockResponse))
        assert r.wires.of(wire.BlockResponse) == [wire.BlockResponse(block_id, (block,))]


class Past:
    """A chain with real certificates that was agreed while a member was away."""

    def __init__(self, keyed: Any, length: int = 8) -> None:
        timing = Timing(round_interval_ms=0, base_timeout_ms=100)
        genesis_ms = wall_clock_ms() - 60_000
        self.committee = c = keyed.Committee(4, timing=timing, genesis_ms=genesis_ms)
        self.blocks: list[wire.Block] = []
        self.states: list[Any] = []
        state, self.qc = c.genesis, c.context.genesis_qc
        for view in range(1, length + 1):
            made = c.block(view, justify=self.qc, height=view, state=state, at_ms=genesis_ms + view)
            state = c.rule.apply(state, state.observed_at_ms, view, made.payload).state
            self.blocks.append(made)
            self.states.append(state)
            self.qc = c.qc(made.header)

    @property
    def checkpoint(self) -> wire.CheckpointResponse:
        root, child = self.blocks[-2:]
        digest = self.committee.rule.digest(child.view, child.payload)
        descendants = (wire.Descendant(child.header, child.state_digest, digest),)
        state = encode_state(self.states[-2])
        return wire.CheckpointResponse(root, state, descendants, self.qc)

    def answer(self, request: wire.BlockRequest, most: int) -> wire.BlockResponse:
        by_id = {block.header.id(self.committee.domain): block for block in self.blocks}
        found: list[wire.Block] = []
        block = by_id.get(request.block_id)
        while block is not None and block.view > request.known_view and len(found) < most:
            found.append(block)
            block = by_id.get(self.committee.context.id_of(block.justify))
        return wire.BlockResponse(request.block_id, tuple(found))


async def go_on_from(r: Rig, past: Past) -> int:
    """Let a member ask in vain for blocks, be lied to, and get a checkpoint; return the liar."""
    r.wires.give(0, past.checkpoint)  # Nobody asked for it.
    r.wires.give(0, wire.Certificate(past.qc, None))
    await r.until(lambda: r.wires.of(wire.CheckpointRequest))
    assert r.core.root.block is None
    asked = {to for to, m in r.wires.sent if isinstance(m, wire.CheckpointRequest)}
    liar, honest = sorted(asked)[:2]
    forged = msgspec.structs.replace(past.qc, aggregate=past.blocks[-2].justify.aggregate)
    r.wires.give(liar, msgspec.structs.replace(past.checkpoint, qc=forged))
    await r.until(lambda: r.wires.drops)
    assert r.wires.drops[0][0] == liar
    r.wires.give(honest, past.checkpoint)
    await r.until(lambda: r.seen.named("began_from"))
    assert r.core.root.view == past.checkpoint.block.view
    return liar


async def test_a_member_that_nobody_can_send_blocks_goes_on_from_a_checkpoint(
    keyed: Any, tmp_path: Path
) -> None:
    """Real certificates and states; a liar is dropped and named, the honest one believed."""
    past = Past(keyed)
    domain = past.committee.domain
    r = Rig(past.committee, 3, tmp_path)
    async with r.running():
        await go_on_from(r, past)
        await r.until(lambda: any(isinstance(entry, SafetyState) for entry in r.log))
    with Store.open(tmp_path / "store-3") as store:
        head = store.head(domain)
        assert head is not None
        assert (head.block, head.state) == (past.blocks[6], past.checkpoint.state)
        assert digest_of_state(decode_state(head.state)) == past.blocks[6].state_digest
        assert store.gaps(domain) == [Gap(0, 0, 7, 7)]


async def test_what_was_skipped_comes_back_for_the_archive(
    keyed: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Piece by piece, from a member that has it, though another lies and a third is silent."""
    monkeypatch.setattr("node.backfill.PAUSE_SECONDS", 0.01)
    monkeypatch.setattr("node.backfill.ANSWER_SECONDS", 0.2)
    past = Past(keyed, 30)
    c = past.committee
    r = Rig(c, 3, tmp_path)
    async with r.running():
        await go_on_from(r, past)
        drops = len(r.wires.drops)
        r.wires.forward = lambda member, frame: serve(member, wire.decode(frame))

        def serve(member: int, message: wire.Message) -> None:
            if not isinstance(message, wire.BlockRequest):
                return
            answer = past.answer(message, 7)
            if member == 1:
                answer = wire.BlockResponse(message.block_id, answer.blocks[1:])
            if member != 0:
                r.wires.give(member, answer)

        await r.until(lambda: not r.store.gaps(c.domain))
        await r.until(lambda: not r.store.prune_skipped(c.domain))
        assert {member for member, _ in r.wires.drops[drops:]} == {1}
        assert r.store.gaps(c.domain) == []
        assert not r.store.skipped(c.domain, Gap(0, 0, 29, 29))
    recovered = r.seen.named("recovered")
    views = [block.view for _, block, _, _ in recovered]
    assert len(r.seen.named("gaps_changed")) > 1, "step by step, each of them for good"
    assert views[:28] == list(range(1, 29)), "and the checkpoint's own if its child is here"
    for block_id, block, qc, state in recovered:
        assert block_id == block.header.id(c.domain) == c.context.id_of(qc)
        assert state == past.states[block.view - 1]


async def test_what_nobody_has_any_more_stays_a_gap(
    keyed: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.backfill.PAUSE_SECONDS", 0.01)
    monkeypatch.setattr("node.backfill.ANSWER_SECONDS", 0.05)
    past = Past(keyed)
    r = Rig(past.committee, 3, tmp_path)
    async with r.running():
        await go_on_from(r, past)
        asked = lambda: [m for m in r.wires.of(wire.BlockRequest) if m.known_view == 0]  # noqa: E731
        r.wires.forward = lambda member, frame: None
        for _ in range(20):
            for member in range(3):
                for request in asked():
                    r.wires.give(member, wire.BlockResponse(request.block_id, ()))
            await trio.sleep(0.02)
        await trio.sleep(0.3)
        before = len(asked())
        await trio.sleep(0.3)
        assert len(asked()) == before, "it is asked for a bounded number of times"
        assert r.store.gaps(past.committee.domain) == [Gap(0, 0, 7, 7)]


async def test_a_gap_that_grows_while_it_waits_its_turn_is_filled_as_the_wider_one(
    keyed: Any, tmp_path: Path, autojump_clock: Any
) -> None:
    """Another checkpoint comes in the pause before a gap is filled: the gap it knew is gone."""
    past = Past(keyed, 12)
    c = past.committee
    asked: list[wire.BlockRequest] = []
    with Store.create(tmp_path / "store") as store:

        def skip_to(height: int) -> None:
            block = past.blocks[height - 1]
            store.save_checkpoint(
                c.domain,
                block.header.id(c.domain),
                block,
                encode_state(past.states[height - 1]),
                Gap(0, 0, block.view, height),
                c.context.genesis_id,
                encode_state(c.genesis),
            )

        epoch = RunningEpoch("test", c.context, c.table, (), c.genesis)
        backfill = Backfill(epoch, 3, store, Seen(), lambda request, _to: asked.append(request))
        skip_to(6)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(backfill.run)
            await trio.testing.wait_all_tasks_blocked()
            assert not asked, "it waits"
            skip_to(11)
            backfill.wake()
            await trio.sleep(1)
            nursery.cancel_scope.cancel()
        assert {request.block_id for request in asked} == {past.blocks[9].header.id(c.domain)}
        assert store.gaps(c.domain) == [Gap(0, 0, 11, 11)]


@pytest.mark.parametrize("dead", [0, 1])
async def test_four_runtimes_agree(keyed: Any, tmp_path: Path, dead: int) -> None:
    """The whole loop with real keys and stores, one member perhaps missing."""
    timing = Timing(round_interval_ms=0, base_timeout_ms=1000)
    committee = keyed.Committee(4, timing=timing, genesis_ms=wall_clock_ms() - 1000)
    rigs = [Rig(committee, me, tmp_path) for me in range(4 - dead)]

    def connect(sender: Rig) -> None:
        def forward(member: int, frame: bytes) -> None:
            if member < len(rigs):
                rigs[member].wires.give(sender.me, frame)

        sender.wires.forward = forward

    for r in rigs:
        connect(r)
    async with trio.open_nursery() as nursery:
        for r in rigs:
            nursery.start_soon(r.runtime.run, [])
        await rigs[0].until(lambda: all(len(r.seen.named("committed")) >= 6 for r in rigs))
        nursery.cancel_scope.cancel()
    heights = [[block.height for _, block, _ in r.seen.named("committed")] for r in rigs]
    ids = [[block_id for block_id, _, _ in r.seen.named("committed")][:6] for r in rigs]
    assert all(found[:6] == [1, 2, 3, 4, 5, 6] for found in heights)
    assert all(found == ids[0] for found in ids)
    assert not any(r.wires.drops for r in rigs)
    for r in rigs:
        head = r.store.head(committee.domain)
        assert head is not None
        assert head.height >= 6
        r.store.close()


@pytest.mark.parametrize("jump_ms", [3_600_000, -3_600_000])
async def test_a_jump_of_the_clock_costs_votes_and_nothing_else(
    rig: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch, jump_ms: int
) -> None:
    """A wrong clock makes what others propose untimely; once it is right, the member votes."""
    offset_ms = 0
    monkeypatch.setattr("node.runtime.wall_clock_ms", lambda: wall_clock_ms() + offset_ms)
    r = rig()
    context = r.committee.context
    others = [member for member in range(4) if member != r.me]
    # Views that others lead, and the first of them while the clock is wrong.
    views = [view for view in range(1, 20) if context.leader(view) != r.me]
    async with r.running():
        offset_ms = jump_ms
        for view in views[:3]:
            if view > 1:
                tc = r.committee.tc(view - 1, dict.fromkeys(others, 0))
                r.wires.give(others[0], wire.Certificate(context.genesis_qc, tc))
                await r.until(lambda view=view: r.core.view == view)
            else:
                tc = None
            block = r.committee.block(view, at_ms=wall_clock_ms(), members=others)
            r.wires.give(context.leader(view), r.committee.proposal(block, tc))
            await r.until(
                lambda view=view: [
                    1 for _, proposed in r.seen.named("proposed") if proposed.view == view
                ]
            )
            if view == views[2]:
                assert r.core.safety.last_vote == block.header
            else:
                assert r.core.safety.last_vote is None
            if view == views[1]:
                offset_ms = 0
        await r.until(lambda: len(r.wires.of(wire.Vote)) >= 3)
        assert {vote.header.view for vote in r.wires.of(wire.Vote)} == {views[2]}
    assert r.wires.drops == []

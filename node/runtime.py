"""The only loop that performs the core's effects: in order, one event at a time.

Messages are decoded and their signatures checked before the core sees them, heavy ones in worker
threads; a member's messages keep their order, one member's never wait for another's. A fault of a
peer is counted and drops the peer; a fault of the disk or of our own stops the node.
"""

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn, Protocol

import msgspec
import structlog
import trio

from aggregation.observation import ObservationBody
from consensus import effects as fx
from consensus import messages as wire
from consensus.committee import signers_of
from consensus.core import Core
from consensus.errors import InvalidMessage
from consensus.handover import Terms, terms_in
from consensus.messages import QC, TC, Block
from consensus.payload import State
from node.alarm import Alarm
from node.backfill import Backfill, Recovered
from node.candidates import Candidates
from node.epoch_file import from_document
from node.epoch_state import agreed_in, encode_state
from node.errors import NetworkFileError
from node.evidence_book import EvidenceBook
from node.journal import Journal
from node.network.rate import PeerBuckets
from node.own_signatures import OwnSignatures
from node.payload import digest_of, is_priced
from node.running_epoch import RunningEpoch, encode_successor
from node.signer import Signer
from node.store import Gap, Store
from node.twin_watch import EarlyFrames, TwinWatch
from node.verifier import BadShares

if TYPE_CHECKING:
    from trio_typing import TaskStatus  # libp2p brings stubs of trio that lack the name

VERIFICATIONS_MAX = 8
"""Messages that are verified at the same time; more wait with the network."""

SHARES_AT_ONCE_MAX = 7
"""So many shares are aggregated and verified in two milliseconds; the way to another thread and
back costs a good part of that, and more where all cores are busy."""

PARTING_SECONDS = 1.0
"""A node that halts leaves its last messages so much time."""

TESTIMONIES_A_SECOND = 0.1
TESTIMONIES_AT_ONCE = 3
"""So many of one member are verified; whoever halts again after a restart testifies again."""

STALE_A_SECOND = 4.0
STALE_AT_ONCE = 16.0
"""Unknown certificates of views that are over are verified no more often, for each member: they may
prove an offence, but each costs a pairing, and an honest member has few of them."""

REQUESTS_A_SECOND = 8.0
REQUESTS_AT_ONCE = 64.0
"""Requests for blocks of one member are answered no more often, since an answer may have a MiB. An
honest member asks again, and needs 8 to fill a gap that it fills block by block."""

GOSSIP_SECONDS = 1.0
CANDIDATE_EVERY_SECONDS = 10.0
"""What this member proposes as the next epoch is told again, to whoever was away."""

_NEVER_TO_SELF = (
    wire.Certificate
    | wire.BlockRequest
    | wire.CheckpointRequest
    | wire.HandoverCertificate
    | wire.Candidate
)

_witnessed_decoder = msgspec.msgpack.Decoder(wire.Witnessed)

_log = structlog.get_logger("node.runtime")


class Halted(Exception):
    """The node stopped itself: a promise was broken that more than f faulty members can break."""


class TwinFound(Halted):
    """Somebody else signs with this member's keys."""


class Network(Protocol):
    """What the runtime needs of the committee's mesh."""

    def send(self, member: int, frame: bytes) -> bool:
        """Queue a frame for a member; never blocks."""
        ...

    async def receive_from(self, member: int) -> bytes:
        """Return the next frame of a member; the others' wait elsewhere, within bounds."""
        ...

    def drop(self, member: int, reason: str) -> None:
        """Break the link to a misbehaving member for a while."""
        ...

    def ask_successor(self, member: int) -> None:
        """Ask a member how this epoch ended."""
        ...


class Events(Recovered, Protocol):
    """What others want to know of the agreement; calls are short and never raise."""

    def entered_view(self, view: int, by_timeout: bool) -> None:
        """Note the current view."""
        ...

    def observed(self, view: int, body: ObservationBody, age_ns: int | None) -> None:
        """Note an own observation, and the age of the newest quote in it when it was ready."""
        ...

    def heard(self, observed: wire.Observed) -> None:
        """Note a member's genuine observation, an own one included, whatever its view."""
        ...

    def proposed(self, block_id: bytes, block: Block) -> None:
        """Note a block that came from its leader, an own one included, whatever its view."""
        ...

    def gave_up(self, view: int) -> None:
        """Note that this member signs a view's timeout, or sends it again."""
        ...

    def certified(
        self, block_id: bytes, block: Block, qc: QC, state: State, latency_ns: int | None
    ) -> None:
        """Note a certified block, and the time since the own observation for it was sent."""
        ...

    def committed(self, block_id: bytes, block: Block, state: State) -> None:
        """Note a final block."""
        ...

    def began_from(self, block_id: bytes, block: Block, state: State) -> None:
        """Note a final block that was taken over as a checkpoint, without those below it."""
        ...

    def persisted(self, duration_ns: int) -> None:
        """Note how long it took to make the safety state durable."""
        ...

    def invalid(self, member: int, reason: str) -> None:
        """Note that a member broke the protocol."""
        ...


@dataclass(frozen=True, slots=True)
class OwnObservation:
    """What this member sees now; `newest_ns` is when its newest quote came (monotonic ns)."""

    body: ObservationBody
    newest_ns: int | None


def wall_clock_ms() -> int:
    """Return the Unix time in milliseconds."""
    return time.time_ns() // 1_000_000


class Runtime:
    """Runs one member's core on a network, a store, a signer and a source of observations."""

    def __init__(
        self,
        epoch: RunningEpoch,
        me: int,
        core: Core,
        *,
        signer: Signer,
        store: Store,
        journal: Journal | None,
        network: Network,
        observe: Callable[[int], OwnObservation],
        candidates: Candidates,
        evidence: EvidenceBook,
        events: Events,
        expect: Callable[[float], None] = lambda _seconds: None,
        own: OwnSignatures | None = None,
        watch: TwinWatch | None = None,
    ) -> None:
        """Take what the member consists of; `expect` is told in how many seconds it observes.

        With `own` it stops if somebody else signs with its keys; with `watch` it listens for that
        before it signs anything.
        """
        self._epoch = epoch
        self._context = epoch.context
        self._me = me
        self._core = core
        self._verifier = epoch.verifier
        self._signer = signer
        self._store = store
        self._journal = journal
        self._network = network
        self._observe = observe
        self._expect = expect
        self._candidates = candidates
        self._evidence = evidence
        self._successor: wire.Successor | None = None
        self._events = events
        self._turn = trio.Lock()
        # A place of its own for the disk: however many signatures are being verified, a vote that
        # is to be made durable never queues behind them.
        self._disk = trio.CapacityLimiter(1)
        self._verifying = trio.CapacityLimiter(VERIFICATIONS_MAX)
        self._to_self: deque[Callable[[], list[fx.Effect]]] = deque()
        self._timer = Alarm[int]()
        self._observing = Alarm[fx.Observe]()
        self._loading: set[int] = set()
        self._testimonies = PeerBuckets[int](TESTIMONIES_A_SECOND, TESTIMONIES_AT_ONCE)
        self._stale = PeerBuckets[int](STALE_A_SECOND, STALE_AT_ONCE)
        self._requests = PeerBuckets[int](REQUESTS_A_SECOND, REQUESTS_AT_ONCE)
        self._others = [member for member in range(self._context.n) if member != me]
        self._observed_ns: dict[int, int] = {}
        self._own = own
        self._watch = watch
        self._runs = False
        self._convicted_by: str | None = None
        self.listens = False
        """Whether it hears what others say and signs nothing yet."""
        self._kept: dict[int, EarlyFrames] = {}
        self._backfill = Backfill(epoch, me, store, events, self._send)
        self._nursery: trio.Nursery

    @property
    def core(self) -> Core:
        """The core, to look at; its handlers are called from here only."""
        return self._core

    async def run(
        self,
        stored: Sequence[Block],
        *,
        task_status: "TaskStatus[None]" = trio.TASK_STATUS_IGNORED,
    ) -> wire.Successor:
        """Take part in the agreement until the epoch ends; raise what must stop the node.

        How it ended is then durable.
        """
        async with trio.open_nursery() as self._nursery:
            self._runs = True
            if self._convicted_by is not None:
                await self._stand_aside(self._convicted_by)
            if self._watch is not None:
                task_status.started()
                task_status = trio.TASK_STATUS_IGNORED
                await self._listen(self._watch)
            self._nursery.start_soon(self._timer.run, self._time_out)
            self._nursery.start_soon(self._observing.run, self._observe_now)
            for member in self._others:
                self._nursery.start_soon(self._serve, member)
            witnessed = await trio.to_thread.run_sync(self._witnessed)
            await self._step(lambda: self._core.start(stored, wall_clock_ms(), witnessed))
            task_status.started()
            self._nursery.start_soon(self._gossip)
            self._nursery.start_soon(self._backfill.run)
        assert self._successor is not None
        return self._successor

    def _witnessed(self) -> list[wire.Witnessed]:
        kept = self._store.witnessed(self._context.domain)
        return [_witnessed_decoder.decode(encoded) for encoded in kept]

    # Whether somebody else signs with our keys.

    async def _listen(self, watch: TwinWatch) -> None:
        """Hear what the others say before anything is signed; it is kept for when that is over."""
        _log.info("twin_watch.begun", views=watch.views, seconds=watch.seconds)
        self.listens = True
        async with trio.open_nursery() as nursery:
            for member in self._others:
                nursery.start_soon(self._hear, member, watch)
            await watch.over()
            nursery.cancel_scope.cancel()
        self.listens = False
        _log.info("twin_watch.over", views=watch.heard)

    async def _hear(self, member: int, watch: TwinWatch) -> None:
        kept = self._kept[member] = EarlyFrames()
        while True:
            frame = await self._network.receive_from(member)
            kept.add(frame)
            try:
                message = wire.decode(frame)
                if isinstance(message, wire.Proposal | wire.Timeout | wire.Certificate):
                    await trio.to_thread.run_sync(
                        self._verifier.check, member, message, limiter=self._verifying
                    )
                    await self._look(member, message)
                    watch.certified(
                        message.block.justify.view
                        if isinstance(message, wire.Proposal)
                        else message.qc.view
                    )
            except InvalidMessage:
                pass  # It is judged when it is taken.

    async def _look(self, member: int, message: wire.Message) -> None:
        """Stop for good if a checked message holds a signature of ours that we did not make."""
        foreign = None if self._own is None else self._own.foreign_in(message)
        if foreign is not None:
            _log.error(
                "twin.found",
                kind=foreign.kind,
                view=foreign.view,
                signed_elsewhere=foreign.came,
                signed_here=foreign.own,
                told_by=member,
                proof="0x" + foreign.proof.hex(),
            )
            await self._stand_aside(str(foreign))

    def was_convicted(self, found: str) -> None:
        """Stop for good, since there is proof of what this process did not do."""
        self._signer.fall_silent(found)
        if self._convicted_by is None:
            self._convicted_by = found
            if self._runs:
                self._nursery.start_soon(self._stand_aside, found)

    async def _stand_aside(self, found: str) -> NoReturn:
        """Sign nothing more, and note durably that the member must not start by itself again."""
        reason = f"somebody else signs with this member's keys: there is {found}"
        self._signer.fall_silent(reason)
        if self._journal is not None:
            self._journal.halted(reason)
        # What wants to sign meanwhile fails, and ends the other tasks: the note must be made first.
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(self._store.hold, wall_clock_ms(), reason)
        raise TwinFound(reason)

    # From the network to the core.

    async def _serve(self, member: int) -> None:
        early = self._kept.pop(member, None)
        while True:
            # Taken one by one, so that what waits stays within the network's bounds, and goes with
            # the link if the member is dropped.
            if early:
                frame = early.take()
            else:
                frame = await self._network.receive_from(member)
            try:
                message = self._verifier.settled(wire.decode(frame))
                if not self._is_wanted(member, message):
                    continue
                if self._verifier.is_cheap(message):
                    self._verifier.check(member, message)
                else:
                    await trio.to_thread.run_sync(
                        self._verifier.check, member, message, limiter=self._verifying
                    )
                await self._look(member, message)
                if isinstance(message, wire.EvidenceMessage):
                    key = self._context.configuration.members[member].ed25519_key
                    await self._evidence.receive(key, self._epoch, message)
                elif isinstance(message, wire.Successor):
                    await trio.to_thread.run_sync(
                        self._epoch.check, message, limiter=self._verifying
                    )
                    # Between two events: none that is being performed may sign after the end.
                    async with self._turn:
                        await self._end(message)
                elif isinstance(message, wire.BlockResponse) and self._backfill.awaits(
                    member, message
                ):
                    self._backfill.take(member, message)
                else:
                    await self._step(lambda m=message: self._handle(member, m))  # type: ignore[misc]
            except InvalidMessage as error:
                self._accuse(member, str(error))

    def _handle(self, sender: int, message: wire.Message) -> list[fx.Effect]:
        core = self._core
        now_ms = wall_clock_ms()
        match message:
            case wire.Vote():
                return core.on_vote(sender, message, now_ms)
            case wire.ObservationMessage(observed=observed):
                effects = core.on_observation(sender, observed, now_ms)
                self._events.heard(observed)
                return effects
            case wire.Proposal(block=block):
                effects = core.on_proposal(sender, message, now_ms)
                self._events.proposed(block.header.id(self._context.domain), block)
                return effects
            case wire.Timeout():
                return core.on_timeout(sender, message, now_ms)
            case wire.Certificate():
                return core.on_certificate_message(sender, message, now_ms)
            case wire.BlockRequest():
                return core.on_block_request(sender, message, now_ms)
            case wire.BlockResponse():
                return core.on_block_response(sender, message, now_ms)
            case wire.CheckpointRequest():
                return core.on_checkpoint_request(sender, message, now_ms)
            case wire.CheckpointResponse():
                return core.on_checkpoint_response(sender, message, now_ms)
            case wire.Testimony():
                return core.on_testimony(sender, message, now_ms)
            case wire.HandoverShare():
                return core.on_handover_share(sender, message, now_ms)
            case wire.HandoverCertificate():
                if core.root.successor is None or not core.safety.closed:
                    # The own blocks do not say how the epoch ended: not yet, or they were lost.
                    self._network.ask_successor(sender)
                return core.on_handover_certificate(message, now_ms)
            case wire.Candidate():
                self._take_candidate(sender, message)
                return []
            case wire.SuccessorRequest() | wire.Successor() | wire.EvidenceMessage():
                return []  # There is none yet; one that comes goes another way.

    def _is_wanted(self, member: int, message: wire.Message) -> bool:
        match message:
            case wire.Timeout(qc=qc, tc=tc) | wire.Certificate(qc=qc, tc=tc):
                return self._is_news(qc, tc) or self._may_be_stale(member, message)
            case wire.Proposal(block=block):
                return block.view >= self._core.view - 1 or self._may_be_stale(member, message)
            case wire.Testimony():
                return self._testimonies.take(member, trio.current_time())
            case wire.BlockRequest():
                return self._requests.take(member, trio.current_time())
            case wire.Candidate():
                return self._candidates.admits(member, message, trio.current_time())
            # Certificates cost much to verify, and perhaps nobody asked for these.
            case wire.BlockResponse():
                return self._core.awaits(member, message) or self._backfill.awaits(member, message)
            case wire.CheckpointResponse():
                return self._core.awaits_checkpoint(member)
        return True

    def _is_news(self, qc: QC, tc: TC | None) -> bool:
        core = self._core
        return qc.view > core.high_qc.view or (tc is not None and tc.view >= core.view)

    def _may_be_stale(self, member: int, message: wire.Message) -> bool:
        if self._verifier.is_cheap(message):
            return True
        return self._stale.take(member, trio.current_time())

    def _take_candidate(self, member: int, candidate: wire.Candidate) -> None:
        try:
            self._candidates.take(member, candidate)
        except NetworkFileError as error:
            raise InvalidMessage(f"a candidate that cannot follow: {error}") from None
        _log.info(
            "committee.candidate",
            member=self._epoch.member_names[member],
            approved=candidate.share is not None,
            configuration="0x" + from_document(candidate.document).configuration.hash.hex(),
        )
        self._offer_change()

    def _offer_change(self) -> None:
        change = self._candidates.change()
        if change is not None:
            self._core.on_change(change)

    async def _gossip(self) -> None:
        """Tell the others what this member proposes: at once, and again for who was away."""
        told: wire.Candidate | None = None
        seconds = 0.0
        while True:
            own = self._candidates.own()
            if own is not None and (own != told or seconds >= CANDIDATE_EVERY_SECONDS):
                if own.share is not None and own != told and self._journal is not None:
                    digest = self._candidates.digest(own.document)
                    self._journal.signed_ending(self._context.domain, "approval", digest, own.share)
                self._send(own, range(self._context.n))
                self._offer_change()
                told, seconds = own, 0.0
            await trio.sleep(GOSSIP_SECONDS)
            seconds += GOSSIP_SECONDS

    async def _end(self, successor: wire.Successor) -> None:
        """Leave the epoch for good: make durable how it ended, then stop."""
        if self._successor is not None:
            return
        domain = self._context.domain
        await trio.to_thread.run_sync(
            self._store.save_successor, domain, encode_successor(successor)
        )
        if self._journal is not None:
            terms = terms_in(self._context, successor.certificate)
            self._journal.handed_over(terms, successor)
        signers = signers_of(successor.certificate.bitmap)
        _log.info(
            "epoch.handed_over",
            epoch=self._context.epoch,
            signers=[self._epoch.member_names[signer] for signer in signers],
        )
        self._successor = successor
        self._nursery.cancel_scope.cancel()

    def _accuse(self, member: int, reason: str) -> None:
        _log.warning("peer.invalid", member=member, reason=reason)
        self._events.invalid(member, reason)
        if member != self._me:
            self._network.drop(member, reason)

    async def _step(self, event: Callable[[], list[fx.Effect]]) -> None:
        """Let the core handle one event, then perform what follows, own messages included."""
        try:
            # A free lock is taken at once; `acquire` would first let every other task run.
            self._turn.acquire_nowait()
        except trio.WouldBlock:
            await self._turn.acquire()
        try:
            await self._perform(event())
            while self._to_self:
                own = self._to_self.popleft()
                try:
                    following = own()
                except InvalidMessage as error:
                    raise AssertionError("the core refused its own message") from error
                await self._perform(following)
        finally:
            self._turn.release()

    # From the core to the world.

    async def _perform(self, effects: list[fx.Effect]) -> None:
        for effect in effects:
            match effect:
                case fx.Halt(reason=reason):
                    await self._halt(reason, effects)
                case fx.Persist(safety=safety):
                    begun_ns = time.monotonic_ns()
                    await trio.to_thread.run_sync(
                        self._store.save_safety, safety, limiter=self._disk
                    )
                    self._events.persisted(time.monotonic_ns() - begun_ns)
                    if self._journal is not None:
                        self._journal.persisted(safety)
                case fx.StoreBlock(block_id=block_id, block=block):
                    self._store.save_block(self._context.domain, block_id, block)
                case fx.SendVote():
                    self._send_vote(effect)
                case fx.SendProposal():
                    self._send_proposal(effect)
                case fx.SendTimeout():
                    self._send_timeout(effect)
                case fx.SendCertificate(certificate=certificate):
                    self._send(certificate, range(self._context.n))
                case fx.SendClosingQC(certificate=certificate, to=member):
                    self._send(certificate, (member,))
                case fx.SendHandoverShare(terms=terms):
                    self._send_handover_share(terms)
                case fx.SendHandoverCertificate(certificate=handover, to=member):
                    self._send(handover, (member,))
                case fx.CertifyHandover():
                    self._nursery.start_soon(self._certify_handover, effect)
                case fx.HandedOver(certificate=handover):
                    self._send(handover, range(self._context.n))
                    root = self._core.root
                    assert root.block is not None
                    await self._end(wire.Successor(handover, root.block, encode_state(root.state)))
                case fx.SendRequest(request=request, to=to):
                    self._send(request, to)
                case fx.SendResponse(response=response, to=member):
                    self._send(response, (member,))
                case fx.LoadBlocks(request=request, to=member):
                    self._nursery.start_soon(self._load_blocks, request, member)
                case fx.Observe():
                    self._observe_later(effect)
                case fx.SetTimer(view=view, duration_ms=duration_ms):
                    self._timer.set(view, duration_ms / 1000)
                case fx.SetGraceTimer(view=view, duration_ms=duration_ms):
                    self._nursery.start_soon(
                        self._after,
                        duration_ms,
                        lambda v=view: self._core.on_grace(v, wall_clock_ms()),
                    )
                case fx.SetFetchTimer(block_id=block_id, duration_ms=duration_ms):
                    self._nursery.start_soon(
                        self._after,
                        duration_ms,
                        lambda b=block_id: self._core.on_fetch_timer(b, wall_clock_ms()),
                    )
                case fx.SetCheckpointTimer(duration_ms=duration_ms):
                    self._nursery.start_soon(
                        self._after,
                        duration_ms,
                        lambda: self._core.on_checkpoint_timer(wall_clock_ms()),
                    )
                case fx.CertifyVotes():
                    self._nursery.start_soon(self._certify_votes, effect)
                case fx.CertifyTimeouts():
                    self._nursery.start_soon(self._certify_timeouts, effect)
                case fx.Certified():
                    self._certified(effect)
                case fx.Committed():
                    self._committed(effect)
                case fx.StoreCheckpoint():
                    self._begin_from(effect)
                case fx.KeepWitnessed(record=record):
                    encoded = msgspec.msgpack.encode(record)
                    self._store.save_witnessed(self._context.domain, encoded)
                case fx.SendTestimony(testimony=testimony):
                    self._send(testimony, self._others)
                case fx.Accusation():
                    self._nursery.start_soon(self._keep_evidence, effect)
                case fx.PeerFault(member=member, reason=reason):
                    self._accuse(member, reason)
                case fx.EnteredView(view=view, by_timeout=by_timeout):
                    if by_timeout:
                        _log.info("view.timed_out", view=view - 1)
                    self._events.entered_view(view, by_timeout)

    async def _halt(self, reason: str, effects: Sequence[fx.Effect]) -> NoReturn:
        """Stop, but not before what led to it is durable and on its way to the others."""
        if self._journal is not None:
            self._journal.halted(reason)
        for effect in effects:
            if isinstance(effect, fx.Accusation):
                await self._evidence.take(self._epoch, effect)
        await trio.sleep(PARTING_SECONDS)
        raise Halted(reason)

    def _send(self, message: wire.Message, to: Sequence[int]) -> None:
        frame = wire.encode(message)
        for member in to:
            if member != self._me:
                self._network.send(member, frame)
        if self._me in to and not isinstance(message, _NEVER_TO_SELF):
            self._to_self.append(lambda: self._handle(self._me, message))

    def _send_vote(self, effect: fx.SendVote) -> None:
        share = self._signer.vote(effect.block_id)
        if self._own is not None:
            self._own.vote(effect.header.view, effect.block_id)
        if self._journal is not None:
            domain = self._context.domain
            self._journal.signed_vote(domain, effect.header, effect.block_id, share)
        self._send(wire.Vote(effect.header, share), effect.to)

    def _send_proposal(self, effect: fx.SendProposal) -> None:
        block, block_id = effect.block, effect.block_id
        share = self._signer.vote(block_id)
        signature = self._signer.proposal(block_id)
        if self._own is not None:
            self._own.vote(block.view, block_id)
            self._own.proposal(block.view, block_id)
        if self._journal is not None:
            domain = self._context.domain
            self._journal.signed_vote(domain, block.header, block_id, share)
            self._journal.signed_proposal(domain, block.view, block_id, signature)
        proposal = wire.Proposal(block, effect.tc, share, signature)
        self._send(proposal, range(self._context.n))

    def _send_timeout(self, effect: fx.SendTimeout) -> None:
        self._events.gave_up(effect.view)
        share = self._signer.timeout(effect.view, effect.high_qc_view)
        if self._own is not None:
            self._own.timeout(effect.view, effect.high_qc_view)
        if self._journal is not None:
            domain = self._context.domain
            self._journal.signed_timeout(domain, effect.view, effect.high_qc_view, share)
        timeout = wire.Timeout(effect.view, effect.high_qc_view, share, effect.qc, effect.tc)
        self._send(timeout, range(self._context.n))

    def _send_handover_share(self, terms: Terms) -> None:
        share = self._signer.handover(terms)
        if self._journal is not None:
            self._journal.signed_ending(terms.domain, "handover", terms.digest, share)
        message = wire.HandoverShare(
            terms.configuration_hash, terms.deciding_id, terms.observed_at_ms, share
        )
        self._send(message, range(self._context.n))

    async def _certify_handover(self, effect: fx.CertifyHandover) -> None:
        try:
            certificate = await trio.to_thread.run_sync(
                self._verifier.certify_handover, effect.terms, effect.shares
            )
        except BadShares as error:
            bad = error.signers
            self._accuse_all(bad, "a handover share that does not verify")
            await self._step(lambda: self._core.on_bad_handover_shares(bad, wall_clock_ms()))
        else:
            await self._step(
                lambda: self._core.on_handover_certificate(certificate, wall_clock_ms())
            )

    async def _after(self, duration_ms: int, event: Callable[[], list[fx.Effect]]) -> None:
        await trio.sleep(duration_ms / 1000)
        await self._step(event)

    async def _time_out(self, view: int) -> None:
        await self._step(lambda: self._core.on_timer(view, wall_clock_ms()))

    def _observe_later(self, effect: fx.Observe) -> None:
        timing = self._context.configuration.timing
        # A jump of the wall clock must not put the observation off for long.
        wait_ms_max = timing.round_interval_ms + timing.max_skew_ms
        wait_ms = min(max(0, effect.not_before_ms - wall_clock_ms()), wait_ms_max)
        self._expect(wait_ms / 1000)
        self._observing.set(effect, wait_ms / 1000)

    async def _observe_now(self, effect: fx.Observe) -> None:
        await self._step(lambda: self._send_observation(effect))

    def _send_observation(self, effect: fx.Observe) -> list[fx.Effect]:
        if self._core.safety.closed:
            return []  # The epoch ended while this one waited for its time.
        own = self._observe(wall_clock_ms())
        domain = self._context.domain
        observed = wire.Observed(effect.view, self._me, own.body.encode(), bytes(64))
        digest = digest_of(domain, observed)
        signature = self._signer.observation(digest)
        if self._own is not None:
            self._own.observation(effect.view, digest)
        observed = wire.Observed(effect.view, self._me, observed.body, signature)
        if self._journal is not None:
            body = observed.body
            self._journal.signed_observation(domain, effect.view, digest, body, signature)
        now_ns = time.monotonic_ns()
        self._observed_ns[effect.view] = now_ns
        for old in [view for view in self._observed_ns if view < effect.view - 8]:
            del self._observed_ns[old]
        age_ns = None if own.newest_ns is None else now_ns - own.newest_ns
        self._events.observed(effect.view, own.body, age_ns)
        self._send(wire.ObservationMessage(observed), effect.to)
        return []

    async def _certify_votes(self, effect: fx.CertifyVotes) -> None:
        try:
            if len(effect.shares) <= SHARES_AT_ONCE_MAX:
                qc = self._verifier.certify_votes(effect.header, effect.block_id, effect.shares)
            else:
                qc = await trio.to_thread.run_sync(
                    self._verifier.certify_votes, effect.header, effect.block_id, effect.shares
                )
        except BadShares as error:
            bad = error.signers
            self._accuse_all(bad, "a vote whose share does not verify")
            await self._step(lambda: self._core.on_bad_shares(effect.header, bad, wall_clock_ms()))
        else:
            await self._step(lambda: self._core.on_certificate(qc, wall_clock_ms()))

    async def _certify_timeouts(self, effect: fx.CertifyTimeouts) -> None:
        try:
            tc: TC = await trio.to_thread.run_sync(
                self._verifier.certify_timeouts, effect.view, effect.shares, effect.high_qc
            )
        except BadShares as error:
            bad = error.signers
            self._accuse_all(bad, "a timeout whose share does not verify")
            await self._step(
                lambda: self._core.on_bad_timeout_shares(effect.view, bad, wall_clock_ms())
            )
        else:
            await self._step(lambda: self._core.on_timeout_certificate(tc, wall_clock_ms()))

    def _accuse_all(self, members: Sequence[int], reason: str) -> None:
        for member in members:
            self._accuse(member, reason)

    async def _load_blocks(self, request: wire.BlockRequest, member: int) -> None:
        """Answer from the store; one request of a member at a time, others of its are dropped."""
        if member in self._loading:
            return
        self._loading.add(member)
        try:
            blocks = await trio.to_thread.run_sync(
                self._store.blocks_from,
                self._context.domain,
                request.block_id,
                request.known_view,
                self._context.id_of,
            )
        finally:
            self._loading.discard(member)
        self._send(wire.BlockResponse(request.block_id, blocks), (member,))

    def _certified(self, effect: fx.Certified) -> None:
        if self._journal is not None:
            self._journal.certified(
                self._context.domain,
                effect.block_id,
                effect.block,
                self._context.id_of(effect.block.justify),
                effect.qc,
                agreed_in(effect.state).words if is_priced(effect.block) else (),
            )
        sent_ns = self._observed_ns.get(effect.block.view)
        latency_ns = None if sent_ns is None else time.monotonic_ns() - sent_ns
        self._events.certified(effect.block_id, effect.block, effect.qc, effect.state, latency_ns)

    def _committed(self, effect: fx.Committed) -> None:
        domain = self._context.domain
        block = effect.block
        self._store.commit_block(
            domain, effect.block_id, block.height, block.view, encode_state(effect.state)
        )
        if self._journal is not None:
            parent_id = self._context.id_of(block.justify)
            self._journal.committed(domain, effect.block_id, block, parent_id)
        self._events.committed(effect.block_id, block, effect.state)
        if effect.successor is not None:
            _log.info(
                "epoch.decided",
                epoch=self._context.epoch,
                view=block.view,
                next_configuration="0x" + effect.successor.hex(),
            )

    def _begin_from(self, effect: fx.StoreCheckpoint) -> None:
        """Keep a checkpoint as the head; the safety state that follows makes it durable."""
        domain, block = self._context.domain, effect.block
        self._store.save_checkpoint(
            domain,
            effect.block_id,
            block,
            encode_state(effect.state),
            Gap(effect.above_view, effect.above_height, block.view, block.height),
            effect.above_id,
            encode_state(effect.above_state),
        )
        self._backfill.wake()
        if self._journal is not None:
            parent_id = self._context.id_of(block.justify)
            self._journal.began_from(domain, effect.block_id, block, parent_id)
        _log.warning(
            "catching_up.checkpoint",
            height=block.height,
            skipped_blocks=block.height - effect.above_height - 1,
        )
        self._events.began_from(effect.block_id, block, effect.state)

    async def _keep_evidence(self, accusation: fx.Accusation) -> None:
        """Check and keep what the core found: a bad share convicts nobody but who sent it."""
        if not await self._evidence.take(self._epoch, accusation):
            assert accusation.witness is not None
            self._accuse(accusation.witness, "a second vote or timeout that is not even signed")

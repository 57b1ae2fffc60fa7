"""A member finds out that somebody else signs with its keys, and raises no false alarm."""

from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from consensus import messages as wire
from consensus.committee import Timing, bitmap_of
from consensus.core import Core, genesis_checkpoint, genesis_safety
from consensus.messages import Header
from consensus.safety import SafetyState
from node.candidates import Candidates
from node.daemon import _why
from node.errors import MemberHeld
from node.evidence_book import EvidenceBook
from node.journal import Journal, recent_observations
from node.own_signatures import VIEWS_KEPT, OwnSignatures
from node.payload import digest_of
from node.running_epoch import RunningEpoch
from node.runtime import Halted, OwnObservation, Runtime, TwinFound, wall_clock_ms
from node.signer import Signer, Silent
from node.store import Store, StoreFailed
from node.twin_watch import EarlyFrames, TwinWatch

PATIENT = Timing(round_interval_ms=0, base_timeout_ms=3_600_000)
ZERO = bytes(32)


def header(view: int, root: int = 1) -> Header:
    return Header(view, 1_700_000_000_500, root.to_bytes(32, "big"), ZERO)


def own(
    committee: Any, me: int, safety: SafetyState | None = None, since_ms: int = 0
) -> OwnSignatures:
    state = safety or genesis_safety(committee.context)
    return OwnSignatures(committee.context, me, state, since_ms=since_ms)


def others_view(committee: Any, me: int) -> int:
    """Return a view that this member does not lead."""
    return next(v for v in range(2, 99) if committee.context.leader(v) != me)


@pytest.fixture
def committee(keyed: Any) -> Any:
    return keyed.Committee(4, timing=PATIENT)


def test_a_vote_that_was_not_made_here_is_found(committee: Any) -> None:
    view = next(v for v in range(2, 99) if committee.context.leader(v) == 1)
    qc = committee.qc(header(view), (0, 1, 2))
    certificate = wire.Certificate(qc, None)
    mine = own(committee, 0)
    foreign = mine.foreign_in(certificate)
    assert foreign is not None
    assert (foreign.kind, foreign.view, foreign.own) == ("vote", view, None)
    assert msgspec.msgpack.decode(foreign.proof, type=wire.QC) == qc
    # Others' certificates, and what was signed here, are nothing.
    assert own(committee, 3).foreign_in(certificate) is None
    mine.vote(view, qc.header.id(committee.domain))
    assert mine.foreign_in(certificate) is None
    other = wire.Certificate(committee.qc(header(view, 2), (0, 1, 2)), None)
    found = mine.foreign_in(other)
    assert found is not None
    assert found.own == "0x" + qc.header.id(committee.domain).hex()


def test_a_timeout_that_was_not_made_here_is_found(committee: Any) -> None:
    tc = committee.tc(5, {0: 0, 1: 0, 2: 0})
    message = wire.Certificate(committee.context.genesis_qc, tc)
    mine = own(committee, 0)
    foreign = mine.foreign_in(message)
    assert foreign is not None
    assert (foreign.kind, foreign.view) == ("timeout", 5)
    mine.timeout(5, 0)
    assert mine.foreign_in(message) is None
    again = own(committee, 0)
    again.timeout(5, 3)
    assert again.foreign_in(message) is not None, "another report of the same view"
    assert own(committee, 3).foreign_in(message) is None


def test_a_proposal_that_was_not_made_here_is_found(committee: Any) -> None:
    view = 3
    me = committee.context.leader(view)
    signers = [member for member in range(4) if member != me]
    message = wire.Certificate(committee.qc(header(view), signers), None)
    mine = own(committee, me)
    foreign = mine.foreign_in(message)
    assert foreign is not None
    assert (foreign.kind, foreign.view) == ("proposal", view)
    mine.proposal(view, header(view).id(committee.domain))
    assert mine.foreign_in(message) is None
    before = msgspec.structs.replace(
        genesis_safety(committee.context), last_proposed_view=view, last_voted_view=view
    )
    assert own(committee, me, before).foreign_in(message) is None


def test_an_observation_that_was_not_made_here_is_found(committee: Any) -> None:
    block = committee.block(1, members=(0, 1, 2))
    proposal = committee.proposal(block)
    at_ms = committee.body().observed_at_ms
    foreign = own(committee, 0, since_ms=at_ms).foreign_in(proposal)
    assert foreign is not None
    assert (foreign.kind, foreign.view) == ("observation", 1)
    assert own(committee, 3, since_ms=at_ms).foreign_in(proposal) is None
    mine = own(committee, 0, since_ms=at_ms)
    mine.observation(1, digest_of(committee.domain, committee.observed(0, 1)))
    assert mine.foreign_in(proposal) is None


def test_what_was_signed_before_a_crash_is_no_alarm(committee: Any, tmp_path: Path) -> None:
    """Votes and timeouts are in the safety state; observations bear their time."""
    view = others_view(committee, 0)
    voted = header(view)
    state = msgspec.structs.replace(
        genesis_safety(committee.context),
        last_voted_view=view + 3,
        last_vote=voted,
        last_timeout=(view + 3, 0),
    )
    mine = own(committee, 0, state)
    for old in range(1, view):
        if committee.context.leader(old) != 0:
            assert mine.foreign_in(wire.Certificate(committee.qc(header(old)), None)) is None
    assert mine.foreign_in(wire.Certificate(committee.qc(voted), None)) is None
    genesis = committee.context.genesis_qc
    for timed_out in (view + 1, view + 3):
        tc = committee.tc(timed_out, {0: 0, 1: 0, 2: 0})
        assert mine.foreign_in(wire.Certificate(genesis, tc)) is None
    # But between the last vote and the last view there was none, and no other timeout of the last.
    for later in (view + 1, view + 3, view + 9):
        assert mine.foreign_in(wire.Certificate(committee.qc(header(later)), None)) is not None
    tc = committee.tc(view + 3, {0: 1, 1: 0, 2: 0}, committee.qc(header(1)))
    assert mine.foreign_in(wire.Certificate(genesis, tc)) is not None

    proposal = committee.proposal(committee.block(1, members=(0, 1, 2)))
    began = committee.body().observed_at_ms + 1
    assert own(committee, 0, since_ms=began).foreign_in(proposal) is None
    # With a clock that was put back meanwhile, the journal knows it.
    observed = committee.observed(0, 1)
    digest = digest_of(committee.domain, observed)
    journal = Journal(tmp_path)
    journal.signed_observation(committee.domain, 1, digest, observed.body, observed.signature)
    journal.signed_observation(ZERO, 1, ZERO, observed.body, observed.signature)
    journal.close()
    known = recent_observations(tmp_path, committee.domain)
    assert known == {digest}
    mine = OwnSignatures(
        committee.context, 0, genesis_safety(committee.context), since_ms=0, observed=known
    )
    assert mine.foreign_in(proposal) is None


@given(st.lists(st.tuples(st.integers(1, 40), st.booleans()), max_size=60), st.integers(0, 40))
@settings(max_examples=100, deadline=None)
def test_nothing_that_was_signed_here_is_ever_foreign(
    signed: list[tuple[int, bool]], begun: int
) -> None:
    """Whatever comes back in whatever order; a view is foreign only if it was not signed here."""
    from consensus.committee import EpochContext

    class Epoch:
        domain = b"D" * 32

        def leader(self, _view: int) -> int:
            return 1

    context: EpochContext = Epoch()  # type: ignore[assignment]
    vote = header(begun) if begun else None
    genesis = wire.QC(header(0), ZERO, bytes(96))
    safety = SafetyState(Epoch.domain, begun, vote, None, 0, genesis, None)
    mine = OwnSignatures(context, 0, safety, since_ms=0)
    mine_views = set()
    for view, is_vote in signed:
        if is_vote and view > begun:
            mine.vote(view, header(view).id(Epoch.domain))
            mine_views.add(view)
    for view in range(1, 42):
        qc = wire.QC(header(view), bitmap_of((0, 1, 2)), bytes(96))
        found = mine.foreign_in(wire.Certificate(qc, None))
        assert (found is not None) == (view > begun and view not in mine_views)


def test_memory_is_bounded_and_what_is_forgotten_is_not_judged(committee: Any) -> None:
    mine = own(committee, 0)
    for view in range(1, 3 * VIEWS_KEPT):
        mine.vote(view, header(view).id(committee.domain))
    old = next(v for v in range(1, 99) if committee.context.leader(v) != 0)
    assert mine.foreign_in(wire.Certificate(committee.qc(header(old, 2)), None)) is None
    assert len(mine._votes._signed) <= 2 * VIEWS_KEPT


def test_a_watch_ends_when_enough_views_were_certified() -> None:
    watch = TwinWatch(4, 60)
    for view in (100, 103, 103, 101):
        watch.certified(view)
        assert not watch.enough.is_set()
    watch.certified(104)
    assert watch.enough.is_set()
    assert TwinWatch(0, 60).enough.is_set()


async def test_a_watch_lasts_while_nobody_can_be_heard(autojump_clock: Any) -> None:
    linked = False
    watch = TwinWatch(4, 3, lambda: linked)
    with trio.move_on_after(1_000) as patience:
        await watch.over()
    assert patience.cancelled_caught
    linked = True
    begun = trio.current_time()
    await watch.over()
    assert 2.9 < trio.current_time() - begun < 3.2


def test_few_frames_are_kept_while_it_lasts() -> None:
    frames = EarlyFrames()
    for number in range(1000):
        frames.add(number.to_bytes(4, "big") * 5_000)
    assert 0 < len(frames) <= 64
    assert frames.take() == (1000 - len(frames) - 1).to_bytes(4, "big") * 5_000


# In the loop that performs effects.


class Wires:
    """A network that keeps what is sent and delivers what the test puts in."""

    def __init__(self) -> None:
        self.sent: list[tuple[int, wire.Message]] = []
        self.drops: list[int] = []
        self._ends = defaultdict[int, tuple[Any, Any]](lambda: trio.open_memory_channel[bytes](99))

    def send(self, member: int, frame: bytes) -> bool:
        self.sent.append((member, wire.decode(frame)))
        return True

    async def receive_from(self, member: int) -> bytes:
        frame: bytes = await self._ends[member][1].receive()
        return frame

    def give(self, sender: int, message: wire.Message | bytes) -> None:
        frame = message if isinstance(message, bytes) else wire.encode(message)
        self._ends[sender][0].send_nowait(frame)

    def drop(self, member: int, _reason: str) -> None:
        self.drops.append(member)

    def __getattr__(self, _name: str) -> Callable[..., None]:
        return lambda *_arguments: None


class Rig:
    """A runtime that looks for its own signatures."""

    def __init__(self, committee: Any, me: int, directory: Path, watch: TwinWatch | None) -> None:
        context = committee.context
        self.committee, self.me = committee, me
        self.wires = Wires()
        self.store = Store.create(directory / "store")
        safety = genesis_safety(context)
        root = genesis_checkpoint(context, committee.genesis)
        epoch = RunningEpoch("test", context, committee.table, (), committee.genesis)
        signer = committee.signer(me)
        self.core = Core(context, me, committee.rule, safety, root)
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
            evidence=EvidenceBook(
                self.store, lambda: [epoch], self.wires.tell, self.wires.convicted
            ),
            events=self.wires,  # type: ignore[arg-type]
            own=OwnSignatures(context, me, safety, since_ms=wall_clock_ms() - 500),
            watch=watch,
        )

    def signed(self) -> list[wire.Message]:
        kinds = wire.Vote | wire.Timeout | wire.Proposal | wire.ObservationMessage
        return [message for _, message in self.wires.sent if isinstance(message, kinds)]

    async def until(self, holds: Callable[[], object]) -> None:
        with trio.fail_after(20):
            while not holds():  # noqa: ASYNC110 - what is waited for has no event of its own
                await trio.sleep(0.002)

    async def run(self) -> None:
        """Run until what stops it; the drops say why nothing did."""
        async with self.running():
            await trio.sleep(10)
        raise AssertionError(f"it goes on; {self.wires.drops=}")

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Rig"]:
        try:
            async with trio.open_nursery() as nursery:
                await nursery.start(self.runtime.run, [])
                yield self
                nursery.cancel_scope.cancel()
        finally:
            self.store.close()


def contains(error: BaseException, kind: type[BaseException]) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return any(contains(inner, kind) for inner in error.exceptions)
    return isinstance(error, kind)


@pytest.fixture
def rig(keyed: Any, tmp_path: Path) -> Callable[..., Rig]:
    def make(watch: TwinWatch | None = None) -> Rig:
        committee = keyed.Committee(4, timing=PATIENT, genesis_ms=wall_clock_ms() - 1000)
        return Rig(committee, committee.context.leader(0), tmp_path, watch)

    return make


def first_block(rig: Rig, observers: tuple[int, ...]) -> wire.Block:
    block: wire.Block = rig.committee.block(1, at_ms=wall_clock_ms(), members=observers)
    return block


async def test_s4_a_twins_observation_stops_the_member_before_it_votes(
    rig: Callable[..., Rig],
) -> None:
    r = rig()
    others = tuple(member for member in range(4) if member != r.me)
    twins = first_block(r, tuple(sorted((r.me, *others[:2]))))
    r.wires.give(r.committee.context.leader(1), r.committee.proposal(twins))
    with pytest.raises(BaseExceptionGroup) as stopped:
        await r.run()
    assert contains(stopped.value, TwinFound)
    assert not [m for m in r.signed() if isinstance(m, wire.Vote)]
    with Store.open(r.store._database.path.parent) as store:
        held = store.held()
    assert held is not None
    assert "observation" in held.reason


async def test_s4_the_watch_hears_a_twin_before_anything_is_signed(
    rig: Callable[..., Rig],
) -> None:
    r = rig(TwinWatch(1_000, 60))
    qc = r.committee.qc(header(others_view(r.committee, r.me)), range(4))
    sender = (r.me + 1) % 4
    r.wires.give(sender, b"garbage")
    r.wires.give(sender, wire.Certificate(qc, None))
    with pytest.raises(BaseExceptionGroup) as stopped:
        await r.run()
    assert contains(stopped.value, TwinFound)
    assert r.signed() == []
    # It had not begun to take part, and happened to hear of its twin before it signed.
    assert r.runtime.listens


async def test_what_was_heard_during_the_watch_is_not_lost(rig: Callable[..., Rig]) -> None:
    r = rig(TwinWatch(1_000, 0.3))
    others = tuple(member for member in range(4) if member != r.me)
    async with r.running():
        block = first_block(r, others)
        r.wires.give(r.committee.context.leader(1), r.committee.proposal(block))
        assert r.signed() == []
        await r.until(lambda: [m for m in r.signed() if isinstance(m, wire.Vote)])
        assert r.core.safety.last_vote == block.header
    assert r.wires.drops == []


async def test_enough_views_end_the_watch(rig: Callable[..., Rig]) -> None:
    r = rig(TwinWatch(2, 600))
    others = [member for member in range(4) if member != r.me]
    async with r.running():
        for view in range(5, 13):
            qc = r.committee.qc(header(view), others)
            if r.committee.context.leader(view) != r.me:
                r.wires.give(others[0], wire.Certificate(qc, None))
        await r.until(lambda: r.signed() or r.core.view > 5)


async def test_others_garbage_and_replays_are_no_alarm(rig: Callable[..., Rig], keyed: Any) -> None:
    """A forged bit, another epoch's certificate, somebody else's signature in our name."""
    r = rig()
    others = [member for member in range(4) if member != r.me]
    view = others_view(r.committee, r.me)
    genuine = r.committee.qc(header(view), others)
    claimed = msgspec.structs.replace(genuine, bitmap=bitmap_of(sorted([r.me, *others[:2]])))
    later = keyed.Committee(4, timing=PATIENT, epoch=1, genesis_ms=wall_clock_ms() - 1000)
    replayed = later.qc(header(view), range(4))
    observed = r.committee.observed(r.me, 1)
    forged = msgspec.structs.replace(observed, signature=bytes(64))
    async with r.running():
        r.wires.give(others[0], wire.Certificate(claimed, None))
        r.wires.give(others[1], wire.Certificate(replayed, None))
        r.wires.give(others[2], wire.ObservationMessage(forged))
        r.wires.give(others[2], wire.ObservationMessage(observed))
        await r.until(lambda: set(r.wires.drops) >= set(others))
    with Store.open(r.store._database.path.parent) as store:
        assert store.held() is None


@pytest.mark.parametrize("before", [True, False])
async def test_proof_against_the_member_itself_stops_it(
    rig: Callable[..., Rig], before: bool
) -> None:
    r = rig()
    if before:
        r.runtime.was_convicted("proof of two votes")
    else:
        r.wires.entered_view = lambda *_: r.runtime.was_convicted("proof of two votes")  # type: ignore[attr-defined]
    with pytest.raises(BaseExceptionGroup) as stopped:
        await r.run()
    assert contains(stopped.value, TwinFound)
    assert not [m for m in r.signed() if isinstance(m, wire.Vote | wire.Timeout)]
    with Store.open(r.store._database.path.parent) as store:
        assert store.held() is not None


def test_of_all_that_fails_at_once_the_operator_is_told_what_matters() -> None:
    twin, silent, disk = TwinFound("another"), Silent("another"), StoreFailed("disk")
    group = BaseExceptionGroup("", [silent, BaseExceptionGroup("", [disk, twin])])
    told = _why(group)
    assert isinstance(told, MemberHeld)
    assert "another" in str(told)
    assert "didyma safety" in str(told)
    assert _why(BaseExceptionGroup("", [Halted("a fork"), disk])) is disk
    assert "a fork" in str(_why(BaseExceptionGroup("", [Halted("a fork")])))
    faulty = BaseExceptionGroup("", [disk, AssertionError()])
    assert _why(faulty) is faulty, "a fault of ours keeps its traceback"


def test_a_signer_that_fell_silent_signs_nothing(committee: Any) -> None:
    signer: Signer = committee.signer(0)
    signer.fall_silent("a twin")
    terms: Any = None
    for sign in (
        lambda: signer.vote(ZERO),
        lambda: signer.timeout(1, 0),
        lambda: signer.proposal(ZERO),
        lambda: signer.handover(terms),
        lambda: signer.approval(ZERO),
        lambda: signer.observation(ZERO),
    ):
        with pytest.raises(Silent, match="a twin"):
            sign()

"""What each persona does at the edge of its node, with real keys and certificates."""

import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random

import pytest
import trio
import trio.testing
from blspy import G1Element, G2Element, PopSchemeMPL

from aggregation.observation import LACKING, Entry, ObservationBody
from aggregation.price import UINT64_MAX
from consensus import rules
from consensus.core import genesis_checkpoint
from consensus.digests import timeout_digest
from consensus.errors import InvalidMessage
from consensus.messages import (
    QC,
    Block,
    BlockResponse,
    Certificate,
    HandoverCertificate,
    HandoverShare,
    Header,
    Message,
    ObservationMessage,
    Proposal,
    Timeout,
    Vote,
    decode,
    encode,
)
from node.edges import Seat
from node.journal import Journal, Signed, read_journal
from node.running_epoch import first_epoch
from node.runtime import OwnObservation
from node.verifier import Verifier
from testnet.aggregates import bad_share
from testnet.deployment import Deployment, make_network
from testnet.personas import impostors, pests, traitors
from testnet.personas.ailing import CLOCK_OFF_MS, SLOW_SECONDS, Slow
from testnet.personas.catalogue import PERSONAS
from testnet.personas.registry import TAMPERING, Drift, FalsePrices, Order, edges_of
from testnet.personas.severed import Severable, write_parts
from testnet.personas.signing import Forger
from testnet.personas.turncoat import TURN_SECONDS
from testnet.personas.wire import Tampering
from testnet.setting import BAD_SHARES

NOW_MS = 1_800_000_000_000
N = 4


class Wires:
    """A network and mesh that keep what is sent, and hand out what the test put there."""

    def __init__(self) -> None:
        self.sent: list[tuple[int, bytes]] = []
        self.below: list[tuple[int, bytes]] = []
        self.came: dict[int, list[bytes]] = {member: [] for member in range(N)}

    def send(self, member: int, frame: bytes) -> bool:
        (self.sent if member < N else self.below).append((member, frame))
        return True

    async def receive_from(self, member: int) -> bytes:
        while not self.came[member]:
            await trio.sleep_forever()
        return self.came[member].pop(0)

    def drop(self, member: int, reason: str) -> None:
        raise AssertionError(f"{member}: {reason}")

    def ask_successor(self, member: int) -> None:
        raise AssertionError(member)

    def messages(self, kind: type[Message]) -> list[tuple[int, Message]]:
        sent = [(member, decode(frame)) for member, frame in self.sent]
        return [(member, message) for member, message in sent if isinstance(message, kind)]


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    directory = tmp_path_factory.mktemp("committee")
    return make_network(directory, range(20_000, 20_000 + 4 * N), rate=4.0, now_ms=NOW_MS)


class Bench:
    """A committee whose member `me` is a persona; the others are only their keys."""

    def __init__(self, deployment: Deployment, directory: Path) -> None:
        self.epoch = first_epoch(deployment.network)
        self.context = self.epoch.context
        self.verifier = Verifier(self.context, self.epoch.table.count)
        self.wires = Wires()
        self.directory = directory
        self._deployment = deployment
        self._journals = [
            Journal(directory / f"journal{member}", clock_ms=lambda: NOW_MS) for member in range(N)
        ]
        self.forgers = [Forger(self.seat(member)) for member in range(N)]

    def seat(self, member: int) -> Seat:
        root = genesis_checkpoint(self.context, self.epoch.genesis)
        keys = self._deployment.members[member].directory.keys
        return Seat(self.epoch, member, root, keys, self._journals[member], self.wires)

    def persona(self, kind: type[Tampering], me: int) -> Tampering:
        return kind(self.seat(me), self.wires, Random(7), lambda: True)

    def journaled(self, member: int, kind: str) -> list[Signed]:
        entries = read_journal(self.directory / f"journal{member}")
        return [e for e in entries if isinstance(e, Signed) and e.kind == kind]

    def observation(self, member: int, view: int) -> ObservationMessage:
        price = 10_000 + member + view
        entries = (Entry(price, 5, 0),) * self.epoch.table.count
        body = ObservationBody(NOW_MS + view * 250 + member, entries).encode()
        return ObservationMessage(self.forgers[member].observed(view, body))

    async def say(self, persona: Tampering, sender: int, *messages: Message) -> None:
        for message in messages:
            self.wires.came[sender].append(encode(message))
            # A withholder may keep it from its own core.
            with trio.move_on_after(0.5):
                await persona.receive_from(sender)

    async def observe_all(self, persona: Tampering, view: int) -> None:
        for member in range(N):
            if member != persona.me:
                await self.say(persona, member, self.observation(member, view))

    def block(self, persona: Tampering, view: int, justify: QC) -> Block:
        observed = [self.observation(member, view).observed for member in range(N)]
        block = persona.knows.block(view, justify, observed)
        assert block is not None
        return block

    async def certify(self, persona: Tampering, view: int, justify: QC) -> QC:
        """Have all propose, vote and so certify a block, the persona too."""
        await self.observe_all(persona, view)
        block = self.block(persona, view, justify)
        leader = self.context.leader(view)
        if leader != persona.me:
            await self.say(persona, leader, self.forgers[leader].proposal(block, None))
        for member in range(N):
            if member != persona.me:
                await self.say(persona, member, self.forgers[member].vote(block.header))
        return persona.knows.qcs[block.header.id(self.context.domain)]

    def share_is_good(self, member: int, message: Message) -> bool:
        domain = self.context.domain
        match message:
            case Vote(header=header, share=share):
                return self.verifier.is_share(member, header.id(domain), share)
            case Timeout(view=view, high_qc_view=high, share=share):
                return self.verifier.is_share(member, timeout_digest(domain, view, high), share)
        raise AssertionError(message)

    def refusal(self, sender: int, message: Message) -> str | None:
        """Return why a node refuses a message, if it does."""
        try:
            self.verifier.check(sender, message)
            if isinstance(message, Proposal):
                rules.check_proposal(self.context, sender, message)
        except InvalidMessage as error:
            return str(error)
        return None


@pytest.fixture
def bench(deployment: Deployment, tmp_path: Path) -> Bench:
    return Bench(deployment, tmp_path)


def send_to_all(persona: Tampering, message: Message) -> None:
    frame = encode(message)
    for member in persona.others:
        persona.send(member, frame)


async def test_until_the_order_all_passes(bench: Bench) -> None:
    for kind in TAMPERING.values():
        persona = kind(bench.seat(0), bench.wires, Random(7), lambda: False)
        bench.wires.sent.clear()
        own = bench.observation(0, 1)
        send_to_all(persona, own)
        assert bench.wires.sent == [(member, encode(own)) for member in persona.others]
        await bench.observe_all(persona, 1)


async def test_an_equivocator_signs_two_of_everything(bench: Bench) -> None:
    view = 2
    me = bench.context.leader(view)
    persona = bench.persona(traitors.Equivocator, me)
    qc = await bench.certify(persona, 1, bench.context.genesis_qc)
    await bench.observe_all(persona, view)
    block = bench.block(persona, view, qc)
    forger = bench.forgers[me]
    unsigned = Timeout(view, 1, bytes(96), qc, None)
    for message in (
        bench.observation(me, view),
        forger.proposal(block, None),
        forger.vote(block.header),
        forger.timeout(unsigned, 1),
    ):
        send_to_all(persona, message)

    votes = bench.wires.messages(Vote)
    assert all(bench.share_is_good(me, vote) for _, vote in votes)
    voted = {vote.header.id(bench.context.domain) for _, vote in votes}  # type: ignore[union-attr]
    assert len(voted) == 2
    assert {entry.id for entry in bench.journaled(me, "vote")} >= {one.hex() for one in voted}

    proposals = bench.wires.messages(Proposal)
    assert all(bench.refusal(me, proposal) is None for _, proposal in proposals)
    payloads = {proposal.block.payload for _, proposal in proposals}  # type: ignore[union-attr]
    assert len(payloads) == 2
    assert len(bench.journaled(me, "proposal")) == 2

    timeouts = bench.wires.messages(Timeout)
    assert {t.high_qc_view for _, t in timeouts} == {0, 1}  # type: ignore[union-attr]
    assert all(bench.share_is_good(me, timeout) for _, timeout in timeouts)
    assert len({encode(one) for _, one in bench.wires.messages(ObservationMessage)}) == 2
    # One member hears the one, one the other, one both.
    heard = {member: [m for m, _ in votes].count(member) for member in persona.others}
    assert sorted(heard.values()) == [1, 1, 2]


async def test_a_withholder_sends_to_some_only(bench: Bench) -> None:
    me = bench.context.leader(2)
    persona = bench.persona(traitors.Withholder, me)
    qc = await bench.certify(persona, 1, bench.context.genesis_qc)
    block = bench.block(persona, 2, qc)
    for message in (bench.forgers[me].proposal(block, None), bench.forgers[me].vote(block.header)):
        send_to_all(persona, message)
    assert len(bench.wires.messages(Proposal)) == bench.context.q - 1
    assert len(bench.wires.messages(Vote)) == bench.context.f


async def test_a_withholder_leads_with_the_lowest_prices(
    bench: Bench, autojump_clock: trio.testing.MockClock
) -> None:
    me = bench.context.leader(2)
    persona = bench.persona(traitors.Withholder, me)
    await bench.certify(persona, 1, bench.context.genesis_qc)
    *lowest, highest = persona.others  # A member's price grows with its index.
    for member in lowest:
        await bench.say(persona, member, bench.observation(member, 2))
    bench.wires.came[highest].append(encode(bench.observation(highest, 2)))
    with trio.move_on_after(1) as scope:
        await persona.receive_from(highest)
    assert scope.cancelled_caught


async def time_out(bench: Bench, persona: Tampering, view: int, known: QC) -> None:
    for member in persona.others:
        unsigned = Timeout(view, known.view, bytes(96), known, None)
        await bench.say(persona, member, bench.forgers[member].timeout(unsigned, known.view))


async def test_a_stale_leader_extends_the_stalest_certificate_that_it_may(bench: Bench) -> None:
    view = 4
    me = bench.context.leader(view)
    persona = bench.persona(traitors.Stale, me)
    first = await bench.certify(persona, 1, bench.context.genesis_qc)
    second = await bench.certify(persona, 2, first)
    await time_out(bench, persona, 3, first)
    await bench.observe_all(persona, view)
    block = bench.block(persona, view, second)
    tc = persona.knows.weakest_tc(3)
    send_to_all(persona, bench.forgers[me].proposal(block, tc))
    proposals = [proposal for _, proposal in bench.wires.messages(Proposal)]
    assert [bench.refusal(me, proposal) for proposal in proposals] == [None] * 3
    assert {p.block.justify.view for p in proposals} == {1}  # type: ignore[union-attr]

    send_to_all(persona, bench.forgers[me].timeout(Timeout(view, 2, bytes(96), second, None), 2))
    timeouts = [timeout for _, timeout in bench.wires.messages(Timeout)]
    assert all(timeout.high_qc_view == 0 for timeout in timeouts)  # type: ignore[union-attr]
    assert all(bench.share_is_good(me, timeout) for timeout in timeouts)


async def test_an_overreacher_is_refused_in_every_way(bench: Bench) -> None:
    persona = bench.persona(traitors.Overreacher, 0)
    led = [view for view in range(1, 160) if bench.context.leader(view) == 0]
    qc = bench.context.genesis_qc
    for view in range(1, 7):
        qc = await bench.certify(persona, view, qc)
    reasons = []
    for view in [view for view in led if view > 7]:
        await time_out(bench, persona, view - 1, qc)
        persona.view = view
        await bench.observe_all(persona, view)
        before = sum(persona.deeds.values())
        proposal = persona.proposal(view)  # type: ignore[attr-defined]
        if proposal is not None and sum(persona.deeds.values()) > before:
            reasons.append(bench.refusal(0, proposal))
    assert len(set(reasons) - {None}) >= 4
    # Where a TC of the view before was at hand, it may happen to be a justification.
    assert reasons.count(None) * 2 < len(reasons)


async def test_wrong_times_differ_between_members(bench: Bench) -> None:
    persona = bench.persona(traitors.WrongTimes, 1)
    for view in range(1, 9):
        send_to_all(persona, bench.observation(1, view))
    observed = [m.observed for _, m in bench.wires.messages(ObservationMessage)]  # type: ignore[union-attr]
    for one in observed:
        bench.verifier.check_observed(one)
    times = {(o.view, ObservationBody.decode(o.body).observed_at_ms) for o in observed}
    assert len(times) > 8


async def test_a_misinformer_never_answers_right_for_long(bench: Bench) -> None:
    persona = bench.persona(traitors.Misinformer, 0)
    first = await bench.certify(persona, 1, bench.context.genesis_qc)
    await bench.certify(persona, 2, first)
    block_id = bench.context.id_of(first)
    right = BlockResponse(block_id, (persona.knows.after[block_id][0],))  # type: ignore[arg-type]
    for _ in range(8):
        send_to_all(persona, right)
    answers = {encode(message) for _, message in bench.wires.messages(BlockResponse)}
    assert len(answers - {encode(right)}) >= 3


def besides(bench: Bench, persona: Tampering, own: Message, times: int = 400) -> list[bytes]:
    """Return what a pest sent beside its own message."""
    for _ in range(times):
        send_to_all(persona, own)
    return [frame for _, frame in bench.wires.sent if frame != encode(own)]


async def test_garbage_is_of_every_kind_and_never_counts(bench: Bench) -> None:
    persona = bench.persona(pests.Garbage, 2)
    qc = await bench.certify(persona, 1, bench.context.genesis_qc)
    await time_out(bench, persona, 2, qc)
    persona.view = 3
    frames = besides(bench, persona, bench.observation(2, 3))
    assert len(persona.deeds) == 9
    for frame in frames:
        try:
            message = decode(frame)
        except InvalidMessage:
            continue
        if isinstance(message, Certificate):
            assert bench.refusal(2, message) or message.qc == qc
        elif isinstance(message, Vote):
            assert not bench.share_is_good(2, message)


async def test_a_bad_signer_signs_in_every_wrong_way(bench: Bench) -> None:
    persona = bench.persona(impostors.BadSigner, 2)
    for view in range(1, 60):
        vote = bench.forgers[2].vote(persona_header(persona, view))
        send_to_all(persona, vote)
    assert len(persona.deeds) == BAD_SHARES
    good = [
        bench.share_is_good(2, vote) for member, vote in bench.wires.messages(Vote) if not member
    ]
    assert 10 < good.count(False) < 50


def persona_header(persona: Tampering, view: int) -> Header:
    return Header(view, NOW_MS, bytes(32), bytes(31) + bytes([persona.me]))


async def test_bad_signers_make_up_for_each_other(bench: Bench) -> None:
    shares = []
    header = Header(1, NOW_MS, bytes(32), bytes(32))
    digest = header.id(bench.context.domain)
    for member in (1, 2):
        share = bench.forgers[member].vote(header).share
        shares.append(bad_share(BAD_SHARES - 1, member, share, b""))
        assert not bench.verifier.is_share(member, digest, shares[-1])
    both = PopSchemeMPL.aggregate([G2Element.from_bytes(share) for share in shares])
    keys = [G1Element.from_bytes(bench.epoch.members[member].bls_key) for member in (1, 2)]
    assert PopSchemeMPL.fast_aggregate_verify(keys, digest, both)


async def test_a_misdirector_convinces_nobody(bench: Bench) -> None:
    persona = bench.persona(impostors.Misdirector, 2)
    await bench.certify(persona, 1, bench.context.genesis_qc)
    messages = [decode(frame) for frame in besides(bench, persona, bench.observation(2, 2))]
    certificates = [m for m in messages if isinstance(m, HandoverCertificate)]
    assert certificates
    assert all(bench.refusal(2, certificate) for certificate in certificates)
    assert any(isinstance(message, HandoverShare) for message in messages)


async def test_a_replayer_repeats_others_and_other_networks(bench: Bench) -> None:
    persona = bench.persona(pests.Replayer, 2)
    await bench.certify(persona, 1, bench.context.genesis_qc)
    frames = besides(bench, persona, bench.observation(2, 2))
    assert len(persona.deeds) == 3
    assert len(bench.wires.below) > 10  # Under other epochs' numbers.
    messages = [decode(frame) for frame in frames]
    others = [m for m in messages if isinstance(m, ObservationMessage)]
    assert {one.observed.member for one in others} & {0, 1, 3}
    votes = [m for m in messages if isinstance(m, Vote)]
    assert not any(bench.share_is_good(2, vote) for vote in votes)


async def test_the_future_is_far_ahead_and_well_signed(bench: Bench) -> None:
    persona = bench.persona(pests.Future, 2)
    messages = [decode(frame) for frame in besides(bench, persona, bench.observation(2, 1))]
    votes = [m for m in messages if isinstance(m, Vote)]
    assert all(bench.share_is_good(2, vote) for vote in votes)
    assert votes
    assert all(vote.header.view > 3 for vote in votes)
    assert {type(message) for message in messages} == {Vote, Timeout, ObservationMessage, Proposal}


async def test_a_flood_does_not_stop(bench: Bench, autojump_clock: trio.testing.MockClock) -> None:
    persona = bench.persona(pests.Flood, 2)
    send_to_all(persona, bench.observation(2, 1))
    await trio.sleep(0.5)
    assert len(bench.wires.sent) > 1_000
    assert {member for member, _ in bench.wires.sent} == {0, 1, 3}
    # Nothing of it is a reason to close the link, so it lasts.
    assert all(bench.share_is_good(2, vote) for _, vote in bench.wires.messages(Vote)[:3])
    assert bench.wires.messages(Timeout)


async def test_the_slow_are_late_and_in_order(
    bench: Bench, autojump_clock: trio.testing.MockClock
) -> None:
    persona = bench.persona(Slow, 2)
    said = [bench.observation(2, view) for view in range(1, 6)]
    for message in said:
        send_to_all(persona, message)
    await trio.sleep(SLOW_SECONDS[0] * 0.9)
    assert not bench.wires.sent
    await trio.sleep(SLOW_SECONDS[1])
    assert [frame for member, frame in bench.wires.sent if member == 3] == [*map(encode, said)]


async def test_a_turncoat_is_one_after_the_other(
    bench: Bench, autojump_clock: trio.testing.MockClock
) -> None:
    kind = TAMPERING["turncoat"]
    persona = bench.persona(kind, 2)
    qc = await bench.certify(persona, 1, bench.context.genesis_qc)
    for view in range(2, 2 + 2 * len(kind.parts)):  # type: ignore[attr-defined]
        await bench.observe_all(persona, view)
        send_to_all(persona, bench.observation(2, view))
        send_to_all(persona, bench.forgers[2].timeout(Timeout(view, 1, bytes(96), qc, None), 1))
        await trio.sleep(TURN_SECONDS / 2)
    played = {deed.rpartition(" ")[2] for deed in persona.deeds if deed.startswith("from now on")}
    assert played == {part.__name__ for part in kind.parts[1:]}  # type: ignore[attr-defined]
    assert {
        "two of Timeout",
        "no Timeout for some",
        "the oldest certificate reported",
        "delay",
    } <= (persona.deeds.keys())


def test_a_skewed_clock_is_wrong_for_the_whole_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("time", "time_ns"):
        monkeypatch.setattr(time, name, getattr(time, name))
    right_ns = time.time_ns
    order = tmp_path / "order"
    edges_of("clock-skewed", "1", Order(order))
    from node.runtime import wall_clock_ms

    assert abs(wall_clock_ms() - right_ns() // 1_000_000) < 1_000
    order.touch()
    off_ms = wall_clock_ms() - right_ns() // 1_000_000
    assert CLOCK_OFF_MS - 1_000 < abs(off_ms) < CLOCK_OFF_MS + 1_000


@pytest.mark.parametrize("step", ["persisted", "send Vote", "never comes"])
def test_a_crasher_dies_by_its_own_hand(step: str) -> None:
    code = f"""
        from random import Random
        from testnet.personas import ailing
        ailing._LIFE_SECONDS, ailing._PATIENCE_SECONDS = (0.0, 0.01), 0.05
        ailing.STEPS = ({step!r},)
        doom = ailing.Doom(Random(1), lambda: True)
        while True:
            doom.at("persisted")
            doom.at("send Vote")
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    assert subprocess.run(command, timeout=60).returncode == -signal.SIGKILL


async def test_frames_between_parts_are_lost(bench: Bench, tmp_path: Path) -> None:
    file = tmp_path / "parts"
    network = Severable(file).network(bench.seat(0), bench.wires)
    assert network.send(3, b"whole")
    write_parts(file, ((0, 1), (2, 3)))
    assert network.send(1, b"inside")
    assert network.send(3, b"lost")
    bench.wires.came[3].append(b"lost")
    bench.wires.came[1].append(b"heard")
    assert await network.receive_from(1) == b"heard"
    with trio.move_on_after(0.05) as scope:
        await network.receive_from(3)
    assert scope.cancelled_caught
    file.unlink()
    bench.wires.came[3].append(b"again")
    assert await network.receive_from(3) == b"again"
    assert bench.wires.sent == [(3, b"whole"), (1, b"inside")]


def observation_of(prices: Sequence[Entry]) -> OwnObservation:
    return OwnObservation(ObservationBody(1_000, tuple(prices)), 7)


def test_a_liar_lies_from_the_moment_it_is_told_to(tmp_path: Path) -> None:
    told = tmp_path / "told"
    edges = edges_of("liar", "1", Order(told))
    honest = observation_of((Entry(100, 2, 1), LACKING, Entry(UINT64_MAX, 0, 0)))
    assert edges.observation(honest) == honest
    told.touch()
    changed = edges.observation(honest)
    assert changed.body.entries == (Entry(1_000, 2, 1), LACKING, Entry(UINT64_MAX, 0, 0))
    assert (changed.body.observed_at_ms, changed.newest_ns) == (1_000, 7)
    changed.body.encode()


def test_a_drifter_drifts() -> None:
    now = [0.0]
    edges = FalsePrices(lambda: True, Drift(lambda: now[0]))
    honest = observation_of((Entry(1_000_000, 2, 1), LACKING))
    prices = []
    for now[0] in (0.0, 1.0, 20.0):
        prices.append(edges.observation(honest).body.entries[0].price)
    assert prices == [1_000_000, 1_000_500, 1_010_000]


def test_every_persona_has_edges() -> None:
    for name in PERSONAS.keys() - {"clock-skewed"}:
        edges_of(name, "1", lambda: False)

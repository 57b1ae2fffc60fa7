"""From one epoch to the next, with real keys: files, approvals, the rule, and who may lie."""

import zlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
from blspy import G2Element, PopSchemeMPL

from aggregation.observation import Entry, ObservationBody
from aggregation.state import genesis_state
from aggregation.table import FeedTable
from consensus import messages as wire
from consensus.committee import Configuration, EpochContext, Member, Timing, bitmap_of
from consensus.digests import keccak
from consensus.errors import InvalidMessage, InvalidPayload
from consensus.handover import approval_digest, terms_of
from contracts.points import decompress_g1
from feeds.catalogue import load_catalogue
from node import epoch_file
from node.candidates import Candidates
from node.epoch_file import EpochFile
from node.epoch_state import DecidedState, agreed_in, encode_state
from node.errors import CheckFailed, NetworkFileError
from node.keys.bls_key import BlsKey
from node.keys.key_set import KeySet, generate_keys
from node.payload import NO_ROOT, digest_of
from node.registration import MemberRecord, register
from node.running_epoch import RunningEpoch
from node.store import Store
from node.switchboard import EpochNetwork, Switchboard, peer_number, sealed

NOW_MS = 1_800_000_000_000
TABLE = load_catalogue(None)


@dataclass
class World:
    """An epoch of four members with real keys, and what they could sign."""

    keys: list[KeySet]
    epoch: RunningEpoch

    def next_file(self, **changes: object) -> EpochFile:
        epoch = self.epoch
        members = tuple(
            replace(m, registration=self.bls(i).sign(m.digest(epoch.context.network)))
            for i, m in enumerate(epoch.members)
        )
        file = EpochFile(
            "net",
            epoch.context.network,
            epoch.context.epoch + 1,
            epoch.valid_until_ms + 1,
            Timing(round_interval_ms=500),
            epoch.table,
            members,
        )
        return replace(file, **changes)  # type: ignore[arg-type]

    def bls(self, member: int) -> BlsKey:
        key = self.keys[member].bls
        assert key is not None
        return key

    def change(
        self,
        document: bytes,
        approvers: Sequence[int] = (0, 1, 2),
        context: EpochContext | None = None,
    ) -> wire.Change:
        configuration_hash = epoch_file.from_document(document).configuration.hash
        digest = approval_digest(
            context or self.epoch.context, configuration_hash, keccak(document)
        )
        return wire.Change(
            configuration_hash, document, bitmap_of(approvers), self.aggregate(digest, approvers)
        )

    def aggregate(self, digest: bytes, signers: Sequence[int]) -> bytes:
        shares = [G2Element.from_bytes(self.bls(i).sign(digest)) for i in signers]
        return bytes(PopSchemeMPL.aggregate(shares))

    def observed(self, view: int) -> list[wire.Observed]:
        entries = tuple(Entry(0, 0, 0) for _ in self.epoch.table.feeds)
        made = []
        for member in range(3):
            body = ObservationBody(NOW_MS + view * 1000, entries).encode()
            bare = wire.Observed(view, member, body, bytes(64))
            digest = digest_of(self.epoch.context.domain, bare)
            made.append(
                msgspec.structs.replace(bare, signature=self.keys[member].identity.sign(digest))
            )
        return made

    def successor(self, document: bytes) -> wire.Successor:
        """Return how this epoch ends if its first block decides."""
        context, rule = self.epoch.context, self.epoch.rule
        payload = rule.build(1, self.observed(1), self.change(document))
        outcome = rule.apply(self.epoch.genesis, context.genesis_time_ms, 1, payload)
        bare = wire.Header(1, outcome.observed_at_ms, outcome.feed_root, bytes(32))
        block = wire.Block(bare, 1, outcome.state_digest, payload, context.genesis_qc)
        link = block.link_with(context.genesis_id, outcome.payload_digest)
        header = msgspec.structs.replace(bare, link=link)
        block = msgspec.structs.replace(block, header=header)
        configuration_hash = epoch_file.from_document(document).configuration.hash
        terms = terms_of(
            context, configuration_hash, header.id(context.domain), header.observed_at_ms
        )
        certificate = wire.HandoverCertificate(
            configuration_hash,
            terms.deciding_id,
            terms.observed_at_ms,
            bitmap_of((0, 1, 3)),
            self.aggregate(terms.digest, (0, 1, 3)),
        )
        return wire.Successor(certificate, block, encode_state(outcome.state))


def member_of(record: MemberRecord) -> Member:
    return Member(
        decompress_g1(record.bls_key), record.bls_key, record.ed25519_key, record.operator
    )


def world_of(network: bytes = b"n" * 32, keys: list[KeySet] | None = None) -> World:
    keys = keys or [generate_keys() for _ in range(4)]
    records = tuple(register(f"node{i}", one) for i, one in enumerate(keys))
    configuration = Configuration(
        tuple(map(member_of, records)), TABLE.digest(), Timing(), NOW_MS + 10**9
    )
    genesis = genesis_state(TABLE, NOW_MS)
    context = EpochContext(network, 0, configuration, genesis.digest(), NOW_MS)
    return World(keys, RunningEpoch("net", context, TABLE, records, genesis))


@pytest.fixture(scope="module")
def world() -> World:
    return world_of()


def test_a_configuration_survives_file_and_document(world: World) -> None:
    file = world.next_file()
    assert epoch_file.decode(epoch_file.encode(file)) == file
    document = epoch_file.to_document(file)
    assert epoch_file.from_document(document) == file
    file.check_proofs()
    for damaged in (document[:-1], document + b"x", zlib.compress(b"{}"), b"", b"junk"):
        with pytest.raises(NetworkFileError):
            epoch_file.from_document(damaged)
    with pytest.raises(NetworkFileError, match="too long"):
        epoch_file.from_document(zlib.compress(b" " * (1 << 23)))
    changed = epoch_file.encode(file).replace(
        b'"round_interval_ms": 500', b'"round_interval_ms": 501'
    )
    with pytest.raises(NetworkFileError, match="hash"):
        epoch_file.decode(changed)


def test_what_a_next_configuration_may_not_do(world: World) -> None:
    epoch = world.epoch
    world.next_file().check_follows(epoch.context, epoch.table)
    last = TABLE.feeds[-1]
    other_decimals = FeedTable((*TABLE.feeds[:-1], replace(last, decimals=last.decimals - 1)))
    for wrong in (
        {"network": b"o" * 32},
        {"epoch": 2},
        {"epoch": 3},
        {"valid_until_ms": epoch.valid_until_ms},
        {"table": FeedTable((TABLE.feeds[-1],))},
        {"table": other_decimals},
    ):
        with pytest.raises(NetworkFileError):
            world.next_file(**wrong).check_follows(epoch.context, epoch.table)
    stranger = register("new", generate_keys())
    unproven = world.next_file(members=(*world.next_file().members, stranger))
    with pytest.raises(NetworkFileError, match="network"):
        unproven.check_proofs()


def test_the_deciding_block_has_prices_and_those_after_it_have_none(world: World) -> None:
    rule, genesis = world.epoch.rule, world.epoch.genesis
    change = world.change(epoch_file.to_document(world.next_file()))
    without = rule.apply(genesis, NOW_MS, 1, rule.build(1, world.observed(1)))
    deciding = rule.apply(genesis, NOW_MS, 1, rule.build(1, world.observed(1), change))
    assert without.successor is None
    assert deciding.successor == change.configuration_hash
    assert deciding.feed_root == without.feed_root != NO_ROOT
    assert deciding.state_digest != without.state_digest
    assert deciding.payload_digest != without.payload_digest
    assert agreed_in(deciding.state) == without.state
    after = rule.apply(deciding.state, deciding.observed_at_ms, 2, rule.build(2, world.observed(2)))
    assert after.feed_root == NO_ROOT
    assert after.successor == change.configuration_hash
    assert isinstance(after.state, DecidedState)
    assert after.state.deciding_view == 1
    again = rule.build(2, world.observed(2), change)
    with pytest.raises(InvalidPayload, match="decided"):
        rule.apply(deciding.state, deciding.observed_at_ms, 2, again)


def test_the_rule_refuses_every_other_change(world: World) -> None:
    rule, genesis = world.epoch.rule, world.epoch.genesis
    good = world.change(epoch_file.to_document(world.next_file()))
    later = epoch_file.to_document(world.next_file(epoch=2))
    too_old = epoch_file.to_document(world.next_file(valid_until_ms=5))
    swap = msgspec.structs.replace
    for wrong in (
        swap(good, bitmap=bitmap_of((0, 1))),
        swap(good, bitmap=bitmap_of((0, 1, 4))),
        swap(good, configuration_hash=bytes(32)),
        swap(good, document=b"junk"),
        world.change(later),
        world.change(too_old),
    ):
        with pytest.raises(InvalidPayload):
            rule.apply(genesis, NOW_MS, 1, rule.build(1, world.observed(1), wrong))


def test_the_digest_of_a_payload_covers_the_whole_change(world: World) -> None:
    rule = world.epoch.rule
    good = world.change(epoch_file.to_document(world.next_file()))
    swap = msgspec.structs.replace
    variants = [
        good,
        swap(good, configuration_hash=bytes(32)),
        swap(good, document=b"junk"),
        swap(good, bitmap=bitmap_of((0, 1, 3))),
        swap(good, aggregate=bytes(96)),
    ]
    digests = {rule.digest(1, rule.build(1, world.observed(1), change)) for change in variants}
    assert len(digests) == len(variants)


def test_only_a_quorum_of_this_very_epoch_approves(world: World) -> None:
    verifier = world.epoch.verifier
    document = epoch_file.to_document(world.next_file())
    verifier.check_change(world.change(document))
    other = replace(world.epoch.context, network=b"o" * 32)
    later = replace(world.epoch.context, epoch=1)
    renamed = epoch_file.to_document(
        world.next_file(
            members=tuple(replace(m, name="x" + m.name) for m in world.next_file().members)
        )
    )
    swap = msgspec.structs.replace
    good = world.change(document)
    for wrong in (
        world.change(document, context=other),
        world.change(document, context=later),
        world.change(document, approvers=(0, 1)),
        swap(good, bitmap=bitmap_of((0, 1, 3))),
        # Names are in no configuration's hash; approvals cover them all the same.
        swap(good, document=renamed),
    ):
        with pytest.raises(InvalidMessage):
            verifier.check_change(wrong)
    unsigned = epoch_file.to_document(
        world.next_file(members=(*world.next_file().members, register("new", generate_keys())))
    )
    with pytest.raises(InvalidMessage, match="not valid"):
        verifier.check_change(world.change(unsigned))


def test_a_newcomer_believes_no_lie_about_how_an_epoch_ended(world: World) -> None:
    epoch = world.epoch
    true = world.successor(epoch_file.to_document(world.next_file()))
    epoch.check(true)
    swap = msgspec.structs.replace
    other = world.successor(
        epoch_file.to_document(world.next_file(timing=Timing(round_interval_ms=700)))
    )
    state = bytearray(true.state)
    state[-1] ^= 1
    weak = swap(true.certificate, bitmap=bitmap_of((0, 1)))
    forged = swap(true.certificate, observed_at_ms=true.certificate.observed_at_ms + 1)
    for lie in (
        swap(true, state=bytes(state)),
        swap(true, state=true.state[41:]),
        swap(true, state=other.state),
        swap(true, block=other.block),
        swap(true, block=swap(true.block, height=7)),
        swap(true, block=swap(true.block, payload=other.block.payload)),
        swap(true, block=swap(true.block, state_digest=bytes(32))),
        swap(true, certificate=other.certificate),
        swap(true, certificate=weak),
        swap(true, certificate=forged),
    ):
        with pytest.raises(InvalidMessage):
            epoch.check(lie)


def test_the_next_epoch_takes_over_time_and_state(world: World) -> None:
    file = world.next_file()
    successor = world.successor(epoch_file.to_document(file))
    following = world.epoch.next(successor)
    context = following.context
    assert context.epoch == 1
    assert context.configuration.hash == file.configuration.hash
    assert context.deciding_id == successor.certificate.deciding_id
    assert context.genesis_time_ms == successor.block.header.observed_at_ms
    assert following.genesis.observed_at_ms == context.genesis_time_ms
    assert context.domain != world.epoch.context.domain
    # What was signed in the epoch before is worth nothing in this one, and so forth again.
    with pytest.raises(InvalidMessage):
        following.check(successor)
    for observed in world.observed(1):
        with pytest.raises(InvalidMessage):
            following.verifier.check_observed(observed)
    with pytest.raises(InvalidMessage):
        following.verifier.check_change(
            world.change(epoch_file.to_document(world.next_file(epoch=2)))
        )


def test_candidates_become_a_change_with_a_quorum(world: World, tmp_path: Path) -> None:
    document = epoch_file.to_document(world.next_file())
    rival = epoch_file.to_document(world.next_file(timing=Timing(grace_ms=70)))
    with Store.create(tmp_path / "store") as store:

        def fresh() -> Candidates:
            return Candidates(world.epoch, 0, store, world.bls(0).sign)

        candidates = fresh()
        digest = candidates.digest(document)

        def approval(member: int, what: bytes = document) -> wire.Candidate:
            return wire.Candidate(what, world.bls(member).sign(candidates.digest(what)))

        with pytest.raises(CheckFailed, match="nobody"):
            candidates.approve(bytes(32))
        view = candidates.propose(document)
        candidates.approve(view.configuration_hash)
        candidates.take(1, approval(1))
        candidates.take(2, approval(2, rival))
        assert candidates.change() is None
        # A member's newest approval counts, and none twice.
        candidates.take(2, approval(2))
        change = candidates.change()
        assert change is not None
        world.epoch.verifier.check_change(change)
        assert change.bitmap == bitmap_of((0, 1, 2))
        # The own approval outlives the process.
        assert fresh().own() == wire.Candidate(document, world.bls(0).sign(digest))
        with pytest.raises(CheckFailed, match="another"):
            candidates.propose(rival)
        # New documents of one member are looked at every few seconds only.
        late = epoch_file.to_document(world.next_file(timing=Timing(grace_ms=71)))
        later = epoch_file.to_document(world.next_file(timing=Timing(grace_ms=72)))
        assert candidates.admits(3, wire.Candidate(late, None), 100.0)
        assert not candidates.admits(3, wire.Candidate(later, None), 101.0)
        assert candidates.admits(3, wire.Candidate(later, None), 106.0)
        assert not candidates.admits(1, approval(1), 200.0)


class Links:
    """A mesh that keeps what is sent."""

    def __init__(self) -> None:
        self.sent: list[tuple[int, bytes]] = []
        self.drops: list[int] = []
        self._ways = defaultdict[int, Any](lambda: trio.open_memory_channel[bytes](1000))

    def send(self, member: int, frame: bytes) -> bool:
        self.sent.append((member, frame))
        return True

    async def give(self, peer: int, frame: bytes) -> None:
        await self._ways[peer][0].send(frame)

    def waiting(self, peer: int) -> int:
        count: int = self._ways[peer][1].statistics().current_buffer_used
        return count

    async def receive_from(self, member: int) -> bytes:
        frame: bytes = await self._ways[member][1].receive()
        return frame

    def drop(self, member: int, reason: str) -> None:
        self.drops.append(member)


async def test_frames_find_their_epoch(world: World, tmp_path: Path) -> None:
    successor = world.successor(epoch_file.to_document(world.next_file()))
    following = world.epoch.next(successor)
    peers = [peer_number(member.ed25519_key) for member in world.epoch.members]
    request = wire.SuccessorRequest()
    with Store.create(tmp_path / "store") as store, trio.fail_after(20):
        links = Links()
        board = Switchboard(links, store, [])
        first = board.begin(world.epoch)
        async with trio.open_nursery() as nursery:
            await nursery.start(board.run, [*peers, 12345])
            await links.give(peers[2], sealed(0, b"now"))
            assert await first.receive_from(2) == b"now"
            # The epoch's own tasks take its members' frames.
            takers = [trio.CancelScope(), trio.CancelScope()]

            async def take(network: EpochNetwork, member: int, scope: trio.CancelScope) -> None:
                with scope:
                    await network.receive_from(member)
                    raise AssertionError("a frame of this epoch")

            nursery.start_soon(take, first, 1, takers[0])
            nursery.start_soon(take, first, 3, takers[1])
            # Of the next epoch a bounded number of frames wait; their sender is asked.
            for number in range(200):
                await links.give(peers[1], sealed(1, b"early %d" % number))
            await links.give(peers[1], sealed(7, b"far"))
            await links.give(12345, sealed(0, b"stranger"))
            await links.give(peers[3], b"short")
            await links.give(peers[2], sealed(0, b"again"))
            assert await first.receive_from(2) == b"again"
            while not (links.drops and board.ignored and not links.waiting(peers[1])):  # noqa: ASYNC110
                await trio.sleep(0.005)
            assert links.sent == [(peers[1], sealed(0, request))]
            assert links.drops == [peers[3]]
            store.save_successor(world.epoch.context.domain, msgspec.msgpack.encode(successor))
            for scope in takers:
                scope.cancel()
            board.end(world.epoch)
            second = board.begin(following)
            got = [await second.receive_from(1) for _ in range(64)]
            assert got[-1] == b"early 199"
            links.sent.clear()
            for member in (0, 3):
                nursery.start_soon(take, second, member, trio.CancelScope())
            # Whoever is behind is told how its epoch ended, but not at any rate.
            share = wire.HandoverShare(bytes(32), bytes(32), 1, bytes(96))
            for _ in range(5):
                await links.give(peers[0], sealed(0, share))
            await links.give(peers[3], sealed(0, request))
            while len(links.sent) < 2:  # noqa: ASYNC110
                await trio.sleep(0.005)
            assert sorted(links.sent) == sorted(
                [
                    (peers[0], sealed(0, successor.certificate)),
                    (peers[3], sealed(0, successor)),
                ]
            )
            nursery.cancel_scope.cancel()

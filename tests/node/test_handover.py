"""From one epoch to the next, with real keys: files, approvals, the rule, and who may lie."""

import asyncio
import base64
import json
import re
import threading
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import msgspec
import pytest
import trio
import trio.testing
from blspy import G2Element, PopSchemeMPL
from click.testing import CliRunner, Result

from aggregation.encoding import encode_answer, feed_root, pack_words
from aggregation.observation import Entry, ObservationBody
from aggregation.state import genesis_state
from aggregation.status import Status
from aggregation.table import FeedTable
from consensus import effects as fx
from consensus import messages as wire
from consensus.committee import Configuration, EpochContext, Member, Timing, bitmap_of
from consensus.core import Core, genesis_checkpoint, genesis_safety
from consensus.digests import keccak
from consensus.errors import InvalidMessage, InvalidPayload
from consensus.handover import approval_digest, terms_of
from consensus.safety import SafetyState
from contracts.points import decompress_g1
from feeds.catalogue import load_catalogue
from node import epoch_file, epoch_history, network_file
from node.api.server import ApiServer, Listeners
from node.api.view import ViewCell
from node.candidates import (
    CHANGE_BYTES,
    OBSERVED_BYTES,
    TURNS_MAX,
    TURNS_SECONDS,
    Candidates,
)
from node.cli import main
from node.epoch_file import EpochFile
from node.epoch_history import EpochHistory, EpochPage, decode_page, entry_of, follow
from node.epoch_state import DecidedState, agreed_in, encode_state
from node.errors import CheckFailed, NetworkFileError
from node.evidence_book import EvidenceBook
from node.handover_control import HandoverControl, differences
from node.keys.bls_key import BlsKey
from node.keys.key_set import KeySet, generate_keys
from node.metrics import Metrics
from node.network_file import NetworkFile
from node.payload import NO_ROOT, digest_of
from node.registration import MemberRecord, register
from node.report import Report, answers_of, report_to_json
from node.running_epoch import RunningEpoch, check_joined, encode_successor, first_epoch
from node.runtime import OwnObservation, Runtime
from node.signer import Signer
from node.store import ArchiveReader, Store
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


def test_no_handover_is_believed_that_members_could_not_have_made(world: World) -> None:
    """A quorum of stolen keys signs into the past, or for what no payload rule lets pass."""
    document = epoch_file.to_document(world.next_file())
    true = world.successor(document)
    ended = replace(
        world.epoch.context.configuration, valid_until_ms=true.certificate.observed_at_ms - 1
    )
    late = World(
        world.keys, replace(world.epoch, context=replace(world.epoch.context, configuration=ended))
    )
    file = late.next_file(valid_until_ms=NOW_MS + 10**9)
    with pytest.raises(InvalidMessage, match="valid-until"):
        late.epoch.check(late.successor(epoch_file.to_document(file)))
    skipping = epoch_file.to_document(world.next_file(epoch=2))
    lawless = replace(world.epoch)
    lawless.rule._check_change = lambda _change, _time: None  # type: ignore[method-assign]
    lie = World(world.keys, lawless).successor(skipping)
    with pytest.raises(InvalidMessage, match="the next is 1"):
        world.epoch.check(lie)


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
            candidates.approve(bytes(32), NOW_MS)
        view = candidates.propose(document, NOW_MS)
        candidates.approve(view.configuration_hash, NOW_MS)
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
            candidates.propose(rival, NOW_MS)
        # To approve once more changes nothing.
        own = candidates.own()
        candidates.approve(view.configuration_hash, NOW_MS)
        assert candidates.own() == own
        # New documents of one member are looked at every few seconds only.
        late = epoch_file.to_document(world.next_file(timing=Timing(grace_ms=71)))
        later = epoch_file.to_document(world.next_file(timing=Timing(grace_ms=72)))
        assert candidates.admits(3, wire.Candidate(late, None), 100.0)
        assert not candidates.admits(3, wire.Candidate(later, None), 101.0)
        assert candidates.admits(3, wire.Candidate(later, None), 106.0)
        assert not candidates.admits(1, approval(1), 200.0)
        # Nor may a member that changes its mind over and over make the others verify each time.
        turns = [approval(1, rival if turn % 2 else document) for turn in range(100)]
        taken = 0
        for turn, candidate in enumerate(turns):
            if candidates.admits(1, candidate, 300 + turn / 100):
                candidates.take(1, candidate)
                taken += 1
        assert taken <= TURNS_MAX
        assert candidates.admits(1, approval(1, late), 300 + TURNS_SECONDS + 1)


def test_what_no_member_stands_for(world: World, tmp_path: Path) -> None:
    """Each refusal says what is wrong with it."""
    file = world.next_file()
    renamed = replace(file, members=(replace(file.members[0], name="other"), *file.members[1:]))
    swapped = replace(
        file,
        members=(
            replace(file.members[0], name=file.members[1].name),
            replace(file.members[1], name=file.members[0].name),
            *file.members[2:],
        ),
    )
    stranger = replace(register("new", generate_keys()), registration=None)
    unsigned = replace(file, members=(*file.members, stranger))
    with Store.create(tmp_path / "store") as store:
        candidates = Candidates(world.epoch, 0, store, world.bls(0).sign)
        for wrong, now_ms, reason in (
            (renamed, NOW_MS, "'node0' 'other'.*keeps its name"),
            (swapped, NOW_MS, "keeps its name"),
            (unsigned, NOW_MS, "'new': it has not signed"),
            (file, file.valid_until_ms, "ended 0 s ago"),
            (replace(file, epoch=2), NOW_MS, "of epoch 2, the next is 1"),
            (replace(file, network=b"o" * 32), NOW_MS, "another network"),
        ):
            with pytest.raises(NetworkFileError, match=reason):
                candidates.propose(epoch_file.to_document(wrong), now_ms)
            assert candidates.own() is None
        # What a peer proposes is shown, and not approved of either.
        candidates.take(1, wire.Candidate(epoch_file.to_document(swapped), None))
        with pytest.raises(NetworkFileError, match="keeps its name"):
            candidates.approve(swapped.configuration.hash, NOW_MS)
        assert candidates.change() is None


def test_a_change_that_fits_into_no_block_is_refused_when_it_is_proposed(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = epoch_file.to_document(world.next_file())
    observed = max(len(msgspec.msgpack.encode(one)) for one in world.observed(1))
    room = 3 * observed + len(document)
    with Store.create(tmp_path / "store") as store:
        candidates = Candidates(world.epoch, 0, store, world.bls(0).sign)
        monkeypatch.setattr("node.candidates.PAYLOAD_BYTES_MAX", room)
        with pytest.raises(NetworkFileError, match="remove members or feeds"):
            candidates.propose(document, NOW_MS)
        monkeypatch.setattr("node.candidates.PAYLOAD_BYTES_MAX", room + 2000)
        candidates.propose(document, NOW_MS)
    # What is let through fits in fact.
    payload = world.epoch.rule.build(1, world.observed(1), world.change(document))
    around = 3 * (observed + OBSERVED_BYTES) + len(document) + CHANGE_BYTES
    assert len(payload) <= around


def test_members_agree_on_which_of_two_equal_documents_is_meant(
    world: World, tmp_path: Path
) -> None:
    """One configuration, packed in two ways: whoever hears of which first, all take the same."""
    content = epoch_file.encode(world.next_file())
    documents = [zlib.compress(content, level) for level in (1, 9)]
    chosen = set()
    for number, order in enumerate((documents, documents[::-1])):
        with Store.create(tmp_path / str(number)) as store:
            candidates = Candidates(world.epoch, 0, store, world.bls(0).sign)
            for member, document in enumerate(order, start=1):
                candidates.take(member, wire.Candidate(document, None))
            (view,) = candidates.views()
            chosen.add(view.document)
    assert len(chosen) == 1


def test_an_operator_sees_all_that_a_change_would_change(world: World) -> None:
    file = world.next_file()
    assert differences(world.epoch, file) == {
        "added": [],
        "removed": [],
        "changed": [],
        "timing_changed": {"round_interval_ms": 500},
        "feeds_added": [],
        "feeds_changed": [],
    }
    first = TABLE.feeds[0]
    table = FeedTable((replace(first, minimum_sources=first.minimum_sources - 1), *TABLE.feeds[1:]))
    stranger = register("new", generate_keys())
    moved = replace(file.members[1], operator=b"o" * 20)
    seen = differences(
        world.epoch,
        replace(file, table=table, members=(moved, *file.members[2:], stranger)),
    )
    assert seen["feeds_changed"] == [first.pair]
    assert (seen["added"], seen["removed"], seen["changed"]) == (["new"], ["node0"], ["node1"])


def test_a_newcomer_takes_no_other_configuration_than_its_operator_was_given(
    world: World,
) -> None:
    given = world.next_file()
    other = world.next_file(timing=Timing(grace_ms=70))
    following = world.epoch.next(world.successor(epoch_file.to_document(given)))
    check_joined(given, [world.epoch, following])
    check_joined(replace(other, epoch=2), [world.epoch, following])
    with pytest.raises(NetworkFileError, match=given.configuration.hash.hex()):
        check_joined(other, [world.epoch, following])


@dataclass
class Chain:
    """A network that went from epoch 0 to 2, with a member that left and one that came."""

    network: NetworkFile
    worlds: list[World]
    successors: list[wire.Successor]

    @property
    def epochs(self) -> list[RunningEpoch]:
        return [world.epoch for world in self.worlds]

    def store(self, directory: Path) -> Store:
        store = Store.create(directory)
        for epoch, successor in zip(self.epochs, self.successors, strict=False):
            store.save_successor(epoch.context.domain, encode_successor(successor))
        return store

    def page(self) -> EpochPage:
        ends = [*self.successors, None]
        return EpochPage(
            "0x" + self.network.network.hex(),
            tuple(entry_of(e, s) for e, s in zip(self.epochs, ends, strict=True)),
            None,
        )

    def report(self, number: int, signers: Sequence[int] = (0, 1, 2)) -> bytes:
        """Return the file of a report of an epoch."""
        world = self.worlds[number]
        epoch = world.epoch
        feeds = [(feed.pair, feed.decimals) for feed in epoch.table.feeds]
        words = pack_words([encode_answer(10**9, 10**5, Status.LIVE) for _ in feeds])
        header = wire.Header(7, epoch.context.genesis_time_ms + 9, feed_root(words), b"l" * 32)
        digest = header.id(epoch.context.domain)
        report = Report(
            network=epoch.context.network,
            epoch=number,
            header=header,
            id=digest,
            words=words,
            bitmap=sum(1 << signer for signer in signers),
            signature=world.aggregate(digest, signers),
            answers=answers_of(words, feeds),
            signers=tuple(epoch.member_names[signer] for signer in signers),
        )
        return json.dumps(report_to_json(report)).encode()


@pytest.fixture(scope="module")
def chain() -> Chain:
    keys = [generate_keys() for _ in range(5)]
    network = network_file.create(
        "net",
        [register(f"node{i}", one) for i, one in enumerate(keys[:4])],
        TABLE,
        genesis_time_ms=NOW_MS,
        valid_until_ms=NOW_MS + 10**9,
    )
    for one in keys[:4]:
        assert one.bls is not None
        network = network_file.sign(network, one.bls)
    worlds = [World(keys[:4], first_epoch(network))]
    successors = []
    newcomer = register("node4", keys[4])
    bls = keys[4].bls
    assert bls is not None
    signed = replace(newcomer, registration=bls.sign(newcomer.digest(network.network)))
    for members in (
        lambda file: (*file.members[1:], signed),
        lambda file: file.members[::-1],
    ):
        world = worlds[-1]
        file = world.next_file()
        file = replace(file, members=members(file))
        successor = world.successor(epoch_file.to_document(file))
        successors.append(successor)
        following = world.epoch.next(successor)
        by_key = {one.bls.public_key: one for one in keys if one.bls is not None}
        worlds.append(World([by_key[m.bls_key] for m in following.members], following))
    return Chain(network, worlds, successors)


def test_the_epochs_are_proven_from_the_committee_file_on(chain: Chain, tmp_path: Path) -> None:
    epochs = list(chain.epochs)
    with chain.store(tmp_path / "store") as store:
        history = EpochHistory(epochs, store)
        page = decode_page(history.page(0) or b"")
        assert page == chain.page()
        later = decode_page(history.page(1) or b"")
        assert later.epochs == page.epochs[1:]
        assert history.page(3) is history.page(-1) is None
    proven = follow(chain.network, page)
    assert [epoch.context for epoch in proven] == [epoch.context for epoch in epochs]
    # One that ends with an epoch that is over proves the one after it all the same.
    assert len(follow(chain.network, EpochPage(page.network, page.epochs[:2], None))) == 3
    path = tmp_path / "epochs.json"
    epoch_history.save(path, page)
    assert epoch_history.load(path) == page


def test_pages_are_bounded_and_follow_each_other(
    chain: Chain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(epoch_history, "PAGE_EPOCHS_MAX", 1)
    with chain.store(tmp_path / "store") as store:
        history = EpochHistory(chain.epochs, store)
        pages = [decode_page(history.page(first) or b"") for first in range(3)]
        assert [page.next for page in pages] == [1, 2, None]
        assert sum((page.epochs for page in pages), ()) == chain.page().epochs


def test_no_history_that_says_anything_else_is_believed(chain: Chain) -> None:
    page = chain.page()
    swap = msgspec.structs.replace
    zero, one, two = page.epochs
    assert zero.ended is not None
    assert one.ended is not None
    garbled = base64.b64encode(b"junk").decode()
    for lie in (
        swap(page, network="0x" + 64 * "0"),
        swap(page, epochs=(one, two)),
        swap(page, epochs=(zero, two)),
        swap(page, epochs=(swap(zero, ended=None), one, two)),
        swap(page, epochs=(swap(zero, ended=one.ended), one, two)),
        swap(page, epochs=(swap(zero, ended=swap(zero.ended, proof=garbled)), one, two)),
        swap(page, epochs=(swap(zero, ended=swap(zero.ended, proof="\u00fc")), one, two)),
        swap(page, epochs=(swap(zero, ended=swap(zero.ended, signers=("x",))), one, two)),
        swap(page, epochs=(zero, swap(one, members=one.members[::-1]), two)),
        swap(page, epochs=(zero, swap(one, valid_until_ms=one.valid_until_ms + 1), two)),
        swap(page, epochs=(zero, one, swap(two, quorum=1))),
        swap(page, epochs=(zero, one, two, two)),
    ):
        with pytest.raises(NetworkFileError):
            follow(chain.network, lie)
    for content in (b"", b"{}", b"[" * 100_000, b"\xff", b'{"network": "0x"}'):
        with pytest.raises(NetworkFileError):
            decode_page(content)


def test_reports_of_later_epochs_are_verified_with_the_committee_file_and_proofs(
    chain: Chain, tmp_path: Path
) -> None:
    network, epochs, old = (tmp_path / f"{name}.json" for name in ("network", "epochs", "old"))
    network_file.save(network, chain.network)
    page = chain.page()
    epoch_history.save(epochs, page)
    zero = msgspec.structs.replace(page.epochs[0], ended=None)
    epoch_history.save(old, EpochPage(page.network, (zero,), None))

    def verify(content: bytes, *more: str | Path) -> Result:
        arguments = ["reports", "verify", "-", "--network", str(network), *map(str, more)]
        result = CliRunner().invoke(main, arguments, input=content)
        assert result.exception is None or isinstance(result.exception, SystemExit)
        return result

    for number in range(3):
        result = verify(chain.report(number), "--epochs", epochs)
        assert result.exit_code == 0, result.stderr
        assert f"of epoch {number} of net" in result.stdout
    assert verify(chain.report(0)).exit_code == 0
    for more, reason in (
        ((), "give --epochs"),
        (("--epochs", old), "epochs up to 0 only"),
        (("--epochs", network), "no history of epochs"),
        (("--epochs", tmp_path / "absent"), "does not exist"),
    ):
        result = verify(chain.report(1), *more)
        assert result.exit_code in (1, 3)
        assert reason in result.stderr
    # The committee of another epoch certifies nothing in this one.
    forged = json.loads(chain.report(1))
    forged["epoch"] = 2
    assert verify(json.dumps(forged).encode(), "--epochs", epochs).exit_code == 1
    assert verify(chain.report(2, (0, 1)), "--epochs", epochs).exit_code == 1


@pytest.fixture
def control(chain: Chain, tmp_path: Path) -> Iterator[tuple[str, str, Candidates]]:
    """The control listener of member 0 in the last epoch of the chain, and what it knows."""
    world = chain.worlds[-1]
    ready, stop = threading.Event(), threading.Event()
    at: list[str] = []
    with Store.create(tmp_path / "data") as store:
        candidates = Candidates(world.epoch, 0, store, world.bls(0).sign)
        server = ApiServer(
            cell=ViewCell(),
            archive=ArchiveReader(tmp_path / "data"),
            network_file=network_file.encode(chain.network),
            metrics=Metrics(process=False),
            epochs=EpochHistory(chain.epochs, chain.store(tmp_path / "chain")),
            handover=HandoverControl(lambda: (world.epoch, candidates)),
        )

        async def serve() -> None:
            local = ("127.0.0.1", 0)
            listening = await server.start(Listeners(api=local, control=local))
            for listener in (listening.control, listening.api):
                assert listener is not None
                at.append(f"http://127.0.0.1:{listener[1]}")
            ready.set()
            await asyncio.to_thread(stop.wait)
            await server.stop()

        thread = threading.Thread(target=lambda: asyncio.run(serve()))
        thread.start()
        assert ready.wait(30)
        try:
            yield at[0], at[1], candidates
        finally:
            stop.set()
            thread.join()


def didyma(*arguments: str | Path) -> Result:
    result = CliRunner().invoke(main, list(map(str, arguments)))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def test_an_operator_proposes_looks_and_approves(
    chain: Chain, control: tuple[str, str, Candidates], tmp_path: Path
) -> None:
    world = chain.worlds[-1]
    url, _, candidates = control
    path = tmp_path / "next.json"
    file = world.next_file()
    epoch_file.save(path, file)
    hash_ = "0x" + file.configuration.hash.hex()
    assert "nobody proposes" in didyma("committee", "approve", hash_, "--url", url).stderr
    assert didyma("committee", "propose", path, "--url", url).exit_code == 0
    shown = didyma("committee", "status", "--url", url, "--json")
    assert shown.exit_code == 0, shown.stderr
    seen = json.loads(shown.stdout)
    assert seen["epoch"] == 2
    (candidate,) = seen["candidates"]
    assert candidate["configuration"] == hash_
    assert candidate["timing_changed"] == {}
    assert candidate["approvals_missing"] == 3
    first = didyma("committee", "approve", path, "--url", url)
    assert first.exit_code == 0, first.stderr
    assert "2 more are needed" in first.stdout
    again = didyma("committee", "approve", hash_, "--url", url, "--json")
    assert json.loads(again.stdout)["approved_by"] == [world.epoch.member_names[0]]
    for member in (1, 2):
        document = epoch_file.to_document(file)
        share = world.bls(member).sign(candidates.digest(document))
        candidates.take(member, wire.Candidate(document, share))
    done = didyma("committee", "approve", path, "--url", url)
    assert "a quorum approves" in done.stdout


def test_each_mistake_of_an_operator_is_named(
    chain: Chain, control: tuple[str, str, Candidates], tmp_path: Path
) -> None:
    world = chain.worlds[-1]
    url, _, candidates = control
    file = world.next_file()
    stranger = replace(register("new", generate_keys()), registration=None)
    for number, (wrong, code, reason) in enumerate(
        (
            (replace(file, epoch=2), 1, "of epoch 2, the next is 3: make it from the one in"),
            (replace(file, network=b"o" * 32), 3, "'node.': the registration was not signed"),
            (replace(file, members=(*file.members, stranger)), 3, "'new': it has not signed"),
            (replace(file, valid_until_ms=1), 1, "more --valid-days"),
            (
                replace(file, members=(replace(file.members[0], name="other"), *file.members[1:])),
                1,
                "keeps its name",
            ),
        )
    ):
        path = tmp_path / f"{number}.json"
        epoch_file.save(path, wrong)
        result = didyma("committee", "propose", path, "--url", url)
        assert result.exit_code == code, result.stderr
        assert re.search(reason, result.stderr), result.stderr
    assert candidates.own() is None
    damaged = tmp_path / "damaged.json"
    damaged.write_bytes(epoch_file.encode(file).replace(b"node", b"edon"))
    network = tmp_path / "network.json"
    network_file.save(network, chain.network)
    nowhere = "http://127.0.0.1:1"
    for arguments, code, reason in (
        (("propose", tmp_path / "absent.json", "--url", url), 3, "does not exist"),
        (("propose", network, "--url", url), 3, "is a committee file"),
        (("approve", "0x12", "--url", url), 2, "neither a hash"),
        (("approve", "0x" + 64 * "0", "--url", url), 1, "nobody proposes"),
        (("status", "--url", nowhere), 4, "is the node running"),
        (("create", "--base", network, "--remove", "zoe"), 3, "its members are node0, node1"),
        (("create", "--base", damaged.with_name("0.json"), "--out", network), 3, "exists"),
        (("create", "--base", tmp_path / "absent.json"), 3, "does not exist"),
        (("show", tmp_path), 2, "is a directory"),
    ):
        result = didyma("committee", *arguments)
        assert reason in result.stderr, result.stderr
        assert result.exit_code == code, (arguments, result.stderr)


def test_the_history_is_fetched_checked_and_kept(
    chain: Chain, control: tuple[str, str, Candidates], tmp_path: Path
) -> None:
    _, url, _ = control
    network, out = tmp_path / "network.json", tmp_path / "epochs.json"
    network_file.save(network, chain.network)
    shown = didyma(
        "committee", "history", "--network", network, "--url", url, "--out", out, "--json"
    )
    assert shown.exit_code == 0, shown.stderr
    rows = json.loads(shown.stdout)["epochs"]
    assert [row["epoch"] for row in rows] == [0, 1, 2]
    assert rows[2]["members"] == list(chain.epochs[2].member_names)
    report = tmp_path / "report.json"
    report.write_bytes(chain.report(2))
    for source in (("--epochs", out), ("--url", url)):
        verified = didyma("reports", "verify", report, "--network", network, *source)
        assert verified.exit_code == 0, verified.stderr
    with urlopen(f"{url}/v1/epochs?from=1") as answer:
        assert [entry.epoch for entry in decode_page(answer.read()).epochs] == [1, 2]
    for query, status in (("from=3", 404), ("from=-1", 400), ("from=x", 400), ("to=1", 400)):
        with pytest.raises(HTTPError) as refused:
            urlopen(f"{url}/v1/epochs?{query}")
        assert refused.value.code == status
        refused.value.close()


class SlowDisk(Store):
    """A store that lets nothing be made durable until it is told to, and says when it is over."""

    gate: threading.Event
    ended: threading.Event

    def save_safety(self, safety: SafetyState) -> None:
        assert self.gate.wait(30)
        super().save_safety(safety)

    def save_successor(self, domain: bytes, successor: bytes) -> None:
        self.ended.set()
        super().save_successor(domain, successor)


class Wires:
    """A network on which one member says how the epoch ended, and events that nobody reads."""

    def __init__(self, store: SlowDisk, successor: wire.Successor) -> None:
        self._store, self._successor = store, successor
        self.may_come = trio.Event()
        self.votes_after_the_end: list[bool] = []

    def send(self, _member: int, frame: bytes) -> bool:
        if isinstance(wire.decode(frame), wire.Vote):
            self.votes_after_the_end.append(self._store.ended.is_set())
        return True

    async def receive_from(self, member: int) -> bytes:
        if member == 1 and not self.may_come.is_set():
            await self.may_come.wait()
            return wire.encode(self._successor)
        await trio.sleep_forever()
        raise AssertionError

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_arguments: None


async def test_nothing_is_signed_once_it_is_stored_that_the_epoch_is_over(
    world: World, tmp_path: Path
) -> None:
    """A vote waits for the disk when a member says how the epoch ended: it goes first, or never."""
    context = world.epoch.context
    successor = world.successor(epoch_file.to_document(world.next_file()))
    store = SlowDisk.create(tmp_path / "store")
    store.gate, store.ended = threading.Event(), threading.Event()
    wires = Wires(store, successor)
    safety = genesis_safety(context)
    root = genesis_checkpoint(context, world.epoch.genesis)
    signer = Signer(context.domain, world.bls(0), world.keys[0].identity)
    entries = tuple(Entry(0, 0, 0) for _ in TABLE.feeds)
    runtime = Runtime(
        world.epoch,
        0,
        Core(context, 0, world.epoch.rule, safety, root),
        signer=signer,
        store=store,
        journal=None,
        network=wires,
        observe=lambda now_ms: OwnObservation(ObservationBody(now_ms, entries), None),
        candidates=Candidates(world.epoch, 0, store, signer.approval),
        evidence=EvidenceBook(store, lambda: [world.epoch], wires.tell, wires.convicted),
        events=wires,  # type: ignore[arg-type]
    )
    header = successor.block.header
    effects = [fx.Persist(safety), fx.SendVote(header, header.id(context.domain), (2,))]
    try:
        with trio.fail_after(30):
            async with trio.open_nursery() as nursery:
                await nursery.start(runtime.run, [])
                nursery.start_soon(runtime._step, lambda: effects)
                await trio.testing.wait_all_tasks_blocked()
                wires.may_come.set()
                await trio.to_thread.run_sync(store.ended.wait, 0.5)
                store.gate.set()
                assert await trio.to_thread.run_sync(store.ended.wait, 20)
        assert wires.votes_after_the_end == [False]
    finally:
        store.gate.set()
        store.close()


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


async def test_answers_to_a_newcomer_are_of_the_epoch_they_were_asked_for(
    world: World, tmp_path: Path
) -> None:
    """All peers are asked; who answers later must not seem to lie about the epoch after it."""
    successor = world.successor(epoch_file.to_document(world.next_file()))
    peers = [peer_number(member.ed25519_key) for member in world.epoch.members]
    with Store.create(tmp_path / "store") as store, trio.fail_after(20):
        links = Links()
        board = Switchboard(links, store, [])
        answers = board.join()
        async with trio.open_nursery() as nursery:
            await nursery.start(board.run, peers)
            for peer in peers[:2]:
                await links.give(peer, sealed(0, successor))
            got = [await answers.receive() for _ in range(2)]
            assert sorted(got, key=lambda one: peers.index(one[0])) == [
                (peer, 0, successor) for peer in peers[:2]
            ]
            store.save_successor(world.epoch.context.domain, encode_successor(successor))
            board.end(world.epoch)
            await links.give(peers[2], sealed(0, successor))
            await links.give(peers[3], sealed(1, successor))
            assert await answers.receive() == (peers[3], 1, successor)
            assert not links.drops
            nursery.cancel_scope.cancel()


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
            for member in (0, 2, 3):
                nursery.start_soon(take, second, member, trio.CancelScope())
            # Whoever is behind is told how its epoch ended, but not at any rate.
            share = wire.HandoverShare(bytes(32), bytes(32), 1, bytes(96))
            for _ in range(5):
                await links.give(peers[0], sealed(0, share))
            await links.give(peers[3], sealed(0, request))
            await links.give(peers[2], sealed(0, wire.CheckpointRequest(0)))
            while len(links.sent) < 3:  # noqa: ASYNC110
                await trio.sleep(0.005)
            assert sorted(links.sent) == sorted(
                [
                    (peers[0], sealed(0, successor.certificate)),
                    (peers[2], sealed(0, successor.certificate)),
                    (peers[3], sealed(0, successor)),
                ]
            )
            # Only who has the whole proof can go on alone: a removed member waits for that.
            assert board.informed == {peers[3]}
            nursery.cancel_scope.cancel()

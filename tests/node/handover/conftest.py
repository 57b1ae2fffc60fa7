"""A network with real keys that goes from epoch to epoch, and what its members could sign."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import pytest
from blspy import G2Element, PopSchemeMPL

from aggregation.encoding import encode_answer, feed_root, pack_words
from aggregation.observation import Entry, ObservationBody
from aggregation.state import genesis_state
from aggregation.status import Status
from consensus import messages as wire
from consensus.committee import Configuration, EpochContext, Member, Timing, bitmap_of
from consensus.digests import keccak
from consensus.handover import approval_digest, terms_of
from contracts.points import decompress_g1
from feeds.catalogue import load_catalogue
from node import epoch_file, network_file
from node.epoch_file import EpochFile
from node.epoch_history import EpochPage, entry_of
from node.epoch_state import encode_state
from node.keys.bls_key import BlsKey
from node.keys.key_set import KeySet, generate_keys
from node.network_file import NetworkFile
from node.payload import digest_of
from node.registration import MemberRecord, register
from node.report import Report, answers_of, report_to_json
from node.running_epoch import RunningEpoch, encode_successor, first_epoch
from node.store import Store

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

"""A committee with real keys and an Oracle on the in-process EVM."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from blspy import AugSchemeMPL, PopSchemeMPL, PrivateKey

from aggregation.encoding import feed_root
from aggregation.feed import FeedSpec, SourceSpec
from aggregation.table import FeedTable
from consensus.committee import (
    Configuration,
    EpochContext,
    Member,
    Timing,
    network_id,
    quorum,
    registration_digest,
)
from consensus.digests import genesis_id, keccak, link_digest
from consensus.messages import Header
from contracts import client, epochs
from contracts.client import Certificate
from contracts.epochs import MemberProof
from contracts.finality import FinalProof, LinkedBlock
from contracts.points import decompress_g1, decompress_g2
from testnet.chain.evm import EvmChain, Receipt

CHAIN_TIME = 1_700_000_000
NOW_MS = CHAIN_TIME * 1000
MAX_FUTURE_MS = 15_000
VALID_UNTIL_MS = NOW_MS + 86_400_000
PAIRS = 18
"""Where the contract stores pairs of answers, then the words."""
WORDS = PAIRS + 32768


def feed_table(count: int = 4) -> FeedTable:
    venues = ("coinbase_exchange", "kraken", "gemini")
    return FeedTable(
        tuple(
            FeedSpec(
                base=f"A{i}" if i else "BTC",
                quote="USD",
                decimals=7 + i % 4,
                tier=1 + i % 3,
                minimum_sources=2,
                max_half_spread_ppm=5_000,
                deviation_ppm=1_000 + i,
                heartbeat_ms=30_000 + i,
                sources=tuple(
                    SourceSpec(v, f"A{i}" if i else "BTC", "USD", 10, 5_000) for v in venues
                ),
            )
            for i in range(count)
        )
    )


def answer(price: int, confidence: int = 0x640, status: int = 1) -> int:
    """Pack one answer; the default confidence is 100 ppm."""
    return price << 16 | confidence << 4 | status


def word_of(*answers: int) -> int:
    lanes = [*answers, *[answer(0, 0xFFF, 0)] * (4 - len(answers))]
    return sum(lane << 64 * (3 - i) for i, lane in enumerate(lanes))


@dataclass(frozen=True)
class SignedReport:
    """A header with its words and certificate, as a transmitter has them."""

    header: Header
    words: tuple[int, ...]
    bitmap: int
    signature: bytes
    epoch: int = 0

    @property
    def certificate(self) -> Certificate:
        return Certificate(self.epoch, self.header, self.bitmap, self.signature)

    @property
    def calldata(self) -> bytes:
        return client.encode_push(self.certificate, self.words)

    def update(self, *feeds: int) -> client.Update:
        claims = tuple(client.claim_of(feed, self.words) for feed in feeds)
        return client.Update(self.certificate, claims)


@dataclass(frozen=True)
class Committee:
    """n members with keys made from their index, and everything they signed to found a network."""

    n: int = 4
    name: str = "testnet"
    table: FeedTable = field(default_factory=feed_table)
    valid_until_ms: int = VALID_UNTIL_MS
    secrets: tuple[int, ...] = ()
    epoch: int = 0
    genesis: "Committee | None" = None
    """The network's first committee, if this is a later one."""
    first_key: int = 0
    """Later committees may have other members."""

    @cached_property
    def keys(self) -> tuple[PrivateKey, ...]:
        if self.secrets:
            return tuple(PrivateKey.from_bytes(s.to_bytes(32, "big")) for s in self.secrets)
        return tuple(AugSchemeMPL.key_gen(bytes([i + 1]) * 32) for i in self._numbers)

    @property
    def _numbers(self) -> range:
        return range(self.first_key, self.first_key + self.n)

    @cached_property
    def members(self) -> tuple[Member, ...]:
        compressed = [bytes(key.get_g1()) for key in self.keys]
        return tuple(
            Member(decompress_g1(key), key, bytes([i + 1]) * 32, bytes([i + 1]) * 20)
            for i, key in zip(self._numbers, compressed, strict=True)
        )

    @cached_property
    def configuration(self) -> Configuration:
        return Configuration(self.members, self.table.digest(), Timing(), self.valid_until_ms)

    @cached_property
    def network(self) -> bytes:
        if self.genesis is not None:
            return self.genesis.network
        return network_id(self.name, self.configuration.hash)

    @cached_property
    def domain(self) -> bytes:
        return EpochContext(self.network, self.epoch, self.configuration, bytes(32), 0).domain

    @property
    def quorum(self) -> int:
        return quorum(self.n)

    @cached_property
    def proofs(self) -> tuple[MemberProof, ...]:
        return tuple(
            MemberProof(
                bytes(PopSchemeMPL.pop_prove(key)),
                bytes(
                    PopSchemeMPL.sign(
                        key,
                        registration_digest(self.network, member.operator, member.ed25519_key),
                    )
                ),
            )
            for key, member in zip(self.keys, self.members, strict=True)
        )

    def creation_code(self, **changes: Any) -> bytes:
        parts: dict[str, Any] = {
            "name": self.name,
            "configuration_hash": self.configuration.hash,
            "max_future_ms": MAX_FUTURE_MS,
        }
        return epochs.encode_deploy(**(parts | changes))

    def registrations(self, proofs: Sequence[MemberProof] | None = None) -> list[bytes]:
        return list(epochs.encode_register(self.members, proofs or self.proofs))

    @property
    def opening(self) -> bytes:
        return epochs.encode_open(self.configuration, self.table)

    def header(self, words: Sequence[int], observed_at_ms: int = NOW_MS, view: int = 1) -> Header:
        return Header(view, observed_at_ms, feed_root(list(words)), b"\x77" * 32)

    def sign(
        self,
        header: Header,
        words: Sequence[int],
        signers: Sequence[int] | None = None,
        domain: bytes | None = None,
    ) -> SignedReport:
        signers = range(self.n) if signers is None else signers
        message = header.id(domain or self.domain)
        shares = [PopSchemeMPL.sign(self.keys[i], message) for i in signers]
        aggregate = bytes(PopSchemeMPL.aggregate(shares))
        bitmap = sum(1 << i for i in signers)
        return SignedReport(header, tuple(words), bitmap, decompress_g2(aggregate), self.epoch)

    def report(
        self,
        words: Sequence[int] | None = None,
        observed_at_ms: int = NOW_MS,
        view: int = 1,
        signers: Sequence[int] | None = None,
    ) -> SignedReport:
        if words is None:
            words = [
                word_of(*(answer(1000 + 4 * w + i) for i in range(4)))
                for w in range(self.table.words)
            ]
        return self.sign(self.header(words, observed_at_ms, view), words, signers)


@dataclass
class Deployed:
    """An Oracle on a chain of its own, its blocks a second apart."""

    chain: EvmChain
    address: bytes
    committee: Committee

    def push(self, report: SignedReport, **changes: Any) -> Receipt:
        return self.send(replace(report, **changes).calldata)

    def post(self, report: SignedReport, **changes: Any) -> Receipt:
        return self.send(client.encode_post(replace(report, **changes).certificate))

    def prove(self, report: SignedReport, feed: int) -> Receipt:
        claim = client.claim_of(feed, report.words)
        return self.send(client.encode_prove(report.header.observed_at_ms, claim))

    def update(self, *updates: client.Update) -> Receipt:
        return self.send(client.encode_update(updates))

    def send(self, calldata: bytes, **options: Any) -> Receipt:
        return self.chain.transact(self.address, calldata, **options)

    def get(self, function: str) -> bytes:
        return self.chain.call(self.address, client.encode_getter(function))

    def stored(self) -> client.StoredPlace:
        return client.decode_stored(self.get("stored"))

    def latest(self, feed: int) -> client.StoredAnswer:
        return client.decode_latest(self.chain.call(self.address, client.encode_latest(feed)))

    def snapshot(self) -> list[int]:
        """Return the storage that a push may write."""
        slots = [range(18), range(PAIRS, PAIRS + 8), range(WORDS, WORDS + 8)]
        return [self.chain.storage(self.address, slot) for part in slots for slot in part]

    def word(self, index: int) -> int:
        """Return a word as it is stored."""
        return self.chain.storage(self.address, WORDS + index)


def deploy(committee: Committee, **changes: Any) -> Deployed:
    """Deploy an Oracle on a chain of its own: a branch of one that is made once for all."""
    made = _deployed(committee, tuple(changes.items()))
    return replace(made, chain=made.chain.branch())


@cache
def _deployed(committee: Committee, changes: tuple[tuple[str, Any], ...]) -> Deployed:
    return _deploy(committee, **dict(changes))


def _deploy(committee: Committee, **changes: Any) -> Deployed:
    chain = EvmChain(genesis_time=CHAIN_TIME)
    oracle = Deployed(chain, chain.deploy(committee.creation_code(**changes)), committee)
    for calldata in (*committee.registrations(), committee.opening):
        receipt = oracle.send(calldata, gas=2**24)
        assert receipt.succeeded, client.describe_error(receipt.output)
    return oracle


class Branch:
    """Blocks of a committee, each the child of the one before, with proofs that they are final."""

    def __init__(self, committee: Committee) -> None:
        self.committee = committee
        genesis = genesis_id(committee.domain, bytes(32), b"\x59" * 32)
        self.headers = [Header(0, 0, bytes(32), genesis)]
        self.blocks: list[LinkedBlock] = []
        self.words: list[list[int]] = []

    def add(self, words: list[int], at_ms: int, skipped: int = 0) -> SignedReport:
        """Add a certified block, whose view comes so many after the next one."""
        parent, height = self.headers[-1], len(self.headers)
        parent_id = parent.id(self.committee.domain) if parent.view else parent.link
        view = parent.view + 1 + skipped
        state, payload = bytes([height]) * 32, bytes([0x80 | height]) * 32
        link = link_digest(parent_id, parent.view, height, state, payload)
        header = Header(view, at_ms, feed_root(words), link)
        self.headers.append(header)
        self.words.append(words)
        self.blocks.append(LinkedBlock(view, at_ms, header.feed_root, height, state, payload))
        return self.committee.sign(header, words)

    def proof(self, first: int, last: int | None = None) -> tuple[FinalProof, client.Claim]:
        """Prove feed 0 of block `first` (from 1) by the certificate of block `last`."""
        last = first + 1 if last is None else last
        report = self.committee.sign(self.headers[last], ())
        proof = FinalProof(
            self.committee.epoch,
            self.headers[first - 1],
            tuple(self.blocks[first - 1 : last]),
            report.bitmap,
            report.signature,
        )
        return proof, client.claim_of(0, self.words[first - 1])


@pytest.fixture(scope="session")
def kit() -> Any:
    """What tests build their cases from (tests import nothing from each other)."""
    return SimpleNamespace(
        Branch=Branch,
        Committee=Committee,
        Header=Header,
        SignedReport=SignedReport,
        Member=Member,
        deploy=deploy,
        Deployed=Deployed,
        answer=answer,
        word_of=word_of,
        feed_table=feed_table,
        CHAIN_TIME=CHAIN_TIME,
        NOW_MS=NOW_MS,
        MAX_FUTURE_MS=MAX_FUTURE_MS,
        VALID_UNTIL_MS=VALID_UNTIL_MS,
    )


@dataclass(frozen=True)
class Harness:
    """The contract that opens the libraries; `raw` takes a signature and encoded arguments."""

    chain: EvmChain
    address: bytes

    def raw(self, signature: str, arguments: bytes) -> bytes:
        return self.chain.call(self.address, keccak(signature.encode())[:4] + arguments)


@pytest.fixture
def deployed_harness() -> Harness:
    """A harness of its own, for tests that write."""
    return deploy_harness()


@pytest.fixture(scope="session")
def harness() -> Harness:
    return deploy_harness()


def deploy_harness() -> Harness:
    chain = EvmChain(genesis_time=CHAIN_TIME)
    artifact = json.loads((Path(__file__).parent / "artifacts" / "Harness.json").read_text())
    return Harness(chain, chain.deploy(bytes.fromhex(artifact["bytecode"][2:])))


@pytest.fixture(scope="session")
def committee() -> Committee:
    return Committee()


@pytest.fixture
def oracle(committee: Committee) -> Deployed:
    return deploy(committee)

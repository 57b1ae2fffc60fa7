"""A committee with real keys over a small feed table, and everything its members can sign."""

from collections.abc import Iterable, Sequence
from functools import cached_property
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from blspy import PopSchemeMPL

from aggregation.feed import FeedSpec, SourceSpec
from aggregation.observation import Entry, ObservationBody
from aggregation.state import AgreedState, genesis_state
from aggregation.table import FeedTable
from consensus.committee import Configuration, EpochContext, Member, Timing, network_id
from consensus.messages import QC, TC, Block, Header, Observed, Proposal, Timeout, Vote
from contracts.points import decompress_g1
from node.keys.bls_key import BlsKey
from node.keys.identity_key import IdentityKey
from node.payload import AggregationRule, digest_of
from node.signer import Signer
from node.verifier import Verifier

GENESIS_MS = 1_700_000_000_000
ORDER = 0x73EDA753299D7D483339D80809A1D80553BDA402FFFE5BFEFFFFFFFF00000001
"""The order of the groups of BLS12-381."""

VENUES = ("coinbase_exchange", "kraken", "bitstamp", "gemini")


def feed(base: str) -> FeedSpec:
    sources = tuple(SourceSpec(venue, base, "USD", 10, 5_000) for venue in VENUES)
    return FeedSpec(base, "USD", 8, 1, 3, 1_000, 1_000, 30_000, sources)


class KeyedCommittee:
    """n members; `secrets` gives their BLS keys, by default any."""

    def __init__(
        self,
        n: int = 4,
        *,
        secrets: Sequence[int] | None = None,
        timing: Timing | None = None,
        epoch: int = 0,
        name: str = "testing",
        genesis_ms: int = GENESIS_MS,
    ) -> None:
        self.n = n
        numbers = secrets or [
            int.from_bytes(bytes(PopSchemeMPL.key_gen(bytes([i + 1]) * 32)), "big")
            for i in range(n)
        ]
        self.bls = [BlsKey(number.to_bytes(32, "big")) for number in numbers]
        self.identities = [IdentityKey(bytes([i + 1]) * 32) for i in range(n)]
        self.table = FeedTable((feed("BTC"), feed("ETH")))
        members = tuple(
            Member(
                decompress_g1(bls.public_key),
                bls.public_key,
                identity.public_key,
                bytes([i + 1]) * 20,
            )
            for i, (bls, identity) in enumerate(zip(self.bls, self.identities, strict=True))
        )
        configuration = Configuration(members, self.table.digest(), timing or Timing(), 2**60)
        self.genesis: AgreedState = genesis_state(self.table, genesis_ms)
        self.context = EpochContext(
            network_id(name, configuration.hash),
            epoch,
            configuration,
            self.genesis.digest(),
            genesis_ms,
        )
        self.domain = self.context.domain
        self.rule = AggregationRule(self.context, self.table)

    @cached_property
    def verifier(self) -> Verifier:
        """A verifier that has seen nothing yet."""
        return Verifier(self.context, 2)

    @property
    def quorum(self) -> range:
        return range(self.context.q)

    def signer(self, member: int) -> Signer:
        return Signer(self.domain, self.bls[member], self.identities[member])

    def body(self, at_ms: int = GENESIS_MS + 500, price: int = 10**12) -> ObservationBody:
        return ObservationBody(at_ms, (Entry(price, 10**6, 0), Entry(price // 20, 10**5, 0)))

    def observed(self, member: int, view: int, body: ObservationBody | None = None) -> Observed:
        unsigned = Observed(view, member, (body or self.body()).encode(), bytes(64))
        signature = self.signer(member).observation(digest_of(self.domain, unsigned))
        return msgspec.structs.replace(unsigned, signature=signature)

    def block(
        self,
        view: int,
        *,
        justify: QC | None = None,
        height: int = 1,
        state: AgreedState | None = None,
        at_ms: int = GENESIS_MS + 500,
        members: Iterable[int] | None = None,
    ) -> Block:
        """Return the valid block of these observers on a parent."""
        qc = justify or self.context.genesis_qc
        parent = state or self.genesis
        observers = self.quorum if members is None else members
        payload = self.rule.build(
            view, [self.observed(i, view, self.body(at_ms)) for i in observers]
        )
        outcome = self.rule.apply(parent, parent.observed_at_ms, view, payload)
        header = Header(view, outcome.observed_at_ms, outcome.feed_root, bytes(32))
        block = Block(header, height, outcome.state_digest, payload, qc)
        link = block.link_with(self.context.id_of(qc), outcome.payload_digest)
        return msgspec.structs.replace(block, header=msgspec.structs.replace(header, link=link))

    def proposal(self, block: Block, tc: TC | None = None) -> Proposal:
        signer = self.signer(self.context.leader(block.view))
        block_id = block.header.id(self.domain)
        return Proposal(block, tc, signer.vote(block_id), signer.proposal(block_id))

    def vote(self, member: int, header: Header) -> Vote:
        return Vote(header, self.signer(member).vote(header.id(self.domain)))

    def shares(self, header: Header, members: Iterable[int]) -> dict[int, bytes]:
        return {i: self.vote(i, header).share for i in members}

    def qc(self, header: Header, members: Iterable[int] | None = None) -> QC:
        shares = self.shares(header, self.quorum if members is None else members)
        return Verifier(self.context, 2).certify_votes(header, header.id(self.domain), shares)

    def timeout_shares(self, view: int, reported: dict[int, int]) -> dict[int, tuple[int, bytes]]:
        return {i: (high, self.signer(i).timeout(view, high)) for i, high in reported.items()}

    def tc(self, view: int, reported: dict[int, int], high_qc: QC | None = None) -> TC:
        shares = self.timeout_shares(view, reported)
        return Verifier(self.context, 2).certify_timeouts(
            view, shares, high_qc or self.context.genesis_qc
        )

    def timeout(self, member: int, view: int, high: int = 0, qc: QC | None = None) -> Timeout:
        share = self.signer(member).timeout(view, high)
        return Timeout(view, high, share, qc or self.context.genesis_qc, None)


@pytest.fixture
def keyed() -> Any:
    """Make committees with real keys."""
    return SimpleNamespace(Committee=KeyedCommittee, ORDER=ORDER, GENESIS_MS=GENESIS_MS)

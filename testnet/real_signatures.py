"""A simulated epoch with the cryptography, the verifier and the payloads that nodes really use.

A scenario takes a hundred times as long as with `testnet/stub_signatures.py`, so there are fewer of
them. What a stub cannot show falls here: shares that are infinity, off the subgroup, or cancel each
other, and aggregates that count a signer twice.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache

from blspy import PopSchemeMPL

from aggregation.feed import FeedSpec, SourceSpec
from aggregation.observation import Entry, ObservationBody
from aggregation.state import genesis_state
from aggregation.table import FeedTable
from consensus.committee import (
    Configuration,
    EpochContext,
    Member,
    Timing,
    bitmap_of,
    network_id,
)
from consensus.digests import keccak, timeout_digest
from consensus.evidence import SignedTimeout, SignedVote
from consensus.handover import Terms, approval_digest
from consensus.messages import (
    QC,
    TC,
    Change,
    HandoverCertificate,
    Header,
    Message,
    Observed,
)
from contracts.points import decompress_g1
from node.epoch_file import from_document
from node.keys.bls_key import BlsKey
from node.keys.identity_key import IdentityKey
from node.payload import AggregationRule, decode_body, decode_payload, digest_of
from node.signer import Signer
from node.verifier import Verifier
from testnet.aggregates import INFINITY, OFF_SUBGROUP, Aggregates, bad_share
from testnet.setting import Setting
from testnet.stub_signatures import GENESIS_TIME_MS

_PRICE = 60_000 * 10**8


class RealSignatures(Aggregates):
    """Signs with the keys of all members; `faulty` sign whatever they like at any time.

    Of the others only what they did sign is ever aggregated: a certificate that needs more is made
    without it, and does not verify.
    """

    def __init__(self, context: EpochContext, faulty: frozenset[int]) -> None:
        super().__init__(context.domain)
        self._context = context
        self._faulty = faulty
        bls, identities = _keys(context.n)
        pairs = zip(bls, identities, strict=True)
        self._signers = [Signer(context.domain, key, identity) for key, identity in pairs]
        self._verifier = Verifier(context, feeds=1)
        self._made: dict[tuple[int, bytes], bytes] = {}

    def share(self, member: int, digest: bytes) -> bytes:
        """Return a member's share on a digest."""
        share = self._made.get((member, digest))
        if share is None:
            share = self._made[member, digest] = self._signers[member].vote(digest)
        return share

    def timeout_share(self, member: int, view: int, high_qc_view: int) -> bytes:
        """Return a member's share on leaving a view."""
        return self.share(member, timeout_digest(self._context.domain, view, high_qc_view))

    def observed(self, member: int, view: int, time_ms: int) -> Observed:
        """Return a member's signed observation."""
        entry = Entry(_PRICE + 1000 * member + time_ms % 1000, 10**6, 0)
        body = ObservationBody(time_ms, (entry,)).encode()
        unsigned = Observed(view, member, body, bytes(64))
        digest = digest_of(self._context.domain, unsigned)
        return Observed(view, member, body, self._signers[member].observation(digest))

    def proposal_signature(self, member: int, block_id: bytes) -> bytes:
        """Return a leader's signature on its proposal."""
        return self._signers[member].proposal(block_id)

    def certify_votes(self, header: Header, block_id: bytes, shares: Mapping[int, bytes]) -> QC:
        """Aggregate shares that came; raise `BadShares`."""
        return self._verifier.certify_votes(header, block_id, shares)

    def certify_timeouts(
        self, view: int, shares: Mapping[int, tuple[int, bytes]], high_qc: QC
    ) -> TC:
        """Aggregate shares that came; raise `BadShares`."""
        return self._verifier.certify_timeouts(view, shares, high_qc)

    def certify_handover(self, terms: Terms, shares: Mapping[int, bytes]) -> HandoverCertificate:
        """Aggregate shares that came; raise `BadShares`."""
        return self._verifier.certify_handover(terms, shares)

    def change(self, document: bytes, approvers: Sequence[int]) -> Change:
        """Return a change that these members approve."""
        configuration_hash = from_document(document).configuration.hash
        digest = approval_digest(self._context, configuration_hash, keccak(document))
        for approver in approvers:
            self.share(approver, digest)
        aggregate = self.aggregate((approver, digest) for approver in approvers)
        return Change(configuration_hash, document, bitmap_of(approvers), aggregate)

    def bad_share(self, kind: int, member: int, digest: bytes) -> bytes:
        """Return what is no share of a member on a digest, of one of `BAD_SHARES` kinds."""
        another = self._signers[(member + 1) % self._context.n].vote(bytes(32))
        return bad_share(kind, member, self.share(member, digest), another)

    def is_vote(self, vote: SignedVote) -> bool:
        """Tell whether every member of the bitmap signed the header's id."""
        return self._verifier.is_vote(vote)

    def is_timeout(self, timeout: SignedTimeout) -> bool:
        """Tell whether every member of each group signed its report."""
        return self._verifier.is_timeout(timeout)

    def check(self, sender: int, message: Message) -> None:
        """Check what the shell checks before the core; raise `InvalidMessage`."""
        self._verifier.check(sender, message)

    def under(self, context: EpochContext) -> "RealSignatures":
        """Return the same members' signatures elsewhere, where all of them have signed."""
        return RealSignatures(context, frozenset(range(context.n)))

    def known_share(self, member: int, digest: bytes) -> bytes | None:
        """Return a share that was made, or one of a faulty member."""
        if member in self._faulty:
            return self.share(member, digest)
        return self._made.get((member, digest))


class TimedRule(AggregationRule):
    """The payload rule of nodes, as a judge reads it."""

    def decode(self, payload: bytes) -> tuple[Observed, ...]:
        """Return the observations in a payload; raise `InvalidPayload` if it holds none."""
        return decode_payload(payload)

    def time_of(self, observed: Observed) -> int:
        """Return the time of an observation (Unix ms)."""
        return decode_body(observed.body).observed_at_ms


@lru_cache(maxsize=8)
def _keys(n: int) -> tuple[list[BlsKey], list[IdentityKey]]:
    secrets = [bytes(PopSchemeMPL.key_gen(bytes([i + 1]) * 32)) for i in range(n)]
    return [BlsKey(secret) for secret in secrets], [IdentityKey(secret) for secret in secrets]


@lru_cache(maxsize=8)
def _members(n: int) -> tuple[Member, ...]:
    return tuple(
        Member(
            decompress_g1(bls.public_key), bls.public_key, identity.public_key, bytes([i + 1]) * 20
        )
        for i, (bls, identity) in enumerate(zip(*_keys(n), strict=True))
    )


def real_setting(n: int, timing: Timing, faulty: frozenset[int] = frozenset()) -> Setting:
    """Return a first epoch of n members over one feed."""
    venues = ("coinbase_exchange", "kraken", "bitstamp", "gemini")
    sources = tuple(SourceSpec(venue, "BTC", "USD", 10, 5_000) for venue in venues)
    table = FeedTable((FeedSpec("BTC", "USD", 8, 1, 3, 1_000, 1_000, 30_000, sources),))
    configuration = Configuration(_members(n), table.digest(), timing, 2**60)
    genesis = genesis_state(table, GENESIS_TIME_MS)
    context = EpochContext(
        network_id("simulated", configuration.hash),
        0,
        configuration,
        genesis.digest(),
        GENESIS_TIME_MS,
    )
    return Setting(context, RealSignatures(context, faulty), TimedRule(context, table), genesis)


__all__ = ["INFINITY", "OFF_SUBGROUP", "RealSignatures", "TimedRule", "real_setting"]

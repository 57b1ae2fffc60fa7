"""What the simulation puts in the place of cryptography and prices: cheap, but never lenient.

A stub signature says who signed what, so that one on anything else does not verify; a stub
observation is a time. Anyone can forge, so adversaries of the simulation sign for their own members
only, and aggregate only what was signed. Every digest comes from `consensus.digests`.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from struct import Struct

import msgspec

from consensus import rules
from consensus.committee import (
    Configuration,
    EpochContext,
    Member,
    Timing,
    bitmap_of,
    quorum,
    signers_of,
)
from consensus.core import Checkpoint
from consensus.digests import keccak, timeout_digest
from consensus.errors import InvalidMessage, InvalidPayload
from consensus.evidence import SignedTimeout, SignedVote
from consensus.handover import (
    Terms,
    approval_digest,
    change_digest,
    check_certificate,
    decided_digest,
    terms_in,
)
from consensus.messages import (
    QC,
    TC,
    BlockResponse,
    Certificate,
    Change,
    CheckpointResponse,
    HandoverCertificate,
    Header,
    Message,
    ObservationMessage,
    Observed,
    Proposal,
    Testimony,
    Timeout,
    TimeoutGroup,
    Vote,
)
from consensus.payload import Outcome, Restored, State
from consensus.types import Digest
from node.verifier import BadShares
from testnet.setting import Setting

GENESIS_TIME_MS = 1_000_000
GENESIS_STATE = b"s" * 32

PASSED_MAX = 4096
"""Messages that a run remembers to have checked."""


class _Content(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    observations: tuple[Observed, ...]
    change: Change | None


_decoder: msgspec.msgpack.Decoder[_Content] = msgspec.msgpack.Decoder(_Content)
_plain: msgspec.msgpack.Decoder[tuple[Observed, ...]] = msgspec.msgpack.Decoder(
    tuple[Observed, ...]
)


@dataclass(frozen=True)
class ScheduledContext(EpochContext):
    """An epoch whose first views are led by whom a test says."""

    schedule: tuple[int, ...] = ()

    def leader(self, view: int) -> int:
        """Return the member that leads a view."""
        return self.schedule[view - 1] if 0 < view <= len(self.schedule) else super().leader(view)


@lru_cache(maxsize=64)
def stub_context(
    n: int,
    timing: Timing | None = None,
    network: bytes = b"n" * 32,
    epoch: int = 0,
    schedule: tuple[int, ...] = (),
) -> EpochContext:
    """Return an epoch of n members with placeholders for keys; `schedule` leads its first views."""
    configuration = stub_configuration(range(n), timing or Timing())
    plain = EpochContext(network, epoch, configuration, GENESIS_STATE, GENESIS_TIME_MS)
    if not schedule:
        return plain
    return ScheduledContext(
        network, epoch, configuration, GENESIS_STATE, GENESIS_TIME_MS, schedule=schedule
    )


def stub_configuration(who: Iterable[int], timing: Timing) -> Configuration:
    """Return the committee of these operators, with placeholders for keys."""
    members = tuple(
        Member(bytes([i + 1]) * 128, bytes([i + 1]) * 48, bytes([i + 1]) * 32, bytes([i + 1]) * 20)
        for i in who
    )
    return Configuration(members, b"f" * 32, timing, 2**60)


_COMMITTEE = b"next committee"
_TIMING = Struct(">QQ")


def committee_document(who: Sequence[int], timing: Timing) -> bytes:
    """Return the document of a change to a committee of these operators."""
    return _COMMITTEE + _TIMING.pack(timing.round_interval_ms, timing.base_timeout_ms) + bytes(who)


def committee_in(document: bytes) -> tuple[tuple[int, ...], Timing]:
    """Return what `committee_document` packed; raise `ValueError` for anything else."""
    start = len(_COMMITTEE) + _TIMING.size
    if not document.startswith(_COMMITTEE) or len(document) < start:
        raise ValueError("no document of a committee")
    interval_ms, timeout_ms = _TIMING.unpack_from(document, len(_COMMITTEE))
    timing = Timing(round_interval_ms=interval_ms, base_timeout_ms=timeout_ms)
    return tuple(document[start:]), timing


@lru_cache(maxsize=64)
def configuration_hash_of(document: bytes) -> Digest:
    """Return the hash of the configuration in a document, be it a committee's or any other."""
    try:
        return stub_configuration(*committee_in(document)).hash
    except ValueError:
        return keccak(document)


def agreed_time(times_ms: Sequence[int]) -> int:
    """Return the low median."""
    return sorted(times_ms)[(len(times_ms) - 1) // 2]


class StubRule:
    """A payload rule whose state is a running hash and whose observations are 8-byte times.

    Once the next epoch is decided the state is followed by the deciding view and the hash of the
    configuration. The document of a valid change begins with `next`.
    """

    def __init__(self, n: int) -> None:
        self._n = n
        self._q = quorum(n)
        self._outcomes: dict[tuple[State, int, int, bytes], Outcome] = {}

    def check(self, observed: Observed) -> None:
        """Refuse a body that is no time."""
        if len(observed.body) != 8 or observed.member >= self._n:
            raise InvalidPayload("an observation that is no time")

    def build(
        self, view: int, observations: Sequence[Observed], change: Change | None = None
    ) -> bytes:
        """Return the observations, ascending by member, and the change."""
        ordered = sorted(observations, key=lambda observed: observed.member)
        if change is None:
            return msgspec.msgpack.encode(ordered)
        return msgspec.msgpack.encode(_Content(tuple(ordered), change))

    def digest(self, view: int, payload: bytes) -> Digest:
        """Return the hash of the payload's bytes."""
        return self._digest(payload, self._decode(payload).change)

    def _digest(self, payload: bytes, change: Change | None) -> Digest:
        digest = _hash(b"payload", payload)
        return digest if change is None else change_digest(digest, change)

    def apply(self, parent_state: State, parent_time_ms: int, view: int, payload: bytes) -> Outcome:
        """Return the low median of the times, and a state that depends on everything before."""
        # Pure, and asked by every member of a simulation.
        key = (parent_state, parent_time_ms, view, payload)
        outcome = self._outcomes.get(key)
        if outcome is None:
            outcome = self._outcomes[key] = self._apply(*key)
        return outcome

    def _apply(
        self, parent_state: State, parent_time_ms: int, view: int, payload: bytes
    ) -> Outcome:
        assert isinstance(parent_state, bytes)
        content = self._decode(payload)
        observations = content.observations
        if len(observations) < self._q:
            raise InvalidPayload("too few observations")
        last = -1
        for observed in observations:
            self.check(observed)
            if observed.view != view or observed.member <= last:
                raise InvalidPayload("an observation of another view, or out of order")
            last = observed.member
        times_ms = [int.from_bytes(observed.body, "big") for observed in observations]
        state = bytes(_hash(parent_state[:32], payload))
        decided, decides = parent_state[32:], content.change
        root = _hash(b"root", state) if not decided else Digest(bytes(32))
        if decides is not None:
            self._check_change(decides, decided)
            decided = view.to_bytes(8, "big") + decides.configuration_hash
        digest = Digest(state)
        if decided:
            digest = decided_digest(state, int.from_bytes(decided[:8], "big"), decided[8:])
        return Outcome(
            observed_at_ms=max(agreed_time(times_ms), parent_time_ms + 1),
            feed_root=root,
            state_digest=digest,
            payload_digest=self._digest(payload, decides),
            state=state + decided,
            successor=Digest(decided[8:]) if decided else None,
        )

    def encode_state(self, state: State) -> bytes:
        """Return the state, which is bytes."""
        assert isinstance(state, bytes)
        return state

    def restore(self, encoded: bytes) -> Restored:
        """Return a state of the right length."""
        if len(encoded) == 32:
            return Restored(encoded, Digest(encoded))
        if len(encoded) != 72:
            raise InvalidPayload("a state of another length")
        view, successor = int.from_bytes(encoded[32:40], "big"), Digest(encoded[40:])
        return Restored(encoded, decided_digest(encoded[:32], view, successor), successor, view)

    def _check_change(self, change: Change, decided: bytes) -> None:
        if decided:
            raise InvalidPayload("a change of what is decided already")
        if len(signers_of(change.bitmap)) < self._q or int.from_bytes(change.bitmap, "big") >> (
            self._n
        ):
            raise InvalidPayload("a change without a quorum")
        if not change.document.startswith(b"next"):
            raise InvalidPayload("a document that is no next epoch's")
        if configuration_hash_of(change.document) != change.configuration_hash:
            raise InvalidPayload("a change whose document has another hash")

    @classmethod
    def change_in(cls, payload: bytes) -> Change | None:
        """Return the change in a payload, if it carries one."""
        return cls._decode(payload).change

    @classmethod
    def decode(cls, payload: bytes) -> tuple[Observed, ...]:
        """Return the observations in a payload; raise `InvalidPayload` if it holds none."""
        return cls._decode(payload).observations

    @staticmethod
    def time_of(observed: Observed) -> int:
        """Return the time of an observation (Unix ms)."""
        return int.from_bytes(observed.body, "big")

    @staticmethod
    def _decode(payload: bytes) -> _Content:
        with suppress(msgspec.DecodeError):
            return _Content(_plain.decode(payload), None)
        try:
            return _decoder.decode(payload)
        except msgspec.DecodeError as error:
            raise InvalidPayload(str(error)) from None


def stub_setting(n: int, timing: Timing | None = None, schedule: tuple[int, ...] = ()) -> Setting:
    """Return a first epoch of n members."""
    context = stub_context(n, timing, schedule=schedule)
    return Setting(context, StubSignatures(context), StubRule(n), GENESIS_STATE)


def succeeding_setting(ended: EpochContext, deciding: Checkpoint) -> Setting:
    """Return the epoch that a final block has decided."""
    assert deciding.block is not None
    assert isinstance(deciding.state, bytes)
    change = StubRule.change_in(deciding.block.payload)
    assert change is not None
    configuration = stub_configuration(*committee_in(change.document))
    state = deciding.state[:32]
    context = EpochContext(
        ended.network,
        ended.epoch + 1,
        configuration,
        state,
        deciding.observed_at_ms,
        deciding.block_id,
    )
    return Setting(context, StubSignatures(context), StubRule(context.n), state)


class StubSignatures:
    """Signs for any member and checks like `node.verifier`, at the price of a hash."""

    def __init__(self, context: EpochContext) -> None:
        self._context = context
        self._known: set[QC | TC] = {context.genesis_qc}
        self._passed: dict[int, tuple[int, Message]] = {}
        self._timeouts: dict[tuple[int, int], Digest] = {}

    def share(self, member: int, digest: bytes) -> bytes:
        """Return a member's share on a digest."""
        return b"share on" + _WHO[member] + digest + bytes(48)

    def timeout_share(self, member: int, view: int, high_qc_view: int) -> bytes:
        """Return a member's share on leaving a view."""
        digest = self._timeouts.get((view, high_qc_view))
        if digest is None:
            digest = timeout_digest(self._context.domain, view, high_qc_view)
            self._timeouts[view, high_qc_view] = digest
        return self.share(member, digest)

    def observed(self, member: int, view: int, time_ms: int) -> Observed:
        """Return a member's signed observation."""
        body = time_ms.to_bytes(8, "big")
        return Observed(view, member, body, self._ed25519(member, self._observation(view, body)))

    def proposal_signature(self, member: int, block_id: bytes) -> bytes:
        """Return a leader's signature on its proposal."""
        return b"proposal" + _WHO[member] + block_id + bytes(16)

    def _ed25519(self, member: int, digest: bytes) -> bytes:
        return b"ed25519 " + _WHO[member] + digest + bytes(16)

    def _observation(self, view: int, body: bytes) -> bytes:
        covered = body if len(body) == 8 else _hash(body)[:8]
        return self._context.domain[:16] + view.to_bytes(8, "big") + covered

    def bad_share(self, kind: int, member: int, digest: bytes) -> bytes:
        """Return what is no share of a member on a digest."""
        infinity = bytes([0xC0]) + bytes(95)
        other = self.share((member + 1) % self._context.n, digest)
        mine = self.share(member, digest)
        return (infinity, bytes(96), mine[:-1] + b"\x01", other, mine[:-1] + b"\x02")[kind]

    def certify_votes(self, header: Header, block_id: bytes, shares: Mapping[int, bytes]) -> QC:
        """Aggregate shares on one header; raise `BadShares`."""
        bad = [m for m, share in shares.items() if share != self.share(m, block_id)]
        if bad:
            raise BadShares(bad)
        return self.qc(header, list(shares))

    def certify_timeouts(
        self, view: int, shares: Mapping[int, tuple[int, bytes]], high_qc: QC
    ) -> TC:
        """Aggregate shares on leaving a view; raise `BadShares`."""
        bad = [
            member
            for member, (high, share) in shares.items()
            if share != self.timeout_share(member, view, high)
        ]
        if bad:
            raise BadShares(bad)
        return self.tc(view, {member: high for member, (high, _) in shares.items()}, high_qc)

    def qc(self, header: Header, signers: Sequence[int]) -> QC:
        """Return the certificate of these members."""
        bitmap = bitmap_of(signers)
        return QC(header, bitmap, self._qc_aggregate(header, bitmap))

    def _qc_aggregate(self, header: Header, bitmap: bytes) -> bytes:
        return b"votes on".ljust(32) + bitmap + header.id(self._context.domain)

    def tc(self, view: int, reported: Mapping[int, int], high_qc: QC) -> TC:
        """Return the timeout certificate of {signer: high-QC view}."""
        by_view: dict[int, list[int]] = {}
        for signer, high in reported.items():
            by_view.setdefault(high, []).append(signer)
        groups = tuple(TimeoutGroup(high, bitmap_of(by_view[high])) for high in sorted(by_view))
        return TC(view, groups, self.tc_aggregate(view, groups), high_qc)

    def tc_aggregate(self, view: int, groups: Sequence[TimeoutGroup]) -> bytes:
        """Return the aggregate of these members' shares on leaving a view."""
        preimage = [group.high_qc_view.to_bytes(8, "big") + group.bitmap for group in groups]
        return _hash(b"tc", self._context.domain, view.to_bytes(8, "big"), *preimage) * 3

    def is_vote(self, vote: SignedVote) -> bool:
        """Tell whether every member of the bitmap signed the header's id."""
        signers = signers_of(vote.bitmap)
        if len(signers) == 1:
            share = self.share(signers[0], vote.header.id(self._context.domain))
            if vote.aggregate == share:
                return True
        return vote.aggregate == self._qc_aggregate(vote.header, vote.bitmap)

    def is_timeout(self, timeout: SignedTimeout) -> bool:
        """Tell whether every member of each group signed its report."""
        (first, *others), view = timeout.groups, timeout.view
        signers = signers_of(first.bitmap)
        if not others and len(signers) == 1:
            share = self.timeout_share(signers[0], view, first.high_qc_view)
            if timeout.aggregate == share:
                return True
        return timeout.aggregate == self.tc_aggregate(view, timeout.groups)

    def _approval(self, configuration_hash: bytes, document: bytes) -> bytes:
        return approval_digest(self._context, configuration_hash, keccak(document))

    def _aggregate(self, digest: bytes, signers: Sequence[int]) -> bytes:
        return _hash(b"aggregate", bytes(sorted(signers)), digest) * 3

    def change(self, document: bytes, approvers: Sequence[int]) -> Change:
        """Return a change that these members approve."""
        configuration_hash = configuration_hash_of(document)
        aggregate = self._aggregate(self._approval(configuration_hash, document), approvers)
        return Change(configuration_hash, document, bitmap_of(approvers), aggregate)

    def certify_handover(self, terms: Terms, shares: Mapping[int, bytes]) -> HandoverCertificate:
        """Aggregate shares on the end of the epoch; raise `BadShares`."""
        digest = terms.digest
        bad = [m for m, share in shares.items() if share != self.share(m, digest)]
        if bad:
            raise BadShares(bad)
        return self.handover_certificate(terms, list(shares))

    def handover_certificate(self, terms: Terms, signers: Sequence[int]) -> HandoverCertificate:
        """Return the handover certificate of these members."""
        return HandoverCertificate(
            terms.configuration_hash,
            terms.deciding_id,
            terms.observed_at_ms,
            bitmap_of(signers),
            self._aggregate(terms.digest, signers),
        )

    def under(self, context: EpochContext) -> "StubSignatures":
        """Return the same members' signatures in another network or epoch."""
        return StubSignatures(context)

    def check(self, sender: int, message: Message) -> None:
        """Check what the shell checks before the core; raise `InvalidMessage`."""
        if type(message) is Vote:
            return
        # The same message goes to many members; it stays referenced, so its id is its own.
        passed = self._passed.get(id(message))
        if passed is not None and passed[0] == sender:
            return
        self._check(sender, message)
        if len(self._passed) >= PASSED_MAX:
            self._passed.clear()
        self._passed[id(message)] = (sender, message)

    def _check(self, sender: int, message: Message) -> None:
        match message:
            case ObservationMessage(observed=observed):
                self._check_observed(observed)
            case Proposal(block=block, tc=tc):
                rules.check_proposal(self._context, sender, message)
                block_id = block.header.id(self._context.domain)
                if message.signature != self.proposal_signature(sender, block_id):
                    raise InvalidMessage("a bad proposal signature")
                self._check_payload(block.payload)
                self._check_qc(block.justify)
                self._check_tc(tc)
            case Timeout(qc=qc, tc=tc) | Certificate(qc=qc, tc=tc):
                self._check_qc(qc)
                self._check_tc(tc)
            case Testimony(records=records):
                for record in records:
                    if record.qc is not None:
                        self._check_qc(record.qc)
                    self._check_tc(record.tc)
            case BlockResponse(blocks=blocks):
                for block in blocks:
                    self._check_qc(block.justify)
                    self._check_payload(block.payload)
            case CheckpointResponse(block=block, qc=qc):
                self._check_qc(qc)
                self._check_qc(block.justify)
            case HandoverCertificate():
                check_certificate(self._context, message)
                digest = terms_in(self._context, message).digest
                if message.aggregate != self._aggregate(digest, signers_of(message.bitmap)):
                    raise InvalidMessage("a handover certificate that nobody made")
            case _:
                pass

    def _check_payload(self, payload: bytes) -> None:
        content = StubRule._decode(payload)
        for observed in content.observations:
            self._check_observed(observed)
        change = content.change
        if change is not None:
            digest = self._approval(change.configuration_hash, change.document)
            if change.aggregate != self._aggregate(digest, signers_of(change.bitmap)):
                raise InvalidMessage("a change that nobody approved")

    def _check_observed(self, observed: Observed) -> None:
        if not 0 <= observed.member < self._context.n:
            raise InvalidMessage("an observation of nobody")
        digest = self._observation(observed.view, observed.body)
        if observed.signature != self._ed25519(observed.member, digest):
            raise InvalidMessage("a bad observation signature")

    def _check_qc(self, qc: QC) -> None:
        if qc in self._known:
            return
        rules.check_qc(self._context, qc)
        if qc.aggregate != self._qc_aggregate(qc.header, qc.bitmap):
            raise InvalidMessage("a QC that nobody made")
        self._known.add(qc)

    def _check_tc(self, tc: TC | None) -> None:
        if tc is None or tc in self._known:
            return
        rules.check_tc(self._context, tc)
        self._check_qc(tc.high_qc)
        if tc.aggregate != self.tc_aggregate(tc.view, tc.groups):
            raise InvalidMessage("a TC that nobody made")
        self._known.add(tc)


def _hash(*parts: bytes) -> Digest:
    return Digest(blake2b(b"".join(parts), digest_size=32).digest())


_WHO = tuple(member.to_bytes(8, "big") for member in range(256))


__all__ = [
    "GENESIS_STATE",
    "GENESIS_TIME_MS",
    "ScheduledContext",
    "StubRule",
    "StubSignatures",
    "committee_document",
    "stub_context",
    "stub_setting",
    "succeeding_setting",
]

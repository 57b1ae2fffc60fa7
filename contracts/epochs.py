"""The life of an Oracle's epochs as calldata: deployment, registration, opening, handover."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from aggregation.table import FeedTable, feed_record
from consensus.committee import Configuration, Member
from consensus.digests import keccak
from contracts import abi
from contracts.client import CONTRACT, checked_signature
from contracts.points import decompress_g1, decompress_g2

REGISTRATIONS_PER_CALL: Final = 40
"""So many members are proven in one transaction; each takes about 345,000 gas (EIP-7825)."""

EVIDENCE_WINDOW_MS: Final = 30 * 86_400_000
"""How long an epoch's certificates prove history after its end, unless a deployer says else."""


@dataclass(frozen=True, slots=True)
class MemberProof:
    """What proves a member's keys: two compressed signatures of its BLS key (96 bytes each)."""

    proof_of_possession: bytes
    registration: bytes


@dataclass(frozen=True, slots=True)
class HandoverTerms:
    """A handover certificate: the signature is in the 192 bytes that `decompress_g2` returns."""

    deciding_id: bytes
    decided_at_ms: int
    signers: int
    signature: bytes


@dataclass(frozen=True, slots=True)
class CommitteeDescription:
    """The size of the committee, its quorum and when its configuration ends (Unix ms)."""

    members: int
    quorum: int
    valid_until_ms: int


@dataclass(frozen=True, slots=True)
class EpochDescription:
    """An epoch that was opened; deciding block and time (Unix ms) are 0 for the first."""

    domain: bytes
    configuration_hash: bytes
    deciding_id: bytes
    decided_at_ms: int
    members: int
    valid_until_ms: int


@dataclass(frozen=True, slots=True)
class Opened:
    """The event of an epoch that began."""

    epoch: int
    domain: bytes
    configuration_hash: bytes
    deciding_id: bytes
    decided_at_ms: int


def encode_deploy(
    *,
    name: str,
    configuration_hash: bytes,
    max_future_ms: int,
    evidence_window_ms: int = EVIDENCE_WINDOW_MS,
) -> bytes:
    """Return the creation code of a network's Oracle; its committee is registered and opened next.

    `max_future_ms` is how far a report may be ahead of this chain's block time.
    """
    return abi.bytecode(CONTRACT) + abi.encode_words(
        keccak(name.encode()), configuration_hash, max_future_ms, evidence_window_ms
    )


def encode_register(members: Sequence[Member], proofs: Sequence[MemberProof]) -> Iterator[bytes]:
    """Yield the calldata that register members, each small enough for one transaction.

    Raises `ValueError` if the parts do not fit together or a proof is no point.
    """
    if len(proofs) != len(members):
        raise ValueError(f"{len(members)} members, {len(proofs)} proofs")
    records = [
        member_record(member)
        + decompress_g2(proof.proof_of_possession)
        + decompress_g2(proof.registration)
        for member, proof in zip(members, proofs, strict=True)
    ]
    for first in range(0, len(records), REGISTRATIONS_PER_CALL):
        part = records[first : first + REGISTRATIONS_PER_CALL]
        yield abi.encode_call(CONTRACT, "register", abi.encode_array(part))


def encode_is_registered(member: Member) -> bytes:
    """Return the calldata that ask whether a member's proofs were checked."""
    return abi.encode_call(CONTRACT, "isRegistered", member_record(member))


def encode_open(configuration: Configuration, feed_table: FeedTable) -> bytes:
    """Return the calldata that open the first epoch.

    Raises `ValueError` if the feed table is not the configuration's.
    """
    return abi.encode_call(CONTRACT, "open", _configuration(configuration, feed_table))


def encode_handover(
    next_epoch: int, configuration: Configuration, feed_table: FeedTable, terms: HandoverTerms
) -> bytes:
    """Return the calldata that open the next epoch.

    Raises `ValueError` if the feed table is not the configuration's.
    """
    certificate = abi.encode_words(terms.deciding_id, terms.decided_at_ms, terms.signers)
    certificate += checked_signature(terms.signature)
    parts = _configuration(configuration, feed_table)
    return abi.encode_call(CONTRACT, "handover", next_epoch, parts, certificate)


def encode_epoch_at(epoch: int) -> bytes:
    """Return the calldata for the description of an epoch."""
    return abi.encode_call(CONTRACT, "epochAt", epoch)


def encode_member_at(epoch: int, member: int) -> bytes:
    """Return the calldata for a member of an epoch."""
    return abi.encode_call(CONTRACT, "memberAt", epoch, member)


def encode_is_signed(epoch: int, digest: bytes, signers: int, signature: bytes) -> bytes:
    """Return the calldata that ask whether exactly these members of an epoch signed a digest."""
    return abi.encode_call(
        CONTRACT, "isSigned", epoch, digest, signers, checked_signature(signature)
    )


def member_key(compressed: bytes) -> bytes:
    """Return a member's BLS key as a configuration holds it; raise `ValueError`."""
    return decompress_g1(compressed)


def member_record(member: Member) -> bytes:
    """Return the 192 bytes of a member in the key list."""
    operator = member.operator.rjust(abi.WORD_BYTES, b"\0")
    return member.bls_key + member.ed25519_key + operator


# Decoding. All raise `ValueError` for data that no Oracle returns.


def decode_committee(data: bytes) -> CommitteeDescription:
    """Return what `committee` says."""
    return CommitteeDescription(*abi.decode(["uint256", "uint256", "uint256"], data))


def decode_epoch_at(data: bytes) -> EpochDescription:
    """Return what `epochAt` says."""
    types = ["bytes32", "bytes32", "bytes32", "uint64", "uint256", "uint64"]
    return EpochDescription(*abi.decode(types, data))


def decode_member_at(data: bytes) -> tuple[bytes, bytes]:
    """Return a member's operator (20 bytes) and its negated key (128 bytes)."""
    operator = abi.decode(["address"] + ["uint256"] * 4, data)[0]
    return int(operator).to_bytes(20, "big"), data[abi.WORD_BYTES : 5 * abi.WORD_BYTES]


def epoch_topics() -> tuple[bytes, bytes]:
    """Return the first topics of the events `Registered` and `Opened`, to filter logs by."""
    return abi.topic(CONTRACT, "Registered"), abi.topic(CONTRACT, "Opened")


def decode_opened(topics: Sequence[bytes], data: bytes) -> Opened | None:
    """Return the event in a log, or None if the log is another event's."""
    if len(topics) != 2 or topics[0] != abi.topic(CONTRACT, "Opened"):
        return None
    (epoch,) = abi.decode(["uint64"], topics[1])
    return Opened(epoch, *abi.decode(["bytes32", "bytes32", "bytes32", "uint64"], data))


def _configuration(configuration: Configuration, feed_table: FeedTable) -> abi.Dynamic:
    if feed_table.digest() != configuration.feed_table_digest:
        raise ValueError("the feed table is not that of the configuration")
    timing = configuration.timing
    return abi.Dynamic(
        abi.encode_tuple(
            abi.encode_array([member_record(member) for member in configuration.members]),
            abi.encode_array([feed_record(feed) for feed in feed_table.feeds]),
            timing.round_interval_ms,
            timing.base_timeout_ms,
            timing.grace_ms,
            timing.max_lag_ms,
            timing.max_skew_ms,
            timing.carry_ms,
            configuration.valid_until_ms,
        )
    )

"""Calls of the Oracle contract as bytes, and what it returns as Python values.

Pure encoding: the caller sends the bytes with whatever it talks to a chain with.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from aggregation.table import FeedTable, feed_record
from consensus.committee import Configuration
from consensus.digests import keccak
from consensus.messages import Header
from contracts import abi
from contracts.abi import ContractError
from contracts.points import decompress_g1, decompress_g2

CONTRACT: Final = "Oracle"
SIGNATURE_BYTES: Final = 192
"""An uncompressed signature: x.c0 | x.c1 | y.c0 | y.c1, 48 bytes each."""

INITCODE_BYTES_MAX: Final = 49_152
"""No EVM takes more creation code with its arguments (EIP-3860)."""

_CONFIDENCE_UNKNOWN: Final = (1 << 256) - 1

_ADVICE: Final = {
    "BadSignature": "the certificate is not of this contract's network, epoch and configuration",
    "BelowQuorum": "the certificate has too few signers",
    "CommitteeMissing": "the contract holds no committee for its epoch",
    "Expired": "the epoch's configuration is no longer valid on this chain",
    "FromTheFuture": "the chain's time is behind, or the committee's clocks are ahead",
    "PrecompileFailed": "the chain may lack the BLS precompiles of EIP-2537",
    "Stale": "the answer is older than was asked for",
    "Uncertain": "the answer is less certain than was asked for",
    "WordsMismatch": "the words are not those that were certified",
}


class Reason(IntEnum):
    """Why a safe read gives no price."""

    NONE = 0
    UNKNOWN_FEED = 1
    UNAVAILABLE = 2
    HALTED = 3
    STALE = 4
    UNCERTAIN = 5


@dataclass(frozen=True, slots=True)
class MemberProof:
    """What proves a member's keys: two compressed signatures of its BLS key (96 bytes each)."""

    proof_of_possession: bytes
    registration: bytes


@dataclass(frozen=True, slots=True)
class StoredPlace:
    """The place of what a contract holds; view and time (Unix ms) are 0 before the first report."""

    epoch: int
    view: int
    observed_at_ms: int


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """One feed's answer as a contract holds it; `confidence_ppm` is None if unknown."""

    price: int
    confidence_ppm: int | None
    status: int
    observed_at_ms: int


@dataclass(frozen=True, slots=True)
class FeedDescription:
    """What a feed says of itself."""

    base: str
    quote: str
    decimals: int
    deviation_ppm: int
    heartbeat_ms: int
    tier: int


@dataclass(frozen=True, slots=True)
class CommitteeDescription:
    """The size of the committee, its quorum and when its configuration ends (Unix ms)."""

    members: int
    quorum: int
    valid_until_ms: int


@dataclass(frozen=True, slots=True)
class Pushed:
    """The event of a stored report."""

    epoch: int
    view: int
    observed_at_ms: int
    id: bytes
    feed_root: bytes
    words: tuple[int, ...]


# Encoding.


def encode_push(
    header: Header, words: Sequence[int], bitmap: int | bytes, signature_uncompressed: bytes
) -> bytes:
    """Return the calldata that stores a report.

    `bitmap` is an integer or its 32 big-endian bytes, the signature comes from `decompress_g2`.
    """
    if len(signature_uncompressed) != SIGNATURE_BYTES:
        raise ValueError(
            f"the signature has {SIGNATURE_BYTES} bytes, not {len(signature_uncompressed)}"
        )
    bits = int.from_bytes(bitmap, "big") if isinstance(bitmap, bytes) else bitmap
    head = abi.encode_words(
        header.view, header.observed_at_ms, header.feed_root, header.link, 12 * abi.WORD_BYTES, bits
    )
    tail = abi.encode_words(len(words), *words)
    return abi.selector(CONTRACT, "push") + head + signature_uncompressed + tail


def pushed_view(calldata: bytes) -> int:
    """Return the view of the report that a `push` calldata carries."""
    return int.from_bytes(calldata[4 : 4 + abi.WORD_BYTES], "big")


def encode_deploy(
    *,
    name: str,
    configuration: Configuration,
    feed_table: FeedTable,
    proofs: Sequence[MemberProof],
    max_future_ms: int,
) -> bytes:
    """Return the creation code of a network's Oracle with its genesis.

    `max_future_ms` is how far a report may be ahead of this chain's block time. Raises
    `ValueError` if the parts do not fit together or the code is larger than a chain takes.
    """
    if feed_table.digest() != configuration.feed_table_digest:
        raise ValueError("the feed table is not that of the configuration")
    if len(proofs) != len(configuration.members):
        raise ValueError(f"{len(configuration.members)} members, {len(proofs)} proofs")
    members = b"".join(
        member.bls_key
        + member.ed25519_key
        + member.operator.rjust(abi.WORD_BYTES, b"\0")
        + decompress_g2(proof.proof_of_possession)
        + decompress_g2(proof.registration)
        for member, proof in zip(configuration.members, proofs, strict=True)
    )
    feeds = b"".join(map(feed_record, feed_table.feeds))
    timing = configuration.timing
    head_bytes = 11 * abi.WORD_BYTES
    genesis = (
        abi.encode_words(
            keccak(name.encode()),
            head_bytes,
            head_bytes + abi.WORD_BYTES + len(members),
            timing.round_interval_ms,
            timing.base_timeout_ms,
            timing.grace_ms,
            timing.max_lag_ms,
            timing.max_skew_ms,
            timing.carry_ms,
            configuration.valid_until_ms,
            max_future_ms,
        )
        + abi.encode_word(len(configuration.members))
        + members
        + abi.encode_word(feed_table.count)
        + feeds
    )
    code = abi.bytecode(CONTRACT) + abi.encode_word(abi.WORD_BYTES) + genesis
    if len(code) > INITCODE_BYTES_MAX:
        raise ValueError(
            f"{len(code)} bytes of creation code, a chain takes {INITCODE_BYTES_MAX}: "
            "have fewer members or feeds"
        )
    return code


def member_key(compressed: bytes) -> bytes:
    """Return a member's BLS key as a configuration holds it; raise `ValueError`."""
    return decompress_g1(compressed)


def encode_read(feed: int, max_age_seconds: int, max_confidence_ppm: int) -> bytes:
    """Return the calldata of the safe read."""
    return _call("read", feed, max_age_seconds, max_confidence_ppm)


def encode_try_read(feed: int, max_age_seconds: int, max_confidence_ppm: int) -> bytes:
    """Return the calldata of the safe read that gives a reason instead of reverting."""
    return _call("tryRead", feed, max_age_seconds, max_confidence_ppm)


def encode_latest(feed: int) -> bytes:
    """Return the calldata for the raw answer of a feed."""
    return _call("latest", feed)


def encode_feed(feed: int) -> bytes:
    """Return the calldata for a feed's description."""
    return _call("feed", feed)


def encode_getter(function: str) -> bytes:
    """Return the calldata of a function without arguments, such as `stored` or `domain`."""
    return _call(function)


# Decoding. All raise `ValueError` for data that no Oracle returns.


def decode_pushed_result(data: bytes) -> bool:
    """Return whether `push` stored the report; false means that the stored one is as new."""
    return bool(abi.decode(["uint8"], data)[0])


def decode_read(data: bytes) -> tuple[int, int]:
    """Return price and observation time (Unix ms) of a safe read."""
    price, observed_at_ms = abi.decode(["uint256", "uint256"], data)
    return price, observed_at_ms


def decode_try_read(data: bytes) -> tuple[Reason, StoredAnswer]:
    """Return the reason, and the answer whatever the reason."""
    reason = Reason(abi.decode(["uint8"], data)[0])
    return reason, decode_latest(data[abi.WORD_BYTES :])


def decode_latest(data: bytes) -> StoredAnswer:
    """Return a feed's raw answer."""
    price, confidence_ppm, status, observed_at_ms = abi.decode(
        ["uint256", "uint256", "uint8", "uint256"], data
    )
    known = None if confidence_ppm == _CONFIDENCE_UNKNOWN else confidence_ppm
    return StoredAnswer(price, known, status, observed_at_ms)


def decode_stored(data: bytes) -> StoredPlace:
    """Return the place of what a contract holds."""
    return StoredPlace(*abi.decode(["uint64", "uint64", "uint64"], data))


def decode_feed(data: bytes) -> FeedDescription:
    """Return a feed's description."""
    types = ["string", "string", "uint8", "uint32", "uint32", "uint8"]
    return FeedDescription(*abi.decode(types, data))


def decode_committee(data: bytes) -> CommitteeDescription:
    """Return what `committee` says."""
    return CommitteeDescription(*abi.decode(["uint256", "uint256", "uint256"], data))


def decode_bytes32(data: bytes) -> bytes:
    """Return what `network`, `domain` and `configurationHash` say."""
    word: bytes = abi.decode(["bytes32"], data)[0]
    return word


def decode_integer(data: bytes) -> int:
    """Return what `epoch`, `feedCount` and `maxFuture` say."""
    number: int = abi.decode(["uint256"], data)[0]
    return number


def pushed_topic() -> bytes:
    """Return the first topic of the event, to filter logs by."""
    return abi.topic(CONTRACT, "Pushed")


def decode_pushed(topics: Sequence[bytes], data: bytes) -> Pushed | None:
    """Return the event in a log, or None if the log is another event's."""
    if not topics or topics[0] != pushed_topic():
        return None
    if len(topics) != 3:
        raise ValueError(f"the event has 3 topics, not {len(topics)}")
    epoch, view = abi.decode(["uint64", "uint64"], b"".join(topics[1:]))
    observed_at_ms, identity, feed_root, words = abi.decode(
        ["uint64", "bytes32", "bytes32", "uint256[]"], data
    )
    return Pushed(epoch, view, observed_at_ms, identity, feed_root, tuple(words))


def decode_error(data: bytes) -> ContractError | None:
    """Return the custom error in revert data, or None if it is none of the Oracle's."""
    return abi.decode_error(CONTRACT, data)


def describe_error(data: bytes) -> str:
    """Return revert data as a readable line for logs."""
    if not data:
        return "reverted without a reason (too little gas, or no Oracle at this address)"
    error = decode_error(data)
    if error is None:
        return f"reverted with unknown data 0x{data[:68].hex()}"
    advice = _ADVICE.get(error.name)
    return f"{error}: {advice}" if advice else str(error)


def _call(function: str, *arguments: int) -> bytes:
    return abi.selector(CONTRACT, function) + abi.encode_words(*arguments)

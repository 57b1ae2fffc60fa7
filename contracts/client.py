"""Calls of the Oracle contract as bytes, and what it returns as Python values.

Pure encoding: the caller sends the bytes with whatever it talks to a chain with. What feeds and
reads the contract stands here; epochs and deployment in `contracts.epochs`, proofs of finality in
`contracts.finality`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from aggregation.encoding import feed_root, prove
from aggregation.table import FEEDS_PER_WORD
from consensus.messages import Header
from contracts import abi
from contracts.abi import ContractError
from contracts.points import decompress_g2

CONTRACT: Final = "Oracle"
SIGNATURE_BYTES: Final = 192
"""An uncompressed signature: x.c0 | x.c1 | y.c0 | y.c1, 48 bytes each."""

PROVABLE_POSTS: Final = 17
"""So many posted reports, of different observation time modulo this, can be proven from."""

_CONFIDENCE_UNKNOWN: Final = (1 << 256) - 1

_ADVICE: Final = {
    "BadSignature": "the certificate is not of this contract's network, epoch and configuration",
    "BelowQuorum": "the certificate has too few signers",
    "CommitteeMissing": "the contract holds no committee for this epoch: open it",
    "EpochAhead": "the contract is behind: hand it over to the next epoch first",
    "Expired": "the epoch's configuration is no longer valid on this chain",
    "FromTheFuture": "the chain's time is behind, or the committee's clocks are ahead",
    "NotInReport": "the word is not of this report, or another report was posted in its place",
    "NotPosted": "post the report first, or use `update`",
    "NotRegistered": "register the members' proofs first",
    "PrecompileFailed": "the chain may lack the BLS precompiles of EIP-2537",
    "Stale": "the answer is older than was asked for",
    "Uncertain": "the answer is less certain than was asked for",
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
class Place:
    """Where a report stands, and who signed it (bit i for member i); the time is Unix ms."""

    epoch: int
    view: int
    observed_at_ms: int
    signers: int

    @property
    def word(self) -> int:
        """The place as a contract takes it; raises `ValueError` if a part does not fit."""
        widths = ((self.epoch, 32), (self.view, 32), (self.observed_at_ms, 64), (self.signers, 128))
        word = 0
        for value, bits in widths:
            if not 0 <= value < 1 << bits:
                raise ValueError(f"{value} does not fit the {bits} bits of its part of a place")
            word = word << bits | value
        return word


def place_of(word: int) -> Place:
    """Return what a place's word says."""
    return Place(
        word >> 224, word >> 192 & 0xFFFFFFFF, word >> 128 & (1 << 64) - 1, word & (1 << 128) - 1
    )


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certified header: the signature is in the 192 bytes that `decompress_g2` returns."""

    epoch: int
    header: Header
    signers: int
    signature: bytes

    @property
    def place(self) -> Place:
        """The place of the header."""
        return Place(self.epoch, self.header.view, self.header.observed_at_ms, self.signers)

    @property
    def encoded(self) -> bytes:
        """The certificate as a call's argument; raises `ValueError` if a part has no place."""
        link = abi.encode_word(self.header.link)
        return checked_signature(self.signature) + link + abi.encode_word(self.place.word)


def certificate_of(
    epoch: int, header: Header, bitmap: int | bytes, signature: bytes
) -> Certificate:
    """Return a certificate as it is known off chain, its signature compressed (96 bytes).

    `bitmap` is an integer or its big-endian bytes. Raises `ValueError` for a bad point.
    """
    signers = int.from_bytes(bitmap, "big") if isinstance(bitmap, bytes) else bitmap
    return Certificate(epoch, header, signers, decompress_g2(signature))


def checked_signature(signature: bytes) -> bytes:
    """Return an uncompressed signature; raise `ValueError` if it has another width."""
    if len(signature) != SIGNATURE_BYTES:
        raise ValueError(f"the signature has {SIGNATURE_BYTES} bytes, not {len(signature)}")
    return signature


@dataclass(frozen=True, slots=True)
class Claim:
    """One feed's answer, shown to be in a report of `words` words by a path to its root."""

    feed: int
    words: int
    word: int
    path: tuple[bytes, ...]

    @property
    def encoded(self) -> abi.Dynamic:
        """The claim as a call's argument."""
        return abi.Dynamic(
            abi.encode_tuple(self.feed, self.words, self.word, abi.encode_array(self.path))
        )


def claim_of(feed: int, words: Sequence[int]) -> Claim:
    """Return the claim of a feed's answer in a report of which all words are known.

    Raises `ValueError` if the report has no such feed.
    """
    index = feed // FEEDS_PER_WORD
    path = tuple(prove(words, index))
    return Claim(feed, len(words), words[index], path)


@dataclass(frozen=True, slots=True)
class Update:
    """A report and the answers of it that are wanted."""

    certificate: Certificate
    claims: tuple[Claim, ...]

    @property
    def encoded(self) -> abi.Dynamic:
        """The update as a call's argument."""
        claims = abi.encode_array([claim.encoded for claim in self.claims])
        return abi.Dynamic(abi.encode_tuple(self.certificate.encoded, claims))


@dataclass(frozen=True, slots=True)
class StoredPlace:
    """The place of the last push; view and time (Unix ms) are 0 before the epoch's first."""

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
    """What a feed says of itself; `status` is that of its newest answer."""

    base: str
    quote: str
    decimals: int
    deviation_ppm: int
    heartbeat_ms: int
    tier: int
    status: int = 0


@dataclass(frozen=True, slots=True)
class PostedReport:
    """A report from which answers can be proven; `root_prefix` has 24 bytes."""

    words: int
    root_prefix: bytes


@dataclass(frozen=True, slots=True)
class Pushed:
    """The event of a stored report; its words stand in the call."""

    place: Place


@dataclass(frozen=True, slots=True)
class Posted:
    """The event of a report that can now be proven from, or (`updated`) was updated from."""

    place: Place
    id: bytes
    feed_root: bytes
    updated: bool


@dataclass(frozen=True, slots=True)
class PushCall:
    """What the calldata of a push say; the header's feed root is computed from the words."""

    certificate: Certificate
    words: tuple[int, ...]


# Encoding.


def encode_push(certificate: Certificate, words: Sequence[int]) -> bytes:
    """Return the calldata that stores all words of a report."""
    return abi.encode_call(CONTRACT, "push", certificate.encoded, abi.encode_array(words))


def encode_post(certificate: Certificate) -> bytes:
    """Return the calldata that verifies a report, so that its answers can be proven."""
    return abi.encode_call(CONTRACT, "post", certificate.encoded, certificate.header.feed_root)


def encode_prove(observed_at_ms: int, claim: Claim) -> bytes:
    """Return the calldata that stores an answer of the report posted of this time (Unix ms)."""
    return abi.encode_call(
        CONTRACT, "prove", claim.word, abi.encode_array(claim.path), claim.feed, observed_at_ms
    )


def encode_update(updates: Sequence[Update]) -> bytes:
    """Return the calldata that verifies reports and stores the claimed answers."""
    return abi.encode_call(CONTRACT, "update", _updates(updates))


def encode_use(
    updates: Sequence[Update], feeds: Sequence[int], max_age_seconds: int, max_confidence_ppm: int
) -> bytes:
    """Return the calldata that updates and returns prices fit for use."""
    return abi.encode_call(
        CONTRACT,
        "use",
        _updates(updates),
        abi.encode_array(feeds),
        max_age_seconds,
        max_confidence_ppm,
    )


def encode_read(feed: int, max_age_seconds: int, max_confidence_ppm: int) -> bytes:
    """Return the calldata of the safe read."""
    return abi.encode_call(CONTRACT, "read", feed, max_age_seconds, max_confidence_ppm)


def encode_try_read(feed: int, max_age_seconds: int, max_confidence_ppm: int) -> bytes:
    """Return the calldata of the safe read that gives a reason instead of reverting."""
    return abi.encode_call(CONTRACT, "tryRead", feed, max_age_seconds, max_confidence_ppm)


def encode_latest(feed: int) -> bytes:
    """Return the calldata for the newest answer of a feed as it is."""
    return abi.encode_call(CONTRACT, "latest", feed)


def encode_feed(feed: int) -> bytes:
    """Return the calldata for a feed's description."""
    return abi.encode_call(CONTRACT, "feed", feed)


def encode_posted(observed_at_ms: int) -> bytes:
    """Return the calldata for the report posted of this time (Unix ms)."""
    return abi.encode_call(CONTRACT, "posted", observed_at_ms)


def encode_getter(function: str) -> bytes:
    """Return the calldata of a function without arguments, such as `stored` or `domain`."""
    return abi.encode_call(CONTRACT, function)


# Decoding. All raise `ValueError` for data that no Oracle returns.


def decode_push(calldata: bytes) -> PushCall:
    """Return what the calldata of a push say; raise `ValueError` if they are of no push."""
    if calldata[:4] != abi.selector(CONTRACT, "push"):
        raise ValueError("these are not the calldata of a push")
    body = calldata[4:]
    types = ["bytes32"] * 7 + ["uint256", "uint256[]"]
    *_, link, word, words = abi.decode(types, body)
    words, place = tuple(words), place_of(word)
    header = Header(place.view, place.observed_at_ms, feed_root(words), link)
    signature = body[:SIGNATURE_BYTES]
    return PushCall(Certificate(place.epoch, header, place.signers, signature), words)


def pushed_place(calldata: bytes) -> Place:
    """Return the place of the report in the calldata of a push, which are not looked at further."""
    return place_of(abi.decode(["bytes32"] * 7 + ["uint256"], calldata[4:])[-1])


def decode_stored_flag(data: bytes) -> bool:
    """Return whether `push`, `post`, `prove` or `handover` changed anything."""
    return bool(abi.decode(["uint8"], data)[0])


def decode_use(data: bytes) -> list[tuple[int, int]]:
    """Return price and observation time (Unix ms) of each feed of `use`."""
    prices, times = abi.decode(["uint256[]", "uint256[]"], data)
    return list(zip(prices, times, strict=True))


def decode_read(data: bytes) -> tuple[int, int]:
    """Return price and observation time (Unix ms) of a safe read."""
    price, observed_at_ms = abi.decode(["uint256", "uint256"], data)
    return price, observed_at_ms


def decode_try_read(data: bytes) -> tuple[Reason, StoredAnswer]:
    """Return the reason, and the answer whatever the reason."""
    reason = Reason(abi.decode(["uint8"], data)[0])
    return reason, decode_latest(data[abi.WORD_BYTES :])


def decode_latest(data: bytes) -> StoredAnswer:
    """Return a feed's newest answer."""
    price, confidence_ppm, status, observed_at_ms = abi.decode(
        ["uint256", "uint256", "uint8", "uint256"], data
    )
    return StoredAnswer(price, known_confidence(confidence_ppm), status, observed_at_ms)


def known_confidence(confidence_ppm: int) -> int | None:
    """Return a confidence as a contract gives it, None if it says that it is unknown."""
    return None if confidence_ppm == _CONFIDENCE_UNKNOWN else confidence_ppm


def decode_stored(data: bytes) -> StoredPlace:
    """Return the place of the last push."""
    return StoredPlace(*abi.decode(["uint64", "uint64", "uint64"], data))


def decode_posted_report(data: bytes) -> PostedReport | None:
    """Return what `posted` says, None if no report of the time can be proven from."""
    words, root = abi.decode(["uint16", "bytes32"], data)
    return PostedReport(words, root[:24]) if words else None


def decode_feed(data: bytes) -> FeedDescription:
    """Return a feed's description."""
    types = ["string", "string", "uint8", "uint32", "uint32", "uint8", "uint8"]
    return FeedDescription(*abi.decode(types, data))


def decode_bytes32(data: bytes) -> bytes:
    """Return what `network`, `domain` and `configurationHash` say."""
    word: bytes = abi.decode(["bytes32"], data)[0]
    return word


def decode_integer(data: bytes) -> int:
    """Return what `epoch`, `feedCount`, `maxFuture`, `postedAt` and the like say."""
    number: int = abi.decode(["uint256"], data)[0]
    return number


def pushed_topic() -> bytes:
    """Return the first topic of the event, to filter logs by."""
    return abi.topic(CONTRACT, "Pushed")


def decode_pushed(topics: Sequence[bytes], data: bytes) -> Pushed | None:
    """Return the event in a log, or None if the log is another event's."""
    if list(topics) != [pushed_topic()]:
        return None
    return Pushed(place_of(abi.decode(["uint256"], data)[0]))


def decode_posted(topics: Sequence[bytes], data: bytes) -> Posted | None:
    """Return the event `Posted` or `Updated` in a log, or None if the log is another event's."""
    names = {abi.topic(CONTRACT, "Posted"): False, abi.topic(CONTRACT, "Updated"): True}
    if len(topics) != 1 or topics[0] not in names:
        return None
    place, identity, root = abi.decode(["uint256", "bytes32", "bytes32"], data)
    return Posted(place_of(place), identity, root, names[topics[0]])


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


def _updates(updates: Sequence[Update]) -> abi.Dynamic:
    return abi.encode_array([update.encoded for update in updates])

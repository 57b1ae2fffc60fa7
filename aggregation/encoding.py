"""Answers in 64 bits, words of four, and the tree whose root a report signs."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from struct import pack

from aggregation.digests import TAG_LEAF, TAG_NODE, keccak
from aggregation.feed import PPM
from aggregation.price import PRICE_MAX, divide_up
from aggregation.state import AgreedState
from aggregation.status import Status
from aggregation.table import FEEDS_PER_WORD

ANSWER_BITS = 64
WORDS_MAX = 65535

CONFIDENCE_UNKNOWN = 0xFFF
_MANTISSA_MAX = 255
_EXPONENT_MAX = 15

UNAVAILABLE_ANSWER = CONFIDENCE_UNKNOWN << 4 | Status.UNAVAILABLE


@dataclass(frozen=True, slots=True)
class Answer:
    """A decoded answer; the confidence is relative to the price, None if beyond or unknown."""

    price: int
    confidence_ppm: int | None
    status: Status


def encode_confidence_up(price: int, confidence: int) -> int:
    """Return a confidence as 12 bits: m * 2**e parts per million of the price, rounded up.

    The mantissa m has the high 8 bits, the exponent e (the smallest that fits) the low 4.
    """
    ppm = divide_up(confidence * PPM, price)
    if ppm > _MANTISSA_MAX << _EXPONENT_MAX:
        return CONFIDENCE_UNKNOWN
    exponent = max(ppm.bit_length() - 8, 0)
    mantissa = divide_up(ppm, 1 << exponent)
    if mantissa > _MANTISSA_MAX:
        # Rounding up reached 256: the next exponent takes it as 128.
        exponent += 1
        mantissa = divide_up(ppm, 1 << exponent)
    # The greatest code is the one that says unknown: it is at least as uncertain.
    return mantissa << 4 | exponent


def decode_confidence_ppm(code: int) -> int | None:
    """Return the parts per million of 12 bits, None for unknown; raises `ValueError`."""
    if not 0 <= code <= CONFIDENCE_UNKNOWN:
        raise ValueError("a confidence has 12 bits")
    if code == CONFIDENCE_UNKNOWN:
        return None
    mantissa, exponent = code >> 4, code & 0xF
    if exponent > 0 and mantissa < 128:
        raise ValueError("a confidence has the smallest exponent that fits")
    return mantissa << exponent


def encode_answer(price: int, confidence: int, status: Status) -> int:
    """Return an answer as 64 bits: price 48 | confidence 12 | status 4.

    Price and confidence are in the feed's units. What is unavailable or does not fit becomes the
    one unavailable answer.
    """
    if status == Status.UNAVAILABLE or not 1 <= price <= PRICE_MAX:
        return UNAVAILABLE_ANSWER
    return price << 16 | encode_confidence_up(price, confidence) << 4 | status


def decode_answer(answer: int) -> Answer:
    """Return what 64 bits say; raises `ValueError` for what `encode_answer` never returns."""
    if not 0 <= answer < 1 << ANSWER_BITS:
        raise ValueError("an answer has 64 bits")
    price, status = answer >> 16, Status(answer & 0xF)
    confidence_ppm = decode_confidence_ppm(answer >> 4 & 0xFFF)
    if (status is Status.UNAVAILABLE or price == 0) and answer != UNAVAILABLE_ANSWER:
        raise ValueError("an unavailable answer has price 0 and confidence unknown")
    return Answer(price, confidence_ppm, status)


def pack_words(answers: Sequence[int]) -> tuple[int, ...]:
    """Return answers four to a word, the first in the most significant bits.

    Unused lanes of the last word hold the unavailable answer.
    """
    padding = -len(answers) % FEEDS_PER_WORD
    lanes = [*answers, *[UNAVAILABLE_ANSWER] * padding]
    return tuple(
        lanes[i] << 192 | lanes[i + 1] << 128 | lanes[i + 2] << 64 | lanes[i + 3]
        for i in range(0, len(lanes), FEEDS_PER_WORD)
    )


def unpack_words(words: Sequence[int]) -> tuple[int, ...]:
    """Return the answers of all lanes, those that pad the last word included."""
    mask = (1 << ANSWER_BITS) - 1
    return tuple(word >> shift & mask for word in words for shift in (192, 128, 64, 0))


def words_of(state: AgreedState) -> tuple[int, ...]:
    """Return the words of a report on this state."""
    return pack_words(
        [encode_answer(feed.price, feed.confidence, feed.status) for feed in state.feeds]
    )


def _leaf(index: int, count: int, word: int) -> bytes:
    return keccak(TAG_LEAF + pack(">HH", index, count) + word.to_bytes(32, "big"))


def _levels(words: Sequence[int]) -> Iterator[list[bytes]]:
    """Yield the tree's levels from the leaves to the root; an odd last node is carried up."""
    count = len(words)
    if not 1 <= count <= WORDS_MAX:
        raise ValueError(f"a report has 1 to {WORDS_MAX} words, not {count}")
    level = [_leaf(index, count, word) for index, word in enumerate(words)]
    yield level
    while len(level) > 1:
        paired = len(level) & ~1
        above = [keccak(TAG_NODE + level[i] + level[i + 1]) for i in range(0, paired, 2)]
        level = above + level[paired:]
        yield level


def feed_root(words: Sequence[int]) -> bytes:
    """Return the root that a header holds; raises `ValueError` without any word."""
    *_, (root,) = _levels(words)
    return root


def prove(words: Sequence[int], index: int) -> list[bytes]:
    """Return the siblings of a word from its leaf to the root."""
    if not 0 <= index < len(words):
        raise ValueError(f"there is no word {index} of {len(words)}")
    proof = []
    for level in _levels(words):
        sibling = index ^ 1
        if sibling < len(level):
            proof.append(level[sibling])
        index >>= 1
    return proof


def verify_proof(root: bytes, index: int, count: int, word: int, proof: Sequence[bytes]) -> bool:
    """Tell whether a word stands at this index of `count` words under a root.

    Directions follow from index and count, and the proof's length must be exact.
    """
    if not (0 <= index < count <= WORDS_MAX and 0 <= word < 1 << 256):
        return False
    if any(len(sibling) != 32 for sibling in proof):
        return False
    node, width, siblings = _leaf(index, count, word), count, iter(proof)
    while width > 1:
        if index ^ 1 < width:
            sibling = next(siblings, None)
            if sibling is None:
                return False
            left, right = (sibling, node) if index & 1 else (node, sibling)
            node = keccak(TAG_NODE + left + right)
        index, width = index >> 1, (width + 1) >> 1
    return next(siblings, None) is None and node == root

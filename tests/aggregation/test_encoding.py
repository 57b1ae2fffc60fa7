"""Answers, words and the feed tree: what is encoded is what is decoded, nothing else is taken."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregation.encoding import (
    CONFIDENCE_UNKNOWN,
    UNAVAILABLE_ANSWER,
    decode_answer,
    decode_confidence_ppm,
    encode_answer,
    encode_confidence_up,
    feed_root,
    pack_words,
    prove,
    unpack_words,
    verify_proof,
)
from aggregation.feed import PPM
from aggregation.price import PRICE_MAX, UINT64_MAX
from aggregation.status import Status

words_lists = st.lists(st.integers(0, 2**256 - 1), min_size=1, max_size=20)
answer_lists = st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=20)


@given(
    st.integers(1, PRICE_MAX),
    st.integers(0, UINT64_MAX) | st.integers(0, 10**6),
    st.sampled_from([status for status in Status if status is not Status.UNAVAILABLE]),
)
def test_an_encoded_answer_keeps_price_and_status_and_never_understates_confidence(
    price: int, confidence: int, status: Status
) -> None:
    answer = decode_answer(encode_answer(price, confidence, status))
    assert (answer.price, answer.status) == (price, status)
    if answer.confidence_ppm is None:
        assert confidence * PPM > (254 << 15) * price
    else:
        assert answer.confidence_ppm * price >= confidence * PPM
        # Rounding costs less than 1/128 and one part per million.
        assert (answer.confidence_ppm - 1) * 128 * price <= 129 * confidence * PPM


def test_every_confidence_code_is_either_what_is_encoded_or_refused() -> None:
    taken = 0
    for code in range(CONFIDENCE_UNKNOWN):
        try:
            ppm = decode_confidence_ppm(code)
        except ValueError:
            continue
        assert ppm is not None
        assert encode_confidence_up(PPM, ppm) == code
        taken += 1
    assert taken == 256 + 15 * 128 - 1
    assert decode_confidence_ppm(CONFIDENCE_UNKNOWN) is None


@given(st.integers(0, 2**64 - 1))
def test_an_answer_is_canonical_or_refused(answer: int) -> None:
    try:
        decoded = decode_answer(answer)
    except ValueError:
        return
    if decoded.status is Status.UNAVAILABLE:
        assert answer == UNAVAILABLE_ANSWER
    else:
        assert decoded.price > 0


@pytest.mark.parametrize(
    "answer",
    [
        -1,
        2**64,
        0,
        0x0001_0000,
        0xFFF1,
        0x1_0005,
        0x1_0000 | 0x010 << 4 | 5,
        UNAVAILABLE_ANSWER | 1,
        0x1_0000 | 0x011 << 4 | 1,
    ],
)
def test_what_no_answer_encodes_to_is_refused(answer: int) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        decode_answer(answer)


@pytest.mark.parametrize("price", [0, -1, PRICE_MAX + 1, UINT64_MAX])
def test_a_price_that_does_not_fit_is_unavailable(price: int) -> None:
    assert encode_answer(price, 1, Status.LIVE) == UNAVAILABLE_ANSWER == 0xFFF0


@given(answer_lists)
def test_words_hold_four_answers_the_first_on_top(answers: list[int]) -> None:
    words = pack_words(answers)
    assert len(words) == -(-len(answers) // 4)
    lanes = unpack_words(words)
    assert list(lanes[: len(answers)]) == answers
    assert set(lanes[len(answers) :]) <= {UNAVAILABLE_ANSWER}
    assert words[0] >> 192 == answers[0]


@given(words_lists)
def test_every_word_is_proven_under_its_root(words: list[int]) -> None:
    root, count = feed_root(words), len(words)
    for index, word in enumerate(words):
        assert verify_proof(root, index, count, word, prove(words, index))


@given(words_lists, st.data())
def test_a_proof_of_anything_else_fails(words: list[int], data: st.DataObject) -> None:
    root, count = feed_root(words), len(words)
    index = data.draw(st.integers(0, count - 1))
    proof, word = prove(words, index), words[index]
    bit = data.draw(st.integers(0, 255))
    assert not verify_proof(root, index, count, word ^ 1 << bit, proof)
    assert not verify_proof(root, index, count + 1, word, proof)
    assert not verify_proof(root, index, count - 1, word, proof)
    assert not verify_proof(root, index + 1, count, word, proof)
    assert not verify_proof(root, index, count, word, [*proof, bytes(32)])
    flipped = bytearray(root)
    flipped[bit // 8] ^= 1 << bit % 8
    assert not verify_proof(bytes(flipped), index, count, word, proof)
    if proof:
        assert not verify_proof(root, index, count, word, proof[:-1])
        assert not verify_proof(root, index, count, word, proof[1:])
        step = data.draw(st.integers(0, len(proof) - 1))
        assert not verify_proof(
            root, index, count, word, [*proof[:step], bytes(32), *proof[step + 1 :]]
        )
        assert not verify_proof(root, index, count, word, [*proof[:step], b"", *proof[step + 1 :]])


def test_an_inner_node_is_no_leaf_and_a_count_is_bound() -> None:
    assert feed_root([1]) != feed_root([1, 1])
    assert feed_root([1, 2, 3]) != feed_root([1, 2, 3, 3])
    assert feed_root([1, 2]) != feed_root([2, 1])


def test_impossible_words_are_refused() -> None:
    with pytest.raises(ValueError, match="1 to"):
        feed_root([])
    with pytest.raises(ValueError, match="no word 1"):
        prove([5], 1)
    assert not verify_proof(bytes(32), 0, 1, 2**256, [])
    assert not verify_proof(bytes(32), 0, 2**16, 0, [])
    assert not verify_proof(bytes(32), -1, 1, 0, [])

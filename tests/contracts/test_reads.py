"""The safe read fails closed, and `tryRead` says why (O6)."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts import client
from contracts.client import Reason
from testnet.chain.evm import Reverted

ANY_AGE = 2**32 - 1
ANY_CONFIDENCE = 2**32 - 1
NAMES = {
    Reason.UNKNOWN_FEED: "UnknownFeed",
    Reason.UNAVAILABLE: "Unavailable",
    Reason.HALTED: "Halted",
    Reason.STALE: "Stale",
    Reason.UNCERTAIN: "Uncertain",
}


def read(oracle: Any, feed: int, age: int = ANY_AGE, confidence: int = ANY_CONFIDENCE) -> Any:
    """Return (price, time) or the error's text; `tryRead` must say the same."""
    reason, answer = client.decode_try_read(
        oracle.chain.call(oracle.address, client.encode_try_read(feed, age, confidence))
    )
    try:
        output = oracle.chain.call(oracle.address, client.encode_read(feed, age, confidence))
    except Reverted as reverted:
        error = client.decode_error(reverted.data)
        assert error is not None
        assert error.name == NAMES[reason]
        return str(error)
    assert reason is Reason.NONE
    assert client.decode_read(output) == (answer.price, answer.observed_at_ms)
    return answer.price, answer.observed_at_ms


def holding(kit: Any, *answers: int, age_seconds: int = 0, ahead_ms: int = 0) -> Any:
    """An oracle that holds these answers, read `age_seconds` after they were observed."""
    oracle = kit.deploy(kit.Committee())
    at = kit.CHAIN_TIME + 1000
    oracle.chain.set_timestamp(at)
    report = oracle.committee.report([kit.word_of(*answers)], at * 1000 + ahead_ms)
    assert oracle.push(report).succeeded
    if age_seconds:
        oracle.chain.mine(timestamp=at + age_seconds)
    return oracle


def test_nothing_can_be_read_before_the_first_report(oracle: Any) -> None:
    for feed in range(4):
        assert read(oracle, feed) == f"Unavailable(feed={feed}, status=0)"
        assert oracle.latest(feed).price == 0


def test_the_status_decides(kit: Any) -> None:
    time = (kit.CHAIN_TIME + 1000) * 1000
    oracle = holding(kit, *(kit.answer(500 + s, status=s) for s in (1, 2, 3, 4)))
    assert read(oracle, 0) == (501, time)
    assert read(oracle, 1) == (502, time)
    assert read(oracle, 2) == (503, time)
    assert read(oracle, 3) == "Halted(feed=3)"
    assert [oracle.latest(i).status for i in range(4)] == [1, 2, 3, 4]
    assert oracle.latest(3).price == 504


@pytest.mark.parametrize("statuses", [(0, 5, 6, 7), (8, 9, 10, 11), (12, 13, 14, 15)])
def test_an_unknown_status_gives_no_price(kit: Any, statuses: tuple[int, ...]) -> None:
    oracle = holding(kit, *(kit.answer(500, status=status) for status in statuses))
    for feed, status in enumerate(statuses):
        assert read(oracle, feed) == f"Unavailable(feed={feed}, status={status})"
        assert oracle.latest(feed).status == status


def test_a_price_of_zero_is_none(kit: Any) -> None:
    oracle = holding(kit, kit.answer(0, status=1))
    assert read(oracle, 0) == "Unavailable(feed=0, status=1)"


def test_unused_lanes_are_unavailable(kit: Any) -> None:
    oracle = kit.deploy(kit.Committee(table=kit.feed_table(3)))
    report = oracle.committee.report([kit.word_of(*(kit.answer(9) for _ in range(3)))])
    assert oracle.push(report).succeeded
    assert read(oracle, 2)[0] == 9
    for feed in (3, 4, 65535):
        assert read(oracle, feed) == f"UnknownFeed(feed={feed}, feeds=3)"
        with pytest.raises(Reverted):
            oracle.latest(feed)


def test_age_counts_from_the_observation(kit: Any) -> None:
    oracle = holding(kit, kit.answer(500), kit.answer(501, status=2), age_seconds=10)
    assert read(oracle, 0, age=10)[0] == 500
    assert read(oracle, 0, age=9) == "Stale(feed=0, age=10000, maxAge=9000)"
    # Carried: the carry of 3 s is added.
    assert read(oracle, 1, age=13)[0] == 501
    assert read(oracle, 1, age=12) == "Stale(feed=1, age=13000, maxAge=12000)"
    assert read(oracle, 1, age=0) == "Stale(feed=1, age=13000, maxAge=0)"


def test_age_counts_milliseconds(kit: Any) -> None:
    oracle = holding(kit, kit.answer(500), age_seconds=10, ahead_ms=-1)
    assert read(oracle, 0, age=10) == "Stale(feed=0, age=10001, maxAge=10000)"
    assert read(oracle, 0, age=11)[0] == 500


def test_an_observation_ahead_of_the_block_has_no_age(kit: Any) -> None:
    oracle = holding(kit, kit.answer(500), kit.answer(501, status=2), ahead_ms=kit.MAX_FUTURE_MS)
    assert read(oracle, 0, age=0)[0] == 500
    assert read(oracle, 1, age=3)[0] == 501
    assert read(oracle, 1, age=2) == "Stale(feed=1, age=3000, maxAge=2000)"


def test_confidence_decides(kit: Any) -> None:
    codes = {0x640: 100, 0xFF0: 255, 0x801: 256, 0xFFE: 255 << 14}
    oracle = holding(kit, *(kit.answer(500, code) for code in codes))
    for feed, ppm in enumerate(codes.values()):
        assert oracle.latest(feed).confidence_ppm == ppm
        assert read(oracle, feed, confidence=ppm)[0] == 500
        text = read(oracle, feed, confidence=ppm - 1)
        assert text == (f"Uncertain(feed={feed}, confidencePpm={ppm}, maxConfidencePpm={ppm - 1})")


def test_a_confidence_of_nothing_is_certain(kit: Any) -> None:
    oracle = holding(kit, kit.answer(500, 0))
    assert read(oracle, 0, confidence=0)[0] == 500


def test_an_unknown_confidence_is_never_certain_enough(kit: Any) -> None:
    oracle = holding(kit, kit.answer(500, 0xFFF))
    assert read(oracle, 0).startswith("Uncertain(feed=0")
    assert oracle.latest(0).confidence_ppm is None


def test_reads_of_the_largest_values(kit: Any) -> None:
    oracle = holding(kit, kit.answer(2**48 - 1), kit.answer(1))
    assert read(oracle, 0)[0] == 2**48 - 1
    assert read(oracle, 1)[0] == 1


@settings(max_examples=20, deadline=None)
@given(
    word=st.lists(st.integers(0, 2**64 - 1), min_size=4, max_size=4),
    age=st.integers(0, 20),
    confidence=st.one_of(st.integers(0, 1000), st.integers(0, 2**32 - 1)),
    kind=st.lists(st.sampled_from([0, 1, 2, 3, 4, 9]), min_size=4, max_size=4),
)
def test_a_read_returns_a_price_exactly_when_it_is_fit(
    shared: Any, word: list[int], age: int, confidence: int, kind: list[int]
) -> None:
    """O6 in words of its own, over arbitrary words."""
    oracle, kit = shared
    lanes = [lane & ~0xF | status for lane, status in zip(word, kind, strict=True)]
    head = oracle.chain.head
    observed = max(oracle.stored().observed_at_ms + 1, (head.timestamp - 8) * 1000)
    report = oracle.committee.report([kit.word_of(*lanes)], observed)
    assert client.decode_stored_flag(oracle.push(report).output)
    for feed, lane in enumerate(lanes):
        code = lane >> 4 & 0xFFF
        status, price = lane & 0xF, lane >> 16
        old = oracle.chain.head.timestamp * 1000 - observed + (3000 if status == 2 else 0)
        fit = (
            status in (1, 2, 3)
            and price > 0
            and old <= age * 1000
            and code != 0xFFF
            and (code >> 4) * 2 ** (code & 0xF) <= confidence
        )
        given = read(oracle, feed, age, confidence)
        assert (given == (price, observed)) if fit else isinstance(given, str)


@pytest.fixture(scope="module")
def shared(kit: Any) -> Any:
    oracle = kit.deploy(kit.Committee())
    oracle.chain.mine(timestamp=kit.CHAIN_TIME + 60)
    return oracle, kit

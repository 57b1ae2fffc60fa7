"""The Chainlink adapter says what the Oracle says, in 8 decimals, and nothing that is not fit."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

BTC, ETH, SHIB = 0, 1, 3
PHASE = 1 << 64


def test_the_newest_round_by_every_name(market: Any, kit: Any) -> None:
    market.push(kit.answer(640_000_1234567), kit.answer(3_000_12345678))
    at_ms = market.oracle.stored().observed_at_ms
    for feed, answer in ((BTC, 640_000_12345670), (ETH, 3_000_12345678)):
        adapter = market.adapter("ChainlinkAdapter", feed)
        round_id, at = PHASE | at_ms, at_ms // 1000
        assert adapter.call("latestRoundData") == (round_id, answer, at, at, round_id)
        assert adapter.call("getRoundData", round_id) == (round_id, answer, at, at, round_id)
        assert adapter.call("latestAnswer") == answer
        assert adapter.call("latestTimestamp") == at
        assert adapter.call("latestRound") == round_id
        assert adapter.call("getAnswer", round_id) == answer
        assert adapter.call("getTimestamp", round_id) == at
        assert adapter.call("decimals") == 8
        assert adapter.call("version") == 1
    assert adapter.call("description") == "ETH / USD"


@pytest.mark.parametrize("status", [0, 2, 4, 5, 15])
def test_only_live_and_degraded_answers_are_passed_on(market: Any, kit: Any, status: int) -> None:
    adapter = market.adapter("ChainlinkAdapter")
    for passed in (1, 3):
        market.push(kit.answer(10**12, status=passed))
        assert adapter.call("latestAnswer") == 10**13
    market.push(kit.answer(10**12 if status else 0, status=status))
    for function in ("latestRoundData", "latestAnswer", "latestTimestamp", "latestRound"):
        assert adapter.refusal(function).startswith("Unfit(0, ")
    assert adapter.refusal("getRoundData", PHASE | market.oracle.stored().observed_at_ms) == (
        "No data present"
    )
    assert not adapter.send("retain").succeeded


def test_venus_and_blizz_luna_2022_a_feed_that_stopped_has_no_last_price(
    market: Any, kit: Any
) -> None:
    adapter = market.adapter("ChainlinkAdapter")
    market.push(kit.answer(10**12))
    at_ms = market.oracle.stored().observed_at_ms
    assert adapter.call("latestAnswer") == 10**13
    market.wait(61)
    assert adapter.refusal("latestRoundData") == f"Unfit(0, 4, 1, {at_ms})"  # stale
    # The breaker trips: halted at once, though the price is a second old.
    market.push(kit.answer(10**12, status=4))
    assert adapter.refusal("latestAnswer").startswith("Unfit(0, 3, 4, ")


def test_an_uncertain_answer_is_not_passed_on(market: Any, kit: Any) -> None:
    adapter = market.adapter("ChainlinkAdapter")
    market.push(kit.answer(10**12, confidence=0xFFF))
    assert adapter.refusal("latestAnswer").startswith("Unfit(0, 5, 1, ")


def test_rounds_are_retained_for_ever_and_their_ids_never_go_back(market: Any, kit: Any) -> None:
    adapter = market.adapter("ChainlinkAdapter")
    rounds: list[int] = []
    for step in range(6):
        # Pushed and updated answers mix, and the neighbour is updated alone.
        report = market.report(kit.answer(10**12 + step), kit.answer(10**11))
        if step % 2:
            assert market.oracle.update(report.update(step % 4 // 2)).succeeded
        else:
            assert market.oracle.push(report).succeeded
        rounds.append(adapter.call("latestRound"))
        assert rounds[-1] == PHASE | report.header.observed_at_ms
        if step != 2:
            receipt = adapter.send("retain")
            assert receipt.succeeded
            assert len(receipt.logs) == 1
            assert not adapter.send("retain").logs  # once is enough
    assert rounds == sorted(set(rounds))
    market.wait(1_000_000)
    for step, round_id in enumerate(rounds):
        if step == 2:
            assert adapter.refusal("getRoundData", round_id) == "No data present"
            assert adapter.refusal("getAnswer", round_id) == "No data present"
            assert adapter.refusal("getTimestamp", round_id) == "No data present"
        else:
            at = (round_id - PHASE) // 1000
            expected = (round_id, (10**12 + step) * 10, at, at, round_id)
            assert adapter.call("getRoundData", round_id) == expected
            assert adapter.call("getAnswer", round_id) == expected[1]
            assert adapter.call("getTimestamp", round_id) == at
    # What was stale when it was asked for again is still what it was; the newest is not fit.
    assert adapter.refusal("latestRoundData").startswith("Unfit(0, 4, ")
    for unknown in (0, 1, rounds[0] - 1, rounds[0] & (PHASE - 1), rounds[0] | 2 << 64):
        assert adapter.refusal("getRoundData", unknown) == "No data present"
    assert adapter.refusal("getAnswer", rounds[0] | 1 << 200) == "No data present"


def test_an_observation_ahead_of_the_block_is_not_dated_later_than_it(
    market: Any, kit: Any
) -> None:
    adapter = market.adapter("ChainlinkAdapter")
    ahead = (market.chain.head.timestamp + 10) * 1000 + 999
    market.push(kit.answer(10**12), at_ms=ahead)
    round_id, _, started_at, updated_at, _ = adapter.call("latestRoundData")
    assert round_id == PHASE | ahead
    assert started_at == updated_at == market.chain.head.timestamp


def test_a_price_that_eight_decimals_cannot_tell_is_refused(market: Any, kit: Any) -> None:
    adapter = market.adapter("ChainlinkAdapter", SHIB)
    unused = [kit.answer(10**10)] * 3
    # Limit 5,000 ppm, confidence 100: a unit may be 4,900 ppm of the answer, which is 205 units.
    market.push(*unused, kit.answer(205_9999))
    assert adapter.call("latestAnswer") == 205
    market.push(*unused, kit.answer(204_9999))
    assert adapter.refusal("latestAnswer") == "TooCoarse(204, 5000)"
    assert adapter.refusal("getRoundData", PHASE | market.oracle.stored().observed_at_ms) == (
        "No data present"
    )
    market.push(*unused, kit.answer(1))
    assert adapter.refusal("latestAnswer") == "TooCoarse(0, 5000)"


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    decimals=st.integers(0, 18),
    price=st.integers(1, 2**96 - 1) | st.integers(1, 2**48 - 1),
    confidence=st.integers(0, 5_000),
)
def test_eight_decimals_are_rounded_down_and_within_the_limit(
    settable: Callable[..., Any], beside: Any, decimals: int, price: int, confidence: int
) -> None:
    reader = settable(("BTC", "USD", decimals))
    adapter = beside.create(
        reader.chain, "ChainlinkAdapter", reader.address, 0, "BTC/USD", (60, 5_000)
    )
    at_ms = reader.chain.head.timestamp * 1000
    assert reader.send("set", 0, price, confidence, 1, at_ms).succeeded
    exact_up = price * 10**8
    answer = exact_up // 10**decimals
    lost = exact_up - answer * 10**decimals
    if decimals <= 8:
        assert lost == 0
        assert adapter.call("latestAnswer") == answer
    elif answer * (5_000 - confidence) < 1_000_000:
        assert adapter.refusal("latestAnswer").startswith("TooCoarse(")
    else:
        assert adapter.call("latestAnswer") == answer
        # What was cut off and the confidence are together within the limit.
        assert lost * 10**6 <= answer * 10**decimals * (5_000 - confidence)


def test_a_price_beyond_all_reason_is_not_passed_on(
    settable: Callable[..., Any], beside: Any
) -> None:
    reader = settable(("BTC", "USD", 8))
    adapter = beside.create(
        reader.chain, "ChainlinkAdapter", reader.address, 0, "BTC/USD", (60, 5_000)
    )
    at_ms = reader.chain.head.timestamp * 1000
    assert reader.send("set", 0, 2**96 - 1, 0, 1, at_ms).succeeded
    assert adapter.call("latestAnswer") == 2**96 - 1
    assert reader.send("set", 0, 2**96, 0, 1, at_ms).succeeded
    assert adapter.refusal("latestAnswer") == f"Unfit(0, 0, 1, {at_ms})"


def test_it_is_deployed_only_for_what_was_meant(
    settable: Callable[..., Any], beside: Any, market: Any
) -> None:
    def refusal(feed: int, pair: str, limits: tuple[int, int] = (60, 5_000)) -> str:
        arguments = (market.oracle.address, feed, pair, limits)
        text: str = beside.refused_creation(market.chain, "ChainlinkAdapter", *arguments)
        return text

    assert refusal(0, "ETH/USD") == "AnotherPair(BTC/USD, ETH/USD)"
    assert refusal(2, "CBETH/USD") == "AnotherPair(CBETH/ETH, CBETH/USD)"
    assert refusal(4, "BTC/USD") == "UnknownFeed(4, 4)"
    assert refusal(0, "BTC/USD", (0, 5_000)) == "OutOfRange(maxAgeSeconds, 0, 1, 4294967295)"
    reader = settable(("BTC", "USD", 19))
    arguments = (reader.address, 0, "BTC/USD", (60, 5_000))
    assert beside.refused_creation(reader.chain, "ChainlinkAdapter", *arguments) == (
        "OutOfRange(decimals, 19, 0, 18)"
    )

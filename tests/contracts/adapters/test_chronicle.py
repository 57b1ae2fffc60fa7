"""The Chronicle adapter gives 18 decimals, and a time under the name of age."""

from typing import Any

import pytest


def test_reads_agree_with_each_other(market: Any, kit: Any) -> None:
    market.push(kit.answer(640_000_1234567), kit.answer(3_000_12345678), kit.answer(1_080000001))
    at = market.oracle.stored().observed_at_ms // 1000
    for feed, value in ((0, 640_000_1234567 * 10**11), (2, 1_080000001 * 10**9)):
        adapter = market.adapter("ChronicleAdapter", feed)
        assert adapter.call("read") == value
        assert adapter.call("tryRead") == (True, value)
        assert adapter.call("readWithAge") == (value, at)
        assert adapter.call("tryReadWithAge") == (True, value, at)
    assert adapter.call("wat") == b"CBETH/ETH".ljust(32, b"\0")


@pytest.mark.parametrize("status", [0, 2, 4, 9])
def test_only_live_and_degraded_answers_are_passed_on(market: Any, kit: Any, status: int) -> None:
    adapter = market.adapter("ChronicleAdapter")
    assert adapter.call("tryRead") == (False, 0)  # before the first report
    market.push(kit.answer(10**12, status=3))
    assert adapter.call("tryRead") == (True, 10**23)
    market.push(kit.answer(10**12 if status else 0, status=status))
    assert adapter.call("tryRead") == (False, 0)
    assert adapter.call("tryReadWithAge") == (False, 0, 0)
    assert adapter.refusal("read").startswith("Unfit(0, ")
    assert adapter.refusal("readWithAge").startswith("Unfit(0, ")


def test_an_age_is_the_time_of_observation_and_a_delayed_report_looks_old(
    market: Any, kit: Any
) -> None:
    adapter = market.adapter("ChronicleAdapter")
    observed = market.chain.head.timestamp - 50
    market.push(kit.answer(10**12), at_ms=observed * 1000 + 999)
    assert adapter.call("readWithAge") == (10**23, observed)
    market.wait(20)
    assert adapter.call("tryReadWithAge") == (False, 0, 0)
    ahead = (market.chain.head.timestamp + 9) * 1000
    market.push(kit.answer(10**12), at_ms=ahead)
    assert adapter.call("readWithAge")[1] == market.chain.head.timestamp

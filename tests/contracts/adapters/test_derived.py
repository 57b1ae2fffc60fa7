"""Feeds derived from others: units that chain, the worst of the legs, a confidence that holds."""

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

BTC, ETH, CBETH, SHIB = range(4)
LIVE, CARRIED, DEGRADED, HALTED, UNAVAILABLE = 1, 2, 3, 4, 0
NONE, UNKNOWN_FEED, R_UNAVAILABLE, R_HALTED, R_STALE, R_UNCERTAIN = range(6)
UNKNOWN = 2**256 - 1
ANY = 2**32 - 1
MILLION = 10**6
FIT = {"max_examples": 100, "deadline": None}
quick = settings(**FIT, suppress_health_check=[HealthCheck.function_scoped_fixture])  # type: ignore[arg-type]

prices = st.integers(1, 2**48 - 1) | st.integers(1, 2**96 - 1)
decimals = st.integers(0, 18)
confidences = st.integers(0, 1_200_000)


def test_ether_in_bitcoin_out_of_two_prices_in_dollars(market: Any, kit: Any) -> None:
    market.push(kit.answer(60_000_0000000), kit.answer(3_000_00000000))
    at_ms = market.oracle.stored().observed_at_ms
    oracle = market.oracle.address
    rate = market.create("CrossRate", (oracle, ETH), (oracle, BTC), 12)
    assert rate.call("isQuotient")
    # 100 ppm and 100 ppm, as a quotient's bound, and a ppm for what was cut off.
    assert rate.call("latest", 0) == (50_000_000_000, 202, LIVE, at_ms)
    assert rate.call("read", 0, 60, 5_000) == (50_000_000_000, at_ms)
    assert rate.call("tryRead", 0, 60, 5_000) == (NONE, 50_000_000_000, 202, LIVE, at_ms)
    assert rate.call("feed", 0) == ("ETH", "BTC", 12, 2_000, 30_000, 1, LIVE)
    assert rate.call("feedCount") == 1
    assert rate.refusal("latest", 1) == "UnknownFeed(1, 1)"
    assert rate.refusal("read", 1, 60, 5_000) == "UnknownFeed(1, 1)"
    assert rate.refusal("feed", 1) == "UnknownFeed(1, 1)"
    assert rate.call("tryRead", 1, 60, 5_000) == (UNKNOWN_FEED, 0, UNKNOWN, UNAVAILABLE, 0)


def test_moonwell_2025_26_a_rate_in_ether_becomes_dollars_only_by_the_multiplication(
    market: Any, kit: Any, beside: Any
) -> None:
    market.push(kit.answer(0), kit.answer(3_000_00000000), kit.answer(1_080000000))
    oracle = market.oracle.address
    dollars = market.create("CrossRate", (oracle, CBETH), (oracle, ETH), 8)
    assert not dollars.call("isQuotient")
    assert dollars.call("latest", 0)[0] == 3_240_00000000
    assert dollars.call("feed", 0)[:3] == ("CBETH", "USD", 8)
    # Deployed as if it were in dollars, or with the wrong second feed, it does not get that far.
    arguments = (oracle, CBETH, "CBETH/USD", (60, 5_000))
    assert beside.refused_creation(market.chain, "ChainlinkAdapter", *arguments) == (
        "AnotherPair(CBETH/ETH, CBETH/USD)"
    )
    for first, second, pairs in (
        (CBETH, BTC, "CBETH, ETH, BTC, USD"),
        (ETH, CBETH, "ETH, USD, CBETH, ETH"),
        (ETH, ETH, "ETH, USD, ETH, USD"),
    ):
        assert beside.refused_creation(
            market.chain, "CrossRate", (oracle, first), (oracle, second), 8
        ) == (f"UnitsDoNotChain({pairs})")


def test_an_adapter_sits_on_a_derived_feed(market: Any, kit: Any) -> None:
    market.push(kit.answer(60_000_0000000), kit.answer(3_000_00000000))
    oracle = market.oracle.address
    rate = market.create("CrossRate", (oracle, ETH), (oracle, BTC), 12)
    adapter = market.create("ChainlinkAdapter", rate.address, 0, "ETH/BTC", (60, 5_000))
    assert adapter.call("latestAnswer") == 5_000_000
    assert adapter.call("description") == "ETH / BTC"
    market.push(kit.answer(60_000_0000000, status=HALTED), kit.answer(3_000_00000000))
    assert adapter.refusal("latestAnswer").startswith("Unfit(0, 3, 4, ")
    market.push(kit.answer(60_000_0000000, status=CARRIED), kit.answer(3_000_00000000, status=3))
    assert adapter.refusal("latestAnswer").startswith("Unfit(0, 0, 2, ")


def test_the_worse_leg_decides(settable: Callable[..., Any], beside: Any) -> None:
    reader = settable(("ETH", "USD", 8), ("BTC", "USD", 8))
    legs = [(reader.address, 0), (reader.address, 1)]
    rate = beside.create(reader.chain, "CrossRate", *legs, 8)
    now_ms = reader.chain.head.timestamp * 1000
    from_best = (LIVE, DEGRADED, CARRIED, HALTED, UNAVAILABLE)
    reasons = {HALTED: (R_HALTED, "Halted(0)"), UNAVAILABLE: (R_UNAVAILABLE, "Unavailable(0, 0)")}
    for first in from_best:
        for second in from_best:
            for leg, status in enumerate((first, second)):
                assert reader.send("set", leg, 10**8, 10, status, now_ms - 1000 * leg).succeeded
            worse = max(first, second, key=from_best.index)
            reason, price, _, status, at_ms = rate.call("tryRead", 0, ANY, ANY)
            assert (status, at_ms) == (worse, now_ms - 1000)
            assert price == 10**8
            expected, refusal = reasons.get(worse, (NONE, ""))
            assert reason == expected
            assert rate.call("latest", 0)[2] == worse
            assert rate.call("feed", 0)[6] == worse
            if refusal:
                assert rate.refusal("read", 0, ANY, ANY) == refusal
            else:
                assert rate.call("read", 0, ANY, ANY) == (10**8, now_ms - 1000)
    # A status that nobody knows is as bad as none.
    assert reader.send("set", 0, 10**8, 10, 9, now_ms).succeeded
    assert reader.send("set", 1, 10**8, 10, HALTED, now_ms).succeeded
    assert rate.call("latest", 0)[2] == 9


@pytest.mark.parametrize("name", ["CrossRate", "InverseFeed", "SequencerGate", "SettableReader"])
def test_what_is_read_like_an_oracle_has_its_selectors_and_types(beside: Any, name: str) -> None:
    def reads(contract: str) -> dict[str, Any]:
        return {
            entry["name"]: (beside.types_of(entry["inputs"]), beside.types_of(entry["outputs"]))
            for entry in beside.artifact(contract)["abi"]
            if entry.get("name") in ("read", "tryRead", "latest", "feed")
        }

    assert len(reads("Oracle")) == 4
    assert reads(name) == reads("Oracle")


def test_either_leg_s_age_counts(settable: Callable[..., Any], beside: Any) -> None:
    reader = settable(("ETH", "USD", 8), ("BTC", "USD", 8))
    rate = beside.create(reader.chain, "CrossRate", (reader.address, 0), (reader.address, 1), 8)
    for old in (0, 1):
        now_ms = reader.chain.head.timestamp * 1000
        for leg in (0, 1):
            age_ms = 100_000 if leg == old else 0
            assert reader.send("set", leg, 10**8, 10, LIVE, now_ms - age_ms).succeeded
        assert rate.call("tryRead", 0, 90, ANY)[0] == R_STALE
        assert rate.refusal("read", 0, 90, ANY) == "Stale(0, 102000, 90000)"
        assert rate.call("tryRead", 0, 110, ANY)[0] == NONE


def exact(first: int, second: int, scales: tuple[int, int, int], quotient: bool) -> Fraction:
    """Return the rate in units of the result's last decimal."""
    a, b = Fraction(first, 10 ** scales[0]), Fraction(second, 10 ** scales[1])
    return (a / b if quotient else a * b) * 10 ** scales[2]


@quick
@given(
    first=prices,
    second=prices,
    scales=st.tuples(decimals, decimals, decimals),
    widths=st.tuples(confidences, confidences),
    quotient=st.booleans(),
    ends=st.tuples(st.sampled_from((-1, 1)), st.sampled_from((-1, 1))),
)
@example(3 * 10**11, 6 * 10**11, (8, 7, 12), (100, 200), True, (1, -1))
@example(2**96 - 1, 2**96 - 1, (18, 18, 18), (1, 1), False, (1, 1))
@example(2**96 - 1, 1, (0, 18, 18), (0, 0), True, (1, 1))
@example(399_999_999, 1, (8, 0, 0), (900_000, 0), False, (1, 1))
@example(1, 2**96 - 1, (18, 0, 0), (0, 0), True, (1, 1))
def test_a_rate_is_rounded_down_and_its_confidence_covers_every_pair_of_legs(
    settable: Callable[..., Any],
    beside: Any,
    first: int,
    second: int,
    scales: tuple[int, int, int],
    widths: tuple[int, int],
    quotient: bool,
    ends: tuple[int, int],
) -> None:
    reader = settable(("A", "C" if quotient else "B", scales[0]), ("B", "C", scales[1]))
    rate = beside.create(
        reader.chain, "CrossRate", (reader.address, 0), (reader.address, 1), scales[2]
    )
    now_ms = reader.chain.head.timestamp * 1000
    for leg, price in enumerate((first, second)):
        assert reader.send("set", leg, price, widths[leg], LIVE, now_ms).succeeded
    reason, price, width, _, _ = rate.call("tryRead", 0, 60, ANY)
    middle = exact(first, second, scales, quotient)
    if not 1 <= middle < 2**96:
        assert (reason, price, width) == (R_UNAVAILABLE, 0, UNKNOWN)
        assert rate.refusal("read", 0, 60, ANY) == f"Unavailable(0, {LIVE})"
        return
    assert price == int(middle)
    if quotient and widths[1] >= MILLION:
        # The second leg may be anything down to nothing.
        assert (reason, width) == (R_UNCERTAIN, UNKNOWN)
        return
    assert width >= sum(widths)
    a, b = (
        Fraction(leg) * (MILLION + end * width) / MILLION
        for leg, end, width in zip((first, second), ends, widths, strict=True)
    )
    true = exact(1, 1, scales, quotient) * (a / b if quotient else a * b)
    assert abs(true - price) <= Fraction(price * width, MILLION)


def test_confidences_add_up(settable: Callable[..., Any], beside: Any) -> None:
    reader = settable(("A", "B", 8), ("B", "C", 8))
    rate = beside.create(reader.chain, "CrossRate", (reader.address, 0), (reader.address, 1), 8)
    now_ms = reader.chain.head.timestamp * 1000
    for leg, width in enumerate((300, 500)):
        assert reader.send("set", leg, 10**10, width, LIVE, now_ms).succeeded
    # 800, what the product of the two adds, and the unit that was cut off.
    assert rate.call("latest", 0)[1] == 802
    assert rate.call("tryRead", 0, 60, 802)[0] == NONE
    assert rate.call("tryRead", 0, 60, 801)[0] == R_UNCERTAIN
    assert rate.refusal("read", 0, 60, 801) == "Uncertain(0, 802, 801)"
    assert reader.send("set", 1, 10**10, UNKNOWN, LIVE, now_ms).succeeded
    assert rate.call("latest", 0)[1] == UNKNOWN
    assert rate.call("tryRead", 0, 60, ANY)[0] == R_UNCERTAIN


@quick
@given(price=prices, scales=st.tuples(decimals, decimals), width=confidences)
@example(10**14, (7, 18), 100)
def test_an_inverse_is_rounded_down_and_its_confidence_covers_it(
    settable: Callable[..., Any], beside: Any, price: int, scales: tuple[int, int], width: int
) -> None:
    reader = settable(("BTC", "USD", scales[0]))
    inverse = beside.create(reader.chain, "InverseFeed", (reader.address, 0), scales[1])
    at_ms = reader.chain.head.timestamp * 1000
    assert reader.send("set", 0, price, width, DEGRADED, at_ms).succeeded
    assert inverse.call("feed", 0) == ("USD", "BTC", scales[1], 1_000, 30_000, 1, DEGRADED)
    reason, got, got_width, status, got_at = inverse.call("tryRead", 0, 60, ANY)
    assert (status, got_at) == (DEGRADED, at_ms)
    middle = Fraction(10 ** sum(scales), price)
    if not 1 <= middle < 2**96:
        assert (reason, got, got_width) == (R_UNAVAILABLE, 0, UNKNOWN)
        return
    assert got == int(middle)
    if width >= MILLION:
        assert (reason, got_width) == (R_UNCERTAIN, UNKNOWN)
        return
    assert reason == NONE
    for end in (-width, width):
        true = middle * MILLION / (MILLION + end)
        assert abs(true - got) <= Fraction(got * got_width, MILLION)


@pytest.mark.parametrize("name", ["CrossRate", "InverseFeed"])
def test_decimals_have_a_limit(settable: Callable[..., Any], beside: Any, name: str) -> None:
    reader = settable(("ETH", "USD", 8), ("BTC", "USD", 8), ("X", "USD", 19))
    count = 2 if name == "CrossRate" else 1

    def refusal(decimals: int, *feeds: int) -> str:
        legs = [(reader.address, feed) for feed in feeds[:count]]
        text: str = beside.refused_creation(reader.chain, name, *legs, decimals)
        return text

    assert refusal(19, 0, 1) == "TooManyDecimals(19, 18)"
    assert refusal(18, 2, 0) == "TooManyDecimals(19, 18)"


def test_a_rate_has_no_price_that_its_legs_hold_no_more(
    settable: Callable[..., Any], beside: Any
) -> None:
    """A leg beyond what the arithmetic has room for is no price, and nothing reverts."""
    reader = settable(("A", "C", 8), ("B", "C", 8))
    rate = beside.create(reader.chain, "CrossRate", (reader.address, 0), (reader.address, 1), 8)
    now_ms = reader.chain.head.timestamp * 1000
    # The first quotient would fit again.
    for first, second in ((2**96, 2**40), (2**256 - 1, 10**8), (10**8, 2**256 - 1)):
        for leg, price in enumerate((first, second)):
            assert reader.send("set", leg, price, 10, LIVE, now_ms).succeeded
        assert rate.call("tryRead", 0, 60, ANY)[:3] == (R_UNAVAILABLE, 0, UNKNOWN)


def test_a_sequencer_that_is_down_or_came_up_lately_gives_no_price(
    market: Any, kit: Any, beside: Any
) -> None:
    market.push(kit.answer(10**12))
    at_ms = market.oracle.stored().observed_at_ms
    uptime = market.create("SettableUptime")
    assert uptime.send("set", 0, market.chain.head.timestamp - 10_000).succeeded
    gate = market.create("SequencerGate", market.oracle.address, uptime.address, 3_600)
    assert gate.call("isOpen")
    assert gate.call("read", 0, 60, 5_000) == (10**12, at_ms)
    assert gate.call("tryRead", 0, 60, 5_000) == (NONE, 10**12, 100, LIVE, at_ms)
    assert gate.call("latest", 0) == (10**12, 100, LIVE, at_ms)
    assert gate.call("feed", 0)[6] == LIVE
    adapter = market.create("ChainlinkAdapter", gate.address, 0, "BTC/USD", (600, 5_000))
    assert adapter.call("latestAnswer") == 10**13

    def closed(refusal: str) -> None:
        assert not gate.call("isOpen")
        assert gate.refusal("read", 0, 600, 5_000) == refusal
        assert gate.call("tryRead", 0, 600, 5_000)[0] == R_UNAVAILABLE
        assert gate.call("tryRead", 0, 600, 5_000)[3] == UNAVAILABLE
        assert gate.call("tryRead", 9, 600, 5_000)[0] == UNKNOWN_FEED
        assert gate.call("latest", 0) == (10**12, 100, UNAVAILABLE, at_ms)
        assert gate.call("feed", 0)[6] == UNAVAILABLE
        assert adapter.refusal("latestAnswer") == f"Unfit(0, 2, 0, {at_ms})"

    now = market.chain.head.timestamp
    assert uptime.send("set", 1, now).succeeded
    closed("SequencerDown()")
    for answer, started_at in ((0, 0), (2, now - 9_999), (-1, now - 9_999), (0, now + 100)):
        assert uptime.send("set", answer, started_at).succeeded
        closed("SequencerDown()")
    back = market.chain.head.timestamp - 3_590
    assert uptime.send("set", 0, back).succeeded
    closed(f"GracePeriod({back}, {back + 3_600})")
    market.chain.mine(timestamp=back + 3_600)
    closed(f"GracePeriod({back}, {back + 3_600})")
    market.chain.mine(timestamp=back + 3_601)
    assert gate.call("isOpen")
    assert adapter.call("latestAnswer") == 10**13


def test_a_gate_needs_an_uptime_feed_that_answers(market: Any, beside: Any) -> None:
    silent = beside.constant(market.chain, 0)
    for address in (b"\x12" * 20, silent):
        assert beside.refused_creation(
            market.chain, "SequencerGate", market.oracle.address, address, 3_600
        ) == ("SequencerDown()")

"""The ERC-7726 adapter turns amounts into amounts, rounded down, both ways."""

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

ETHER = b"\xee" * 20
BITCOIN = b"\xbb" * 20
DOLLAR = (840).to_bytes(20, "big")
EURO = (978).to_bytes(20, "big")
UINT256_MAX = 2**256 - 1


def test_what_bitcoin_is_worth_in_dollars_and_back(market: Any, kit: Any) -> None:
    market.push(kit.answer(64_000_5000000))
    quotes = market.create(
        "QuoteAdapter", market.oracle.address, 0, "BTC/USD", (60, 5_000), BITCOIN, DOLLAR
    )
    # 8 decimals of bitcoin, 18 of dollars.
    assert quotes.call("getQuote", 10**8, BITCOIN, DOLLAR) == 64_000_5 * 10**17
    assert quotes.call("getQuote", 64_000_5 * 10**17, DOLLAR, BITCOIN) == 10**8
    assert quotes.call("getQuote", 64_000_5 * 10**17 - 1, DOLLAR, BITCOIN) == 10**8 - 1
    assert quotes.call("getQuote", 0, BITCOIN, DOLLAR) == 0
    assert quotes.call("base") == "0x" + BITCOIN.hex()


def test_tokens_say_their_decimals(market: Any, kit: Any, beside: Any) -> None:
    market.push(kit.answer(0), kit.answer(3_000_00000000))
    usdc = beside.constant(market.chain, 6)
    quotes = market.create(
        "QuoteAdapter", market.oracle.address, 1, "ETH/USD", (60, 5_000), ETHER, usdc
    )
    assert quotes.call("getQuote", 10**18, ETHER, usdc) == 3_000 * 10**6
    assert quotes.call("getQuote", 1, usdc, ETHER) == 333_333_333


def test_other_pairs_are_not_supported(market: Any, kit: Any) -> None:
    market.push(kit.answer(10**12))
    quotes = market.create(
        "QuoteAdapter", market.oracle.address, 0, "BTC/USD", (60, 5_000), BITCOIN, DOLLAR
    )
    for pair in ((BITCOIN, EURO), (ETHER, DOLLAR), (BITCOIN, BITCOIN), (DOLLAR, DOLLAR)):
        text = ", ".join("0x" + address.hex() for address in pair)
        assert quotes.refusal("getQuote", 1, *pair) == f"OracleUnsupportedPair({text})"


@pytest.mark.parametrize("status", [0, 2, 4, 7])
def test_an_answer_that_is_not_fit_is_untrusted(market: Any, kit: Any, status: int) -> None:
    quotes = market.create(
        "QuoteAdapter", market.oracle.address, 0, "BTC/USD", (60, 5_000), BITCOIN, DOLLAR
    )
    market.push(kit.answer(10**12, status=3))
    assert quotes.call("getQuote", 10**8, BITCOIN, DOLLAR) == 10**23
    market.push(kit.answer(10**12 if status else 0, status=status))
    for pair in ((BITCOIN, DOLLAR), (DOLLAR, BITCOIN)):
        assert quotes.refusal("getQuote", 1, *pair).startswith("OracleUntrustedData(")
    market.push(kit.answer(10**12))
    market.wait(61)
    assert quotes.refusal("getQuote", 1, BITCOIN, DOLLAR).startswith("OracleUntrustedData(")


def test_moonwell_2025_26_addresses_stand_for_the_feed_s_own_units(
    market: Any, beside: Any
) -> None:
    """A rate in ether cannot be deployed as one in dollars."""

    def refusal(feed: int, pair: str, base: bytes, quote: bytes) -> str:
        arguments = (market.oracle.address, feed, pair, (60, 5_000), base, quote)
        text: str = beside.refused_creation(market.chain, "QuoteAdapter", *arguments)
        return text

    cbeth = beside.constant(market.chain, 18)
    assert refusal(2, "CBETH/USD", cbeth, DOLLAR) == "AnotherPair(CBETH/ETH, CBETH/USD)"
    assert refusal(2, "CBETH/ETH", cbeth, DOLLAR) == f"AnotherAsset(0x{DOLLAR.hex()}, ETH)"
    assert refusal(0, "BTC/USD", ETHER, DOLLAR) == f"AnotherAsset(0x{ETHER.hex()}, BTC)"
    assert refusal(1, "ETH/USD", BITCOIN, DOLLAR) == f"AnotherAsset(0x{BITCOIN.hex()}, ETH)"
    assert refusal(1, "ETH/USD", ETHER, EURO) == f"AnotherAsset(0x{EURO.hex()}, USD)"
    nameless = (999).to_bytes(20, "big")
    assert refusal(0, "BTC/USD", BITCOIN, nameless) == f"AnotherAsset(0x{nameless.hex()}, USD)"
    nobody = b"\x12" * 20
    assert refusal(0, "BTC/USD", nobody, DOLLAR) == f"NoDecimals(0x{nobody.hex()})"
    assert refusal(0, "BTC/USD", bytes(20), DOLLAR) == f"NoDecimals(0x{bytes(20).hex()})"
    silly = beside.constant(market.chain, 37)
    assert refusal(0, "BTC/USD", silly, DOLLAR) == "OutOfRange(decimals, 37, 0, 36)"


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    scales=st.tuples(st.integers(0, 18), st.integers(0, 36), st.integers(0, 36)),
    price=st.integers(1, 2**48 - 1) | st.integers(1, 2**96 - 1),
    amount=st.integers(0, 2**128) | st.integers(0, UINT256_MAX),
    forward=st.booleans(),
)
# A product of exactly 3 * 2**256, whose remainder borrows from the upper half.
@example((18, 18, 0), 2**48, 3 * 2**208, True)
def test_an_amount_is_the_exact_one_rounded_down_or_does_not_fit(
    settable: Callable[..., Any],
    beside: Any,
    scales: tuple[int, int, int],
    price: int,
    amount: int,
    forward: bool,
) -> None:
    feed, base, quote = scales
    reader = settable(("A", "B", feed))
    chain = reader.chain
    a, b = beside.constant(chain, base), beside.constant(chain, quote)
    quotes = beside.create(chain, "QuoteAdapter", reader.address, 0, "A/B", (60, 5_000), a, b)
    assert reader.send("set", 0, price, 0, 1, chain.head.timestamp * 1000).succeeded
    exact = Fraction(price * 10**quote, 10 ** (feed + base))
    pair = (a, b) if forward else (b, a)
    expected = int(amount * exact if forward else amount / exact)
    if expected > UINT256_MAX:
        assert quotes.refusal("getQuote", amount, *pair).startswith("Overflow(")
    else:
        assert quotes.call("getQuote", amount, *pair) == expected

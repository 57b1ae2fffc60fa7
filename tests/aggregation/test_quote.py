"""Source quotes: what is dropped, what is clamped, what is rounded where."""

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregation.feed import FeedSpec, SourceSpec
from aggregation.price import PRICE_MAX, rescale_down, rescale_up
from aggregation.quote import (
    QUOTE_SCALE,
    Quote,
    RawQuote,
    Rejected,
    RejectReason,
    SourcePrice,
    parse_decimal,
    quote_for,
    source_price,
)

SOURCE = SourceSpec("kraken", "BTC", "USD", 1, 5_000)
FEED = FeedSpec("BTC", "USD", 7, 1, 1, 2_000, 1_000, 30_000, (SOURCE,))
MIDDLE = 650_000_000_000


def quote(bid: int, ask: int, last: int | None = None, age_ms: int = 0) -> Quote:
    return Quote(bid, ask, last, age_ms)


def price_of(one: Quote) -> SourcePrice | Rejected:
    return source_price(one, SOURCE, FEED)


@given(
    st.integers(-5, 2**50) | st.integers(MIDDLE, MIDDLE + 10**7),
    st.integers(-5, 2**50) | st.integers(MIDDLE, MIDDLE + 10**7),
    st.none() | st.integers(-(2**50), 2**50),
    st.integers(0, 6_000),
)
def test_a_price_lies_in_a_book_that_is_within_every_limit(
    bid: int, ask: int, last: int | None, age_ms: int
) -> None:
    result = price_of(quote(bid, ask, last, age_ms))
    if isinstance(result, SourcePrice):
        assert 0 < bid <= result.price <= ask <= PRICE_MAX
        assert (ask - bid) * 1_000_000 <= FEED.max_half_spread_ppm * (ask + bid)
        assert age_ms <= SOURCE.max_age_ms
        assert ask - bid <= 2 * result.half_spread <= ask - bid + 1


@pytest.mark.parametrize(
    ("one", "reason"),
    [
        (quote(0, MIDDLE), RejectReason.CROSSED),
        (quote(-1, MIDDLE), RejectReason.CROSSED),
        (quote(MIDDLE + 1, MIDDLE), RejectReason.CROSSED),
        (quote(MIDDLE, MIDDLE, age_ms=5_001), RejectReason.STALE),
        (quote(998_000, 1_002_001), RejectReason.WIDE_SPREAD),
        (quote(PRICE_MAX, PRICE_MAX + 1), RejectReason.UNREPRESENTABLE),
    ],
)
def test_a_quote_beyond_a_limit_is_dropped(one: Quote, reason: RejectReason) -> None:
    assert price_of(one) == Rejected(reason)


def test_a_quote_at_its_limits_counts() -> None:
    assert price_of(quote(998_000, 1_002_000, age_ms=5_000)) == SourcePrice(1_000_000, 2_000)
    assert price_of(quote(1, 1)) == SourcePrice(1, 0)


def test_the_last_trade_is_clamped_into_the_book() -> None:
    bid, ask = MIDDLE, MIDDLE + 101
    assert price_of(quote(bid, ask, bid + 7)) == SourcePrice(bid + 7, 51)
    assert price_of(quote(bid, ask, 1)) == SourcePrice(bid, 51)
    assert price_of(quote(bid, ask, 2**60)) == SourcePrice(ask, 51)
    assert price_of(quote(bid, ask)) == SourcePrice(bid + 50, 51)


def test_a_quote_is_rescaled_outwards_and_ages_upwards() -> None:
    one = 10**QUOTE_SCALE
    raw = RawQuote(
        "kraken", "BTC", "USD", one + 1, one + 1, one + 99_999, QUOTE_SCALE, None, None, 0
    )
    made = quote_for(raw, FEED, 1)
    assert (made.bid, made.ask, made.last, made.age_ms) == (10**7, 10**7 + 1, 10**7, 1)
    assert quote_for(raw, FEED, 5_000_000_000).age_ms == 5_000
    assert quote_for(raw, FEED, 5_000_000_001).age_ms == 5_001
    assert quote_for(replace(raw, received_ns=10), FEED, 5).age_ms == 0
    fine = replace(FEED, decimals=18)
    assert quote_for(raw, fine, 0).bid == (one + 1) * 10**6


@given(st.integers(0, 10**40), st.integers(0, 20), st.integers(0, 20))
def test_rescaling_rounds_as_it_says(value: int, before: int, after: int) -> None:
    exact = Fraction(value * 10**after, 10**before)
    assert rescale_down(value, before, after) <= exact <= rescale_up(value, before, after)
    assert rescale_up(value, before, after) - rescale_down(value, before, after) <= 1


@given(st.integers(0, 10**30 - 1))
def test_a_decimal_is_read_exactly(scaled: int) -> None:
    whole, fraction = divmod(scaled, 10**12)
    assert parse_decimal(f"{whole}.{fraction:012d}") == scaled
    assert parse_decimal(f"{whole}.{fraction:012d}000") == scaled
    assert parse_decimal(f"{whole}.{fraction:012d}e0") == scaled


@pytest.mark.parametrize(
    ("text", "scaled"),
    [
        ("0", 0),
        ("65000", 65_000 * 10**12),
        ("65000.10", 65_000_100_000_000_000),
        ("0.000000000001", 1),
        ("1e-12", 1),
        ("1.5E+3", 1_500 * 10**12),
        ("0.0000000000010000", 1),
    ],
)
def test_plain_decimals_are_taken(text: str, scaled: int) -> None:
    assert parse_decimal(text) == scaled


@pytest.mark.parametrize(
    "text",
    [
        *("", " 1", "1 ", "1\n", "-1", "+1", "nan", "NaN", "inf", "Infinity", "1_000", "1,5"),
        *(".5", "5.", "0x10", "1e", "1e100", "1e99", "1e18", "1e-13", "0.0000000000001"),
        *("9" * 19, "1" * 100, "٣", "１", "1.2.3", "1e5e5", "0" * 65, "1.5\x00"),
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"decimal|large"):
        parse_decimal(text)


@given(st.text(max_size=70))
def test_no_text_makes_parsing_do_anything_but_refuse(text: str) -> None:
    try:
        scaled = parse_decimal(text)
    except ValueError:
        return
    assert 0 <= scaled < 10**30
    assert Fraction(text) * 10**12 == scaled

"""A wrong conversion rate can never move a price out of the range of the USD-native ones."""

from hypothesis import example, given
from hypothesis import strategies as st

from aggregation.feed import FeedSpec, SourceSpec
from aggregation.member import MemberPrice, Shortage, member_prices
from aggregation.quote import QUOTE_SCALE, RawQuote, RejectReason
from aggregation.table import FeedTable
from aggregation.weights import cap_converted, cap_venues

ONE = 10**QUOTE_SCALE
DIRECT = ("bitstamp", "coinbase", "gemini", "kraken")
VENUES = (*DIRECT, "binance", "okx", "bybit")


def quote_of(source: SourceSpec, price: int) -> RawQuote:
    """Return a quote whose book is a single price, scaled by 10**12."""
    return RawQuote(*source.key, price, price, None, QUOTE_SCALE, None, None, 0)


def table_of(
    native: list[int], converted: list[int], cap_ppm: int, minimum_native: int = 1
) -> FeedTable:
    sources = (
        *(SourceSpec(VENUES[i], "BTC", "USD", w, 5_000) for i, w in enumerate(native)),
        *(SourceSpec(VENUES[-1 - i], "BTC", "USDT", w, 5_000) for i, w in enumerate(converted)),
    )
    bitcoin = FeedSpec(
        "BTC",
        "USD",
        7,
        1,
        1,
        5_000,
        1_000,
        30_000,
        sources,
        venue_cap_ppm=cap_ppm,
        minimum_native_venues=minimum_native,
    )
    direct = tuple(SourceSpec(venue, "USDT", "USD", 1, 5_000) for venue in DIRECT)
    tether = FeedSpec("USDT", "USD", 10, 1, 3, 5_000, 500, 60_000, direct)
    return FeedTable((bitcoin, tether))


def bitcoin_price(
    table: FeedTable, native: list[int], converted: list[int], rates: list[int]
) -> MemberPrice:
    bitcoin, tether = table.feeds
    quotes = {
        source.key: quote_of(source, price)
        for source, price in zip(bitcoin.sources, native + converted, strict=True)
        if price
    }
    for source, rate in zip(tether.sources, rates, strict=False):
        quotes[source.key] = quote_of(source, rate)
    return member_prices(table, quotes, 0)[0]


weights = st.integers(1, 1_000_000) | st.integers(1, 5)
group = st.lists(st.tuples(weights, st.integers(1, 2_000_000)), min_size=1, max_size=6)


@given(
    group,
    group,
    st.integers(1, 1_000_000),
    st.lists(st.integers(ONE // 10**6, 10**3 * ONE), min_size=3, max_size=4),
)
@example([(1, 100)], [(1, 100)], 1_000_000, [ONE // 10**5] * 3)
@example([(1, 100), (1, 100)], [(9, 100)], 400_000, [ONE // 10**5] * 3)
@example([(1, 100), (1, 100)], [(9, 100), (9, 100)], 400_000, [100 * ONE] * 3)
def test_a_converted_group_never_moves_the_price_out_of_the_native_range(
    native: list[tuple[int, int]],
    converted: list[tuple[int, int]],
    cap_ppm: int,
    rates: list[int],
) -> None:
    table = table_of([w for w, _ in native], [w for w, _ in converted], cap_ppm)
    native_prices = [price * ONE for _, price in native]
    result = bitcoin_price(table, native_prices, [price * ONE for _, price in converted], rates)
    in_feed_units = [price // 10**5 for price in native_prices]
    assert min(in_feed_units) <= result.price <= max(in_feed_units)


@given(st.lists(weights, max_size=6), st.lists(weights, max_size=6))
def test_converted_weights_sum_to_less_than_the_native_ones(
    native: list[int], converted: list[int]
) -> None:
    cut = cap_converted(native, converted)
    assert len(cut) == len(converted)
    assert sum(cut) < max(sum(native), 1)
    assert all(0 <= after <= before for after, before in zip(cut, converted, strict=True))


def test_a_light_converted_group_is_left_as_it_is() -> None:
    assert cap_converted([5, 5], [4, 5]) == [4, 5]
    assert sum(cap_converted([5, 5], [5, 5])) < 10


def test_without_a_native_source_the_feed_is_lacking() -> None:
    table = table_of([1, 1], [1, 1], 400_000)
    result = bitcoin_price(table, [0, 0], [100 * ONE, 100 * ONE], [ONE] * 4)
    assert result.price == 0
    assert result.shortage is Shortage.TOO_FEW_NATIVE


def test_a_single_native_venue_never_decides_alone() -> None:
    table = table_of([1, 1], [1, 1], 400_000, minimum_native=2)
    result = bitcoin_price(table, [100 * ONE, 0], [100 * ONE, 100 * ONE], [ONE] * 4)
    assert result.shortage is Shortage.TOO_FEW_NATIVE


def test_a_rate_needs_three_direct_books() -> None:
    table = table_of([1, 1], [1], 400_000)
    two = bitcoin_price(table, [100 * ONE] * 2, [100 * ONE], [ONE] * 2)
    assert [reason for _, reason in two.rejected] == [RejectReason.NO_CONVERSION_RATE]
    assert two.sources_used == 2
    three = bitcoin_price(table, [100 * ONE] * 2, [100 * ONE], [ONE] * 3)
    assert three.sources_used == 3


def test_the_rate_is_the_low_median_of_the_direct_books() -> None:
    table = table_of([1, 1], [1], 400_000)
    rates = [ONE * 90 // 100, ONE * 99 // 100, ONE * 98 // 100, 7 * ONE]
    result = bitcoin_price(table, [100 * ONE] * 2, [100 * ONE], rates)
    (converted,) = [one for one in result.used if one.source.quote == "USDT"]
    assert converted.price == 98 * 10**7


@given(
    st.lists(st.tuples(st.sampled_from(VENUES), st.integers(1, 10**6)), min_size=1, max_size=12),
    st.integers(1, 1_000_000),
)
def test_no_venue_exceeds_its_share_unless_too_few_are_left(
    weighted: list[tuple[str, int]], cap_ppm: int
) -> None:
    capped = cap_venues(weighted, cap_ppm)
    totals: dict[str, int] = {}
    for (venue, _), weight in zip(weighted, capped, strict=True):
        totals[venue] = totals.get(venue, 0) + weight
    total = sum(totals.values())
    assert total > 0
    if len(totals) * cap_ppm >= 1_000_000:
        # Rounding costs each source less than one unit.
        assert max(totals.values()) * 1_000_000 <= cap_ppm * (total + len(weighted))
    else:
        assert max(totals.values()) - min(totals.values()) < len(weighted)


def test_a_loose_cap_leaves_the_static_weights() -> None:
    assert cap_venues([("a", 1), ("b", 2), ("c", 3)], 1_000_000) == [10**6, 2 * 10**6, 3 * 10**6]
    assert cap_venues([("a", 10), ("b", 10), ("c", 1)], 400_000) == [2 * 10**6, 2 * 10**6, 10**6]

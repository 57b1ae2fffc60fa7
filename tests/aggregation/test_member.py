"""A member's price: enough sources, capped weights, an honest confidence."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from aggregation.alarm import RISK_HIGH, RISK_NONE, RISK_NOTICE
from aggregation.feed import FeedSpec, SourceSpec
from aggregation.member import MemberPrice, Shortage, member_prices
from aggregation.observation import LACKING, Entry
from aggregation.outlier import OUTLIER_MULTIPLE, is_outlier
from aggregation.quote import QUOTE_SCALE, RawQuote, RejectReason
from aggregation.table import FeedTable

ONE = 10**QUOTE_SCALE
UNIT = 10**5
VENUES = ("bitstamp", "coinbase", "gemini", "kraken", "lmax")
FEED = FeedSpec(
    "BTC",
    "USD",
    7,
    1,
    3,
    20_000,
    1_000,
    30_000,
    tuple(SourceSpec(venue, "BTC", "USD", 10, 5_000) for venue in VENUES),
)
TABLE = FeedTable((FEED,))


def quotes(books: dict[str, tuple[int, int]]) -> dict[tuple[str, str, str], RawQuote]:
    """Return quotes of (bid, ask) in the feed's units, received at 0."""
    return {
        (venue, "BTC", "USD"): RawQuote(
            venue, "BTC", "USD", bid * UNIT, ask * UNIT, None, QUOTE_SCALE, 1_000, None, 0
        )
        for venue, (bid, ask) in books.items()
    }


def price(
    books: dict[str, tuple[int, int]], table: FeedTable = TABLE, now_ns: int = 0
) -> MemberPrice:
    return member_prices(table, quotes(books), now_ns)[0]


def flat(*prices: int) -> dict[str, tuple[int, int]]:
    return {venue: (one, one) for venue, one in zip(VENUES, prices, strict=False)}


def test_the_price_is_the_low_weighted_median() -> None:
    assert price(flat(50_000, 10_000, 40_000, 20_000, 30_000)).price == 30_000
    assert price(flat(40_000, 10_000, 20_000, 30_000)).price == 20_000


def test_confidence_is_the_deviation_of_the_sources() -> None:
    # Distances from 30000 are 0, 100, 100, 200, 400: the MAD is 100, rounded up 148.26 is 149.
    made = price(flat(30_000, 30_100, 29_900, 30_200, 29_600))
    assert (made.price, made.confidence) == (30_000, 149)


def test_confidence_is_the_half_spread_if_that_is_wider() -> None:
    made = price(dict.fromkeys(VENUES, (30_000, 30_401)))
    assert (made.price, made.confidence) == (30_200, 201)


def test_confidence_is_never_below_one_unit() -> None:
    assert price(flat(30_000, 30_000, 30_000, 30_000, 30_000)).entry == Entry(30_000, 1, RISK_NONE)


def test_fewer_than_the_minimum_of_sources_is_lacking() -> None:
    made = price(flat(30_000, 30_000))
    assert made.entry == LACKING
    assert made.shortage is Shortage.TOO_FEW_SOURCES
    assert {reason for _, reason in made.rejected} == {RejectReason.NO_QUOTE}
    assert made.sources_used == 2


def test_stale_sources_do_not_count() -> None:
    books = flat(30_000, 30_000, 30_000, 30_000, 30_000)
    assert price(books, now_ns=5_000_000_000).price == 30_000
    assert price(books, now_ns=5_000_000_001).entry == LACKING


def test_quotes_stamped_from_the_future_do_not_count() -> None:
    books = quotes(flat(30_000, 30_000, 30_000))
    assert member_prices(TABLE, books, 0, unix_ms=1_000)[0].price == 30_000
    ahead = member_prices(TABLE, books, 0, unix_ms=-1_001)[0]
    assert ahead.price == 0
    assert RejectReason.FUTURE_STAMP in {reason for _, reason in ahead.rejected}


def test_missing_sources_raise_the_risk_level() -> None:
    assert price(flat(*[30_000] * 5)).risk == RISK_NONE
    assert price(flat(*[30_000] * 4)).risk == RISK_NOTICE
    assert price(flat(*[30_000] * 3)).risk == RISK_HIGH


def test_a_heavy_venue_cannot_decide_alone() -> None:
    heavy = replace(FEED.sources[0], weight=1_000_000)
    table = FeedTable((replace(FEED, sources=(heavy, *FEED.sources[1:])),))
    made = price(flat(90_000, 30_000, 30_001, 30_002, 30_003), table)
    assert made.price in (30_002, 30_003)


@given(
    st.lists(st.integers(29_000, 31_000), min_size=5, max_size=5),
    st.integers(0, 4),
    st.integers(1, 2**47),
)
def test_no_single_venue_moves_the_price_out_of_the_range_of_the_others(
    prices: list[int], liar: int, lie: int
) -> None:
    others = [one for i, one in enumerate(prices) if i != liar]
    said = [lie if i == liar else one for i, one in enumerate(prices)]
    assert min(others) <= price(flat(*said)).price <= max(others)


def test_a_price_that_does_not_fit_is_lacking() -> None:
    made = price(flat(*[2**48] * 5))
    assert made.entry == LACKING
    assert {reason for _, reason in made.rejected} == {RejectReason.UNREPRESENTABLE}


def test_outliers_are_named_but_still_count() -> None:
    books = flat(30_000, 30_010, 29_990, 30_005, 31_000)
    made = price(books)
    assert made.outliers == {("lmax", "BTC", "USD")}
    assert made.sources_used == 5


def test_an_outlier_is_taken_back_at_half_the_distance() -> None:
    limit = OUTLIER_MULTIPLE * 10
    assert not is_outlier(limit, 10, 0, was_outlier=False)
    assert is_outlier(limit + 1, 10, 0, was_outlier=False)
    assert is_outlier(limit // 2 + 1, 10, 0, was_outlier=True)
    assert not is_outlier(limit // 2, 10, 0, was_outlier=True)
    nearer = quotes(flat(30_000, 30_010, 29_990, 30_005, 30_035))
    fresh = member_prices(TABLE, nearer, 0)
    assert not fresh[0].outliers
    before = member_prices(TABLE, quotes(flat(30_000, 30_010, 29_990, 30_005, 31_000)), 0)
    assert member_prices(TABLE, nearer, 0, before=before)[0].outliers == {("lmax", "BTC", "USD")}


def test_two_streams_of_one_venue_share_its_cap_and_count_once() -> None:
    twin = replace(FEED.sources[0], counts_as="coinbase")
    feed = replace(FEED, sources=(twin, *FEED.sources[1:]))
    table = FeedTable((replace(feed, minimum_native_venues=4, venue_cap_ppm=250_000),))
    made = price(flat(10_000, 10_000, 30_000, 40_000, 50_000), table)
    weights = {one.source.venue: one.weight for one in made.used}
    assert weights["bitstamp"] + weights["coinbase"] == weights["kraken"]
    assert price(flat(10_000, 10_000, 30_000, 40_000), table).shortage is Shortage.TOO_FEW_NATIVE

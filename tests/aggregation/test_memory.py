"""Prices that are remembered are the prices that would be computed."""

from hypothesis import given
from hypothesis import strategies as st

from aggregation.feed import FeedSpec, SourceSpec
from aggregation.member import MemberPrice, member_prices
from aggregation.memory import PriceMemory
from aggregation.quote import QUOTE_SCALE, RawQuote
from aggregation.sources import SourceKey
from aggregation.table import FeedTable

ONE = 10**QUOTE_SCALE
MS = 1_000_000
VENUES = ("bitstamp", "coinbase", "gemini", "kraken", "okx")
SOURCES = (
    *(SourceSpec(venue, "BTC", "USD", 10, 40) for venue in VENUES),
    *(SourceSpec(venue, "BTC", "USDT", 10, 60) for venue in VENUES[:2]),
)
TETHER = tuple(SourceSpec(venue, "USDT", "USD", 1, 50) for venue in VENUES[:3])
TABLE = FeedTable(
    (
        FeedSpec("BTC", "USD", 7, 1, 2, 20_000, 1_000, 30_000, SOURCES),
        FeedSpec("USDT", "USD", 10, 1, 2, 20_000, 500, 60_000, TETHER),
    )
)
KEYS = [source.key for source in (*SOURCES, *TETHER)]

news = st.tuples(
    st.sampled_from(KEYS),
    st.sampled_from([1, 2, 3, 100]),
    st.sampled_from([0, 1]),
    st.none() | st.integers(0, 4_000),
)
steps = st.lists(
    st.tuples(st.lists(news, max_size=4), st.integers(-1, 45), st.integers(-50, 1_500)),
    min_size=2,
    max_size=12,
)


@given(st.lists(news, max_size=10), steps)
def test_what_is_remembered_is_what_would_be_computed(
    first: list[tuple[SourceKey, int, int, int | None]],
    then: list[tuple[list[tuple[SourceKey, int, int, int | None]], int, int]],
) -> None:
    memory = PriceMemory(TABLE)
    quotes: dict[SourceKey, RawQuote] = {}
    before: list[MemberPrice] = []
    now_ms, unix_ms = 1_000, 1_000
    for came, passed_ms, clock_ms in [(first, 0, 0), *then]:
        now_ms += passed_ms
        unix_ms += clock_ms
        for key, price, wide, stamp_ms in came:
            bid, ask = price * ONE, price * ONE + wide * ONE // 10
            quotes[key] = RawQuote(*key, bid, ask, None, QUOTE_SCALE, stamp_ms, None, now_ms * MS)
        fresh = member_prices(TABLE, quotes, now_ms * MS, unix_ms=unix_ms, before=before)
        remembered = member_prices(
            TABLE, quotes, now_ms * MS, unix_ms=unix_ms, before=before, memory=memory
        )
        assert remembered == fresh
        before = fresh


def test_nothing_is_computed_again_while_nothing_changes() -> None:
    memory = PriceMemory(TABLE)
    quotes = {key: RawQuote(*key, ONE, ONE, None, QUOTE_SCALE, None, None, 0) for key in KEYS}
    first = member_prices(TABLE, quotes, 0, memory=memory)
    second = member_prices(TABLE, quotes, 30 * MS, before=first, memory=memory)
    assert [one is other for one, other in zip(first, second, strict=True)] == [True, True]
    quotes[KEYS[0]] = RawQuote(*KEYS[0], ONE, ONE, None, QUOTE_SCALE, None, None, 31 * MS)
    third = member_prices(TABLE, quotes, 31 * MS, before=second, memory=memory)
    assert [one is other for one, other in zip(second, third, strict=True)] == [False, True]
    late = member_prices(TABLE, quotes, 51 * MS, before=third, memory=memory)
    assert late[1].price == 0, "what was fresh is stale by now"

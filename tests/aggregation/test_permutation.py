"""The order in which anything arrives never changes a result."""

from dataclasses import replace
from random import Random
from typing import TypeVar

from hypothesis import given, settings
from hypothesis import strategies as st

from aggregation.advance import advance
from aggregation.agreed import agree
from aggregation.feed import FeedSpec, SourceSpec
from aggregation.median import low_median, low_weighted_median
from aggregation.member import member_prices
from aggregation.observation import LACKING, Entry, Observation
from aggregation.quote import QUOTE_SCALE, RawQuote
from aggregation.state import AgreedState, genesis_state
from aggregation.table import FeedTable

NATIVE = ("bitstamp", "coinbase", "gemini", "kraken")
SOURCES = (
    *(SourceSpec(venue, "BTC", "USD", 3 + i, 5_000) for i, venue in enumerate(NATIVE)),
    SourceSpec("binance", "BTC", "USDT", 9, 5_000),
    SourceSpec("okx", "BTC", "USDT", 5, 5_000),
)
TETHER = FeedSpec(
    "USDT",
    "USD",
    10,
    1,
    3,
    5_000,
    500,
    60_000,
    tuple(SourceSpec(venue, "USDT", "USD", 4, 5_000) for venue in NATIVE),
)
BITCOIN = FeedSpec("BTC", "USD", 7, 1, 3, 5_000, 1_000, 30_000, SOURCES)
TABLE = FeedTable((BITCOIN, TETHER))

entries = st.just(LACKING) | st.builds(
    Entry, st.integers(1, 1000) | st.integers(1, 2**64 - 1), st.integers(0, 100), st.integers(0, 9)
)
T = TypeVar("T")
randoms = st.randoms(use_true_random=False)


def shuffled(values: list[T], random: Random) -> list[T]:
    return random.sample(values, len(values))


@given(st.lists(entries, min_size=1, max_size=31), st.integers(0, 10), randoms)
def test_permutation_of_members_never_changes_an_agreement(
    said: list[Entry], f: int, random: Random
) -> None:
    assert agree(said, f) == agree(shuffled(said, random), f)


@settings(max_examples=50)
@given(
    st.lists(
        st.lists(st.tuples(st.integers(0, 10**6), entries, entries), min_size=4, max_size=7),
        min_size=1,
        max_size=4,
    ),
    randoms,
)
def test_permutation_of_observations_never_changes_a_state(
    rounds: list[list[tuple[int, Entry, Entry]]], random: Random
) -> None:
    straight: AgreedState = genesis_state(TABLE, 0)
    mixed = straight
    for said in rounds:
        observations = [Observation(i, t, (a, b)) for i, (t, a, b) in enumerate(said)]
        straight = advance(straight, observations, TABLE, 1, 3_000)
        mixed = advance(mixed, shuffled(observations, random), TABLE, 1, 3_000)
    assert straight == mixed
    assert straight.digest() == mixed.digest()


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(1, 9)), min_size=1), randoms)
def test_permutation_never_changes_a_median(
    weighted: list[tuple[int, int]], random: Random
) -> None:
    assert low_weighted_median(weighted) == low_weighted_median(shuffled(weighted, random))
    values = [value for value, _ in weighted]
    assert low_median(values) == low_median(shuffled(values, random))


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(1, 9)), min_size=1, max_size=9))
def test_a_weighted_median_is_the_median_of_values_repeated(
    weighted: list[tuple[int, int]],
) -> None:
    repeated = [value for value, weight in weighted for _ in range(weight)]
    assert low_weighted_median(weighted) == low_median(repeated)


@settings(max_examples=50)
@given(st.lists(st.integers(60_000, 60_100), min_size=6, max_size=6), randoms)
def test_permutation_of_sources_and_quotes_never_changes_a_member_price(
    middles: list[int], random: Random
) -> None:
    one = 10**QUOTE_SCALE
    quotes = {
        source.key: RawQuote(
            *source.key, middle * one, (middle + 1) * one, None, QUOTE_SCALE, None, None, 0
        )
        for source, middle in zip(SOURCES, middles, strict=True)
    }
    for i, source in enumerate(TETHER.sources):
        bid = one - i * 10**7
        quotes[source.key] = RawQuote(
            *source.key, bid, bid + 10**7, None, QUOTE_SCALE, None, None, 0
        )
    mixed_quotes = dict(shuffled(list(quotes.items()), random))
    mixed = FeedTable(
        tuple(
            replace(feed, sources=tuple(shuffled(list(feed.sources), random)))
            for feed in TABLE.feeds
        )
    )
    first = [price.entry for price in member_prices(TABLE, quotes, 0)]
    assert first == [price.entry for price in member_prices(mixed, mixed_quotes, 0)]
    assert first[0].price > 0

"""What a member warns of: its sources, their agreement, the pegs, the price's path."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from aggregation.alarm import RISK_HIGH, RISK_NONE, RISK_NOTICE, Alarm, risk_level
from aggregation.feed import AlarmSpec, FeedSpec, SourceSpec
from aggregation.member import MemberPrice, Shortage, member_prices
from aggregation.memory import PriceMemory
from aggregation.quote import QUOTE_SCALE, RawQuote
from aggregation.sources import SourceKey
from aggregation.table import FeedTable

ONE = 10**QUOTE_SCALE
S = 10**9
DIRECT = ("bitstamp", "coinbase", "gemini", "kraken", "lmax")
CONVERTED = ("binance", "okx")
FOREVER_MS = 600_000
BITCOIN = FeedSpec(
    "BTC",
    "USD",
    7,
    1,
    3,
    5_000,
    1_000,
    30_000,
    (
        *(SourceSpec(venue, "BTC", "USD", 10, FOREVER_MS) for venue in DIRECT),
        *(SourceSpec(venue, "BTC", "USDT", 10, FOREVER_MS) for venue in CONVERTED),
    ),
    minimum_venues=3,
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
    tuple(SourceSpec(venue, "USDT", "USD", 10, FOREVER_MS) for venue in DIRECT),
    alarms=AlarmSpec(peg_ppm=10_000),
)
TABLE = FeedTable((BITCOIN, TETHER))


def quotes(
    *, usd: dict[str, int] | None = None, usdt: int = 30_000, rate_ppm: int = 1_000_000
) -> dict[SourceKey, RawQuote]:
    """Return quotes of BTC in whole dollars by venue, and of USDT."""
    said = {("BTC", "USD", venue): price * ONE for venue, price in (usd or USUAL).items()}
    said |= {("BTC", "USDT", venue): usdt * ONE for venue in CONVERTED if usdt}
    said |= {("USDT", "USD", venue): rate_ppm * ONE // 1_000_000 for venue in DIRECT}
    return {
        (venue, base, quote): RawQuote(
            venue, base, quote, price, price, None, QUOTE_SCALE, None, None, 0
        )
        for (base, quote, venue), price in said.items()
    }


USUAL = dict(zip(DIRECT, (30_000, 30_001, 29_999, 30_002, 29_998), strict=True))


def seen(
    found: dict[SourceKey, RawQuote], table: FeedTable = TABLE
) -> tuple[MemberPrice, MemberPrice]:
    bitcoin, tether = member_prices(table, found, 0)
    return bitcoin, tether


def test_all_is_well() -> None:
    for price in seen(quotes()):
        assert (price.alarms, price.risk) == (frozenset(), RISK_NONE)


def test_a_source_less_is_noted_and_scarcity_warned_of() -> None:
    missing, _ = seen(quotes(usd=dict.fromkeys(DIRECT[:4], 30000)))
    assert (missing.alarms, missing.risk) == ({Alarm.SOURCES_MISSING}, RISK_NOTICE)
    two_native, _ = seen(quotes(usd=dict.fromkeys(DIRECT[:2], 30000)))
    assert (two_native.alarms, two_native.risk) == ({Alarm.FEW_SOURCES}, RISK_HIGH)
    three, _ = seen(quotes(usd=dict.fromkeys(DIRECT[:3], 30000), usdt=0))
    assert three.alarms == {Alarm.FEW_SOURCES}


def test_too_few_venues_are_no_price_however_many_their_sources() -> None:
    twins = tuple(
        SourceSpec(venue, "BTC", quote, 10, FOREVER_MS)
        for venue in DIRECT[:3]
        for quote in ("USD", "USDT")
    )
    table = FeedTable((replace(BITCOIN, sources=twins), TETHER))
    found = quotes()
    for venue in DIRECT[:2]:
        key = (venue, "BTC", "USDT")
        found[key] = replace(found["binance", "BTC", "USDT"], venue=venue)
    price, _ = seen(found, table)
    assert price.price
    del found["gemini", "BTC", "USD"]
    price, _ = seen(found, table)
    assert (price.price, price.sources_used) == (0, 4)
    assert price.shortage is Shortage.TOO_FEW_VENUES


def test_one_venue_apart_is_noted_and_many_are_warned_of() -> None:
    one, _ = seen(quotes(usd={**USUAL, "kraken": 33_000}))
    assert one.alarms == {Alarm.OUTLIER}
    assert (one.risk, one.price) == (RISK_NOTICE, 30_000 * 10**7)
    two, _ = seen(quotes(usd={**USUAL, "kraken": 33_000, "lmax": 33_000}))
    assert two.alarms == {Alarm.SCATTERED}
    assert two.risk == RISK_HIGH
    assert 29_998 * 10**7 <= two.price <= 30_002 * 10**7
    light = (replace(BITCOIN.sources[3], weight=1), replace(BITCOIN.sources[4], weight=1))
    table = FeedTable((replace(BITCOIN, sources=(*BITCOIN.sources[:3], *light)), TETHER))
    few, _ = seen(quotes(usd={**USUAL, "kraken": 33_000, "lmax": 33_000}), table)
    assert few.alarms == {Alarm.OUTLIER}, "two, but of little weight"


def test_sources_that_disagree_are_a_dispersion() -> None:
    spread = dict(zip(DIRECT, (29_900, 29_950, 30_000, 30_050, 30_100), strict=True))
    price, _ = seen(quotes(usd=spread))
    assert price.alarms == {Alarm.DISPERSION}


def test_a_coin_off_its_peg_is_told_for_all_that_rest_on_it() -> None:
    for rate_ppm, alarm in ((985_000, Alarm.OFF_PEG), (500_000, Alarm.PEG_LOST)):
        usdt = 30_000 * 1_000_000 // rate_ppm
        bitcoin, tether = seen(quotes(usdt=usdt, rate_ppm=rate_ppm))
        assert bitcoin.alarms == tether.alarms == {alarm}
        assert abs(bitcoin.price - 30_000 * 10**7) <= 10**7
    alone, _ = seen(quotes(usdt=0, rate_ppm=500_000))
    assert Alarm.PEG_LOST not in alone.alarms, "nothing is converted"


def test_the_path_of_a_price_is_followed_from_observation_to_observation() -> None:
    before: list[MemberPrice] = []
    told = []
    for second in range(120):
        dollars = 30_000 + (second - 60 if second > 60 else 0) * 30
        found = quotes(usd=dict.fromkeys(DIRECT, dollars), usdt=dollars)
        before = member_prices(TABLE, found, second * S, before=before)
        told.append(before[0].risk)
    assert set(told[:60]) == {RISK_NONE}
    assert RISK_HIGH in told[60:66]
    assert {Alarm.DRIFT, Alarm.BURST} <= before[0].alarms
    assert before[1].risk == RISK_NONE


def test_a_path_goes_on_after_a_time_without_a_price() -> None:
    first = member_prices(TABLE, quotes(), 0)
    lacking = member_prices(TABLE, {}, S, before=first)
    assert lacking[0].price == 0
    assert (lacking[0].path, lacking[0].risk) == (first[0].path, RISK_NONE)
    half = quotes(usd=dict.fromkeys(DIRECT, 15000), usdt=15_000)
    assert Alarm.BURST in member_prices(TABLE, half, 2 * S, before=lacking)[0].alarms


@given(
    st.lists(
        st.tuples(st.sampled_from([*DIRECT, *CONVERTED]), st.integers(29_000, 31_000)),
        max_size=40,
    )
)
def test_remembered_prices_raise_the_same_alarms(news: list[tuple[str, int]]) -> None:
    memory = PriceMemory(TABLE)
    found = quotes()
    fresh: list[MemberPrice] = []
    remembered: list[MemberPrice] = []
    for second, (venue, price) in enumerate(news):
        key = (venue, "BTC", "USD" if venue in DIRECT else "USDT")
        if price % 3:
            scaled = price * ONE
            found[key] = replace(found[key], bid=scaled, ask=scaled, received_ns=second * S)
        fresh = member_prices(TABLE, found, second * S, before=fresh)
        remembered = member_prices(TABLE, found, second * S, before=remembered, memory=memory)
        assert remembered == fresh
        assert all(price.risk == risk_level(price.alarms) for price in fresh)

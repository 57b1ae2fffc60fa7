"""Incidents of other oracles and markets, each replayed: what a member's aggregation makes of it.

Prices are in whole dollars and cents; the books are as narrow as a tick unless said otherwise.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal

import pytest

from aggregation.alarm import Alarm
from aggregation.encoding import UNAVAILABLE_ANSWER, unpack_words
from aggregation.feed import AlarmSpec, BreakerSpec, FeedSpec, SourceSpec
from aggregation.member import MemberPrice, Shortage
from aggregation.quote import QUOTE_SCALE, RawQuote, RejectReason, parse_decimal
from aggregation.replay import Moment, Replay
from aggregation.sources import SourceKey
from aggregation.status import Cause, Status
from aggregation.table import FeedTable

USD_VENUES = ("bitstamp", "coinbase", "gemini", "kraken", "cryptocom")
USDT_VENUES = ("binance", "okx", "bybit")
MEMBERS = 4
ROUND_MS = 250
MS = 1_000_000


def feed_of(
    base: str,
    usd: Sequence[str] = USD_VENUES,
    usdt: Sequence[str] = (),
    *,
    quote: str = "USD",
    weights: Mapping[str, int] | None = None,
    **changes: object,
) -> FeedSpec:
    """Return a feed with these venues, which all weigh the same unless given."""
    said = weights or {}
    sources = [SourceSpec(venue, base, quote, said.get(venue, 10), 10_000) for venue in usd]
    sources += [SourceSpec(venue, base, "USDT", said.get(venue, 10), 10_000) for venue in usdt]
    spec = FeedSpec(base, quote, 8, 1, 3, 5_000, 1_000, 30_000, tuple(sources), minimum_venues=3)
    return replace(spec, **changes)  # type: ignore[arg-type]


class Market:
    """A committee of four whose members all see the same books, one feed of them first."""

    def __init__(self, *feeds: FeedSpec) -> None:
        self.table = FeedTable(feeds)
        self.now_ms = 1_700_000_000_000
        self.replay = Replay(self.table, self.now_ms, MEMBERS)
        self.books: dict[SourceKey, tuple[str, str]] = {}
        self.received: dict[SourceKey, int] = {}

    def book(self, venue: str, pair: str, bid: str, ask: str | None = None) -> None:
        """Let a venue show a book."""
        base, _, quote = pair.partition("/")
        self.books[venue, base, quote] = (bid, bid if ask is None else ask)

    def all_at(self, pair: str, price: str, venues: Sequence[str] = USD_VENUES) -> None:
        """Let venues show the same price."""
        for venue in venues:
            self.book(venue, pair, price)

    def stops(self, *venues: str) -> None:
        """Let venues say nothing more."""
        for key in [key for key in self.books if key[0] in venues]:
            self.received.setdefault(key, self.now_ms)

    def rounds(self, count: int = 1) -> Moment:
        """Agree so many times."""
        for _ in range(count):
            self.now_ms += ROUND_MS
            view = {
                key: RawQuote(
                    *key,
                    parse_decimal(bid),
                    parse_decimal(ask),
                    None,
                    QUOTE_SCALE,
                    None,
                    None,
                    self.received.get(key, self.now_ms) * MS,
                )
                for key, (bid, ask) in self.books.items()
            }
            self.replay.round(self.now_ms, [view] * MEMBERS)
        return self.replay.moment

    @property
    def member(self) -> MemberPrice:
        """What a member last said of the first feed."""
        return self.replay.moment.prices[0][0]

    @property
    def shown(self) -> tuple[Status, Cause]:
        """The first feed's status and its cause."""
        feed = self.replay.moment.state.feeds[0]
        return feed.status, feed.cause

    @property
    def price(self) -> Decimal:
        """The first feed's price."""
        decimals = self.table.feeds[0].decimals
        return Decimal(self.replay.moment.state.feeds[0].price).scaleb(-decimals)


def live_market(feed: FeedSpec, price: str, *others: FeedSpec) -> Market:
    """Return a market in which the feed is live at a price."""
    market = Market(feed, *others)
    for source in feed.sources:
        market.book(source.venue, f"{source.base}/{source.quote}", price)
    for other in others:
        for source in other.sources:
            market.book(source.venue, f"{source.base}/{source.quote}", "1")
    market.rounds(40)
    assert market.shown == (Status.LIVE, Cause.NONE)
    return market


def test_synthetix_skrw_2019_two_sources_left_and_one_a_thousand_times_off() -> None:
    """An average of two APIs, one wrong by a factor of 1000, was traded on."""
    market = live_market(feed_of("KRW"), "0.00085")
    market.stops("bitstamp", "coinbase", "gemini")
    market.rounds(45)
    market.book("kraken", "KRW/USD", "0.85")
    market.rounds()
    assert market.member.shortage is Shortage.TOO_FEW_SOURCES
    assert market.shown == (Status.UNAVAILABLE, Cause.LACKED)
    lanes = unpack_words(market.replay.moment.state.words)
    assert lanes[0] == UNAVAILABLE_ANSWER
    # With one more than the least it would still be the others' price: never a mean.
    market.received.clear()
    market.rounds(60)
    assert market.price == Decimal("0.00085")


def test_bzx_2020_and_inverse_2022_a_thin_venue_decides_nothing() -> None:
    """One thin book was moved; volume that a venue reports of itself gives no weight here."""
    heavy = feed_of("INV", weights={"kraken": 1_000_000})
    market = live_market(heavy, "350")
    market.book("kraken", "INV/USD", "17500")
    market.rounds(20)
    assert market.price == Decimal(350)
    assert market.shown == (Status.LIVE, Cause.NONE)
    assert market.member.outliers == {("kraken", "INV", "USD")}
    assert Alarm.OUTLIER in market.member.alarms
    # An empty book says nothing at all.
    market.book("kraken", "INV/USD", "100", "17500")
    market.rounds()
    assert (heavy.sources[3], RejectReason.WIDE_SPREAD) in market.member.rejected


def test_compound_dai_2020_one_exchange_at_1_30() -> None:
    """Coinbase's DAI went to 1.30 for minutes, alone, and positions were liquidated."""
    dai = feed_of("DAI", alarms=AlarmSpec(peg_ppm=10_000), weights={"coinbase": 100})
    market = live_market(dai, "1.002")
    for price in ("1.05", "1.15", "1.30"):
        market.book("coinbase", "DAI/USD", price)
        market.rounds(20)
        assert market.price == Decimal("1.002")
        assert market.shown == (Status.LIVE, Cause.NONE)
        assert market.member.alarms == {Alarm.OUTLIER}


@pytest.mark.parametrize("exponent", ["0.00005402", "5402.2", "540219000000"])
def test_pyth_btc_2021_wrong_exponents(exponent: str) -> None:
    """Two publishers were wrong by powers of ten; weights by their own confidence let them in."""
    market = live_market(feed_of("BTC"), "54021.9")
    market.book("kraken", "BTC/USD", exponent)
    market.book("gemini", "BTC/USD", exponent)
    market.rounds(20)
    assert market.price == Decimal("54021.9")
    assert Alarm.SCATTERED in market.member.alarms or market.member.rejected


@pytest.mark.parametrize("text", ["0", "0.0", "-0", "", "nan", "5.4e-40", "0x10"])
def test_pyth_btc_2021_a_price_that_became_zero(text: str) -> None:
    """A floating-point number became 0 on its way into an integer."""
    market = live_market(feed_of("BTC"), "54021.9")
    try:
        parse_decimal(text)
    except ValueError:
        return
    market.book("kraken", "BTC/USD", text)
    market.rounds(20)
    assert market.price == Decimal("54021.9")
    assert [reason for _, reason in market.member.rejected] == [RejectReason.CROSSED]


def test_mango_2022_a_thin_token_pumped_everywhere() -> None:
    """MNGO was bought up tenfold on all venues within minutes, and borrowed against."""
    market = live_market(feed_of("MNGO", tier=3), "0.03820")
    levels = ["0.045", "0.06", "0.09", "0.15", "0.30", "0.91"]
    for level in levels:
        market.all_at("MNGO/USD", level)
        market.rounds(2)
        assert market.shown == (Status.HALTED, Cause.JUMP)
        # The last price before the pump, which a safe read refuses to serve.
        assert market.price == Decimal("0.0382")
    # It heals once it stands still, and says until then that it is not as usual.
    market.rounds(BreakerSpec().recovery_rounds + 2)
    assert market.shown[0] is Status.DEGRADED
    assert market.price == Decimal("0.91")


def test_venus_and_blizz_luna_2022_a_feed_that_stops_does_not_live_on() -> None:
    """The feed was paused at 0.107 while LUNA fell to nothing; the last price was served on."""
    market = live_market(feed_of("LUNA"), "0.107")
    market.stops(*USD_VENUES)
    for _ in range(45):
        market.rounds()
    assert market.shown == (Status.UNAVAILABLE, Cause.LACKED)
    assert market.price == 0


def test_luna_2022_no_fixed_bound_freezes_a_feed_in_a_real_crash() -> None:
    """Feeds with a fixed floor price stopped at it for good."""
    market = live_market(feed_of("LUNA"), "80")
    price = Decimal(80)
    served = []
    # Ten minutes of falling by 0.4 % a second, to an eleventh.
    for _ in range(600):
        price = (price * Decimal("0.996")).quantize(Decimal("1e-9"))
        market.all_at("LUNA/USD", str(price))
        market.rounds(4)
        served.append(market.shown[0])
    readable = [status for status in served if status in (Status.LIVE, Status.DEGRADED)]
    assert len(readable) > len(served) * 9 // 10
    assert abs(market.price / price - 1) < Decimal("0.01")
    assert Alarm.DRIFT in market.member.alarms or Alarm.BURST in market.member.alarms
    market.rounds(400)
    assert market.shown == (Status.LIVE, Cause.NONE)


def test_usde_on_binance_october_2025_one_venues_own_book() -> None:
    """Binance priced collateral by its own book, which fell to 0.65 alone."""
    tether = feed_of("USDT", alarms=AlarmSpec(peg_ppm=10_000))
    market = live_market(feed_of("USDE", usdt=USDT_VENUES), "1", tether)
    market.book("binance", "USDE/USDT", "0.65")
    market.rounds(20)
    assert market.price == 1
    assert market.member.outliers == {("binance", "USDE", "USDT")}
    # Even if all that is converted falls, the books in dollars decide.
    for venue in USDT_VENUES:
        market.book(venue, "USDE/USDT", "0.65")
    market.rounds(20)
    assert market.price == 1
    assert Alarm.SCATTERED in market.member.alarms
    assert market.shown == (Status.DEGRADED, Cause.HIGH_RISK)


def test_moonwell_2025_a_price_in_another_currency_is_never_taken_as_dollars() -> None:
    """A ratio to ETH was taken for a price in dollars: a factor had been forgotten."""
    in_ether = SourceSpec("okx", "CBETH", "ETH", 10, 10_000)
    feed = feed_of("CBETH")
    feed = replace(feed, sources=(*feed.sources, in_ether))
    with pytest.raises(ValueError, match="needs the feed ETH/USD, which is not in the table"):
        FeedTable((feed,))
    market = Market(feed, feed_of("ETH"))
    market.all_at("CBETH/USD", "2200")
    market.book("okx", "CBETH/ETH", "1.1")
    market.all_at("ETH/USD", "2000")
    market.rounds(20)
    (converted,) = [one for one in market.member.used if one.source == in_ether]
    assert Decimal(converted.price).scaleb(-8) == 2200


def test_aave_capo_2026_what_a_guard_did_is_told_and_ends_by_itself() -> None:
    """A guard with stale parameters held a price below the market's; nobody saw it trip."""
    market = live_market(feed_of("WSTETH"), "2500")
    market.all_at("WSTETH/USD", "2570")
    market.rounds()
    assert market.shown == (Status.HALTED, Cause.JUMP)
    seen = [market.rounds() and market.shown for _ in range(30)]
    causes = list(dict.fromkeys(seen))
    assert (Status.DEGRADED, Cause.HEALING) in causes
    assert causes[-1] == (Status.LIVE, Cause.NONE)
    assert market.price == 2570


def test_a_flash_crash_of_one_second_is_never_served() -> None:
    """Single prints far away, as on several venues in 2017 and 2021, when books were swept."""
    market = live_market(feed_of("ETH"), "300")
    market.all_at("ETH/USD", "0.10")
    market.rounds(4)
    assert market.shown == (Status.HALTED, Cause.JUMP)
    assert market.price == 300
    market.all_at("ETH/USD", "300")
    market.rounds(3 * BreakerSpec().recovery_rounds)
    assert market.shown == (Status.LIVE, Cause.NONE)


def test_usdc_march_2023_a_stablecoin_off_its_peg_for_a_weekend() -> None:
    """USDC fell to 0.87; prices in it were converted at 1, here at what it was worth."""
    coin = feed_of("USDC", alarms=AlarmSpec(peg_ppm=10_000))
    bitcoin = feed_of("BTC")
    through = tuple(SourceSpec(venue, "BTC", "USDC", 10, 10_000) for venue in USDT_VENUES)
    market = live_market(replace(bitcoin, sources=(*bitcoin.sources, *through)), "20000", coin)
    for cents in range(100, 86, -1):
        market.all_at("USDC/USD", f"0.{cents}" if cents < 100 else "1")
        for venue in USDT_VENUES:
            market.book(venue, "BTC/USDC", str(round(Decimal(2_000_000) / cents, 2)))
        market.rounds(40)
        assert abs(market.price - 20_000) < 20
    assert Alarm.PEG_LOST in market.member.alarms
    assert market.shown == (Status.DEGRADED, Cause.HIGH_RISK)

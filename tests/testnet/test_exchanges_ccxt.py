"""The simulated exchanges as an independent client reads them: ccxt, unmodified.

Each of its prices is one that our own source read too, and close to the market.
"""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

import pytest

from aggregation.feed import FeedSpec, SourceSpec
from aggregation.quote import QUOTE_SCALE, RawQuote
from aggregation.table import FeedTable
from feeds.service import FeedService
from feeds.venue import VenueEndpoint
from testnet.exchanges.pairs import listings
from testnet.exchanges.simulator import VENUES, Endpoint, simulated_exchanges
from testnet.market import MIDDLE_SCALE, Market

PATIENCE_S = 40
UPDATES = 3

# Our names and ccxt's, and what it can watch there that has both sides of the book.
CLIENTS: dict[str, tuple[str, str]] = {
    "binance": ("binance", "watch_bids_asks"),
    "bitfinex": ("bitfinex", "watch_ticker"),
    "bitstamp": ("bitstamp", "watch_trades"),
    "bybit": ("bybit", "watch_bids_asks"),
    "coinbase_advanced": ("coinbase", "watch_ticker"),
    "coinbase_exchange": ("coinbaseexchange", "watch_ticker"),
    "cryptocom": ("cryptocom", "watch_ticker"),
    "gate": ("gate", "watch_bids_asks"),
    "gemini": ("gemini", "watch_bids_asks"),
    "htx": ("htx", "watch_ticker"),
    "kraken": ("kraken", "watch_ticker"),
    "kucoin": ("kucoin", "watch_ticker"),
    "mexc": ("mexc", "watch_ticker"),
    "okx": ("okx", "watch_bids_asks"),
}
OPTIONS: dict[str, dict[str, Any]] = {
    "htx": {"watchTicker": {"name": "market.{marketId}.ticker"}},
}
# ccxt asks Kraken by the names that its REST answers bear.
KRAKEN_ID = "XXBTZUSD"


def at_home(addresses: Any, endpoint: Endpoint) -> Any:
    """Put the simulated exchange's host in place of each of a client's addresses."""
    if isinstance(addresses, dict):
        return {name: at_home(address, endpoint) for name, address in addresses.items()}
    if not isinstance(addresses, str):
        return addresses
    real = urlsplit(addresses.replace("{hostname}", "host"))
    host = urlsplit(endpoint.rest_url).netloc
    return f"{'ws' if real.scheme in ('ws', 'wss') else 'http'}://{host}{real.path}"


def client_of(venue: str, endpoint: Endpoint) -> Any:
    import ccxt.pro

    name, _ = CLIENTS[venue]
    options = OPTIONS.get(venue, {})
    client = getattr(ccxt.pro, name)({"options": options, "enableRateLimit": False})
    client.urls["api"] = at_home(client.urls["api"], endpoint)
    client.set_markets(
        [
            client.safe_market_structure(
                {
                    "id": KRAKEN_ID if venue == "kraken" else pair.symbol,
                    "lowercaseId": pair.symbol.lower(),
                    "symbol": f"{pair.base}/{pair.quote}",
                    "base": pair.base,
                    "quote": pair.quote,
                    "baseId": pair.base,
                    "quoteId": pair.quote,
                    "type": "spot",
                    "spot": True,
                    "contract": False,
                    "active": True,
                    "info": {},
                }
            )
            for pair in VENUES[venue].profile.pairs()
            if pair.base == "BTC"
        ]
    )
    return client


def one_source(venue: str, quote: str) -> FeedTable:
    spec = FeedSpec(
        base="BTC",
        quote=quote,
        decimals=7,
        tier=1,
        minimum_sources=1,
        max_half_spread_ppm=10_000,
        deviation_ppm=1_000,
        heartbeat_ms=30_000,
        sources=(SourceSpec(venue, "BTC", quote, 1, 30_000),),
        minimum_venues=1,
        minimum_native_venues=1,
        venue_cap_ppm=1_000_000,
    )
    return FeedTable((spec,))


def exact(number: float) -> Decimal:
    """Return the decimal that a client made a float of."""
    return Decimal(repr(number))


def of_quote(price: int) -> Decimal:
    return Decimal(price).scaleb(-QUOTE_SCALE).normalize()


async def until(condition: Callable[[], bool]) -> None:
    while True:
        if condition():
            return
        await asyncio.sleep(0.01)


async def watched(client: Any, method: str, symbol: str) -> tuple[set[Decimal], int | None]:
    """Return the prices of a client's next update, and the time that it tells."""
    asked = [symbol] if method == "watch_bids_asks" else symbol
    update = await getattr(client, method)(asked)
    if method == "watch_trades":
        return {exact(update[-1]["price"])}, update[-1]["timestamp"]
    ticker = update[symbol] if method == "watch_bids_asks" else update
    return {exact(ticker["bid"]), exact(ticker["ask"])}, ticker["timestamp"]


async def compared(venue: str) -> None:
    market = Market(7, time.time_ns() // 1_000_000)
    quote = listings(venue)[0].quote
    symbol = f"BTC/{quote}"
    read: set[Decimal] = set()

    def sink(each: RawQuote) -> None:
        read.update((of_quote(each.bid), of_quote(each.ask)))

    def on_market(price: Decimal) -> bool:
        now_ms = time.time_ns() // 1_000_000
        middle = Decimal(market.middle("BTC", now_ms)).scaleb(-MIDDLE_SCALE)
        if quote != "USD":
            middle /= Decimal(market.middle(quote, now_ms)).scaleb(-MIDDLE_SCALE)
        return abs(price / middle - 1) < Decimal("0.0015")

    async with (
        asyncio.timeout(PATIENCE_S),
        simulated_exchanges(market, rate=400, names=[venue], bases=("BTC",)) as simulation,
    ):
        endpoint = simulation.endpoints[venue]
        ours = FeedService(
            one_source(venue, quote),
            {venue: VenueEndpoint(endpoint.ws_url, endpoint.rest_url)},
            sink,
        )
        running = asyncio.create_task(ours.run())
        client = client_of(venue, endpoint)
        try:
            await until(lambda: bool(read))
            ticker = await client.fetch_ticker(symbol)
            assert on_market(exact(ticker["last"])), ticker
            for side in ("bid", "ask"):
                assert ticker[side] is None or on_market(exact(ticker[side])), ticker
            heard: set[Decimal] = set()
            for _ in range(UPDATES):
                prices, time_ms = await watched(client, CLIENTS[venue][1], symbol)
                assert all(on_market(price) for price in prices), prices
                assert time_ms is None or abs(time_ms - time.time_ns() // 1_000_000) < 5_000
                heard |= {price.normalize() for price in prices}
            # What it heard first is on its way to us.
            await until(lambda: heard <= read)
        finally:
            await client.close()
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running


def test_every_exchange_is_read_by_an_independent_client() -> None:
    assert set(CLIENTS) == set(VENUES)


QUICK = ("mexc",)
"""Its messages are protocol buffers by the exchange's own schema, which ccxt carries."""


@pytest.mark.parametrize(
    "venue",
    [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in CLIENTS],
)
def test_an_independent_client_reads_what_our_source_reads(venue: str) -> None:
    complaints: list[dict[str, Any]] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _loop, context: complaints.append(context))
        await compared(venue)

    asyncio.run(main())
    assert complaints == []

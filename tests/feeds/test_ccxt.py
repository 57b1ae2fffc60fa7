"""Sources `ccxt:<exchange>`: polled through ccxt, exact, and harmless without it."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from random import Random

import pytest
from aiohttp import web

from aggregation.feed import FeedSpec, SourceSpec
from aggregation.quote import RawQuote
from aggregation.table import FeedTable
from feeds.backoff import Backoff
from feeds.catalogue import feed_rows, feed_table
from feeds.ccxt_venue import ccxt_venue
from feeds.service import FeedService
from feeds.source import SourceState
from feeds.supervision import Limits, Supervision
from feeds.venue import VenueEndpoint

VENUE = "ccxt:bitso"
BID, ASK = "123456789.12345678901", "123456789.12345678902"
"""No float tells these apart."""

BOOK = {
    "book": "btc_usd", "minimum_amount": "0.0001", "maximum_amount": "3000", "minimum_price": "1",
    "maximum_price": "1000000", "minimum_value": "1", "maximum_value": "1000000",
    "tick_size": "0.01", "default_chart": "candle",
    "fees": {"flat_rate": {"maker": "0.1", "taker": "0.1"}, "structure": []},
}  # fmt: skip


def table(*bases: str) -> FeedTable:
    sources = [SourceSpec(VENUE, base, "USD", 1, 30_000) for base in bases]
    return FeedTable(
        tuple(
            FeedSpec(
                one.base,
                "USD",
                7,
                1,
                1,
                1000,
                1000,
                30_000,
                (one,),
                minimum_native_venues=1,
                minimum_venues=1,
            )
            for one in sources
        )
    )


@asynccontextmanager
async def bitso(ticker: Callable[[str], str]) -> AsyncIterator[str]:
    """Serve the list of markets and the tickers of an exchange that is not among ours."""

    async def books(_request: web.Request) -> web.Response:
        return web.json_response({"success": True, "payload": [BOOK]})

    async def tickers(request: web.Request) -> web.Response:
        return web.Response(text=ticker(request.query["book"]), content_type="application/json")

    app = web.Application()
    app.router.add_get("/api/v3/available_books", books)
    app.router.add_get("/api/v3/ticker", tickers)
    runner = web.AppRunner(app, handle_signals=False, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def served(feeds: FeedTable, url: str) -> AsyncIterator[tuple[FeedService, list[RawQuote]]]:
    taken: list[RawQuote] = []
    limits = Limits(poll_backoff=Backoff(0.01, 0.02))
    service = FeedService(
        feeds, {VENUE: VenueEndpoint("ccxt", url)}, taken.append, Supervision(limits, rng=Random(1))
    )
    task = asyncio.create_task(service.run())
    try:
        yield service, taken
        assert not task.done()
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while True:
            if condition():
                return
            await asyncio.sleep(0.01)


def run(main: Awaitable[None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(60):
            await main

    asyncio.run(bounded())


def quoted(bid: str, ask: str) -> str:
    return (
        f'{{"success":true,"payload":{{"book":"btc_usd","bid":{bid},"ask":{ask},"last":{bid},'
        '"high":"2","low":"1","volume":"3","vwap":"4","created_at":"2026-08-12T19:29:02+00:00"}}'
    )


@pytest.mark.slow
@pytest.mark.parametrize("form", ["{}", '"{}"'])
def test_prices_come_through_ccxt_to_the_last_digit(form: str) -> None:
    async def main() -> None:
        answer = quoted(form.format(BID), form.format(ASK))
        async with (
            bitso(lambda _book: answer) as url,
            served(table("BTC"), url) as (service, taken),
        ):
            await until(lambda: bool(taken))
            quote = taken[0]
            assert (quote.venue, quote.base, quote.quote) == (VENUE, "BTC", "USD")
            assert quote.bid == int(BID.replace(".", "")) * 10
            assert quote.ask == int(ASK.replace(".", "")) * 10
            assert quote.last is None
            assert quote.exchange_time_ms == 1786562942000
            (health,) = service.health()
            assert health.state is SourceState.POLLED
            assert "polled through ccxt" in health.reason

    run(main())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ("<html>", "no answer for any pair"),
        ('{"success":false,"error":{"code":"0201","message":"no"}}', "no answer for any pair"),
        (quoted("null", "1"), "its ticker has no bid and ask"),
        (quoted('"-5"', '"1"'), "not a plain decimal"),
        (quoted('"x"', '"1"'), "no answer for any pair"),
    ],
)
def test_answers_without_a_price_are_told(answer: str, says: str) -> None:
    async def main() -> None:
        async with (
            bitso(lambda _book: answer) as url,
            served(table("BTC"), url) as (service, taken),
        ):
            await until(lambda: says in service.health()[0].last_loss)
            assert not taken

    run(main())


@pytest.mark.slow
def test_a_pair_that_the_exchange_does_not_have_is_refused() -> None:
    async def main() -> None:
        async with (
            bitso(lambda _book: quoted("1", "2")) as url,
            served(table("BTC", "XYZ"), url) as (service, taken),
        ):
            await until(lambda: bool(taken))
            health = {one.base: one for one in service.health()}
            assert health["BTC"].state is SourceState.POLLED
            assert health["XYZ"].state is SourceState.REFUSED

    run(main())


def test_without_ccxt_its_sources_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ccxt.async_support", None)
    monkeypatch.setitem(sys.modules, "ccxt", None)

    async def main() -> None:
        async with served(table("BTC"), "http://127.0.0.1:1") as (service, _):
            await until(lambda: "pip install 'didyma[ccxt]'" in service.health()[0].reason)

    run(main())


def test_a_catalogue_may_name_ccxt_s_exchanges() -> None:
    rows = feed_rows(table("BTC").feeds)
    assert feed_table(json.loads(json.dumps(rows)), "here") == table("BTC")
    assert ccxt_venue("ccxt:") is None
    assert ccxt_venue("ccxt:Bitso") is None
    assert ccxt_venue("bitso") is None

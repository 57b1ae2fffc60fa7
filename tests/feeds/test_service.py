"""The service as a whole: delivery, health, and a taker that fails."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from random import Random

import pytest
from aiohttp import web

from aggregation.feed import FeedSpec, SourceSpec
from aggregation.quote import RawQuote
from aggregation.table import FeedTable
from feeds.backoff import Backoff
from feeds.service import FeedService
from feeds.source import SourceState
from feeds.supervision import Limits, Supervision
from feeds.venue import VenueEndpoint

DOWN = ("coinbase_exchange", "kraken", "gemini")


def table() -> FeedTable:
    usd = [SourceSpec(venue, "USDT", "USD", 1, 5000) for venue in DOWN]
    bitcoin = [SourceSpec(venue, "BTC", "USD", 1, 5000) for venue in DOWN[:2]]
    binance = SourceSpec("binance", "BTC", "USDT", 1, 7000)
    return FeedTable(
        (
            FeedSpec("BTC", "USD", 7, 1, 2, 1000, 1000, 30_000, (*bitcoin, binance)),
            FeedSpec("USDT", "USD", 10, 1, 3, 1000, 1000, 30_000, tuple(usd)),
        )
    )


@asynccontextmanager
async def flooding_binance(count: int) -> AsyncIterator[str]:
    """Serve so many book tickers as fast as they go, and then silence."""

    async def handle(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.receive()
        await socket.send_str('{"result":null,"id":1}')
        for sequence in range(count):
            book = {"u": sequence, "s": "BTCUSDT", "b": "100", "a": str(101 + sequence)}
            await socket.send_str(json.dumps(book))
        await socket.receive()
        return socket

    app = web.Application()
    app.router.add_get("/ws", handle)
    runner = web.AppRunner(app, handle_signals=False, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"ws://127.0.0.1:{runner.addresses[0][1]}/ws"
    finally:
        await runner.cleanup()


def endpoints(binance_url: str) -> dict[str, VenueEndpoint]:
    # Nobody listens on port 1: the other venues stay down, which must not matter.
    down = {v: VenueEndpoint("ws://127.0.0.1:1/") for v in DOWN}
    return {**down, "binance": VenueEndpoint(binance_url)}


def supervision() -> Supervision:
    return Supervision(Limits(backoff=Backoff(0.001, 0.01), close_s=0.1), rng=Random(1))


async def stopped(task: "asyncio.Task[None]") -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


def test_every_quote_of_a_flood_arrives_in_order() -> None:
    count = 3000

    async def main() -> None:
        taken: list[RawQuote] = []
        complete = asyncio.Event()

        def sink(quote: RawQuote) -> None:
            taken.append(quote)
            if quote.sequence == count - 1:
                complete.set()

        async with flooding_binance(count) as url:
            service = FeedService(table(), endpoints(url), sink, supervision())
            assert {one.state for one in service.health()} == {SourceState.WAITING}
            task = asyncio.create_task(service.run())
            async with asyncio.timeout(30):
                await complete.wait()
            assert {(one.venue, one.base, one.quote) for one in taken} == {
                ("binance", "BTC", "USDT")
            }
            assert [one.sequence for one in taken] == list(range(count))
            health = {(one.venue, one.base): one for one in await asyncio.to_thread(service.health)}
            assert set(health) == {
                ("binance", "BTC"),
                ("coinbase_exchange", "BTC"),
                ("coinbase_exchange", "USDT"),
                ("gemini", "USDT"),
                ("kraken", "BTC"),
                ("kraken", "USDT"),
            }
            live = health["binance", "BTC"]
            assert (live.state, live.quotes, live.frames) == (SourceState.LIVE, count, count + 1)
            assert health["kraken", "USDT"].state is not SourceState.LIVE
            assert health["kraken", "USDT"].last_quote_age_ms is None
            await stopped(task)

    asyncio.run(main())


def test_a_taker_that_fails_loses_a_quote_and_no_more(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        taken = 0
        again = asyncio.Event()

        def sink(_quote: RawQuote) -> None:
            nonlocal taken
            taken += 1
            if taken == 2:
                again.set()
            raise RuntimeError("the taker is broken")

        async with flooding_binance(20_000) as url:
            service = FeedService(table(), endpoints(url), sink, supervision())
            task = asyncio.create_task(service.run())
            async with asyncio.timeout(30):
                await again.wait()
            assert not task.done()
            await stopped(task)

    with caplog.at_level("ERROR"):
        asyncio.run(main())
    assert "the taker of quotes failed" in caplog.text


def test_an_endpoint_for_an_unknown_venue_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown venue 'krakn': known are binance, bitfinex"):
        FeedService(table(), {"krakn": VenueEndpoint("ws://127.0.0.1:1/")}, lambda _quote: None)


def test_a_source_without_new_prices_turns_stale_in_its_health() -> None:
    async def main() -> None:
        late_ns = 0
        arrived = asyncio.Event()

        def monotonic_ns() -> int:
            return Supervision().monotonic_ns() + late_ns

        async with flooding_binance(1) as url:
            kept = Supervision(supervision().limits, monotonic_ns=monotonic_ns, rng=Random(1))
            service = FeedService(table(), endpoints(url), lambda _quote: arrived.set(), kept)
            task = asyncio.create_task(service.run())
            async with asyncio.timeout(30):
                await arrived.wait()
            late_ns = 8 * 10**9
            binance = service.health()[0]
            assert binance.state is SourceState.STALE
            assert "its limit is 7000 ms" in binance.reason
            await stopped(task)

    asyncio.run(main())

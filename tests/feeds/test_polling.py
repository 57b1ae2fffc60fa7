"""REST: what is asked while the WebSocket does not deliver, and what any answer costs."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from random import Random

import aiohttp
import pytest
from aiohttp import web

from aggregation.quote import RawQuote
from feeds.backoff import Backoff
from feeds.frames import Price
from feeds.intake import Intake
from feeds.polling import Poller
from feeds.rest import Rest
from feeds.source import Source, SourceState
from feeds.supervision import Limits, Supervision
from feeds.venues import VENUES

UNIT = 10**12
LIMITS = Limits(
    poll_first_s=0,
    polls_per_age=1000,
    check_every_s=0.01,
    answer_s=0.5,
    answer_bytes_max=4096,
    poll_backoff=Backoff(0.02, 0.05),
)

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Polled:
    intake: Intake
    taken: list[RawQuote] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while True:
                if condition():
                    return
                await asyncio.sleep(0.002)

    async def until_problem(self, text: str) -> None:
        sources = self.intake.sources.values()
        await self.until(lambda: any(text in (one.poll_problem or "") for one in sources))


@asynccontextmanager
async def polled(
    venue_name: str,
    answer: Answer,
    pairs: tuple[tuple[str, str], ...] = (("BTC", "USD"),),
    limits: Limits = LIMITS,
    every_s: float = 0.005,
) -> AsyncIterator[Polled]:
    rest = VENUES[venue_name].rest
    assert rest is not None
    venue = replace(VENUES[venue_name], rest=replace(rest, every_s=every_s))
    held: Polled

    async def handle(request: web.Request) -> web.StreamResponse:
        held.asked.append(request.path_qs)
        return await answer(request)

    app = web.Application()
    app.router.add_get("/{path:.*}", handle)
    runner = web.AppRunner(app, handle_signals=False, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    sources = [Source(base, quote, venue.symbol(base, quote), 5000) for base, quote in pairs]
    supervision = Supervision(limits, rng=Random(5))
    taken: list[RawQuote] = []
    intake = Intake(venue, sources, taken.append, lambda _key: None, supervision)
    held = Polled(intake, taken)
    assert isinstance(venue.rest, Rest)
    poller = Poller(venue.rest, url, intake, supervision)
    async with aiohttp.ClientSession() as session:
        task = asyncio.create_task(poller.run(session))
        try:
            yield held
            assert not task.done()
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            await runner.cleanup()


def run(main: Awaitable[None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(60):
            await main

    asyncio.run(bounded())


def answering(body: object, status: int = 200, headers: dict[str, str] | None = None) -> Answer:
    async def answer(_request: web.Request) -> web.StreamResponse:
        text = body if isinstance(body, str) else json.dumps(body)
        return web.Response(text=text, status=status, headers=headers)

    return answer


def counting_book() -> Answer:
    bid = 100

    async def answer(request: web.Request) -> web.StreamResponse:
        nonlocal bid
        bid += 1
        symbol = request.query["symbol"]
        return web.json_response({"symbol": symbol, "bidPrice": str(bid), "askPrice": "999"})

    return answer


def test_a_source_that_is_down_is_polled_and_its_quotes_are_its_own() -> None:
    async def main() -> None:
        async with polled("binance", counting_book(), (("BTC", "USDT"),)) as held:
            held.intake.sources["BTCUSDT"].standing = (SourceState.WAITING, "down")
            await held.until(lambda: bool(held.taken))
            quote = held.taken[0]
            assert (quote.venue, quote.base, quote.quote) == ("binance", "BTC", "USDT")
            assert (quote.bid, quote.ask, quote.sequence) == (101 * UNIT, 999 * UNIT, None)
            assert held.asked[0] == "/api/v3/ticker/bookTicker?symbol=BTCUSDT"

    run(main())


def test_a_source_that_delivers_is_left_alone() -> None:
    async def main() -> None:
        pairs = (("BTC", "USDT"), ("ETH", "USDT"))
        async with polled("binance", counting_book(), pairs) as held:
            intake = held.intake
            stream = intake.stream(["BTCUSDT"], overlaps=False)
            await held.until(lambda: len(held.asked) >= 2)
            intake.take(Price("BTCUSDT", UNIT, UNIT), stream, Supervision().monotonic_ns())
            held.asked.clear()
            await held.until(lambda: sum("ETHUSDT" in path for path in held.asked) >= 1)
            assert not any("BTCUSDT" in path for path in held.asked[1:])

    run(main())


def test_a_quiet_pair_is_not_asked_for_all_the_time() -> None:
    async def main() -> None:
        limits = replace(LIMITS, polls_per_age=2)
        book = {"symbol": "BTCUSDT", "bidPrice": "1", "askPrice": "2"}
        async with polled("binance", answering(book), (("BTC", "USDT"),), limits) as held:
            await held.until(lambda: bool(held.taken))
            await asyncio.sleep(0.3)
            assert len(held.asked) == 1

    run(main())


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("not JSON", "not understood: JSON is malformed"),
        ("{}", "not understood: Object missing required field"),
        ('{"symbol":"BTCUSDT","bidPrice":1.5,"askPrice":"2"}', "not understood: Expected `str`"),
        ('{"symbol":"BTCUSDT","bidPrice":"x","askPrice":"2"}', "not a plain decimal"),
        ('{"symbol":"DOGEUSDT","bidPrice":"1","askPrice":"2"}', "which nobody asked for"),
        ("[" * 4000, "not understood"),
        ("x" * 5000, "an answer of more than 4096 bytes"),
    ],
)
def test_an_answer_that_is_not_understood_is_told_and_counts_for_nothing(
    body: str, says: str
) -> None:
    async def main() -> None:
        async with polled("binance", answering(body), (("BTC", "USDT"),)) as held:
            await held.until_problem(says)
            (health,) = held.intake.health(Supervision().monotonic_ns())
            assert says in health.reason
            assert not held.taken

    run(main())


def test_an_exchange_that_wants_to_be_left_is_left() -> None:
    async def main() -> None:
        refuse = answering({}, 429, {"Retry-After": "3600"})
        async with polled("binance", refuse, (("BTC", "USDT"), ("ETH", "USDT"))) as held:
            await held.until_problem("HTTP status 429")
            await asyncio.sleep(0.2)
            assert len(held.asked) == 1

    run(main())


def test_an_exchange_that_does_not_answer_is_told() -> None:
    async def stall(_request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(30)
        return web.Response()

    async def main() -> None:
        limits = replace(LIMITS, answer_s=0.05)
        async with polled("binance", stall, (("BTC", "USDT"),), limits) as held:
            await held.until_problem("no answer from")
            await held.until(lambda: len(held.asked) >= 2)

    run(main())


def test_one_unknown_pair_does_not_spoil_the_others() -> None:
    tickers = {"XXBTZUSD": "100", "XETHZUSD": "10", "USDTZUSD": "1"}

    async def answer(request: web.Request) -> web.StreamResponse:
        pairs = request.query["pair"].split(",")
        if "SOLUSD" in pairs:
            return web.json_response({"error": ["EQuery:Unknown asset pair"]})
        names = {"XBTUSD": "XXBTZUSD", "ETHUSD": "XETHZUSD", "USDTUSD": "USDTZUSD"}
        found = {
            names[pair]: {"a": [tickers[names[pair]]], "b": [tickers[names[pair]]]}
            for pair in pairs
        }
        return web.json_response({"error": [], "result": found})

    async def main() -> None:
        pairs = tuple((base, "USD") for base in ("BTC", "SOL", "ETH", "USDT"))
        async with polled("kraken", answer, pairs) as held:
            await held.until(lambda: {one.base for one in held.taken} == {"BTC", "ETH", "USDT"})
            assert held.intake.sources["SOL/USD"].poll_problem is not None
            assert held.asked[0] == "/0/public/Ticker?pair=XBTUSD,SOLUSD,ETHUSD,USDTUSD"
            await held.until(
                lambda: all(
                    one.poll_problem is None
                    for symbol, one in held.intake.sources.items()
                    if symbol != "SOL/USD"
                )
            )

    run(main())


ANSWERS = [
    (
        "binance",
        "BTCUSDT",
        '{"symbol":"BTCUSDT","bidPrice":"4.00000000","bidQty":"431","askPrice":"4.00000200","askQty":"9"}',
        Price("BTCUSDT", 4 * UNIT, 4 * UNIT + 2 * UNIT // 10**6),
    ),
    (
        "bitstamp",
        "btcusd",
        '{"timestamp":"1643640186","open":"37875.51","last":"38500.01","bid":"38490.45",'
        '"ask":"38500.01","vwap":"37477.54","volume":"3031.54"}',
        Price("btcusd", 3849045 * UNIT // 100, 3850001 * UNIT // 100, 3850001 * UNIT // 100,
              1643640186000),
    ),
    (
        "coinbase_exchange",
        "BTC-USD",
        '{"ask":"6267.71","bid":"6265.15","volume":"53602.03","trade_id":86326522,'
        '"price":"6268.48","size":"0.00698254","time":"2020-03-20T00:22:57.833897Z"}',
        Price("BTC-USD", 626515 * UNIT // 100, 626771 * UNIT // 100, 626848 * UNIT // 100,
              1584663777833),
    ),
    (
        "gemini",
        "btcusd",
        '{"bid":"9345.70","ask":"9347.67","volume":{"BTC":"2210.50","USD":"2135477.46",'
        '"timestamp":1483018200000},"last":"9346.20"}',
        Price("btcusd", 934570 * UNIT // 100, 934767 * UNIT // 100, 934620 * UNIT // 100,
              1483018200000),
    ),
    (
        "kraken",
        "BTC/USD",
        '{"error":[],"result":{"XXBTZUSD":{"a":["30300.10000","1","1.000"],"b":["30300.00000",'
        '"1","1.000"],"c":["30303.20000","0.00067643"],"v":["4083.67","4412.73"]}}}',
        Price("BTC/USD", 303001 * UNIT // 10 - UNIT // 10, 303001 * UNIT // 10,
              303032 * UNIT // 10),
    ),
    (
        "okx",
        "BTC-USDT",
        '{"code":"0","msg":"","data":[{"instType":"SPOT","instId":"BTC-USDT","last":"9999.99",'
        '"askPx":"9999.99","bidPx":"8888.88","ts":"1597026383085"}]}',
        Price("BTC-USDT", 888888 * UNIT // 100, 999999 * UNIT // 100, 999999 * UNIT // 100,
              1597026383085),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("venue", "symbol", "body", "meaning"), ANSWERS)
def test_an_answer_means_what_the_exchange_says(
    venue: str, symbol: str, body: str, meaning: Price
) -> None:
    rest = VENUES[venue].rest
    assert rest is not None
    assert list(rest.read(body.encode(), [symbol])) == [meaning]


@pytest.mark.parametrize(
    ("venue", "body"),
    [
        ("kraken", '{"error":["EQuery:Unknown asset pair"]}'),
        ("kraken", '{"error":[],"result":{}}'),
        ("kraken", '{"error":[],"result":{"XXBTZUSD":{"a":[],"b":[]}}}'),
        ("okx", '{"code":"51001","msg":"Instrument ID does not exist","data":[]}'),
        ("gemini", '{"result":"error","reason":"Bad Request","message":"Supplied value"}'),
        ("bitstamp", "<h1>404 Not Found</h1>"),
        ("coinbase_exchange", '{"message":"NotFound"}'),
    ],
)
def test_an_error_in_words_is_no_price(venue: str, body: str) -> None:
    rest = VENUES[venue].rest
    assert rest is not None
    with pytest.raises(ValueError, match=r"."):
        rest.read(body.encode(), [VENUES[venue].symbol("BTC", "USD")])


def test_polls_keep_within_what_the_exchanges_allow() -> None:
    allowed_a_minute = {
        "binance": 3000, "bitstamp": 1000, "coinbase_exchange": 600, "gemini": 120, "kraken": 60,
        "okx": 600,
    }  # fmt: skip
    for name, most in allowed_a_minute.items():
        rest = VENUES[name].rest
        assert rest is not None
        assert 60 / rest.every_s <= most

"""One connection against servers that do everything an exchange should not."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field, replace
from random import Random

import aiohttp
import pytest
from aiohttp import web

from aggregation.quote import RawQuote
from feeds.backoff import Backoff
from feeds.connect_budget import ConnectBudget
from feeds.connection import Connection
from feeds.frames import Decoded, Greeting, Price, Reply
from feeds.intake import Intake
from feeds.rest import Bootstrap, Opening, Request
from feeds.source import Source, SourceHealth, SourceState
from feeds.supervision import Limits, Supervision
from feeds.venue import ConnectLimit, Liveness, Ping, Reader, Venue, VenueEndpoint, stateless
from feeds.venues import VENUES

UNIT = 10**12
LIMITS = Limits(
    handshake_s=5,
    acknowledge_s=5,
    close_s=0.1,
    check_every_s=0.01,
    faults_max=5,
    backoff=Backoff(base_s=0.001, cap_s=0.01),
)
PATIENT = Liveness(any_frame_s=60, price_s=60)
UNLIMITED = ConnectLimit(10_000, 0.001)
BINANCE = VENUES["binance"]
NOW_MS = 1_786_562_942_066

Socket = web.WebSocketResponse
Script = Callable[[Socket, int], Awaitable[None]]


@dataclass
class Exchange:
    """A server whose every connection runs a script, which is told its number from 1."""

    script: Script
    url: str = ""
    connections: int = 0
    requests: list[str] = field(default_factory=list)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.connections += 1
        socket = web.WebSocketResponse(autoping=False)
        await socket.prepare(request)
        with suppress(ConnectionError, aiohttp.ClientError):
            await self.script(socket, self.connections)
        return socket

    async def read_for_ever(self, socket: Socket) -> None:
        async for message in socket:
            self.requests.append(str(message.data))


@asynccontextmanager
async def serving(
    handler: Callable[[web.Request], Awaitable[web.StreamResponse]],
) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_get("/", handler)
    runner = web.AppRunner(app, handle_signals=False, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    try:
        yield f"ws://{host}:{port}/"
    finally:
        await runner.cleanup()


@dataclass
class Watched:
    intake: Intake
    taken: list[RawQuote]

    def all_health(self) -> list[SourceHealth]:
        return self.intake.health(Supervision().monotonic_ns())

    @property
    def health(self) -> SourceHealth:
        return self.all_health()[0]

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while True:
                if condition():
                    return
                await asyncio.sleep(0.002)

    async def until_reason(self, text: str) -> SourceHealth:
        async with asyncio.timeout(20):
            while True:
                for health in self.all_health():
                    if text in health.reason or text in health.last_loss:
                        return health
                await asyncio.sleep(0.0005)

    async def quotes(self) -> list[RawQuote]:
        await self.until(lambda: bool(self.taken))
        newest = {(one.base, one.quote): one for one in self.taken}
        self.taken.clear()
        return list(newest.values())


@asynccontextmanager
async def supervised(
    venue: Venue,
    url: str,
    limits: Limits = LIMITS,
    pairs: tuple[tuple[str, str], ...] = (("BTC", "USDT"),),
) -> AsyncIterator[Watched]:
    taken: list[RawQuote] = []
    sources = [Source(base, quote, venue.symbol(base, quote), 5000) for base, quote in pairs]
    supervision = Supervision(limits=limits, unix_ms=lambda: NOW_MS, rng=Random(7))
    intake = Intake(venue, sources, taken.append, lambda _key: None, supervision)
    budget = ConnectBudget(venue.connect_limit)
    endpoint = VenueEndpoint(url, url.replace("ws:", "http:"))
    connection = Connection(endpoint, list(intake.sources), intake, budget, supervision)
    async with aiohttp.ClientSession() as session:
        task = asyncio.create_task(connection.run(session))
        try:
            yield Watched(intake, taken)
            assert not task.done()
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


def binance(liveness: Liveness = PATIENT, rotate_after_s: float | None = None) -> Venue:
    return replace(
        VENUES["binance"],
        liveness=liveness,
        rotate_after_s=rotate_after_s,
        connect_limit=UNLIMITED,
    )


def book(sequence: int, bid: str = "100.5", symbol: str = "BTCUSDT") -> str:
    return json.dumps({"u": sequence, "s": symbol, "b": bid, "B": "1", "a": "101", "A": "1"})


ACCEPTED = '{"result":null,"id":1}'


async def accept(socket: Socket) -> None:
    await socket.receive()
    await socket.send_str(ACCEPTED)


def run(main: Awaitable[None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(60):
            await main

    asyncio.run(bounded())


def lost_for(venue: Venue, script: Script, reason: str, limits: Limits = LIMITS) -> None:
    """Check that a script costs its connections, for this reason, time after time."""

    async def main() -> None:
        exchange = Exchange(script)
        async with serving(exchange.handle) as url, supervised(venue, url, limits) as watched:
            await watched.until(lambda: exchange.connections >= 3)
            health = await watched.until_reason(reason)
            assert health.reconnects >= 2

    run(main())


def test_quotes_arrive_as_they_were_written() -> None:
    async def script(socket: Socket, _number: int) -> None:
        await accept(socket)
        await socket.send_str(book(7))
        await exchange.read_for_ever(socket)

    exchange = Exchange(script)

    async def main() -> None:
        async with serving(exchange.handle) as url, supervised(binance(), url) as watched:
            (quote,) = await watched.quotes()
            assert (quote.venue, quote.base, quote.quote) == ("binance", "BTC", "USDT")
            assert (quote.bid, quote.ask, quote.last) == (1005 * UNIT // 10, 101 * UNIT, None)
            assert (quote.scale, quote.sequence, quote.exchange_time_ms) == (12, 7, None)
            assert watched.health.state is SourceState.LIVE
            assert watched.health.quotes == 1
            assert watched.health.last_quote_age_ms is not None

    run(main())


def test_a_subscription_that_is_never_acknowledged_costs_the_connection() -> None:
    async def script(socket: Socket, _number: int) -> None:
        async for _ in socket:
            pass

    limits = replace(LIMITS, acknowledge_s=0.03)
    lost_for(binance(), script, "no subscription was acknowledged within 0.03 s", limits)


def test_silence_costs_the_connection() -> None:
    async def script(socket: Socket, _number: int) -> None:
        await accept(socket)
        await socket.send_str(book(1))
        await socket.receive()

    liveness = Liveness(any_frame_s=0.05, price_s=60)
    lost_for(binance(liveness), script, "no frame for 0.05 s")


def test_heartbeats_without_a_price_cost_the_connection() -> None:
    async def script(socket: Socket, _number: int) -> None:
        await accept(socket)
        while not socket.closed:
            await socket.send_str('{"e":"something new"}')
            await asyncio.sleep(0.005)

    liveness = Liveness(any_frame_s=60, price_s=0.1)
    lost_for(binance(liveness), script, "frames, but no price of any pair for 0.1 s")


def test_a_close_names_the_exchange_s_reason() -> None:
    async def script(socket: Socket, _number: int) -> None:
        await accept(socket)
        await socket.close(code=1012, message=b"restarting\n\x1b[31m")

    lost_for(binance(), script, "closed by the exchange (code 1012): restarting??[31m")


def test_a_stream_that_is_cut_within_a_frame_is_replaced() -> None:
    async def script(socket: Socket, _number: int) -> None:
        await accept(socket)
        transport = socket._req.transport  # type: ignore[union-attr]
        assert transport is not None
        transport.write(b"\x81\x7e\x01\x00{")
        transport.abort()

    lost_for(binance(), script, "closed by the exchange")


@pytest.mark.parametrize(
    "frame",
    [
        "not JSON",
        "[]",
        '{"u":1,"s":"BTCUSDT","b":1.5,"a":"2"}',
        '{"u":1,"s":"BTCUSDT","b":"x","a":"2"}',
        '{"u":"1","s":"BTCUSDT","b":"1","a":"2"}',
        '{"u":1,"s":["BTCUSDT"],"b":"1","a":"2"}',
        '{"u":1,"s":"DOGEUSDT","b":"1","a":"2"}',
        '{"error":{"msg":"too many requests"}}',
        b"\x00\x01",
    ],
)
def test_frames_beyond_understanding_cost_the_connection(frame: str | bytes) -> None:
    async def script(socket: Socket, _number: int) -> None:
        await accept(socket)
        for _ in range(6):
            if isinstance(frame, bytes):
                await socket.send_bytes(frame)
            else:
                await socket.send_str(frame)
        await socket.receive()

    lost_for(binance(), script, "6 faulty frames within 60 s")


def test_a_few_faulty_frames_are_counted_and_borne() -> None:
    async def script(socket: Socket, _number: int) -> None:
        await accept(socket)
        for _ in range(5):
            await socket.send_str("garbage")
        await socket.send_str(book(1))
        await socket.receive()

    async def main() -> None:
        exchange = Exchange(script)
        async with serving(exchange.handle) as url, supervised(binance(), url) as watched:
            await watched.quotes()
            assert watched.health.faults == 5
            assert exchange.connections == 1

    run(main())


def test_a_frame_beyond_the_bound_costs_the_connection() -> None:
    async def script(socket: Socket, _number: int) -> None:
        await accept(socket)
        await socket.send_str("[" + " " * LIMITS.frame_bytes_max + "]")
        await socket.receive()

    lost_for(binance(), script, "broken stream")


def test_a_broken_websocket_frame_costs_the_connection() -> None:
    async def script(socket: Socket, _number: int) -> None:
        await accept(socket)
        transport = socket._req.transport  # type: ignore[union-attr]
        assert transport is not None
        transport.write(b"\xff\xff\xff\xff")
        await socket.receive()

    lost_for(binance(), script, "broken stream")


def test_an_older_sequence_never_replaces_a_newer() -> None:
    async def script(socket: Socket, _number: int) -> None:
        await accept(socket)
        await socket.send_str(book(5, "100.5"))
        await socket.send_str(book(4, "99"))
        await socket.send_str(book(5, "100.6"))
        await socket.send_str(book(3, "98"))
        await socket.receive()

    async def main() -> None:
        exchange = Exchange(script)
        async with serving(exchange.handle) as url, supervised(binance(), url) as watched:
            await watched.until(lambda: watched.health.frames == 5)
            (quote,) = await watched.quotes()
            assert quote.bid == 1006 * UNIT // 10
            assert (watched.health.quotes, watched.health.faults) == (2, 2)

    run(main())


def test_a_new_connection_may_count_from_anew() -> None:
    async def script(socket: Socket, number: int) -> None:
        await accept(socket)
        await socket.send_str(book(1000 // number, str(number)))
        if number == 2:
            await socket.receive()

    async def main() -> None:
        exchange = Exchange(script)
        async with serving(exchange.handle) as url, supervised(binance(), url) as watched:
            await watched.until(lambda: watched.health.quotes == 2)
            (quote,) = await watched.quotes()
            assert (quote.bid, quote.sequence) == (2 * UNIT, 500)

    run(main())


def test_the_same_book_on_a_new_connection_is_no_news() -> None:
    async def script(socket: Socket, number: int) -> None:
        await accept(socket)
        await socket.send_str(book(8 if number == 4 else 7))
        if number == 4:
            await socket.receive()

    async def main() -> None:
        exchange = Exchange(script)
        async with serving(exchange.handle) as url, supervised(binance(), url) as watched:
            (first,) = await watched.quotes()
            (second,) = await watched.quotes()
            assert (first.sequence, second.sequence) == (7, 8)
            assert exchange.connections == 4
            assert watched.health.quotes == 2

    run(main())


def kraken_ticker(time: str, bid: str) -> str:
    return (
        '{"channel":"ticker","type":"update","data":[{"symbol":"BTC/USD","bid":'
        f'{bid},"ask":70000,"timestamp":"{time}"}}]}}'
    )


KRAKEN = replace(VENUES["kraken"], liveness=PATIENT, connect_limit=UNLIMITED)
BTC_USD = (("BTC", "USD"),)


def test_without_a_sequence_the_exchange_s_time_orders_and_the_future_is_refused() -> None:
    async def script(socket: Socket, _number: int) -> None:
        await socket.receive()
        await socket.send_str(kraken_ticker("2026-08-12T19:29:02.066592Z", "60000.1"))
        await socket.send_str(kraken_ticker("2026-08-12T19:29:01Z", "60000.2"))
        await socket.send_str(kraken_ticker("2026-08-12T19:29:05Z", "60000.3"))
        await socket.receive()

    async def main() -> None:
        exchange = Exchange(script)
        async with (
            serving(exchange.handle) as url,
            supervised(KRAKEN, url, pairs=BTC_USD) as watched,
        ):
            await watched.until(lambda: watched.health.frames == 3)
            (quote,) = await watched.quotes()
            assert quote.bid == 600001 * UNIT // 10
            assert quote.exchange_time_ms == NOW_MS
            assert watched.health.faults == 2

    run(main())


def test_prices_do_not_count_while_the_exchange_is_not_trading() -> None:
    async def script(socket: Socket, _number: int) -> None:
        await socket.receive()
        status = '{"channel":"status","type":"update","data":[{"system":"%s"}]}'
        await socket.send_str(status % "maintenance")
        await socket.send_str(kraken_ticker("2026-08-12T19:29:01Z", "60000.1"))
        await proceed.wait()
        await socket.send_str(status % "online")
        await socket.send_str(kraken_ticker("2026-08-12T19:29:02Z", "60000.2"))
        await socket.receive()

    async def main() -> None:
        exchange = Exchange(script)
        async with (
            serving(exchange.handle) as url,
            supervised(KRAKEN, url, pairs=BTC_USD) as watched,
        ):
            health = await watched.until_reason("maintenance")
            await watched.until(lambda: watched.health.frames == 2)
            assert health.state is SourceState.HALTED
            assert watched.health.quotes == 0
            proceed.set()
            (quote,) = await watched.quotes()
            assert quote.bid == 600002 * UNIT // 10
            assert watched.health.state is SourceState.LIVE

    proceed = asyncio.Event()
    run(main())


def test_one_refused_pair_does_not_take_the_others_along() -> None:
    async def script(socket: Socket, _number: int) -> None:
        await socket.receive()
        await socket.send_str(
            '{"method":"subscribe","success":false,"error":"delisted","symbol":"SOL/USD"}'
        )
        await socket.send_str(kraken_ticker("2026-08-12T19:29:01Z", "60000.1"))
        await socket.receive()

    async def main() -> None:
        exchange = Exchange(script)
        limits = replace(LIMITS, acknowledge_s=0.05, retry_refused_s=0.2)
        pairs = (("BTC", "USD"), ("SOL", "USD"), ("ETH", "USD"))
        async with (
            serving(exchange.handle) as url,
            supervised(KRAKEN, url, limits, pairs) as watched,
        ):
            await watched.quotes()
            await watched.until_reason("subscription not acknowledged")
            bitcoin, solana, ether = watched.all_health()
            assert bitcoin.state is SourceState.LIVE
            assert (solana.state, solana.reason) == (
                SourceState.REFUSED,
                "subscription refused: delisted",
            )
            assert ether.state is SourceState.REFUSED
            await watched.until_reason("renewed to try refused subscriptions again")

    run(main())


def test_a_refusal_of_every_pair_costs_the_connection() -> None:
    async def script(socket: Socket, _number: int) -> None:
        await socket.receive()
        await socket.send_str('{"error":{"code":2,"msg":"Invalid request"},"id":1}')
        await socket.receive()

    lost_for(binance(), script, "subscription refused: Invalid request")


def test_a_renewed_connection_delivers_before_the_one_before_it_is_closed() -> None:
    open_at_once: list[int] = []
    sequence = 100

    async def script(socket: Socket, number: int) -> None:
        nonlocal sequence
        await accept(socket)
        open_now.add(number)
        try:
            while not socket.closed:
                await asyncio.sleep(0.002)
                sequence += 1
                # The third connection is slow to say anything, and must be waited for.
                if number != 3 or 2 not in open_now or sequence % 50 == 0:
                    await socket.send_str(book(sequence))
                open_at_once.append(len(open_now))
        finally:
            open_now.discard(number)

    open_now: set[int] = set()
    exchange = Exchange(script)

    async def main() -> None:
        async with (
            serving(exchange.handle) as url,
            supervised(binance(rotate_after_s=0.05), url) as watched,
        ):
            await watched.until(lambda: exchange.connections >= 5)
            sequences = [quote.sequence or 0 for quote in watched.taken]
            assert sequences == sorted(set(sequences))
            assert {1, 2} <= set(open_at_once)
            assert watched.health.state is SourceState.LIVE
            assert watched.health.faults == 0

    run(main())


def test_a_successor_that_fails_leaves_the_one_before_it_in_office() -> None:
    async def script(socket: Socket, number: int) -> None:
        await accept(socket)
        if number > 1:
            return
        while not socket.closed:
            await asyncio.sleep(0.002)
            await socket.send_str(book(len(sent)))
            sent.append(number)

    sent: list[int] = []
    exchange = Exchange(script)

    async def main() -> None:
        async with (
            serving(exchange.handle) as url,
            supervised(binance(rotate_after_s=0.05), url) as watched,
        ):
            await watched.until(lambda: exchange.connections >= 4)
            before = len(watched.taken)
            await watched.until(lambda: len(watched.taken) > before + 5)
            assert watched.health.state is SourceState.LIVE
            assert "the successor failed" in watched.health.last_loss

    run(main())


def test_demanded_replies_are_sent_and_binary_frames_are_read() -> None:
    async def script(socket: Socket, _number: int) -> None:
        await accept(socket)
        for count in range(3):
            await socket.send_bytes(b"ping %d" % count)
            exchange.requests.append(str((await socket.receive()).data))
        await socket.send_bytes(book(1).encode())
        await exchange.read_for_ever(socket)

    def read_binary(frame: bytes) -> Sequence[Decoded]:
        if frame.startswith(b"ping"):
            return (Reply(frame.decode().replace("ping", "pong")),)
        return BINANCE.decode(frame.decode())

    exchange = Exchange(script)
    venue = replace(binance(), reader=stateless(BINANCE.reader().text, read_binary))

    async def main() -> None:
        async with serving(exchange.handle) as url, supervised(venue, url) as watched:
            await watched.quotes()
            assert exchange.requests == ["pong 0", "pong 1", "pong 2"]
            assert watched.health.faults == 0

    run(main())


def test_nothing_is_sent_before_the_greeting_and_the_pause_after_it() -> None:
    async def script(socket: Socket, _number: int) -> None:
        assert await silent(socket, 0.05)
        await socket.send_str("welcome")
        assert await silent(socket, 0.05)
        await accept(socket)
        await socket.send_str(book(1))
        await exchange.read_for_ever(socket)

    async def silent(socket: Socket, seconds: float) -> bool:
        try:
            await socket.receive(timeout=seconds)
        except TimeoutError:
            return True
        return False

    def read(frame: str) -> Sequence[Decoded]:
        return (Greeting(),) if frame == "welcome" else BINANCE.decode(frame)

    exchange = Exchange(script)
    venue = replace(binance(), reader=stateless(read), greets=True, subscribe_after_s=0.3)

    async def main() -> None:
        async with serving(exchange.handle) as url, supervised(venue, url) as watched:
            await watched.quotes()
            assert exchange.connections == 1

    run(main())


def test_a_reader_that_keeps_state_begins_anew_on_each_connection() -> None:
    async def script(socket: Socket, number: int) -> None:
        await accept(socket)
        await socket.send_str("named BTCUSDT" if number == 1 else "no name")
        await socket.send_str("price")
        if number == 2:
            await socket.receive()

    class Named:
        def __init__(self) -> None:
            self.symbol: str | None = None

        def read(self, frame: str) -> Sequence[Decoded]:
            if frame.startswith("named "):
                self.symbol = frame.removeprefix("named ")
                return ()
            if frame == "price":
                if self.symbol is None:
                    raise ValueError("a price of a channel without a name")
                return (Price(self.symbol, UNIT, UNIT),)
            return BINANCE.decode(frame)

    venue = replace(binance(), reader=lambda: Reader(Named().read))
    exchange = Exchange(script)

    async def main() -> None:
        async with serving(exchange.handle) as url, supervised(venue, url) as watched:
            await watched.until(lambda: exchange.connections == 2 and watched.health.frames == 6)
            assert watched.health.quotes == 1
            assert watched.health.faults == 2

    run(main())


@asynccontextmanager
async def bootstrapping(answer: Callable[[str], str], exchange: Exchange) -> AsyncIterator[str]:
    """Serve an exchange that says by POST where to connect; yields its REST address."""

    async def tell(request: web.Request) -> web.Response:
        exchange.requests.append(request.method)
        return web.Response(text=answer(f"ws://{request.host}/live"))

    app = web.Application()
    app.router.add_post("/bullet", tell)
    app.router.add_get("/live", exchange.handle)
    runner = web.AppRunner(app, handle_signals=False, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield "ws://{}:{}".format(*runner.addresses[0])
    finally:
        await runner.cleanup()


def test_an_exchange_may_say_each_time_where_to_connect_and_how_often_to_ping() -> None:
    async def script(socket: Socket, number: int) -> None:
        paths.append(str(socket._req.rel_url))  # type: ignore[union-attr]
        await accept(socket)
        await socket.send_str(book(number))
        if number == 3:
            await exchange.read_for_ever(socket)

    def read(body: bytes, connection_id: str) -> Opening:
        return Opening(f"{body.decode()}?id={connection_id}", ping_every_s=0.02)

    paths: list[str] = []
    exchange = Exchange(script)
    venue = replace(
        binance(),
        bootstrap=Bootstrap(Request("/bullet", "POST"), read),
        ping=Ping(3600, lambda count: f"ping {count}"),
    )

    async def main() -> None:
        async with (
            bootstrapping(lambda url: url, exchange) as url,
            supervised(venue, url) as watched,
        ):
            await watched.until(lambda: watched.health.quotes == 3)
            await watched.until(lambda: "ping 2" in exchange.requests)
            assert exchange.requests[:3] == ["POST"] * 3
            assert len(set(paths)) == 3

    run(main())


@pytest.mark.parametrize(
    ("answer", "says"),
    [("", "nothing to connect to"), ("x" * 300_000, "an answer of more than")],
)
def test_an_unusable_answer_about_where_to_connect_is_told(answer: str, says: str) -> None:
    def read(body: bytes, _connection_id: str) -> Opening:
        if not body:
            raise ValueError("nothing to connect to")
        return Opening(body.decode())

    async def script(_socket: Socket, _number: int) -> None:
        raise AssertionError

    venue = replace(binance(), bootstrap=Bootstrap(Request("/bullet", "POST"), read))

    async def main() -> None:
        exchange = Exchange(script)
        async with (
            bootstrapping(lambda _url: answer, exchange) as url,
            supervised(venue, url) as watched,
        ):
            health = await watched.until_reason("cannot learn where to connect")
            assert says in health.reason

    run(main())


def test_connects_wait_for_the_exchange_s_limit() -> None:
    async def script(socket: Socket, _number: int) -> None:
        await accept(socket)

    venue = replace(binance(), connect_limit=ConnectLimit(3, 3600))

    async def main() -> None:
        exchange = Exchange(script)
        async with serving(exchange.handle) as url, supervised(venue, url) as watched:
            await watched.until_reason("the exchange limits how often one may connect")
            assert exchange.connections == 3

    run(main())


def test_a_pair_that_rest_knows_better_costs_the_connection_that_leaves_it_out() -> None:
    async def script(socket: Socket, _number: int) -> None:
        await accept(socket)
        await socket.send_str(book(1))
        count = 0
        while not socket.closed:
            count += 1
            await socket.send_str(book(count, symbol="ETHUSDT"))
            await asyncio.sleep(0.005)

    exchange = Exchange(script)
    venue = binance(Liveness(any_frame_s=60, price_s=0.1))
    pairs = (("BTC", "USDT"), ("ETH", "USDT"))

    async def main() -> None:
        async with serving(exchange.handle) as url, supervised(venue, url, pairs=pairs) as watched:
            await watched.until(lambda: len({one.base for one in watched.taken}) == 2)
            now_ns = Supervision().monotonic_ns
            for count in range(3):
                price = Price("BTCUSDT", (200 + count) * UNIT, 300 * UNIT)
                watched.intake.take_polled(price, now_ns(), 1, now_ns())
            await watched.until_reason("REST has newer prices of BTCUSDT")

    run(main())


def test_a_connection_is_renewed_before_the_exchange_ends_it() -> None:
    async def script(socket: Socket, _number: int) -> None:
        await accept(socket)
        while not socket.closed:
            await socket.send_str(book(1))
            await asyncio.sleep(0.005)

    lost_for(binance(rotate_after_s=0.1), script, "renewed before the exchange's limit")


def test_an_announced_restart_is_not_waited_for() -> None:
    async def script(socket: Socket, _number: int) -> None:
        await accept(socket)
        await socket.send_str('{"e":"serverShutdown","E":1770123456789}')
        await socket.receive()

    lost_for(binance(), script, "the exchange announces a restart")


def test_a_refused_handshake_honours_retry_after_within_bounds() -> None:
    async def refuse(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=429, headers={"Retry-After": "86400"})

    async def main() -> None:
        limits = replace(LIMITS, retry_after_max_s=30)
        async with serving(refuse) as url, supervised(binance(), url, limits) as watched:
            health = await watched.until_reason("HTTP status 429")
            assert health.reason.endswith("next try in 30.0 s")
            assert health.state is SourceState.WAITING

    run(main())


def test_a_server_that_never_answers_the_handshake_is_left() -> None:
    async def stall(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            await _reader.read()
        writer.close()

    async def main() -> None:
        server = await asyncio.start_server(stall, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        limits = replace(LIMITS, handshake_s=0.05)
        async with (
            server,
            supervised(binance(), f"ws://127.0.0.1:{port}/", limits) as watched,
        ):
            await watched.until(lambda: watched.health.reconnects >= 2)
            await watched.until_reason("no handshake within 0.05 s")

    run(main())


@pytest.mark.parametrize("url", ["ws://127.0.0.1:1/", "ws://", "http//nowhere", "ws://[::1"])
def test_an_address_that_cannot_be_reached_is_told(url: str) -> None:
    async def main() -> None:
        async with supervised(binance(), url) as watched:
            await watched.until(lambda: watched.health.reconnects >= 3)
            await watched.until_reason("cannot connect to")

    run(main())


def test_application_pings_are_sent_and_their_answers_are_signs_of_life() -> None:
    async def script(socket: Socket, _number: int) -> None:
        await socket.receive()
        await socket.send_str(
            '{"arg":{"channel":"bbo-tbt","instId":"BTC-USDT"},'
            '"data":[{"asks":[["5","1"]],"bids":[["4","1"]],"ts":"7","seqId":8}]}'
        )
        async for message in socket:
            exchange.requests.append(message.data)
            await socket.send_str("pong")

    exchange = Exchange(script)
    venue = replace(
        VENUES["okx"],
        liveness=Liveness(any_frame_s=0.5, price_s=60),
        ping=Ping(0.02, lambda _count: "ping"),
    )

    async def main() -> None:
        async with serving(exchange.handle) as url, supervised(venue, url) as watched:
            await watched.until(lambda: len(exchange.requests) >= 40)
            assert set(exchange.requests) == {"ping"}
            assert exchange.connections == 1

    run(main())


def test_protocol_pings_are_answered_and_are_signs_of_life() -> None:
    async def script(socket: Socket, _number: int) -> None:
        await accept(socket)
        await socket.send_str(book(1))
        for count in range(40):
            await socket.ping(str(count).encode())
            message = await socket.receive()
            assert message.type is aiohttp.WSMsgType.PONG
            answers.append(bytes(message.data))
            await asyncio.sleep(0.02)
        await socket.receive()

    answers: list[bytes] = []
    exchange = Exchange(script)
    liveness = Liveness(any_frame_s=0.5, price_s=60)

    async def main() -> None:
        async with serving(exchange.handle) as url, supervised(binance(liveness), url) as watched:
            await watched.until(lambda: len(answers) == 40)
            assert answers == [str(count).encode() for count in range(40)]
            assert exchange.connections == 1

    run(main())


@dataclass(frozen=True)
class Recorded(Backoff):
    """A back-off that notes after how many failures it was asked."""

    asked: list[int] = field(default_factory=list)

    def wait_s(self, failures: int, rng: Random) -> float:
        self.asked.append(failures)
        return super().wait_s(failures, rng)


@pytest.mark.parametrize(("stable_s", "failures"), [(60.0, [1, 2, 3]), (0.0, [0, 0, 0])])
def test_failures_add_up_until_a_connection_has_lived(stable_s: float, failures: list[int]) -> None:
    async def script(socket: Socket, _number: int) -> None:
        await accept(socket)

    backoff = Recorded(base_s=0.001, cap_s=0.01)
    limits = replace(LIMITS, stable_s=stable_s, backoff=backoff)
    lost_for(binance(), script, "closed by the exchange", limits)
    # The third connection may not be lost yet.
    assert backoff.asked[:2] == failures[:2]


@contextmanager
def recorded_errors(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    with caplog.at_level("ERROR"):
        yield
    assert "unexpected fault" in caplog.text


def test_a_fault_of_ours_costs_a_connection_and_no_more(caplog: pytest.LogCaptureFixture) -> None:
    def faulty(_frame: str) -> list[Decoded]:
        raise KeyError("a mistake in a decoder")

    async def script(socket: Socket, _number: int) -> None:
        await accept(socket)
        await socket.receive()

    venue = replace(binance(), reader=stateless(faulty))
    with recorded_errors(caplog):
        lost_for(venue, script, "unexpected fault in this node: KeyError")


def test_a_fault_of_ours_before_the_connection_costs_no_more(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def faulty(_body: bytes, _connection_id: str) -> Opening:
        raise KeyError("a mistake in reading where to connect")

    async def script(_socket: Socket, _number: int) -> None:
        raise AssertionError

    venue = replace(binance(), bootstrap=Bootstrap(Request("/bullet", "POST"), faulty))

    async def main() -> None:
        exchange = Exchange(script)
        async with (
            bootstrapping(lambda url: url, exchange) as url,
            supervised(venue, url) as watched,
        ):
            await watched.until_reason("unexpected fault in this node: KeyError")
            await watched.until(lambda: watched.health.reconnects >= 2)

    with recorded_errors(caplog):
        run(main())


def test_an_exchange_under_maintenance_is_left_for_a_while() -> None:
    async def script(socket: Socket, _number: int) -> None:
        await socket.receive()
        await socket.send_str('{"channel":"status","data":[{"system":"maintenance"}]}')

    async def main() -> None:
        exchange = Exchange(script)
        async with (
            serving(exchange.handle) as url,
            supervised(KRAKEN, url, pairs=BTC_USD) as watched,
        ):
            health = await watched.until_reason("closed by the exchange")
            assert health.reason.endswith("next try in 5.0 s")

    run(main())


def test_an_exchange_that_ignores_the_close_and_goes_on_sending_is_left() -> None:
    async def script(socket: Socket, _number: int) -> None:
        await accept(socket)
        await socket.send_str('{"e":"serverShutdown","E":1}')
        transport = socket._req.transport  # type: ignore[union-attr]
        while transport is not None and not transport.is_closing():
            transport.write(b"\x81\x02[]")
            await asyncio.sleep(0.002)

    lost_for(binance(), script, "the exchange announces a restart")

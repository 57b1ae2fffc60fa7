"""Exchanges that freeze, lie or vanish on request, and clients that misbehave."""

import asyncio
import contextlib
import gzip
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from feeds.venues.mexc_messages import PUSH
from testnet.exchanges.__main__ import main
from testnet.exchanges.simulator import VENUES, Simulation, simulated_exchanges
from testnet.market import Market

PATIENCE_S = 20
BASES = ("BTC", "ETH", "SOL", "USDT")
GZIP = b"\x1f\x8b"
TELL_THAT_THEY_STOP = ("kraken", "bitstamp", "binance", "okx", "bitfinex")
SUBSCRIPTIONS: dict[str, object] = {
    "coinbase_exchange": {
        "type": "subscribe",
        "product_ids": ["BTC-USD"],
        "channels": ["ticker", "heartbeat"],
    },
    "kraken": {
        "method": "subscribe",
        "params": {"channel": "ticker", "symbol": ["BTC/USD"], "event_trigger": "bbo"},
    },
    "bitstamp": {"event": "bts:subscribe", "data": {"channel": "order_book_btcusd"}},
    "gemini": {"id": 1, "method": "SUBSCRIBE", "params": ["btcusd@bookTicker"]},
    "binance": {"id": 1, "method": "SUBSCRIBE", "params": ["btcusdt@bookTicker"]},
    "okx": {"op": "subscribe", "args": [{"channel": "bbo-tbt", "instId": "BTC-USDT"}]},
    "coinbase_advanced": {"type": "subscribe", "product_ids": ["BTC-USD"], "channel": "ticker"},
    "bybit": {"op": "subscribe", "req_id": "1", "args": ["orderbook.1.BTCUSDT"]},
    "bitfinex": {"event": "subscribe", "channel": "ticker", "symbol": "tBTCUSD"},
    "kucoin": {"id": "1", "type": "subscribe", "topic": "/market/ticker:BTC-USDT"},
    "gate": {
        "time": int(time.time()),
        "channel": "spot.book_ticker",
        "event": "subscribe",
        "payload": ["BTC_USDT"],
    },
    "cryptocom": {"id": 1, "method": "subscribe", "params": {"channels": ["ticker.BTC_USD"]}},
    "htx": {"sub": "market.btcusdt.bbo", "id": "1"},
    "mexc": {
        "method": "SUBSCRIPTION",
        "params": ["spot@public.aggre.bookTicker.v3.api.pb@10ms@BTCUSDT"],
    },
}
PINGS: dict[str, tuple[str, str]] = {
    "kraken": ('{"method":"ping"}', "pong"),
    "bitstamp": ('{"event":"bts:heartbeat"}', "bts:heartbeat"),
    "gemini": ('{"id":77,"method":"ping"}', '"id":77'),
    "okx": ("ping", "pong"),
    "bybit": ('{"op":"ping"}', "pong"),
    "bitfinex": ('{"event":"ping","cid":77}', '"cid":77'),
    "kucoin": ('{"id":"77","type":"ping"}', '"pong"'),
    "gate": ('{"channel":"spot.ping"}', "spot.pong"),
    "htx": ('{"ping":77}', '{"pong":77}'),
    "mexc": ('{"method":"PING"}', "PONG"),
}
REST = {
    "coinbase_exchange": "/products/BTC-USD/ticker",
    "kraken": "/0/public/Ticker?pair=XBTUSD",
    "bitstamp": "/api/v2/ticker/btcusd/",
    "gemini": "/v2/ticker/btcusd",
    "binance": "/api/v3/ticker/bookTicker?symbol=BTCUSDT",
    "okx": "/api/v5/market/ticker?instId=BTC-USDT",
    "coinbase_advanced": "/api/v3/brokerage/market/products/BTC-USD/ticker?limit=1",
    "bybit": "/v5/market/tickers?category=spot&symbol=BTCUSDT",
    "bitfinex": "/v2/ticker/tBTCUSD",
    "kucoin": "/api/v1/market/orderbook/level1?symbol=BTC-USDT",
    "gate": "/api/v4/spot/tickers?currency_pair=BTC_USDT",
    "cryptocom": "/exchange/v1/public/get-tickers?instrument_name=BTC_USD",
    "htx": "/market/detail/merged?symbol=btcusdt",
    "mexc": "/api/v3/ticker/bookTicker?symbol=BTCUSDT",
}


def quote_of(text: str) -> tuple[Decimal, Decimal, object] | None:
    """Return bid, ask and what proves the frame a new one, None if it is no quote."""
    if text == "pong":
        return None
    message: Any = json.loads(text, parse_float=Decimal)
    found: Any
    if isinstance(message, list):
        found = None if message[1] == "hb" else (message[1][0], message[1][2], message[2])
    elif message.get("type") == "ticker":
        found = message["best_bid"], message["best_ask"], message["sequence"]
    elif message.get("channel") == "ticker" and "events" in message:
        ticker = message["events"][0]["tickers"][0]
        found = ticker["best_bid"], ticker["best_ask"], message["sequence_num"]
    elif message.get("channel") == "ticker" and "data" in message:
        ticker = message["data"][0]
        found = ticker["bid"], ticker["ask"], ticker["timestamp"]
    elif message.get("event") == "data":
        book = message["data"]
        found = book["bids"][0][0], book["asks"][0][0], book["microtimestamp"]
    elif "arg" in message and "data" in message:
        top = message["data"][0]
        found = top["bids"][0][0], top["asks"][0][0], top["seqId"]
    elif "topic" in message and "subject" in message:
        ticker = message["data"]
        found = ticker["bestBid"], ticker["bestAsk"], ticker["sequence"]
    elif "topic" in message:
        top = message["data"]
        found = top["b"][0][0], top["a"][0][0], top["u"]
    elif message.get("event") == "update":
        ticker = message["result"]
        found = ticker["b"], ticker["a"], ticker["u"]
    elif message.get("method") == "subscribe" and message.get("id") == -1:
        ticker = message["result"]["data"][0]
        found = ticker["b"], ticker["k"], ticker["t"]
    elif "tick" in message:
        tick = message["tick"]
        found = tick["bid"], tick["ask"], tick["seqId"]
    elif "u" in message:
        found = message["b"], message["a"], message["u"]
    else:
        found = None
    return None if found is None else (Decimal(found[0]), Decimal(found[1]), found[2])


def text_of(message: aiohttp.WSMessage) -> str:
    """Return what a frame says as text, whether it was compressed or in protocol buffers."""
    if message.type is aiohttp.WSMsgType.BINARY and message.data[:2] == GZIP:
        return gzip.decompress(message.data).decode()
    if message.type is aiohttp.WSMsgType.BINARY:
        ticker = PUSH.FromString(message.data).ticker
        return json.dumps({"b": ticker.bid_price, "a": ticker.ask_price, "u": ticker.version})
    assert message.type is aiohttp.WSMsgType.TEXT, message
    return str(message.data)


class Line:
    """One connection to one exchange."""

    def __init__(self, name: str, ws: aiohttp.ClientWebSocketResponse) -> None:
        self.name = name
        self.ws = ws

    async def subscribe(self) -> None:
        if self.name == "bitfinex":
            # It counts its frames only on request.
            await self.ws.send_json({"event": "conf", "flags": 65_536})
        await self.ws.send_json(SUBSCRIPTIONS[self.name])

    async def heard(self) -> str:
        return text_of(await self.ws.receive())

    async def quote(self) -> tuple[Decimal, Decimal, object]:
        while True:
            quote = quote_of(await self.heard())
            if quote is not None:
                return quote


class Bench:
    """Running exchanges, and everything a test does with them."""

    def __init__(self, simulation: Simulation, http: aiohttp.ClientSession, market: Market) -> None:
        self.simulation = simulation
        self.http = http
        self.market = market

    @contextlib.asynccontextmanager
    async def connect(self, name: str, size_max: int = 4 * 1024 * 1024) -> AsyncIterator[Line]:
        endpoint = self.simulation.endpoints[name]
        url = endpoint.ws_url
        if name == "kucoin":
            async with self.http.post(endpoint.rest_url + "/api/v1/bullet-public") as response:
                url += f"?token={(await response.json())['data']['token']}&connectId=7"
        async with self.http.ws_connect(url, max_msg_size=size_max) as ws:
            yield Line(name, ws)

    async def order(self, **fault: object) -> tuple[int, Any]:
        async with self.http.post(self.simulation.control_url, json=fault) as response:
            return response.status, await response.json()

    async def state(self) -> Any:
        async with self.http.get(self.simulation.control_url) as response:
            return await response.json()

    async def rest(self, name: str) -> str:
        url = self.simulation.endpoints[name].rest_url + REST[name]
        async with self.http.get(url) as response:
            # Two exchanges tell the time of answering.
            return re.sub(r',"(time|ts)":\d+\b', "", await response.text())


def bench(trial: Callable[[Bench], Awaitable[None]], *names: str, rate: float = 600) -> None:
    async def run() -> None:
        market = Market(11, int(time.time() * 1_000))
        async with (
            asyncio.timeout(PATIENCE_S),
            simulated_exchanges(
                market, rate=rate, names=names, clients=100, bases=BASES
            ) as simulation,
            aiohttp.ClientSession() as http,
        ):
            await trial(Bench(simulation, http, market))

    asyncio.run(run())


def bench_each(trial: Callable[[Bench, str], Awaitable[None]], rate: float = 600) -> None:
    """Do the same at every exchange of one simulation, side by side."""

    async def at_each(bench: Bench) -> None:
        async with asyncio.TaskGroup() as trials:
            for name in VENUES:
                trials.create_task(trial(bench, name), name=name)

    bench(at_each, *VENUES, rate=rate)


def test_a_silent_freeze_stops_quotes_but_not_the_connection() -> None:
    async def trial(bench: Bench, name: str) -> None:
        async with bench.connect(name) as line:
            await line.subscribe()
            await line.quote()
            assert (await bench.order(venue=name, fault="freeze"))[0] == 200
            frozen = await bench.rest(name)
            # Whatever was quoted before the order is in the buffers by now.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.1):
                    while True:
                        await line.heard()
            if name in PINGS:
                ping, pong = PINGS[name]
                await line.ws.send_str(ping)
                assert pong in await line.heard()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.3):
                    await line.quote()
            if name == "coinbase_exchange":
                async with bench.connect(name) as other:
                    await other.subscribe()
                    while '"heartbeat"' not in await other.heard():
                        pass
            assert await bench.rest(name) == frozen
            assert (await bench.order(venue=name, fault="none"))[0] == 200

        async with bench.connect(name) as line:
            await line.subscribe()
            quotes = {await line.quote() for _ in range(3)}
            assert len(quotes) == 3

    bench_each(trial)


def test_a_repeating_freeze_sends_the_same_prices_as_new() -> None:
    async def trial(bench: Bench, name: str) -> None:
        await bench.order(venue=name, fault="freeze", mode="repeat")
        async with bench.connect(name) as line:
            await line.subscribe()
            quotes = [await line.quote() for _ in range(6)]
        assert len({(bid, ask) for bid, ask, _ in quotes}) == 1
        assert len({proof for _, _, proof in quotes}) >= 5

    bench_each(trial)


def test_a_lie_multiplies_every_price() -> None:
    async def trial(bench: Bench, name: str) -> None:
        async with bench.connect(name) as line:
            await line.subscribe()
            before, _, _ = await line.quote()
            await bench.order(venue=name, fault="lie", factor=1.5)
            quotes = [await line.quote() for _ in range(40)]
        bid, ask, _ = quotes[-1]
        assert abs(bid / before / Decimal("1.5") - 1) < Decimal("0.005")
        assert bid < ask < bid * Decimal("1.01")

    bench_each(trial, rate=1_200)


@pytest.mark.parametrize("notice", [False, True])
def test_a_disconnect_drops_and_refuses_until_it_ends(notice: bool) -> None:
    async def trial(bench: Bench, name: str) -> None:
        async with bench.connect(name) as line:
            await line.subscribe()
            await line.quote()
            order = asyncio.ensure_future(
                bench.order(venue=name, fault="disconnect", seconds=60, notice=notice)
            )
            heard = []
            while not line.ws.closed:
                message = await line.ws.receive()
                if message.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
                    heard.append(text_of(message))
            assert (await order)[0] == 200
        told = any(
            word in heard[-1]
            for word in ("request_reconnect", "serverShutdown", "64008", "maintenance", "20051")
            if heard
        )
        assert told == (notice and name in TELL_THAT_THEY_STOP)
        with pytest.raises(aiohttp.ClientError):
            async with bench.connect(name):
                pass
        with pytest.raises(aiohttp.ClientError):
            await bench.rest(name)
        assert (await bench.state())[name]["connections"] == 0
        await bench.order(venue=name, fault="disconnect", seconds=0.1)
        while (await bench.state())[name]["fault"] != "none":
            pass
        async with bench.connect(name) as line:
            await line.subscribe()
            await line.quote()

    bench_each(trial)


def test_faults_of_one_exchange_leave_the_others_alone() -> None:
    async def trial(bench: Bench) -> None:
        await bench.order(venue="okx", fault="lie", factor=10)
        await bench.order(venue="gemini", fault="freeze")
        state = await bench.state()
        assert [entry["fault"] for entry in state.values()] == ["none", "freeze", "lie"]
        async with bench.connect("kraken") as line:
            await line.subscribe()
            bid, _, _ = await line.quote()
        middle = Decimal(bench.market.middle("BTC", int(time.time() * 1_000))) / 10**12
        assert abs(bid / middle - 1) < Decimal("0.002")

    bench(trial, "kraken", "gemini", "okx")


@pytest.mark.parametrize(
    ("fault", "status", "text"),
    [
        ({"venue": "mtgox", "fault": "none"}, 404, "choose one of kraken"),
        ({"venue": "kraken", "fault": "explode"}, 400, "explode"),
        ({"venue": "kraken", "fault": "lie"}, 400, "factor other than 1"),
        ({"venue": "kraken", "fault": "lie", "factor": -2}, 400, "factor must be"),
        ({"venue": "kraken", "fault": "lie", "factor": 1e9}, 400, "factor must be"),
        ({"venue": "kraken", "fault": "freeze", "seconds": 0}, 400, "seconds must be"),
        ({"venue": "kraken", "fault": "freeze", "colour": "red"}, 400, "colour"),
        ({}, 400, "venue"),
    ],
)
def test_control_refuses_what_it_does_not_understand(
    fault: dict[str, object], status: int, text: str
) -> None:
    async def trial(bench: Bench) -> None:
        seen, body = await bench.order(**fault)
        assert seen == status
        assert text in body["error"]

    bench(trial, "kraken")


def test_an_asset_loses_its_worth_everywhere() -> None:
    async def trial(bench: Bench) -> None:
        url = bench.simulation.control_url.removesuffix("/control") + "/depeg"
        for wrong in ({"asset": "PEPE", "factor": 0.5}, {"asset": "USDT", "factor": 0}, {}):
            async with bench.http.post(url, json=wrong) as response:
                assert response.status == 400
        before = bench.market.middle("USDT", int(time.time() * 1_000))
        async with bench.http.post(url, json={"asset": "USDT", "factor": 0.5}) as response:
            assert response.status == 200
            at_ms = (await response.json())["at_ms"]
        assert bench.market.middle("USDT", at_ms) < before * 6 // 10
        assert bench.market.middle("USDT", at_ms - 1) > before * 9 // 10

    bench(trial, "kraken")


GARBAGE = [
    "",
    "nonsense",
    "[]",
    "7",
    "null",
    "{}",
    "[" * 60_000,
    '{"a":' * 10_000,
    '{"id":1e999}',
    "\u0000\ud7ff",
    *(json.dumps(each).replace("BTC", "\\ud83d\\ude00") for each in SUBSCRIPTIONS.values()),
    json.dumps(dict.fromkeys(("type", "method", "event", "op", "id", "args"))),
    json.dumps({"op": "subscribe", "event": "bts:subscribe", "method": "SUBSCRIBE"}),
    json.dumps({"type": "subscribe", "channels": [{"name": ["x"]}, 7, None]}),
    json.dumps({"op": "subscribe", "args": [{"channel": {}, "instId": []}, 1]}),
    json.dumps({"op": "subscribe", "args": [{"channel": "bbo-tbt", "instId": ["BTC-USDT"]}]}),
    json.dumps({"op": "subscribe", "args": [{"channel": "bbo-tbt"}] * 300}),
    json.dumps({"method": "subscribe", "params": {"channel": "ticker", "symbol": [{}]}}),
    json.dumps(
        {
            "method": "subscribe",
            "params": {"channel": "ticker", "event_trigger": [], "symbol": ["BTC/USD"]},
        }
    ),
    json.dumps({"method": ["subscribe"], "type": ["subscribe"], "op": [], "event": {}}),
]


def test_hostile_clients_cost_only_their_own_connection(caplog: pytest.LogCaptureFixture) -> None:
    async def trial(bench: Bench, name: str) -> None:
        async with bench.connect(name) as good:
            await good.subscribe()
            await good.quote()
            for text in GARBAGE:
                async with bench.connect(name) as bad:
                    await bad.ws.send_str(text)
                    await bad.ws.send_bytes(text.encode())
                    await bad.ws.receive()
            async with bench.connect(name) as bad:
                await bad.ws.send_str("x" * 200_000)
                while not bad.ws.closed:
                    await bad.ws.receive()
            for path in ("/nowhere", "/products/%00/ticker", "/api/v2/ticker/%ff%fe/"):
                url = bench.simulation.endpoints[name].rest_url + path
                async with bench.http.get(url) as response:
                    assert response.status < 500
            await good.quote()

    bench_each(trial)
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


def test_a_client_that_stops_reading_is_dropped_and_stops_nobody() -> None:
    async def trial(bench: Bench) -> None:
        endpoint = bench.simulation.endpoints["bitstamp"]
        address = endpoint.rest_url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(*address, limit=1)
        writer.write(
            b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )
        await reader.read(1)
        for pair in ("btcusd", "ethusd", "solusd", "usdtusd"):
            body = b'{"event":"bts:subscribe","data":{"channel":"order_book_%b"}}' % pair.encode()
            # An unmasking mask keeps the frame readable.
            writer.write(bytes([0x81, 0x80 | len(body), 0, 0, 0, 0]) + body)
        await writer.drain()
        async with bench.connect("bitstamp") as line:
            await line.subscribe()
            while (await bench.state())["bitstamp"]["connections"] != 1:
                await line.quote()
            await line.quote()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    bench(trial, "bitstamp", rate=40_000)


def start(*arguments: str) -> tuple[subprocess.Popen[str], dict[str, Any]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "testnet.exchanges", "--seed", "4", "--origin-ms", "0", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    return process, json.loads(process.stdout.readline())


def test_process_says_where_it_listens_and_ends_cleanly_on_sigterm() -> None:
    process, ready = start("--venues", "kraken,okx", "--start-minute", "5")
    with process:
        assert set(ready["venues"]) == {"kraken", "okx"}
        assert ready["venues"]["okx"]["ws_url"].startswith("ws://127.0.0.1:")
        assert ready["venues"]["okx"]["ws_url"].endswith("/ws/v5/public")
        assert ready["control"].endswith("/control")
        assert ready["start_minute"] == 5
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0
        assert "Traceback" not in errors


def test_process_ends_when_its_parent_dies(tmp_path: Path) -> None:
    # A parent that starts the exchanges, tells their pid and dies at once without a word to them.
    program = (
        "import os, subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-m', 'testnet.exchanges', '--seed', '4',"
        " '--origin-ms', '0', '--venues', 'okx'], stdout=subprocess.PIPE)\n"
        "child.stdout.readline()\n"
        "print(child.pid, flush=True)\n"
        "os._exit(0)\n"
    )
    with (tmp_path / "log").open("w") as log:
        printed = subprocess.run(
            [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=log, check=True
        ).stdout
    pid = int(printed)
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline and is_running(pid):
        time.sleep(0.05)
    assert not is_running(pid)


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (ProcessLookupError, FileNotFoundError):
        return False


@pytest.mark.parametrize(
    "arguments",
    [
        ["--host", "0.0.0.0"],
        ["--rate", "5000"],
        ["--venues", "mtgox"],
        ["--start-minute", "999999"],
    ],
)
def test_process_refuses_bad_arguments(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        status = main(["--seed", "4", "--origin-ms", "0", *arguments])
    except SystemExit as ended:
        status = int(str(ended.code))
    assert status == 2
    assert "error:" in capsys.readouterr().err

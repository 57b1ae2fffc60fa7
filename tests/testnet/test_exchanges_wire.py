"""Each exchange's wire format, seen by a client that knows nothing but the venue's documentation.

The samples are what the real venues send (their public documentation and recordings).
"""

import asyncio
import json
import re
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import datetime
from decimal import Decimal
from typing import Any

import aiohttp
import pytest

from testnet.exchanges.simulator import Simulation, simulated_exchanges
from testnet.market import Market

# The usual half-hour that a market starts with is now, when its exchanges are asked.
MARKET = Market(5, int(time.time() * 1_000))
PATIENCE_S = 20
BASES = ("BTC", "ETH", "SOL", "USDT")

Message = dict[str, Any]

COINBASE_TICKER = (
    '{"type":"ticker","sequence":50978628538,"product_id":"BTC-USD","price":"17165.16",'
    '"volume_24h":"42492.05081975","best_bid":"17165.15","best_bid_size":"0.61540890",'
    '"best_ask":"17167.76","best_ask_size":"0.18528568","side":"sell",'
    '"time":"2022-12-01T00:00:00.122581Z","trade_id":463751434}'
)
KRAKEN_TICKER = (
    '{"channel":"ticker","type":"update","data":[{"symbol":"BTC/USD","bid":63297.7,'
    '"bid_qty":5.45673101,"ask":63297.8,"ask_qty":0.36974422,"last":63297.8,'
    '"volume":1020.88391276,"vwap":63685.7,"low":63250,"high":64409.2,"change":0.7,'
    '"change_pct":0,"trades":47536,"timestamp":"2026-08-12T19:29:02.066592Z"}]}'
)
KRAKEN_STATUS = (
    '{"channel":"status","type":"update","data":[{"system":"online","api_version":"v2"}]}'
)
BITSTAMP_BOOK = (
    '{"data":{"timestamp":"1574865238","microtimestamp":"1574865238689641",'
    '"bids":[["819.9","0.922"]],"asks":[["821.7","2.89"]]},"event":"data",'
    '"channel":"order_book_ethusd"}'
)
GEMINI_BOOK_TICKER = (
    '{"u":1764549594389752,"E":1783981140076872200,"s":"btcusd","b":"1.0614900",'
    '"B":"958.69148000","a":"1.0615000","A":"38.39060000","c":"1.0612500","C":"4.71027100"}'
)
GEMINI_TRADE = (
    '{"E":1783981140085684200,"s":"btcusd","t":2840141014190422,"p":"62145.38000",'
    '"q":"0.0162522200","m":true}'
)
BINANCE_BOOK_TICKER = (
    '{"u":98494969448,"s":"BTCUSDT","b":"63704.00000000","B":"4.77471000",'
    '"a":"63704.01000000","A":"11.33198000"}'
)
OKX_TOP = (
    '{"arg":{"channel":"bbo-tbt","instId":"BTC-USDT"},"data":[{'
    '"asks":[["8476.98","415","0","13"]],"bids":[["8476.97","256","0","12"]],'
    '"ts":"1597026383085","seqId":123456}]}'
)
OKX_TICKER = (
    '{"arg":{"channel":"tickers","instId":"BTC-USDT"},"data":[{"instType":"SPOT",'
    '"instId":"BTC-USDT","last":"63707.3","lastSz":"0.00164251","askPx":"63707.3",'
    '"askSz":"0.15455902","bidPx":"63707.2","bidSz":"1.70080521","vol24h":"3601.1585121",'
    '"volCcy24h":"229576048.73","ts":"1786613174873"}]}'
)

PATTERNS = [
    re.compile(r"\d+"),
    re.compile(r"\d+(\.\d+)?"),
    re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z"),
]
CONSTANTS = ("type", "event", "channel", "instId", "instType", "system", "api_version")


def parse(text: str) -> Any:
    return json.loads(text, parse_float=Decimal)


def assert_shape(sample: Any, seen: Any, path: str = "") -> None:
    """Everything in the sample is there, of the same type and, for texts, of the same form."""
    if isinstance(sample, dict):
        assert isinstance(seen, dict), path
        for key, value in sample.items():
            assert key in seen, f"{path}.{key} is missing"
            if key in CONSTANTS:
                assert seen[key] == value, path
            assert_shape(value, seen[key], f"{path}.{key}")
    elif isinstance(sample, list):
        assert isinstance(seen, list), path
        assert seen, path
        for entry in seen:
            assert_shape(sample[0], entry, f"{path}[]")
            assert not isinstance(entry, list) or len(entry) == len(sample[0])
    elif isinstance(sample, str):
        assert isinstance(seen, str), path
        form = next((pattern for pattern in PATTERNS if pattern.fullmatch(sample)), None)
        if form is PATTERNS[0]:
            form = PATTERNS[1]
        assert form is None or form.fullmatch(seen), f"{path}: {seen}"
    elif isinstance(sample, bool):
        assert isinstance(seen, bool), path
    else:
        assert isinstance(seen, int | Decimal), path
        assert not isinstance(seen, bool), path


def assert_on_market(base: str, quote: str, bid: Any, ask: Any, unix_ms: int | None) -> None:
    """The quote is a real one and close to the market's middle at the venue's time."""
    low, high = Decimal(bid), Decimal(ask)
    assert 0 < low < high < low * Decimal("1.002")
    at_ms = unix_ms or now_ms()
    middle = Decimal(MARKET.middle(base, at_ms))
    middle /= 10**12 if quote == "USD" else MARKET.middle(quote, at_ms)
    assert abs((low + high) / 2 / middle - 1) < Decimal("0.0010")


def now_ms() -> int:
    return int(time.time() * 1_000)


def rfc3339_ms(text: str) -> int:
    return int(datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp() * 1_000)


class Client:
    """One connection to one simulated exchange, and its REST side."""

    def __init__(self, http: aiohttp.ClientSession, simulation: Simulation, name: str) -> None:
        self.http = http
        self.venue: Any = simulation.venues[name]
        self.endpoint = simulation.endpoints[name]
        self._stack = AsyncExitStack()

    async def connect(self, url: str | None = None, **how: Any) -> "Client":
        connecting = self.http.ws_connect(url or self.endpoint.ws_url, **how)
        self.ws = await self._stack.enter_async_context(connecting)
        return self

    async def close(self) -> None:
        await self._stack.aclose()

    async def tell(self, message: object) -> None:
        await self.ws.send_str(json.dumps(message))

    async def hear(self) -> Any:
        return parse(await self.ws.receive_str())

    async def hear_until(self, wanted: Callable[[Message], object]) -> Message:
        while True:
            message: Message = await self.hear()
            if wanted(message):
                return message

    async def ask(self, message: object) -> Any:
        """Say something and return the next answer that is no price."""
        await self.tell(message)
        return await self.hear()

    async def get(self, path: str, **headers: str) -> tuple[int, Any]:
        async with self.http.get(self.endpoint.rest_url + path, headers=headers) as response:
            text = await response.text()
            return response.status, parse(text) if text[:1] in "{[" else text


def talk(name: str, conversation: Callable[[Client], Awaitable[None]], rate: float = 400) -> None:
    async def main() -> None:
        async with (
            asyncio.timeout(PATIENCE_S),
            simulated_exchanges(
                MARKET, rate=rate, names=[name], clients=100, bases=BASES
            ) as simulation,
            aiohttp.ClientSession() as http,
        ):
            client = Client(http, simulation, name)
            try:
                await conversation(client)
            finally:
                await client.close()

    asyncio.run(main())


# Coinbase Exchange


def coinbase_subscription(products: list[str], *channels: str) -> Message:
    return {"type": "subscribe", "product_ids": products, "channels": list(channels)}


def test_coinbase_ticker() -> None:
    async def conversation(client: Client) -> None:
        await client.connect()
        products = ["BTC-USD", "ETH-USD", "SOL-USD", "USDT-USD"]
        answer = await client.ask(coinbase_subscription(products, "ticker", "heartbeat"))
        assert answer["type"] == "subscriptions"
        assert {entry["name"] for entry in answer["channels"]} == {"ticker", "heartbeat"}
        assert all(entry["product_ids"] == products for entry in answer["channels"])
        sequences: dict[str, list[int]] = {}
        for _ in range(60):
            ticker = await client.hear_until(lambda message: message["type"] == "ticker")
            assert_shape(parse(COINBASE_TICKER) | {"product_id": ticker["product_id"]}, ticker)
            base = ticker["product_id"].removesuffix("-USD")
            at_ms = rfc3339_ms(ticker["time"])
            assert_on_market(base, "USD", ticker["best_bid"], ticker["best_ask"], at_ms)
            assert ticker["price"] in (ticker["best_bid"], ticker["best_ask"])
            sequences.setdefault(base, []).append(ticker["sequence"])
        assert len(sequences) == 4
        assert all(seen == sorted(set(seen)) for seen in sequences.values())
        heartbeat = await client.hear_until(lambda message: message["type"] == "heartbeat")
        assert set(heartbeat) == {"type", "last_trade_id", "product_id", "sequence", "time"}

    talk("coinbase_exchange", conversation)


def test_coinbase_matches_and_unsubscribing() -> None:
    async def conversation(client: Client) -> None:
        await client.connect()
        await client.ask(coinbase_subscription(["BTC-USD"], "matches"))
        match = await client.hear_until(lambda message: message["type"] == "match")
        assert {"price", "size", "time", "trade_id", "sequence", "side"} <= set(match)
        leave = {"type": "unsubscribe", "product_ids": ["BTC-USD"], "channels": ["matches"]}
        await client.tell(leave)
        answer = await client.hear_until(lambda message: message["type"] == "subscriptions")
        assert answer["channels"] == []

    talk("coinbase_exchange", conversation)


COINBASE_REFUSALS: list[tuple[Any, Any]] = [
    (coinbase_subscription(["BTC-USD", "XYZ-USD"], "ticker"), "XYZ-USD is not a valid product"),
    (coinbase_subscription(["BTC-USD"], "prices"), "prices is not a valid channel"),
    (coinbase_subscription(["BTC-USD"], "level2"), "requires authentication"),
    ({"type": "subscribe", "product_ids": 7, "channels": ["ticker"]}, "must be lists"),
    ({"type": "subscribe", "channels": ["ticker"]}, "product_ids must be provided"),
    ({"type": "dance"}, "dance is not a valid type"),
]


def test_coinbase_refuses() -> None:
    async def conversation(client: Client) -> None:
        for message, reason in COINBASE_REFUSALS:
            await client.connect()
            answer = await client.ask(message)
            assert answer["type"] == "error"
            assert reason in answer["reason"]
            await client.close()

    talk("coinbase_exchange", conversation)


def test_coinbase_hangs_up_on_who_does_not_subscribe() -> None:
    async def conversation(client: Client) -> None:
        client.venue.subscribe_within_s = 0.1
        await client.connect()
        await client.tell({"type": "dance"})
        assert (await client.hear())["type"] == "error"
        closing = await client.ws.receive()
        assert closing.type is aiohttp.WSMsgType.CLOSE

    talk("coinbase_exchange", conversation)


def test_coinbase_rest() -> None:
    async def conversation(client: Client) -> None:
        status, ticker = await client.get("/products/ETH-USD/ticker")
        assert status == 200
        assert set(ticker) == {"ask", "bid", "volume", "trade_id", "price", "size", "time"}
        assert_on_market("ETH", "USD", ticker["bid"], ticker["ask"], rfc3339_ms(ticker["time"]))
        assert await client.get("/products/XYZ-USD/ticker") == (404, {"message": "NotFound"})

    talk("coinbase_exchange", conversation)


# Kraken


def kraken_subscription(*symbols: str, **params: object) -> Message:
    wanted = {"channel": "ticker", "symbol": list(symbols), **params}
    return {"method": "subscribe", "params": wanted, "req_id": 7}


def test_kraken_ticker() -> None:
    async def conversation(client: Client) -> None:
        await client.connect()
        assert_shape(parse(KRAKEN_STATUS), await client.hear())
        symbols = ["BTC/USD", "ETH/USD", "SOL/USD", "USDT/USD"]
        await client.tell(kraken_subscription(*symbols, event_trigger="bbo", snapshot=True))
        for symbol in symbols:
            answer = await client.hear_until(lambda message: "method" in message)
            assert (answer["method"], answer["success"]) == ("subscribe", True)
            assert answer["req_id"] == 7
            assert answer["result"]["symbol"] == symbol
            assert answer["time_in"] <= answer["time_out"]
            snapshot = await client.hear()
            assert snapshot["type"] == "snapshot"
            assert snapshot["data"][0]["symbol"] == symbol
        seen = set()
        for _ in range(60):
            message = await client.hear_until(lambda message: message["channel"] == "ticker")
            assert_shape(parse(KRAKEN_TICKER), message)
            ticker = message["data"][0]
            base = ticker["symbol"].removesuffix("/USD")
            at_ms = rfc3339_ms(ticker["timestamp"])
            assert_on_market(base, "USD", ticker["bid"], ticker["ask"], at_ms)
            seen.add(base)
        assert len(seen) == 4

    talk("kraken", conversation)


def test_kraken_pings_and_trades() -> None:
    async def conversation(client: Client) -> None:
        await client.connect()
        await client.hear()
        pong = await client.ask({"method": "ping", "req_id": 101})
        assert set(pong) == {"method", "req_id", "time_in", "time_out"}
        assert (pong["method"], pong["req_id"]) == ("pong", 101)
        answer = await client.ask(kraken_subscription("BTC/USD", snapshot=False))
        assert answer["result"]["event_trigger"] == "trades"
        assert (await client.hear())["type"] == "update"
        again = {"method": "subscribe", "params": {"channel": "ticker", "symbol": ["BTC/USD"]}}
        await client.tell(again)
        refusal = await client.hear_until(lambda message: "success" in message)
        assert refusal["error"] == "Already subscribed"
        await client.tell(again | {"method": "unsubscribe"})
        farewell = await client.hear_until(lambda message: "success" in message)
        assert (farewell["method"], farewell["success"]) == ("unsubscribe", True)

    talk("kraken", conversation)


def test_kraken_heartbeats_when_there_is_nothing_else() -> None:
    async def conversation(client: Client) -> None:
        await client.connect()
        await client.tell(kraken_subscription("BTC/USD", event_trigger="bbo"))
        beat = await client.hear_until(lambda message: message.get("channel") == "heartbeat")
        assert beat == {"channel": "heartbeat"}

    talk("kraken", conversation, rate=0.5)


KRAKEN_REFUSALS: list[tuple[Any, Any]] = [
    (kraken_subscription("XBT/USD"), "Currency pair not supported XBT/USD"),
    (kraken_subscription(), "Symbol(s) not found"),
    (kraken_subscription("BTC/USD", channel="prices"), "Channel not supported prices"),
    (kraken_subscription("BTC/USD", event_trigger="mood"), "Event trigger not supported"),
    ({"method": "subscribe"}, "Missing params"),
    ({"method": "dance"}, "Method not supported"),
]


def test_kraken_refuses() -> None:
    async def conversation(client: Client) -> None:
        for message, error in KRAKEN_REFUSALS:
            await client.connect()
            await client.hear()
            answer = await client.ask(message)
            assert answer["success"] is False
            assert answer["error"] == error
            await client.close()

    talk("kraken", conversation)


def test_kraken_rest() -> None:
    async def conversation(client: Client) -> None:
        status, body = await client.get("/0/public/Ticker?pair=XBTUSD")
        assert status == 200
        assert body["error"] == []
        ticker = body["result"]["XXBTZUSD"]
        assert set(ticker) == set("abcvptlho")
        assert_on_market("BTC", "USD", ticker["b"][0], ticker["a"][0], None)
        # One request a second.
        await asyncio.sleep(1.1)
        _, body = await client.get("/0/public/Ticker?pair=SOLUSD,USDTUSD")
        assert set(body["result"]) == {"SOLUSD", "USDTZUSD"}
        unknown = {"error": ["EQuery:Unknown asset pair"]}
        await asyncio.sleep(1.1)
        assert await client.get("/0/public/Ticker?pair=XYZUSD") == (200, unknown)

    talk("kraken", conversation)


# Bitstamp


def test_bitstamp_order_book() -> None:
    async def conversation(client: Client) -> None:
        await client.connect()
        for pair in ("btcusd", "ethusd", "solusd", "usdtusd"):
            channel = f"order_book_{pair}"
            await client.tell({"event": "bts:subscribe", "data": {"channel": channel}})
            answer = await client.hear_until(lambda message: message["event"] != "data")
            assert answer == {
                "event": "bts:subscription_succeeded",
                "channel": channel,
                "data": {},
            }
        seen = set()
        for _ in range(60):
            message = await client.hear_until(lambda message: message["event"] == "data")
            assert_shape(parse(BITSTAMP_BOOK) | {"channel": message["channel"]}, message)
            book = message["data"]
            base = message["channel"].removeprefix("order_book_").removesuffix("usd").upper()
            at_ms = int(book["microtimestamp"]) // 1_000
            assert int(book["timestamp"]) == at_ms // 1_000
            assert_on_market(base, "USD", book["bids"][0][0], book["asks"][0][0], at_ms)
            bids = [Decimal(price) for price, _ in book["bids"]]
            asks = [Decimal(price) for price, _ in book["asks"]]
            assert len(bids) == len(asks) == 100
            assert bids == sorted(set(bids), reverse=True)
            assert asks == sorted(set(asks))
            seen.add(base)
        assert len(seen) == 4

    talk("bitstamp", conversation, rate=800)


def test_bitstamp_trades_heartbeats_and_unsubscribing() -> None:
    async def conversation(client: Client) -> None:
        await client.connect()
        beat = await client.ask({"event": "bts:heartbeat"})
        assert beat == {"event": "bts:heartbeat", "channel": "", "data": {"status": "success"}}
        wanted = {"event": "bts:subscribe", "data": {"channel": "live_trades_btcusd"}}
        await client.ask(wanted)
        trade = await client.hear()
        assert (trade["event"], trade["channel"]) == ("trade", "live_trades_btcusd")
        assert Decimal(trade["data"]["price_str"]) == trade["data"]["price"]
        assert trade["data"]["type"] in (0, 1)
        await client.tell(wanted | {"event": "bts:unsubscribe"})
        answer = await client.hear_until(lambda message: message["event"] != "trade")
        assert answer["event"] == "bts:unsubscription_succeeded"

    talk("bitstamp", conversation, rate=800)


BITSTAMP_REFUSALS: list[tuple[Any, Any]] = [
    ({"event": "bts:subscribe", "data": {"channel": "order_book_xyzusd"}}, "Bad subscription"),
    ({"event": "bts:subscribe", "data": {"channel": "btcusd"}}, "Bad subscription"),
    ({"event": "bts:subscribe", "data": []}, "Bad subscription"),
    ({"event": "dance"}, "Bad event"),
    ([], "Incorrect JSON format."),
]


def test_bitstamp_refuses() -> None:
    async def conversation(client: Client) -> None:
        for message, text in BITSTAMP_REFUSALS:
            await client.connect()
            answer = await client.ask(message)
            assert answer["event"] == "bts:error"
            assert answer["data"]["message"].startswith(text)
            await client.close()

    talk("bitstamp", conversation)


def test_bitstamp_rest() -> None:
    async def conversation(client: Client) -> None:
        status, ticker = await client.get("/api/v2/ticker/solusd/")
        assert status == 200
        assert {"bid", "ask", "last", "volume", "vwap", "timestamp"} <= set(ticker)
        assert_on_market("SOL", "USD", ticker["bid"], ticker["ask"], None)
        assert (await client.get("/api/v2/ticker/xyzusd/"))[0] == 404

    talk("bitstamp", conversation)


# Gemini


@pytest.mark.parametrize("method", ["SUBSCRIBE", "subscribe"])
def test_gemini_book_ticker(method: str) -> None:
    async def conversation(client: Client) -> None:
        await client.connect()
        symbols = ["btcusd", "ethusd", "solusd", "usdtusd"]
        params = [f"{symbol}@bookTicker" for symbol in symbols]
        answer = await client.ask({"id": "a1", "method": method, "params": params})
        assert answer == {"id": "a1", "status": 200}
        updates: dict[str, list[int]] = {}
        for _ in range(60):
            ticker = await client.hear()
            assert_shape(parse(GEMINI_BOOK_TICKER), ticker)
            base = ticker["s"].removesuffix("usd").upper()
            at_ms = ticker["E"] // 1_000_000
            assert_on_market(base, "USD", ticker["b"], ticker["a"], at_ms)
            assert abs(Decimal(ticker["c"]) / Decimal(ticker["b"]) - 1) < Decimal("0.003")
            updates.setdefault(base, []).append(ticker["u"])
        assert len(updates) == 4
        assert all(seen == sorted(set(seen)) for seen in updates.values())

    talk("gemini", conversation, rate=800)


def test_gemini_trades_pings_and_unsubscribing() -> None:
    async def conversation(client: Client) -> None:
        await client.connect()
        assert await client.ask({"id": 5, "method": "ping"}) == {"id": 5, "status": 200}
        request = {"id": 6, "method": "SUBSCRIBE", "params": ["BTCUSD@trade"]}
        assert (await client.ask(request))["status"] == 200
        trade = await client.hear()
        assert_shape(parse(GEMINI_TRADE), trade)
        assert trade["s"] == "btcusd"
        await client.tell(request | {"id": 7, "method": "UNSUBSCRIBE"})
        await client.hear_until(lambda message: message.get("id") == 7)
        listed = await client.ask({"id": 8, "method": "LIST_SUBSCRIPTIONS"})
        assert listed == {"id": 8, "status": 200, "result": []}

    talk("gemini", conversation, rate=800)


GEMINI_REFUSALS: list[Message] = [
    {"id": 9, "method": "SUBSCRIBE", "params": ["btcusd@bookTicker", "xyzusd@bookTicker"]},
    {"id": 9, "method": "SUBSCRIBE", "params": ["btcusd@mood"]},
    {"id": 9, "method": "SUBSCRIBE", "params": {"streams": ["btcusd@bookTicker"]}},
    {"id": 9, "method": "dance"},
]


def test_gemini_refuses() -> None:
    async def conversation(client: Client) -> None:
        for message in GEMINI_REFUSALS:
            await client.connect()
            answer = await client.ask(message)
            assert (answer["id"], answer["status"]) == (9, 400)
            assert answer["error"]["code"] < 0
            assert answer["error"]["msg"]
            await client.close()

    talk("gemini", conversation)


def test_gemini_rest() -> None:
    async def conversation(client: Client) -> None:
        status, ticker = await client.get("/v2/ticker/btcusd")
        assert status == 200
        assert {"bid", "ask", "close", "symbol"} <= set(ticker)
        assert_on_market("BTC", "USD", ticker["bid"], ticker["ask"], None)
        _, ticker = await client.get("/v1/pubticker/usdtusd")
        assert set(ticker["volume"]) == {"USDT", "USD", "timestamp"}
        assert_on_market("USDT", "USD", ticker["bid"], ticker["ask"], None)
        status, body = await client.get("/v2/ticker/xyzusd")
        assert (status, body["result"]) == (400, "error")

    talk("gemini", conversation)


# Binance


def test_binance_book_ticker() -> None:
    async def conversation(client: Client) -> None:
        await client.connect()
        streams = [f"{symbol}@bookTicker" for symbol in ("btcusdt", "ethusdt", "solusdt")]
        answer = await client.ask({"method": "SUBSCRIBE", "params": streams, "id": 1})
        assert answer == {"result": None, "id": 1}
        updates: dict[str, list[int]] = {}
        for _ in range(60):
            ticker = await client.hear()
            assert_shape(parse(BINANCE_BOOK_TICKER), ticker)
            assert len(ticker) == 6
            base = ticker["s"].removesuffix("USDT")
            assert_on_market(base, "USDT", ticker["b"], ticker["a"], None)
            updates.setdefault(base, []).append(ticker["u"])
        assert len(updates) == 3
        assert all(seen == sorted(set(seen)) for seen in updates.values())

    talk("binance", conversation)


def test_binance_streams_in_the_address() -> None:
    async def conversation(client: Client) -> None:
        await client.connect(client.endpoint.ws_url + "/btcusdt@trade/ethusdt@miniTicker")
        trade = await client.hear_until(lambda message: message["e"] == "trade")
        assert {"s", "t", "p", "q", "T", "m"} <= set(trade)
        mini = await client.hear_until(lambda message: message["e"] == "24hrMiniTicker")
        assert mini["s"] == "ETHUSDT"
        await client.close()
        combined = client.endpoint.ws_url.removesuffix("/ws")
        await client.connect(combined + "/stream?streams=btcusdt@bookTicker/solusdt@bookTicker")
        message = await client.hear_until(lambda message: message["stream"][:3] == "sol")
        assert message["stream"] == "solusdt@bookTicker"
        assert_shape(parse(BINANCE_BOOK_TICKER), message["data"])

    talk("binance", conversation)


def test_binance_says_yes_to_symbols_that_do_not_exist() -> None:
    async def conversation(client: Client) -> None:
        await client.connect()
        request = {"method": "SUBSCRIBE", "params": ["xyzusdt@bookTicker"], "id": "x"}
        assert await client.ask(request) == {"result": None, "id": "x"}
        listed = await client.ask({"method": "LIST_SUBSCRIPTIONS", "id": 3})
        assert listed["result"] == []

    talk("binance", conversation)


def test_binance_pings_and_hangs_up_without_a_pong() -> None:
    async def conversation(client: Client) -> None:
        client.venue.ping_every_s = 0.1
        client.venue.pong_within_s = 0.3
        await client.connect(autoping=False)
        ping = await client.ws.receive()
        assert ping.type is aiohttp.WSMsgType.PING
        assert abs(int(ping.data) - now_ms()) < 60_000
        types = set()
        while not client.ws.closed:
            types.add((await client.ws.receive()).type)
        assert aiohttp.WSMsgType.CLOSE in types

    talk("binance", conversation)


def test_binance_hangs_up_on_more_than_five_messages_a_second() -> None:
    async def conversation(client: Client) -> None:
        await client.connect()
        for number in range(12):
            await client.tell({"method": "LIST_SUBSCRIPTIONS", "id": number})
        answers = [await client.ws.receive() for _ in range(12)]
        assert aiohttp.WSMsgType.CLOSE in {answer.type for answer in answers}

    talk("binance", conversation)


BINANCE_REFUSALS: list[tuple[Any, Any]] = [
    ({"method": "SUBSCRIBE", "params": "btcusdt@bookTicker", "id": 4}, 2),
    ({"method": "SUBSCRIBE", "params": [1], "id": 4}, 2),
    ({"method": "dance", "id": 4}, 2),
    ({"method": "SUBSCRIBE", "params": [], "id": {"deep": 1}}, 2),
    ("btcusdt", 3),
]


def test_binance_refuses() -> None:
    async def conversation(client: Client) -> None:
        for message, code in BINANCE_REFUSALS:
            await client.connect()
            answer = await client.ask(message)
            assert answer["error"]["code"] == code
            await client.close()

    talk("binance", conversation)


def test_binance_rest() -> None:
    async def conversation(client: Client) -> None:
        path = "/api/v3/ticker/bookTicker"
        status, ticker = await client.get(f"{path}?symbol=ETHUSDT")
        assert status == 200
        assert set(ticker) == {"symbol", "bidPrice", "bidQty", "askPrice", "askQty"}
        assert_on_market("ETH", "USDT", ticker["bidPrice"], ticker["askPrice"], None)
        assert len((await client.get(path))[1]) == len(client.venue.books)
        invalid = {"code": -1121, "msg": "Invalid symbol."}
        assert await client.get(f"{path}?symbol=XYZ") == (400, invalid)

    talk("binance", conversation)


# OKX


def okx_subscription(channel: str, *instruments: str) -> Message:
    arguments = [{"channel": channel, "instId": instrument} for instrument in instruments]
    return {"op": "subscribe", "args": arguments}


def test_okx_top_of_book() -> None:
    async def conversation(client: Client) -> None:
        await client.connect()
        instruments = ["BTC-USDT", "ETH-USDT", "SOL-USDT"]
        await client.tell(okx_subscription("bbo-tbt", *instruments))
        for instrument in instruments:
            answer = await client.hear_until(lambda message: "event" in message)
            assert answer["event"] == "subscribe"
            assert answer["arg"] == {"channel": "bbo-tbt", "instId": instrument}
            assert re.fullmatch("[0-9a-f]{8}", answer["connId"])
        updates: dict[str, list[int]] = {}
        for _ in range(60):
            message = await client.hear()
            instrument = message["arg"]["instId"]
            sample = parse(OKX_TOP)
            sample["arg"]["instId"] = instrument
            assert_shape(sample, message)
            top = message["data"][0]
            at_ms = int(top["ts"])
            base = instrument.removesuffix("-USDT")
            assert_on_market(base, "USDT", top["bids"][0][0], top["asks"][0][0], at_ms)
            updates.setdefault(base, []).append(top["seqId"])
        assert len(updates) == 3
        assert all(seen == sorted(set(seen)) for seen in updates.values())

    talk("okx", conversation)


def test_okx_tickers_trades_and_unsubscribing() -> None:
    async def conversation(client: Client) -> None:
        await client.connect()
        await client.tell(okx_subscription("tickers", "BTC-USDT"))
        message = await client.hear_until(lambda message: "data" in message)
        assert_shape(parse(OKX_TICKER), message)
        leave = okx_subscription("tickers", "BTC-USDT") | {"op": "unsubscribe"}
        await client.tell(leave)
        await client.hear_until(lambda message: message.get("event") == "unsubscribe")
        await client.tell(okx_subscription("trades", "SOL-USDT"))
        message = await client.hear_until(lambda message: "data" in message)
        assert message["arg"] == {"channel": "trades", "instId": "SOL-USDT"}
        assert {"px", "sz", "side", "ts", "tradeId"} <= set(message["data"][0])

    talk("okx", conversation)


def test_okx_answers_pings_and_hangs_up_on_silence() -> None:
    async def conversation(client: Client) -> None:
        await client.connect()
        await client.ws.send_str("ping")
        assert await client.ws.receive_str() == "pong"
        client.venue.silence_s = 0.2
        closing = await client.ws.receive()
        assert closing.type is aiohttp.WSMsgType.CLOSE
        assert closing.data == 4004

    talk("okx", conversation)


OKX_REFUSALS: list[tuple[Any, Any]] = [
    (okx_subscription("bbo-tbt", "XYZ-USDT"), "60018"),
    (okx_subscription("mood", "BTC-USDT"), "60018"),
    ({"op": "subscribe", "args": []}, "60013"),
    ({"op": "subscribe", "args": ["bbo-tbt"]}, "60013"),
    ({"op": "dance"}, "60019"),
    ("BTC-USDT", "60012"),
]


def test_okx_refuses() -> None:
    async def conversation(client: Client) -> None:
        for message, code in OKX_REFUSALS:
            await client.connect()
            answer = await client.ask(message)
            assert (answer["event"], answer["code"]) == ("error", code)
            assert answer["msg"]
            assert answer["connId"]
            await client.close()
            # Three connects a second.
            await asyncio.sleep(0.4)

    talk("okx", conversation)


def test_okx_rest() -> None:
    async def conversation(client: Client) -> None:
        status, body = await client.get("/api/v5/market/ticker?instId=SOL-USDT")
        assert (status, body["code"]) == (200, "0")
        ticker = body["data"][0]
        at_ms = int(ticker["ts"])
        assert_on_market("SOL", "USDT", ticker["bidPx"], ticker["askPx"], at_ms)
        assert (await client.get("/api/v5/market/ticker?instId=XYZ"))[1]["code"] == "51001"

    talk("okx", conversation)

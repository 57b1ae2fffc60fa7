"""What the exchanges with rules of their own demand of clients, and how they refuse."""

import asyncio
import gzip
import json
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
import pytest

from testnet.exchanges import gemini_old
from testnet.exchanges.limits import Limit
from testnet.exchanges.simulator import Simulation, simulated_exchanges
from testnet.market import Market

PATIENCE_S = 20
BASES = ("BTC", "ETH", "SOL", "USDT")

Message = Any


class Client:
    """One client of one exchange, by WebSocket and by REST."""

    def __init__(self, http: aiohttp.ClientSession, simulation: Simulation, name: str) -> None:
        self.http = http
        self.venue: Any = simulation.venues[name]
        self.endpoint = simulation.endpoints[name]
        self._stack = AsyncExitStack()

    async def connect(self, rest: str = "", **how: Any) -> "Client":
        connecting = self.http.ws_connect(self.endpoint.ws_url + rest, **how)
        self.ws = await self._stack.enter_async_context(connecting)
        return self

    async def close(self) -> None:
        await self._stack.aclose()

    async def tell(self, *messages: object) -> None:
        for message in messages:
            await self.ws.send_str(json.dumps(message))

    async def hear(self) -> Message:
        frame = await self.ws.receive()
        if frame.type is aiohttp.WSMsgType.BINARY:
            return json.loads(gzip.decompress(frame.data))
        assert frame.type is aiohttp.WSMsgType.TEXT, frame
        return json.loads(frame.data)

    async def hear_until(self, wanted: Callable[[Message], object]) -> Message:
        while True:
            message = await self.hear()
            if wanted(message):
                return message

    async def ask(self, message: object) -> Message:
        await self.tell(message)
        return await self.hear()

    async def closed(self) -> int | None:
        """Read until the exchange hangs up, and return its close code."""
        while not self.ws.closed:
            await self.ws.receive()
        return self.ws.close_code

    async def get(self, path: str, method: str = "GET") -> tuple[int, Any, Any]:
        url = self.endpoint.rest_url + path
        async with self.http.request(method, url) as response:
            text = await response.text()
            body = json.loads(text) if text[:1] in ("{", "[") else text
            return response.status, body, response.headers


def talk(
    name: str,
    conversation: Callable[[Client], Awaitable[None]],
    rate: float = 400,
    clients: int = 1,
) -> None:
    async def main() -> None:
        market = Market(5, int(time.time() * 1_000))
        async with (
            asyncio.timeout(PATIENCE_S),
            simulated_exchanges(
                market, rate=rate, names=[name], clients=clients, bases=BASES
            ) as simulation,
            aiohttp.ClientSession() as http,
        ):
            client = Client(http, simulation, name)
            try:
                await conversation(client)
            finally:
                await client.close()

    asyncio.run(main())


REFUSED: list[tuple[str, Message, Callable[[Message], object]]] = [
    (
        "coinbase_advanced",
        {"type": "subscribe", "product_ids": ["BTC-USD", "X-USD"], "channel": "ticker"},
        lambda said: said["type"] == "error" and "failure to subscribe" in said["message"],
    ),
    (
        "coinbase_advanced",
        {"type": "subscribe", "product_ids": ["BTC-USD"], "channel": "user"},
        lambda said: said["message"] == "authentication failure",
    ),
    (
        "bybit",
        {"op": "subscribe", "req_id": "7", "args": ["orderbook.1.BTCUSDT", "orderbook.1.XUSDT"]},
        lambda said: said["success"] is False and said["req_id"] == "7",
    ),
    (
        "bybit",
        {"op": "subscribe", "args": ["orderbook.1.BTCUSDT"] * 11},
        lambda said: said["ret_msg"] == "args size >10",
    ),
    ("bybit", {"op": "dance"}, lambda said: said["ret_msg"] == "error:invalid op"),
    (
        "gate",
        {"id": 7, "channel": "spot.book_ticker", "event": "subscribe", "payload": ["X_USDT"]},
        lambda said: said["id"] == 7 and said["result"] == {"status": "fail"} and said["error"],
    ),
    (
        "gate",
        {"id": 7, "channel": "spot.mood", "event": "subscribe", "payload": ["BTC_USDT"]},
        lambda said: said["error"]["code"] == 2,
    ),
    (
        "cryptocom",
        {"id": 7, "method": "subscribe", "params": {"channels": ["ticker.BTC_USD", "ticker.X"]}},
        lambda said: (said["id"], said["code"]) == (7, 10004) and "ticker.X" in said["message"],
    ),
    ("cryptocom", {"id": 7, "method": "dance"}, lambda said: said["code"] == 40001),
    (
        "htx",
        {"sub": "market.xusdt.bbo", "id": "7"},
        lambda said: (said["id"], said["status"]) == ("7", "error") and said["err-msg"],
    ),
    # The code is 0 all the same.
    (
        "mexc",
        {
            "method": "SUBSCRIPTION",
            "params": ["spot@public.aggre.bookTicker.v3.api.pb@10ms@XUSDT"],
        },
        lambda said: said["code"] == 0 and said["msg"].startswith("Not Subscribed successfully!"),
    ),
    (
        "mexc",
        {"method": "SUBSCRIPTION", "params": ["spot@public.bookTicker.v3.api@BTCUSDT"]},
        lambda said: "Blocked" in said["msg"],
    ),
]


@pytest.mark.parametrize(("name", "request_", "is_refusal"), REFUSED)
def test_a_request_is_refused_in_the_exchange_s_words(
    name: str, request_: Message, is_refusal: Callable[[Message], object]
) -> None:
    async def conversation(client: Client) -> None:
        await client.connect()
        said = await client.ask(request_)
        assert is_refusal(said), said

    talk(name, conversation)


UNKNOWN_BY_REST: list[tuple[str, str, int, Callable[[Any], object]]] = [
    (
        "coinbase_advanced",
        "/api/v3/brokerage/market/products/X-USD/ticker",
        400,
        lambda body: body["error"] == "INVALID_ARGUMENT",
    ),
    (
        "bybit",
        "/v5/market/tickers?category=spot&symbol=X",
        200,
        lambda body: body["retCode"] == 10001,
    ),
    ("bitfinex", "/v2/ticker/tXUSD", 500, lambda body: body[0] == "error"),
    ("bitfinex", "/v2/tickers?symbols=tXUSD", 200, lambda body: body == []),
    (
        "kucoin",
        "/api/v1/market/orderbook/level1?symbol=X",
        200,
        lambda body: body == {"code": "200000", "data": None},
    ),
    (
        "gate",
        "/api/v4/spot/tickers?currency_pair=X",
        400,
        lambda body: body["label"] == "INVALID_CURRENCY_PAIR",
    ),
    (
        "cryptocom",
        "/exchange/v1/public/get-tickers?instrument_name=X",
        400,
        lambda body: body["code"] == 40004,
    ),
    ("htx", "/market/detail/merged?symbol=x", 200, lambda body: body["status"] == "error"),
    ("mexc", "/api/v3/ticker/bookTicker?symbol=X", 400, lambda body: body["code"] == -1121),
]


@pytest.mark.parametrize(("name", "path", "status", "is_refusal"), UNKNOWN_BY_REST)
def test_rest_does_not_know_other_pairs(
    name: str, path: str, status: int, is_refusal: Callable[[Any], object]
) -> None:
    async def conversation(client: Client) -> None:
        seen, body, _ = await client.get(path)
        assert seen == status
        assert is_refusal(body), body

    talk(name, conversation)


def test_coinbase_advanced_counts_every_message_of_a_connection() -> None:
    async def conversation(client: Client) -> None:
        for _ in range(2):
            await client.connect()
            await client.tell(
                {"type": "subscribe", "product_ids": ["BTC-USD"], "channel": "ticker"},
                {"type": "subscribe", "product_ids": ["ETH-USD"], "channel": "market_trades"},
                {"type": "subscribe", "channel": "heartbeats"},
            )
            channels: set[str] = set()
            expected = 0
            while channels != {"ticker", "market_trades", "heartbeats", "subscriptions"}:
                message = await client.hear()
                assert message["sequence_num"] == expected
                channels.add(message["channel"])
                expected += 1
            await client.close()

    talk("coinbase_advanced", conversation, rate=4_000)


def test_coinbase_advanced_serves_the_book_in_usd_for_usdc() -> None:
    async def conversation(client: Client) -> None:
        await client.connect()
        await client.tell({"type": "subscribe", "product_ids": ["BTC-USDC"], "channel": "ticker"})
        ticker = await client.hear_until(lambda message: message["channel"] == "ticker")
        assert ticker["events"][0]["tickers"][0]["product_id"] == "BTC-USD"
        await client.hear_until(
            lambda message: (
                message["channel"] == "subscriptions"
                and message["events"] == [{"subscriptions": {"ticker": ["BTC-USD"]}}]
            )
        )

    talk("coinbase_advanced", conversation)


def test_coinbase_advanced_hangs_up_on_silence() -> None:
    async def conversation(client: Client) -> None:
        client.venue.subscribe_within_s = 0.1
        await client.connect()
        assert await client.closed() == 1008
        client.venue.silence_s = 0.2
        await client.connect()
        await client.tell({"type": "subscribe", "product_ids": ["BTC-USD"], "channel": "ticker"})
        assert await client.closed() == 1000

    talk("coinbase_advanced", conversation, rate=0.1)


def test_bybit_repeats_what_does_not_change() -> None:
    async def conversation(client: Client) -> None:
        client.venue.repeat_after_s = 0.3
        await client.connect()
        await client.tell({"op": "subscribe", "req_id": "1", "args": ["orderbook.1.BTCUSDT"]})
        assert (await client.hear())["success"] is True
        tops = [await client.hear() for _ in range(4)]
        assert tops[2] == tops[3]

    talk("bybit", conversation, rate=0.1)


def test_bitfinex_numbers_its_channels_by_connection() -> None:
    async def conversation(client: Client) -> None:
        numbers = set()
        for _ in range(2):
            await client.connect()
            assert (await client.hear())["event"] == "info"
            wanted = {"event": "subscribe", "channel": "ticker", "symbol": "tUSTUSD"}
            told = await client.ask(wanted)
            assert (told["event"], told["symbol"]) == ("subscribed", "tUSTUSD")
            channel, ticker = await client.hear()
            assert channel == told["chanId"]
            assert len(ticker) == 11
            numbers.add(channel)
            await client.tell(wanted)
            again = await client.hear_until(lambda message: isinstance(message, dict))
            assert (again["event"], again["code"]) == ("error", 10301)
            await client.tell({"event": "unsubscribe", "chanId": channel})
            left = await client.hear_until(lambda message: isinstance(message, dict))
            assert left == {"event": "unsubscribed", "status": "OK", "chanId": channel}
            await client.close()
        assert len(numbers) == 2

    talk("bitfinex", conversation)


def test_bitfinex_counts_and_stamps_on_request_and_beats() -> None:
    async def conversation(client: Client) -> None:
        client.venue.heartbeat_s = 0.2
        await client.connect()
        await client.hear()
        answer = await client.ask({"event": "conf", "flags": 32768 | 65536})
        assert answer == {"event": "conf", "status": "OK", "flags": 98304}
        await client.tell({"event": "subscribe", "channel": "ticker", "symbol": "tBTCUSD"})
        await client.hear()
        frames = [await client.hear() for _ in range(4)]
        assert [frame[2] for frame in frames] == [1, 2, 3, 4]
        assert all(abs(frame[3] / 1_000 - time.time()) < 60 for frame in frames)
        assert [frame[1] for frame in frames[2:]] == ["hb"] * 2

    talk("bitfinex", conversation, rate=0.1)


def test_bitfinex_opens_no_more_channels_than_its_limit() -> None:
    async def conversation(client: Client) -> None:
        assert client.venue.channels_max == 30
        client.venue.channels_max = 3
        await client.connect()
        await client.hear()
        for number, symbol in enumerate(("tBTCUSD", "tETHUSD", "tSOLUSD", "tUSTUSD")):
            await client.tell({"event": "subscribe", "channel": "ticker", "symbol": symbol})
            said = await client.hear_until(lambda message: isinstance(message, dict))
            assert said["event"] == ("subscribed" if number < 3 else "error")
        assert said["code"] == 10305

    talk("bitfinex", conversation)


async def kucoin_token(client: Client) -> str:
    status, body, _ = await client.get("/api/v1/bullet-public", "POST")
    assert (status, body["code"]) == (200, "200000")
    (server,) = body["data"]["instanceServers"]
    assert server["endpoint"] == client.endpoint.ws_url
    assert server["pingInterval"] == 18_000
    return str(body["data"]["token"])


def test_kucoin_wants_its_token_and_says_welcome() -> None:
    async def conversation(client: Client) -> None:
        token = await kucoin_token(client)
        for bad in ("", "?token=x&connectId=7"):
            await client.connect(bad)
            assert (await client.hear())["code"] == 401
            await client.closed()
        await client.connect(f"?token={token}&connectId=7")
        welcome = await client.hear()
        assert (welcome["id"], welcome["type"]) == ("7", "welcome")
        topic = {"id": "1", "type": "subscribe", "topic": "/market/ticker:BTC-USDT,ETH-USDT"}
        assert await client.ask(topic | {"response": True}) == {"id": "1", "type": "ack"}
        topics = {(await client.hear())["topic"] for _ in range(30)}
        assert topics == {"/market/ticker:BTC-USDT", "/market/ticker:ETH-USDT"}
        await client.tell(topic | {"id": "2", "topic": "/market/ticker:X-USDT"})
        error = await client.hear_until(lambda message: message["type"] == "error")
        assert (error["id"], error["code"]) == ("2", 404)
        status, _, _ = await client.get("/api/v1/bullet-public")
        assert status == 405

    talk("kucoin", conversation)


def test_kucoin_hangs_up_without_pings() -> None:
    async def conversation(client: Client) -> None:
        token = await kucoin_token(client)
        client.venue.ping_every_s, client.venue.ping_late_s = 0.4, 0.3
        await client.connect(f"?token={token}&connectId=7")
        assert (await client.hear())["pingInterval"] == 400
        for _ in range(4):
            await asyncio.sleep(0.3)
            assert (await client.ask({"id": "x", "type": "ping"}))["type"] == "pong"
        await client.closed()

    talk("kucoin", conversation)


def test_gate_pings_by_websocket_and_wants_a_pong() -> None:
    async def conversation(client: Client) -> None:
        client.venue.ping_every_s, client.venue.pong_within_s = 0.1, 0.3
        await client.connect(autoping=False)
        types = set()
        while not client.ws.closed:
            types.add((await client.ws.receive()).type)
        assert aiohttp.WSMsgType.PING in types

    talk("gate", conversation)


def test_cryptocom_hangs_up_without_an_answer_to_its_heartbeat() -> None:
    async def conversation(client: Client) -> None:
        client.venue.heartbeat_s, client.venue.answer_within_s = 0.2, 0.6
        await client.connect()
        for _ in range(4):
            beat = await client.hear()
            assert beat["method"] == "public/heartbeat"
            await client.tell({"id": beat["id"], "method": "public/respond-heartbeat"})
        beat = await client.hear()
        await client.tell({"id": beat["id"] + 1, "method": "public/respond-heartbeat"})
        assert await client.closed() == 1000

    talk("cryptocom", conversation)


def test_cryptocom_takes_few_requests_in_a_connection_s_first_second() -> None:
    async def conversation(client: Client) -> None:
        client.venue.first_second_messages = 0
        await client.connect()
        wanted = {"id": 7, "method": "subscribe", "params": {"channels": ["ticker.BTC_USD"]}}
        assert (await client.ask(wanted))["code"] == 42901
        await asyncio.sleep(1.1)
        assert await client.ask(wanted) == {"id": 7, "method": "subscribe", "code": 0}

    talk("cryptocom", conversation)


def test_htx_hangs_up_after_two_pings_without_an_answer() -> None:
    async def conversation(client: Client) -> None:
        client.venue.ping_every_s = 0.2
        await client.connect()
        for _ in range(4):
            await client.tell({"pong": (await client.hear())["ping"]})
        pings = [await client.hear() for _ in range(2)]
        assert all("ping" in message for message in pings)
        assert await client.closed() == 1003
        assert await (await client.connect()).ask({"ping": 77}) == {"pong": 77}

    talk("htx", conversation)


def test_mexc_hangs_up_without_a_subscription_and_takes_thirty() -> None:
    async def conversation(client: Client) -> None:
        client.venue.subscribe_within_s = 0.2
        await client.connect()
        assert await client.ask({"method": "PING"}) == {"id": 0, "code": 0, "msg": "PONG"}
        await client.closed()
        await client.connect()
        stream = "spot@public.aggre.bookTicker.v3.api.pb@10ms@BTCUSDT"
        said = await client.ask({"method": "SUBSCRIPTION", "params": [stream] * 31})
        assert said["msg"] == "msg format invalid"

    talk("mexc", conversation)


@pytest.mark.parametrize("name", ["binance", "kucoin", "mexc"])
def test_a_connection_ends_when_its_day_is_over(name: str) -> None:
    async def conversation(client: Client) -> None:
        assert client.venue.connection_age_s_max == 24 * 3600
        client.venue.connection_age_s_max = 0.2
        await client.connect(f"?token={client.venue.token}" if name == "kucoin" else "")
        assert await client.closed() == 1000

    talk(name, conversation)


# Limits, and Gemini's older API.


@pytest.mark.parametrize(
    ("name", "path", "status"),
    [
        ("kraken", "/0/public/Ticker?pair=XBTUSD", 429),
        ("bybit", "/v5/market/tickers?category=spot&symbol=BTCUSDT", 403),
        ("gate", "/api/v4/spot/tickers?currency_pair=BTC_USDT", 429),
    ],
)
def test_who_asks_too_often_is_told_when_to_come_again(name: str, path: str, status: int) -> None:
    async def conversation(client: Client) -> None:
        type(client.venue).requests, usual = Limit(2, 60), type(client.venue).requests
        try:
            # Each of the two clients of this address has its own.
            for _ in range(4):
                assert (await client.get(path))[0] == 200
            seen, _, headers = await client.get(path)
            assert seen == status
            assert ("Retry-After" in headers) == (status == 429)
            # Connecting is counted apart.
            await client.connect()
        finally:
            type(client.venue).requests = usual

    talk(name, conversation, clients=2)


def test_binance_shuts_out_who_does_not_listen() -> None:
    async def conversation(client: Client) -> None:
        type(client.venue).requests, usual = Limit(1, 60), type(client.venue).requests
        path = "/api/v3/ticker/bookTicker?symbol=BTCUSDT"
        try:
            answers = [await client.get(path) for _ in range(13)]
        finally:
            type(client.venue).requests = usual
        assert [status for status, _, _ in answers] == [200] + [429] * 10 + [418] * 2
        assert int(answers[-1][2]["Retry-After"]) > 120

    talk("binance", conversation)


def test_who_connects_too_often_is_refused() -> None:
    async def conversation(client: Client) -> None:
        for _ in range(3):
            await client.connect()
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await client.connect()
        assert refused.value.status == 429
        assert refused.value.headers is not None
        assert refused.value.headers["Retry-After"] == "1"
        await asyncio.sleep(1.05)
        await client.connect()

    talk("okx", conversation)


def test_gemini_s_multi_market_data() -> None:
    async def conversation(client: Client) -> None:
        await client.connect(
            "/v1/multimarketdata?symbols=BTCUSD,ETHUSD,XUSD&heartbeat=true&trades=false"
            "&bids=true&offers=true&top_of_book=true"
        )
        said = [await client.hear() for _ in range(60)]
        assert [message["socket_sequence"] for message in said] == list(range(60))
        updates = [message for message in said if message["type"] == "update"]
        seen = {}
        for update in updates:
            bid, ask = update["events"]
            assert (bid["side"], ask["side"]) == ("bid", "ask")
            assert float(bid["price"]) < float(ask["price"])
            assert bid["reason"] == ("top-of-book" if bid["symbol"] in seen else "initial")
            assert abs(update["timestampms"] / 1_000 - time.time()) < 60
            seen[bid["symbol"]] = update
        assert set(seen) == {"BTCUSD", "ETHUSD"}

    talk("gemini", conversation, rate=4_000)


def test_gemini_s_market_data_of_one_symbol(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gemini_old, "_HEARTBEAT_S", 0.3)

    async def conversation(client: Client) -> None:
        await client.connect("/v1/marketdata/btcusd?trades=true")
        trade = (await client.hear())["events"][0]
        assert (trade["type"], trade["symbol"]) == ("trade", "BTCUSD")
        beat = await (await client.connect("/v2/marketdata")).hear()
        assert beat["type"] == "heartbeat"

    talk("gemini", conversation, rate=4_000)


def test_gemini_s_levels_keep_a_book() -> None:
    async def conversation(client: Client) -> None:
        await client.connect("/v2/marketdata")
        wanted = {"type": "subscribe", "subscriptions": [{"name": "l2", "symbols": ["BTCUSD"]}]}
        await client.tell(wanted)
        book: dict[str, dict[str, str]] = {"buy": {}, "sell": {}}
        for _ in range(40):
            update = await client.hear_until(lambda message: message["type"] == "l2_updates")
            for side, price, size in update["changes"]:
                if float(size) == 0:
                    del book[side][price]
                else:
                    book[side][price] = size
            assert max(map(float, book["buy"])) < min(map(float, book["sell"]))
        refused = {"type": "subscribe", "subscriptions": [{"name": "l2", "symbols": ["XUSD"]}]}
        await client.tell(refused)
        said = await client.hear_until(lambda message: "result" in message)
        assert said == {"result": "error", "reason": "NoValidTradingPairs"}

    talk("gemini", conversation, rate=4_000)

"""Bybit, WebSocket API v5 for spot: `orderbook.1`, `tickers` and `publicTrade`.

https://bybit-exchange.github.io/docs/v5/websocket/public/orderbook
"""

from collections.abc import Iterable

from aiohttp import web
from typing_extensions import override

from testnet.exchanges.book import Book, Profile
from testnet.exchanges.decimals import ONE, plain
from testnet.exchanges.limits import Limit
from testnet.exchanges.server import (
    CloseConnection,
    Json,
    Topic,
    Venue,
    encode,
    json_response,
    strings,
)
from testnet.exchanges.session import Session
from testnet.market import Market
from testnet.noise import derive_seed

_TOP = "orderbook.1"
_ARGUMENTS_MAX = 10
_INVALID_PARAMETER = 10001


class Bybit(Venue):
    """Says the top of the book again, with the same `u`, after three seconds without change."""

    profile = Profile(
        venue="bybit",
        symbol_form="{base}{quote}",
        lag_ms=70,
        offset_ppm=40,
        pace=1.4,
    )
    channels = (_TOP, "tickers", "publicTrade")
    ws_paths = ("/v5/public/spot", "/")
    connects = Limit(500, 300)
    requests = Limit(600, 5)

    def __init__(self, market: Market, updates_per_s: float) -> None:
        super().__init__(market, updates_per_s)
        self.repeat_after_s = 3.0
        self.silence_s = 600.0
        self._seed = market.seed
        self._shown_s: dict[Session, dict[Topic, float]] = {}
        self._names: dict[Session, str] = {}

    @override
    def on_open(self, session: Session, request: web.Request) -> Iterable[bytes]:
        number = derive_seed("bybit connection", self._seed, self.connections_total)
        self._names[session] = f"{number % 16**8:08x}-{number % 16**12:012x}"
        self._shown_s[session] = {}
        return ()

    @override
    def forget(self, session: Session) -> None:
        self._names.pop(session, None)
        self._shown_s.pop(session, None)

    @override
    def on_message(self, session: Session, message: Json) -> Iterable[bytes]:
        operation = message.get("op")
        if operation == "ping":
            return (self._answer_to(session, message, "pong"),)
        if operation not in ("subscribe", "unsubscribe"):
            return (self._refusal(session, message, "error:invalid op"),)
        names = strings(message.get("args"), _ARGUMENTS_MAX)
        if not names:
            return (self._refusal(session, message, "args size >10"),)
        topics = [self._topic(name) for name in names]
        unknown = [name for name, topic in zip(names, topics, strict=True) if topic is None]
        if unknown:
            text = f"Invalid symbol :[{', '.join(name[:64] for name in unknown)}]"
            return (self._refusal(session, message, text),)
        frames = [self._answer_to(session, message, str(operation))]
        for topic in topics:
            assert topic is not None
            if operation == "unsubscribe":
                self.unsubscribe(session, topic)
                self._shown_s[session].pop(topic, None)
            elif self.subscribe(session, topic):
                first = self.first(topic)
                if first is not None:
                    frames.append(self.addressed(session, topic, first))
        return frames

    @override
    def malformed(self, session: Session, text: str) -> bytes:
        return self._refusal(session, {}, "error:invalid request")

    @override
    def frame(self, channel: str, book: Book) -> bytes | None:
        if channel == _TOP:
            return self._top(book)
        if channel == "tickers":
            return self._message(channel, book, self._ticker(book), cs=book.sequence)
        return self._message(channel, book, [self._trade(book)]) if book.traded else None

    @override
    def addressed(self, session: Session, topic: Topic, frame: bytes) -> bytes:
        if topic[0] == _TOP:
            self._shown_s[session][topic] = self.clock_s()
        return frame

    @override
    def upkeep(self, session: Session, now_s: float) -> Iterable[bytes]:
        if now_s - session.last_heard_s > self.silence_s:
            raise CloseConnection(1000, "no ping")
        frames = []
        for topic, shown_s in self._shown_s[session].items():
            if now_s - shown_s >= self.repeat_after_s:
                self._shown_s[session][topic] = now_s
                frames.append(self._top(self.seen(topic[1])))
        return frames

    @override
    def too_many(self, wait_s: int, refusals: int) -> web.Response:
        # Ten minutes, without a header that says so.
        return web.Response(status=403, text="access too frequent")

    @override
    def add_rest(self, router: web.UrlDispatcher) -> None:
        router.add_get("/v5/market/tickers", self._rest_tickers)

    async def _rest_tickers(self, request: web.Request) -> web.Response:
        symbol = request.query.get("symbol")
        if request.query.get("category") != "spot":
            return self._rest(_INVALID_PARAMETER, "Illegal category", {})
        books = [self.seen(each) for each in self.books if symbol in (None, each)]
        if not books:
            return self._rest(_INVALID_PARAMETER, "Not supported symbols", {})
        listed = [self._ticker(book) | self._best(book) for book in books]
        return self._rest(0, "OK", {"category": "spot", "list": listed})

    def _rest(self, code: int, text: str, result: Json) -> web.Response:
        return json_response(
            {
                "retCode": code,
                "retMsg": text,
                "result": result,
                "retExtInfo": {},
                "time": self.now_ms(),
            }
        )

    def _topic(self, name: str) -> Topic | None:
        """Return the topic of a name such as `orderbook.1.BTCUSDT`."""
        channel, _, symbol = name.rpartition(".")
        return (channel, symbol) if channel in self.channels and symbol in self.books else None

    def _answer_to(self, session: Session, message: Json, text: str) -> bytes:
        return self._status(session, message, success=True, text=text)

    def _refusal(self, session: Session, message: Json, text: str) -> bytes:
        return self._status(session, message, success=False, text=text)

    def _status(self, session: Session, message: Json, *, success: bool, text: str) -> bytes:
        request_id, operation = message.get("req_id"), message.get("op")
        return encode(
            {
                "success": success,
                "ret_msg": text,
                "conn_id": self._names[session],
                "req_id": request_id[:64] if isinstance(request_id, str) else "",
                "op": operation[:64] if isinstance(operation, str) else "",
            }
        )

    def _message(self, channel: str, book: Book, data: object, **more: object) -> bytes:
        return encode(
            {
                "topic": f"{channel}.{book.pair.symbol}",
                "ts": book.time_ns // 1_000_000 + 1,
                "type": "snapshot",
                "data": data,
                **more,
            }
        )

    def _top(self, book: Book) -> bytes:
        pair = book.pair
        top = {
            "s": pair.symbol,
            "b": [[plain(book.bid, pair.places), plain(book.bid_size, pair.size_places)]],
            "a": [[plain(book.ask, pair.places), plain(book.ask_size, pair.size_places)]],
            "u": book.sequence,
            "seq": book.sequence * 10,
        }
        return self._message(_TOP, book, top, cts=book.time_ns // 1_000_000)

    def _best(self, book: Book) -> Json:
        pair = book.pair
        return {
            "bid1Price": plain(book.bid, pair.places),
            "bid1Size": plain(book.bid_size, pair.size_places),
            "ask1Price": plain(book.ask, pair.places),
            "ask1Size": plain(book.ask_size, pair.size_places),
        }

    def _ticker(self, book: Book) -> Json:
        pair = book.pair
        return {
            "symbol": pair.symbol,
            "lastPrice": plain(book.last, pair.places),
            "highPrice24h": plain(book.high, pair.places),
            "lowPrice24h": plain(book.low, pair.places),
            "prevPrice24h": plain(book.open, pair.places),
            "volume24h": plain(book.volume, pair.size_places),
            "turnover24h": plain(book.volume * book.last // ONE, 6),
            "price24hPcnt": "0.0000",
            "usdIndexPrice": plain(book.last, 6),
        }

    def _trade(self, book: Book) -> Json:
        pair = book.pair
        return {
            "i": str(book.trade_id),
            "T": book.trade_time_ns // 1_000_000,
            "p": plain(book.last, pair.places),
            "v": plain(book.last_size, pair.size_places),
            "S": "Sell" if book.buyer_is_maker else "Buy",
            "s": pair.symbol,
            "BT": False,
            "RPI": False,
        }

"""KuCoin spot: `/market/ticker`, `/market/snapshot` and `/market/match`, behind a token.

https://www.kucoin.com/docs-new/websocket-api/base-info/introduction
"""

from collections.abc import Iterable

from aiohttp import web
from typing_extensions import override

from testnet.exchanges.book import Book, Profile
from testnet.exchanges.decimals import ONE, plain, shortest
from testnet.exchanges.limits import Limit
from testnet.exchanges.server import (
    CloseConnection,
    Json,
    Topic,
    Venue,
    encode,
    json_response,
    number,
)
from testnet.exchanges.session import Session
from testnet.market import Market
from testnet.noise import derive_seed

_SYMBOLS_MAX = 100
_TOPICS_MAX = 400
_UNAUTHORIZED, _NOT_FOUND, _TOO_MANY = 401, 404, 509
_CODE_OK = "200000"


class Kucoin(Venue):
    """Wants a token that REST gives, says welcome, and must hear a ping in each interval."""

    profile = Profile(
        venue="kucoin",
        symbol_form="{base}-{quote}",
        lag_ms=120,
        offset_ppm=60,
        pace=1.0,
    )
    channels = ("/market/ticker", "/market/snapshot", "/market/match")
    ws_paths = ("/endpoint", "/")
    connects = Limit(30, 60)
    requests = Limit(2_000, 30)

    def __init__(self, market: Market, updates_per_s: float) -> None:
        super().__init__(market, updates_per_s)
        self.ping_every_s = 18.0
        self.ping_late_s = 10.0
        self.connection_age_s_max = 24 * 3600
        self.token = f"{derive_seed('kucoin token', market.seed):032x}"

    @override
    def on_open(self, session: Session, request: web.Request) -> Iterable[bytes]:
        name = request.query.get("connectId", "")[:64]
        if request.query.get("token") != self.token:
            yield _error(name, _UNAUTHORIZED, "token is invalid")
            raise CloseConnection(4001, "token is invalid")
        welcome = {
            "id": name,
            "type": "welcome",
            "pingInterval": round(self.ping_every_s * 1_000),
            "pingTimeout": round(self.ping_late_s * 1_000),
        }
        yield encode(welcome)

    @override
    def on_message(self, session: Session, message: Json) -> Iterable[bytes]:
        name = message.get("id")
        name = str(name)[:64] if isinstance(name, str | int) else ""
        kind, topic = message.get("type"), message.get("topic")
        if kind == "ping":
            session.last_pong_s = self.clock_s()
            timestamp = self.now_ns() // 1_000
            return (encode({"id": name, "type": "pong", "timestamp": timestamp}),)
        if kind not in ("subscribe", "unsubscribe"):
            return (_error(name, _NOT_FOUND, f"type {str(kind)[:64]} is not found"),)
        topics = self._topics(topic)
        if topics is None:
            return (_error(name, _NOT_FOUND, f"topic {str(topic)[:64]} is not found"),)
        if len(session.topics) + len(topics) > _TOPICS_MAX:
            text = f"exceed max subscription count limitation of {_TOPICS_MAX} per session"
            return (_error(name, _TOO_MANY, text),)
        for each in topics:
            if kind == "subscribe":
                self.subscribe(session, each)
            else:
                self.unsubscribe(session, each)
        return (encode({"id": name, "type": "ack"}),) if message.get("response") is True else ()

    @override
    def malformed(self, session: Session, text: str) -> bytes:
        return _error("", _NOT_FOUND, "message is not JSON")

    @override
    def frame(self, channel: str, book: Book) -> bytes | None:
        if channel == "/market/ticker":
            return _message(channel, book, "trade.ticker", self._ticker(book))
        if channel == "/market/snapshot":
            outer: Json = {"sequence": str(book.sequence), "data": self._snapshot(book)}
            return _message(channel, book, "trade.snapshot", outer)
        return _message(channel, book, "trade.l3match", self._match(book)) if book.traded else None

    @override
    def upkeep(self, session: Session, now_s: float) -> Iterable[bytes]:
        if now_s - session.last_pong_s > self.ping_every_s + self.ping_late_s:
            raise CloseConnection(1000, "no ping")
        return ()

    @override
    def add_rest(self, router: web.UrlDispatcher) -> None:
        router.add_post("/api/v1/bullet-public", self._rest_bullet)
        router.add_get("/api/v1/market/orderbook/level1", self._rest_level1)
        router.add_get("/api/v1/market/stats", self._rest_stats)

    async def _rest_bullet(self, request: web.Request) -> web.Response:
        server = {
            "endpoint": f"ws://{request.host}{self.ws_paths[0]}",
            "encrypt": False,
            "protocol": "websocket",
            "pingInterval": round(self.ping_every_s * 1_000),
            "pingTimeout": round(self.ping_late_s * 1_000),
        }
        return _rest({"token": self.token, "instanceServers": [server]})

    async def _rest_level1(self, request: web.Request) -> web.Response:
        book = self.shown(request.query.get("symbol"))
        return _rest(None if book is None else self._ticker(book))

    async def _rest_stats(self, request: web.Request) -> web.Response:
        book = self.shown(request.query.get("symbol"))
        if book is None:
            return _rest(None)
        places = book.pair.places
        return _rest(
            {
                "time": book.time_ns // 1_000_000,
                "symbol": book.pair.symbol,
                "buy": plain(book.bid, places),
                "sell": plain(book.ask, places),
                "changeRate": "0",
                "changePrice": "0",
                "high": plain(book.high, places),
                "low": plain(book.low, places),
                "vol": shortest(book.volume),
                "volValue": shortest(book.volume * book.last // ONE),
                "last": plain(book.last, places),
                "averagePrice": plain(book.last, places),
            }
        )

    def _topics(self, topic: object) -> list[Topic] | None:
        """Return the topics of a name such as `/market/ticker:BTC-USDT,ETH-USDT`."""
        channel, _, listed = topic.partition(":") if isinstance(topic, str) else ("", "", "")
        symbols = listed.split(",")
        if channel not in self.channels or len(symbols) > _SYMBOLS_MAX:
            return None
        known = all(symbol in self.books for symbol in symbols)
        return [(channel, symbol) for symbol in symbols] if known else None

    def _ticker(self, book: Book) -> Json:
        places = book.pair.places
        return {
            "bestAsk": plain(book.ask, places),
            "bestAskSize": shortest(book.ask_size),
            "bestBid": plain(book.bid, places),
            "bestBidSize": shortest(book.bid_size),
            "price": plain(book.last, places),
            "sequence": str(book.sequence),
            "size": shortest(book.last_size),
            "time": book.time_ns // 1_000_000,
        }

    def _snapshot(self, book: Book) -> Json:
        return {
            "symbol": book.pair.symbol,
            "baseCurrency": book.pair.base,
            "quoteCurrency": book.pair.quote,
            "buy": number(shortest(book.bid)),
            "sell": number(shortest(book.ask)),
            "lastTradedPrice": number(shortest(book.last)),
            "high": number(shortest(book.high)),
            "low": number(shortest(book.low)),
            "vol": number(shortest(book.volume)),
            "datetime": book.time_ns // 1_000_000,
            "trading": True,
        }

    def _match(self, book: Book) -> Json:
        return {
            "type": "match",
            "symbol": book.pair.symbol,
            "side": "sell" if book.buyer_is_maker else "buy",
            "price": plain(book.last, book.pair.places),
            "size": shortest(book.last_size),
            "tradeId": str(book.trade_id),
            "sequence": str(book.sequence),
            "time": str(book.trade_time_ns),
        }


def _message(channel: str, book: Book, subject: str, data: Json) -> bytes:
    topic = f"{channel}:{book.pair.symbol}"
    return encode({"type": "message", "topic": topic, "subject": subject, "data": data})


def _error(name: str, code: int, text: str) -> bytes:
    return encode({"id": name, "type": "error", "code": code, "data": text})


def _rest(data: object) -> web.Response:
    return json_response({"code": _CODE_OK, "data": data})

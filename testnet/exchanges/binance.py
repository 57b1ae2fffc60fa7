"""Binance spot: `bookTicker`, `trade` and `miniTicker`, raw and combined streams.

https://developers.binance.com/en/docs/products/spot/web-socket-streams
"""

from collections.abc import Iterable

from aiohttp import web
from typing_extensions import override

from testnet.exchanges.binance_rest import best_prices, day_ticker, rest_tickers
from testnet.exchanges.book import Book, Profile
from testnet.exchanges.decimals import plain
from testnet.exchanges.limits import Limit
from testnet.exchanges.server import (
    CloseConnection,
    Json,
    Venue,
    encode,
    rate_limited,
    strings,
)
from testnet.exchanges.session import Ping, Session
from testnet.market import Market

_PLACES = 8
_COMBINED = "combined "
_METHODS = ("SUBSCRIBE", "UNSUBSCRIBE", "LIST_SUBSCRIPTIONS", "SET_PROPERTY", "GET_PROPERTY")
_STREAMS_MAX = 1_024
_REFUSALS_MAX = 10
_SHUT_OUT_S = 120


class Binance(Venue):
    """Pings by WebSocket; says yes to streams of symbols that do not exist, and then nothing."""

    profile = Profile(
        venue="binance",
        lag_ms=35,
        offset_ppm=30,
        pace=1.6,
        symbol_form="{base}{quote}",
        places=_PLACES,
    )
    _streams = ("bookTicker", "trade", "miniTicker")
    channels = (*_streams, *(_COMBINED + name for name in _streams))
    ws_paths = ("/ws", "/ws/{streams:.+}", "/stream", "/")
    # A ticker weighs 2 of 6,000.
    requests = Limit(3_000, 60)
    # The limit is five; a ping or pong counts too.
    messages_per_s_max = 5

    def __init__(self, market: Market, updates_per_s: float) -> None:
        super().__init__(market, updates_per_s)
        self.ping_every_s = 20.0
        self.pong_within_s = 60.0
        self.connection_age_s_max = 24 * 3600

    @override
    def on_open(self, session: Session, request: web.Request) -> Iterable[bytes]:
        named = request.match_info.get("streams") or request.query.get("streams", "")
        for stream in named.split("/")[:_STREAMS_MAX]:
            topic = self._topic(session, stream)
            if topic is not None:
                self.subscribe(session, topic)
        return ()

    @override
    def on_message(self, session: Session, message: Json) -> Iterable[bytes]:
        request_id = message.get("id")
        if not isinstance(request_id, int | str | None) or len(str(request_id)) > 36:
            return (_error(None, 2, "Invalid request: request ID must be an integer or string"),)
        method = message.get("method")
        if method not in _METHODS:
            expected = ", ".join(f"`{name}`" for name in _METHODS)
            reason = f"unknown variant `{str(method)[:64]}`, expected one of {expected}"
            return (_error(request_id, 2, f"Invalid request: {reason}"),)
        if method == "LIST_SUBSCRIPTIONS":
            return (encode({"result": sorted(_stream(topic) for topic in session.topics)}),)
        if method == "GET_PROPERTY":
            return (encode({"result": self._combined(session), "id": request_id}),)
        streams = strings(message.get("params"), _STREAMS_MAX)
        if streams is None or method == "SET_PROPERTY":
            return (_error(request_id, 2, "Invalid request: invalid type, expected a sequence"),)
        for stream in streams:
            topic = self._topic(session, stream)
            if topic is not None and method == "SUBSCRIBE":
                self.subscribe(session, topic)
            elif topic is not None:
                self.unsubscribe(session, topic)
        return (encode({"result": None, "id": request_id}),)

    @override
    def malformed(self, session: Session, text: str) -> bytes:
        return _error(None, 3, "Invalid JSON: expected value at line 1 column 1")

    @override
    def frame(self, channel: str, book: Book) -> bytes | None:
        name = channel.removeprefix(_COMBINED)
        if name == "bookTicker":
            body = self._book_ticker(book)
        elif not book.traded:
            return None
        else:
            body = self._trade(book) if name == "trade" else self._mini_ticker(book)
        if channel.startswith(_COMBINED):
            return encode({"stream": f"{book.pair.symbol.lower()}@{name}", "data": body})
        return encode(body)

    @override
    def upkeep(self, session: Session, now_s: float) -> Iterable[bytes]:
        if now_s - session.last_pong_s > self.ping_every_s + self.pong_within_s:
            raise CloseConnection(1008, "Pong timeout")
        if now_s - session.last_ping_s >= self.ping_every_s:
            session.last_ping_s = now_s
            return (Ping(str(self.now_ms()).encode()),)
        return ()

    @override
    def farewell(self) -> bytes:
        return encode({"e": "serverShutdown", "E": self.now_ms()})

    @override
    def too_many(self, wait_s: int, refusals: int) -> web.Response:
        # Who goes on regardless is shut out.
        if refusals > _REFUSALS_MAX:
            return rate_limited(418, wait_s + _SHUT_OUT_S)
        return rate_limited(429, wait_s)

    @override
    def add_rest(self, router: web.UrlDispatcher) -> None:
        router.add_get("/api/v3/ticker/bookTicker", self._rest_book_ticker)
        router.add_get("/api/v3/ticker/24hr", self._rest_day)

    async def _rest_book_ticker(self, request: web.Request) -> web.Response:
        return rest_tickers(self, request, best_prices)

    async def _rest_day(self, request: web.Request) -> web.Response:
        return rest_tickers(self, request, day_ticker)

    def _combined(self, session: Session) -> bool:
        return session.path == "/stream"

    def _topic(self, session: Session, stream: str) -> tuple[str, str] | None:
        """Return the topic of a stream's name, None for one that never has data."""
        symbol, _, name = stream.partition("@")
        if symbol != symbol.lower() or symbol.upper() not in self.books:
            return None
        if name not in self._streams:
            return None
        return (_COMBINED + name if self._combined(session) else name, symbol.upper())

    def _book_ticker(self, book: Book) -> Json:
        return {
            "u": book.sequence,
            "s": book.pair.symbol,
            "b": plain(book.bid, _PLACES),
            "B": plain(book.bid_size, _PLACES),
            "a": plain(book.ask, _PLACES),
            "A": plain(book.ask_size, _PLACES),
        }

    def _trade(self, book: Book) -> Json:
        return {
            "e": "trade",
            "E": book.trade_time_ns // 1_000_000,
            "s": book.pair.symbol,
            "t": book.trade_id,
            "p": plain(book.last, _PLACES),
            "q": plain(book.last_size, _PLACES),
            "T": book.trade_time_ns // 1_000_000,
            "m": book.buyer_is_maker,
            "M": True,
        }

    def _mini_ticker(self, book: Book) -> Json:
        return {
            "e": "24hrMiniTicker",
            "E": book.time_ns // 1_000_000,
            "s": book.pair.symbol,
            "c": plain(book.last, _PLACES),
            "o": plain(book.open, _PLACES),
            "h": plain(book.high, _PLACES),
            "l": plain(book.low, _PLACES),
            "v": plain(book.volume, _PLACES),
            "q": plain(book.volume * book.last // 10**12, _PLACES),
        }


def _stream(topic: tuple[str, str]) -> str:
    channel, symbol = topic
    return f"{symbol.lower()}@{channel.removeprefix(_COMBINED)}"


def _error(request_id: object, code: int, text: str) -> bytes:
    body: Json = {"error": {"code": code, "msg": text}}
    return encode(body if request_id is None else {**body, "id": request_id})

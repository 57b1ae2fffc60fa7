"""Gemini, the WebSocket API of 2025: `<symbol>@bookTicker` and `<symbol>@trade`.

https://developer.gemini.com/websocket/streams; the older API beside it is in `gemini_old.py`.
"""

from collections.abc import Iterable, Sequence

from aiohttp import web
from typing_extensions import override

from testnet.exchanges import gemini_old
from testnet.exchanges.book import Book, Profile
from testnet.exchanges.decimals import plain
from testnet.exchanges.limits import Limit
from testnet.exchanges.server import Json, Topic, Venue, encode, json_response, strings
from testnet.exchanges.session import Session
from testnet.market import Market

_METHODS = ("subscribe", "unsubscribe", "list_subscriptions", "ping")
_CHANNELS = ("bookTicker", "trade")
_INVALID_PARAMETER = -1013
_UNKNOWN_METHOD = -1020


class Gemini(Venue):
    """Acknowledges with status 200; times are in nanoseconds; method names in either case."""

    profile = Profile(
        venue="gemini",
        lag_ms=140,
        offset_ppm=80,
        pace=0.7,
        symbol_form="{base}{quote}",
        lower_case=True,
        places=5,
        spread_percent=300,
    )
    channels = (*_CHANNELS, *gemini_old.CHANNELS)
    ws_paths = ("/", *gemini_old.PATHS)
    requests = Limit(120, 60)

    def __init__(self, market: Market, updates_per_s: float) -> None:
        super().__init__(market, updates_per_s)
        self._old: dict[Session, gemini_old.Stream] = {}

    @override
    def on_open(self, session: Session, request: web.Request) -> Iterable[bytes]:
        if not gemini_old.is_old(request):
            return ()
        stream = self._old[session] = gemini_old.opened(request)
        topics = gemini_old.addressed_topics(request, stream)
        return self._start(session, [topic for topic in topics if topic[1] in self.books])

    @override
    def forget(self, session: Session) -> None:
        self._old.pop(session, None)

    @override
    def upkeep(self, session: Session, now_s: float) -> Iterable[bytes]:
        stream = self._old.get(session)
        if stream is None:
            return ()
        return gemini_old.heartbeat(session, stream, now_s, self.now_ms())

    @override
    def addressed(self, session: Session, topic: Topic, frame: bytes) -> bytes:
        stream = self._old.get(session)
        if stream is None:
            return frame
        return gemini_old.message(stream, topic[0], self.seen(topic[1]))

    @override
    def on_message(self, session: Session, message: Json) -> Iterable[bytes]:
        if session in self._old:
            topics = gemini_old.subscribed(message, self.books)
            return (topics,) if isinstance(topics, bytes) else self._start(session, topics)
        return self._on_request(session, message)

    def _start(self, session: Session, topics: Sequence[Topic]) -> Iterable[bytes]:
        """Subscribe to channels of the old API, and return the first message of each."""
        stream = self._old[session]
        fresh = [topic for topic in topics if self.subscribe(session, topic)]
        return [gemini_old.message(stream, name, self.seen(symbol)) for name, symbol in fresh]

    def _on_request(self, session: Session, message: Json) -> Iterable[bytes]:
        request_id = message.get("id")
        if not isinstance(request_id, int | str) or len(str(request_id)) > 64:
            request_id = None
        method = str(message.get("method", "")).lower()
        if method not in _METHODS:
            return (_error(request_id, _UNKNOWN_METHOD, "Unknown method"),)
        if method == "ping":
            return (encode({"id": request_id, "status": 200}),)
        if method == "list_subscriptions":
            listed = sorted(f"{symbol}@{channel}" for channel, symbol in session.topics)
            return (encode({"id": request_id, "status": 200, "result": listed}),)
        streams = strings(message.get("params"))
        if not streams:
            return (_error(request_id, _INVALID_PARAMETER, "Invalid params"),)
        topics = []
        for stream in streams:
            symbol, _, channel = stream.partition("@")
            symbol = symbol.lower()
            if symbol not in self.books or channel not in _CHANNELS:
                return (_error(request_id, _INVALID_PARAMETER, f"Invalid stream: {stream[:64]}"),)
            topics.append((channel, symbol))
        frames = [encode({"id": request_id, "status": 200})]
        for topic in topics:
            if method == "unsubscribe":
                self.unsubscribe(session, topic)
            elif self.subscribe(session, topic) and topic[0] == "bookTicker":
                frames.append(self._book_ticker(self.seen(topic[1])))
        return frames

    @override
    def malformed(self, session: Session, text: str) -> bytes:
        return _error(None, _INVALID_PARAMETER, "Malformed JSON")

    @override
    def frame(self, channel: str, book: Book) -> bytes | None:
        if channel in ("trade", gemini_old.TRADES) and not book.traded:
            return None
        if channel in gemini_old.CHANNELS:
            # What it says depends on the connection.
            return b""
        return self._book_ticker(book) if channel == "bookTicker" else self._trade(book)

    @override
    def add_rest(self, router: web.UrlDispatcher) -> None:
        router.add_get("/v2/ticker/{symbol}", self._rest_ticker)
        router.add_get("/v1/pubticker/{symbol}", self._rest_public_ticker)

    async def _rest_ticker(self, request: web.Request) -> web.Response:
        book = self.shown(request.match_info["symbol"].lower())
        if book is None:
            return _unknown_symbol(request.match_info["symbol"])
        places = book.pair.places
        last = plain(book.last, places)
        return json_response(
            {
                "symbol": book.pair.symbol.upper(),
                "open": plain(book.open, places),
                "high": plain(book.high, places),
                "low": plain(book.low, places),
                "close": last,
                "changes": [last] * 24,
                "bid": plain(book.bid, places),
                "ask": plain(book.ask, places),
            }
        )

    async def _rest_public_ticker(self, request: web.Request) -> web.Response:
        book = self.shown(request.match_info["symbol"].lower())
        if book is None:
            return _unknown_symbol(request.match_info["symbol"])
        pair = book.pair
        volume_quote = book.volume * book.last // 10**12
        return json_response(
            {
                "bid": plain(book.bid, pair.places),
                "ask": plain(book.ask, pair.places),
                "last": plain(book.last, pair.places),
                "volume": {
                    pair.base: plain(book.volume, 8),
                    pair.quote: plain(volume_quote, 8),
                    "timestamp": book.time_ns // 1_000_000,
                },
            }
        )

    def _book_ticker(self, book: Book) -> bytes:
        places = book.pair.places
        return encode(
            {
                "u": book.sequence,
                "E": book.time_ns,
                "s": book.pair.symbol,
                "b": plain(book.bid, places),
                "B": plain(book.bid_size, 8),
                "a": plain(book.ask, places),
                "A": plain(book.ask_size, 8),
                "c": plain(book.last, places),
                "C": plain(book.last_size, 8),
            }
        )

    def _trade(self, book: Book) -> bytes:
        return encode(
            {
                "E": book.trade_time_ns,
                "s": book.pair.symbol,
                "t": book.trade_id,
                "p": plain(book.last, book.pair.places),
                "q": plain(book.last_size, 10),
                "m": book.buyer_is_maker,
            }
        )


def _error(request_id: object, code: int, text: str) -> bytes:
    return encode({"id": request_id, "status": 400, "error": {"code": code, "msg": text}})


def _unknown_symbol(symbol: str) -> web.Response:
    text = f"Supplied value '{symbol[:64]}' is not a valid symbol"
    body = {"result": "error", "reason": "Bad Request", "message": text}
    return json_response(body, 400)

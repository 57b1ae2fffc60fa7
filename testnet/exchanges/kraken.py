"""Kraken, WebSocket API v2: the `ticker` channel with the triggers `bbo` and `trades`.

https://docs.kraken.com/exchange/api-reference/spot-websocket-v2/ticker
"""

from collections.abc import Iterable, Sequence

import msgspec
from aiohttp import web
from typing_extensions import override

from testnet.exchanges.book import Book, Pair, Profile
from testnet.exchanges.clock import rfc3339_micros
from testnet.exchanges.decimals import ONE, plain, shortest
from testnet.exchanges.limits import Limit
from testnet.exchanges.server import Json, Venue, encode, json_response, number, strings
from testnet.exchanges.session import Session

_HEARTBEAT_S = 1.0
_FINEST = ONE // 10**8
_TRIGGERS = ("bbo", "trades")
# What REST calls assets, and the prefix that old ones have in the names of answers.
_REST_CODES = {"BTC": "XBT", "DOGE": "XDG"}
_REST_PREFIXES = {
    "XBT": "X",
    "ETH": "X",
    "LTC": "X",
    "XRP": "X",
    "XLM": "X",
    "ETC": "X",
    "USD": "Z",
}
_PREFIXED_QUOTE_ONLY = ("USDT",)


class Kraken(Venue):
    """Says its status on connecting and a heartbeat after each second without another frame."""

    profile = Profile(
        venue="kraken",
        lag_ms=110,
        offset_ppm=50,
        pace=1.0,
        symbol_form="{base}/{quote}",
        places=5,
    )
    channels = ("ticker bbo", "ticker trades")
    ws_paths = ("/v2", "/")
    connects = Limit(150, 600)
    requests = Limit(1, 1)

    @override
    def on_open(self, session: Session, request: web.Request) -> Iterable[bytes]:
        return (self._status("online"),)

    @override
    def on_message(self, session: Session, message: Json) -> Iterable[bytes]:
        time_in = rfc3339_micros(self.now_ns())
        method = message.get("method")
        req_id = message.get("req_id")
        echo: Json = {"req_id": req_id} if isinstance(req_id, int) else {}
        if method == "ping":
            return (self._timed({"method": "pong", **echo}, time_in),)
        if method not in ("subscribe", "unsubscribe"):
            shown = str(method)[:64]
            failure = {"error": "Method not supported", "method": shown, "success": False}
            return (self._timed({**failure, **echo}, time_in),)
        return self._subscriptions(session, message, {"method": method, **echo}, time_in)

    @override
    def malformed(self, session: Session, text: str) -> bytes:
        time_in = rfc3339_micros(self.now_ns())
        return self._timed({"error": "Malformed request", "success": False}, time_in)

    @override
    def frame(self, channel: str, book: Book) -> bytes | None:
        if channel == "ticker trades" and not book.traded:
            return None
        return self._ticker(book, "update")

    @override
    def upkeep(self, session: Session, now_s: float) -> Iterable[bytes]:
        if session.topics and now_s - session.last_sent_s >= _HEARTBEAT_S:
            return (encode({"channel": "heartbeat"}),)
        return ()

    @override
    def farewell(self) -> bytes:
        return self._status("maintenance")

    @override
    def add_rest(self, router: web.UrlDispatcher) -> None:
        router.add_get("/0/public/Ticker", self._rest_ticker)

    async def _rest_ticker(self, request: web.Request) -> web.Response:
        result = {}
        by_name = {name: book for book in self.books.values() for name in _rest_names(book.pair)}
        for asked in request.query.get("pair", "").split(",")[:100]:
            book = by_name.get(asked)
            if book is None:
                return json_response({"error": ["EQuery:Unknown asset pair"]})
            result[_rest_names(book.pair)[0]] = self._rest_pair(self.seen(book.pair.symbol))
        return json_response({"error": [], "result": result})

    def _rest_pair(self, book: Book) -> Json:
        places = book.pair.places
        volume = plain(book.volume, 8)
        return {
            "a": [plain(book.ask, places), plain(book.ask_size, 0), plain(book.ask_size, 3)],
            "b": [plain(book.bid, places), plain(book.bid_size, 0), plain(book.bid_size, 3)],
            "c": [plain(book.last, places), plain(book.last_size, 8)],
            "v": [volume, volume],
            "p": [plain((book.high + book.low) // 2, places)] * 2,
            "t": [book.trade_id % 100_000] * 2,
            "l": [plain(book.low, places)] * 2,
            "h": [plain(book.high, places)] * 2,
            "o": plain(book.open, places),
        }

    def _subscriptions(
        self, session: Session, message: Json, head: Json, time_in: str
    ) -> Iterable[bytes]:
        params = message.get("params")
        if not isinstance(params, dict):
            return (self._failure(head, "Missing params", None, time_in),)
        trigger = params.get("event_trigger", "trades")
        symbols = strings(params.get("symbol"), 100)
        if params.get("channel") != "ticker":
            shown = str(params.get("channel"))[:64]
            return (self._failure(head, f"Channel not supported {shown}", None, time_in),)
        if symbols is None or not symbols:
            return (self._failure(head, "Symbol(s) not found", None, time_in),)
        if trigger not in _TRIGGERS:
            return (self._failure(head, "Event trigger not supported", None, time_in),)
        frames: list[bytes] = []
        for symbol in symbols:
            frames += self._one(session, symbol, params, head, time_in)
        return frames

    def _one(
        self, session: Session, symbol: str, params: Json, head: Json, time_in: str
    ) -> Iterable[bytes]:
        trigger = params.get("event_trigger", "trades")
        snapshot = params.get("snapshot", True) is not False
        if symbol not in self.books:
            error = f"Currency pair not supported {symbol[:64]}"
            return (self._failure(head, error, symbol, time_in),)
        result: Json = {"channel": "ticker", "event_trigger": trigger}
        if head["method"] == "unsubscribe":
            if not self.unsubscribe(session, (f"ticker {trigger}", symbol)):
                return (self._failure(head, "Subscription Not Found", symbol, time_in),)
            done = {**head, "result": {**result, "symbol": symbol}, "success": True}
            return (self._timed(done, time_in),)
        if any(named == symbol for _, named in session.topics):
            return (self._failure(head, "Already subscribed", symbol, time_in),)
        self.subscribe(session, (f"ticker {trigger}", symbol))
        result |= {"snapshot": snapshot, "symbol": symbol}
        success = self._timed({**head, "result": result, "success": True}, time_in)
        if not snapshot:
            return (success,)
        return success, self._ticker(self.seen(symbol), "snapshot")

    def _ticker(self, book: Book, kind: str) -> bytes:
        change = book.last - book.open
        change_pct = 10_000 * change // book.open * ONE // 100
        ticker = {
            "symbol": book.pair.symbol,
            "bid": _number(book.bid),
            "bid_qty": _number(book.bid_size),
            "ask": _number(book.ask),
            "ask_qty": _number(book.ask_size),
            "last": _number(book.last),
            "volume": _number(book.volume),
            "vwap": _number((book.high + book.low) // 2),
            "low": _number(book.low),
            "high": _number(book.high),
            "change": _number(change),
            "change_pct": _number(change_pct),
            "trades": book.trade_id % 100_000,
            "timestamp": rfc3339_micros(book.time_ns),
        }
        return encode({"channel": "ticker", "type": kind, "data": [ticker]})

    def _status(self, system: str) -> bytes:
        status = {
            "version": "2.0.10",
            "system": system,
            "api_version": "v2",
            "connection_id": self.connections_total,
        }
        return encode({"channel": "status", "type": "update", "data": [status]})

    def _failure(self, head: Json, error: str, symbol: str | None, time_in: str) -> bytes:
        named: Json = {} if symbol is None else {"symbol": symbol}
        return self._timed({"error": error, **head, "success": False, **named}, time_in)

    def _timed(self, body: Json, time_in: str) -> bytes:
        return encode({**body, "time_in": time_in, "time_out": rfc3339_micros(self.now_ns())})


def _rest_names(pair: Pair) -> Sequence[str]:
    """Return the names of a pair in REST requests; answers bear the first."""
    base, quote = (_REST_CODES.get(code, code) for code in (pair.base, pair.quote))
    old = base in _REST_PREFIXES or base in _PREFIXED_QUOTE_ONLY
    prefixes = _REST_PREFIXES if old else {}
    listed = f"{prefixes.get(base, '')}{base}{prefixes.get(quote, '')}{quote}"
    return listed, f"{base}{quote}", f"{pair.base}{pair.quote}", pair.symbol


def _number(value: int) -> msgspec.Raw:
    """Return a signed number with at most eight decimals."""
    text = shortest(abs(value) // _FINEST * _FINEST)
    return number(text if value >= 0 or text == "0" else f"-{text}")

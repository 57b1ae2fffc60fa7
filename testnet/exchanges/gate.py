"""Gate spot, WebSocket API v4: `spot.book_ticker`, `spot.tickers` and `spot.trades`.

https://www.gate.com/docs/developers/apiv4/ws/en/
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
    Venue,
    encode,
    json_response,
    strings,
)
from testnet.exchanges.session import Ping, Session
from testnet.market import Market

_PAIRS_MAX = 100
_INVALID_ARGUMENT = 2


class Gate(Venue):
    """Pings by WebSocket; answers bear the request's channel, event and id."""

    profile = Profile(
        venue="gate",
        symbol_form="{base}_{quote}",
        lag_ms=130,
        offset_ppm=60,
        pace=1.0,
    )
    channels = ("spot.book_ticker", "spot.tickers", "spot.trades")
    ws_paths = ("/ws/v4/", "/")
    requests = Limit(200, 10)

    def __init__(self, market: Market, updates_per_s: float) -> None:
        super().__init__(market, updates_per_s)
        self.ping_every_s = 20.0
        self.pong_within_s = 60.0

    @override
    def on_message(self, session: Session, message: Json) -> Iterable[bytes]:
        channel, event = message.get("channel"), message.get("event")
        if channel == "spot.ping":
            return (self._answer_to({"channel": "spot.pong", "event": ""}, None),)
        if channel not in self.channels or not isinstance(channel, str):
            return (self._refusal(message, f"unknown channel: {str(channel)[:64]}"),)
        if event not in ("subscribe", "unsubscribe"):
            return (self._refusal(message, f"unknown event: {str(event)[:64]}"),)
        symbols = strings(message.get("payload"), _PAIRS_MAX)
        if not symbols:
            return (self._refusal(message, "invalid payload"),)
        for symbol in symbols:
            if symbol not in self.books:
                return (self._refusal(message, f"unknown currency pair: {symbol[:64]}"),)
        for symbol in symbols:
            if event == "subscribe":
                self.subscribe(session, (channel, symbol))
            else:
                self.unsubscribe(session, (channel, symbol))
        return (self._answer_to(message, {"status": "success"}),)

    @override
    def malformed(self, session: Session, text: str) -> bytes:
        return self._refusal({}, "invalid message")

    @override
    def frame(self, channel: str, book: Book) -> bytes | None:
        if channel == "spot.book_ticker":
            return self._update(channel, book, self._book_ticker(book))
        if channel == "spot.tickers":
            return self._update(channel, book, self._ticker(book))
        return self._update(channel, book, self._trade(book)) if book.traded else None

    @override
    def upkeep(self, session: Session, now_s: float) -> Iterable[bytes]:
        if now_s - session.last_pong_s > self.ping_every_s + self.pong_within_s:
            raise CloseConnection(1008, "no pong")
        if now_s - session.last_ping_s < self.ping_every_s:
            return ()
        session.last_ping_s = now_s
        return (Ping(b"ping"),)

    @override
    def add_rest(self, router: web.UrlDispatcher) -> None:
        router.add_get("/api/v4/spot/tickers", self._rest_tickers)

    async def _rest_tickers(self, request: web.Request) -> web.Response:
        symbol = request.query.get("currency_pair")
        books = [self.seen(each) for each in self.books if symbol in (None, each)]
        if not books:
            text = f"Invalid currency pair {str(symbol)[:64]}"
            return json_response({"label": "INVALID_CURRENCY_PAIR", "message": text}, 400)
        return json_response([self._ticker(book) for book in books])

    def _update(self, channel: str, book: Book, result: Json) -> bytes:
        sent_ms = book.time_ns // 1_000_000 + 1
        head = {"time": sent_ms // 1_000, "time_ms": sent_ms, "channel": channel}
        return encode({**head, "event": "update", "result": result})

    def _answer_to(self, message: Json, result: object, **more: object) -> bytes:
        now_ms = self.now_ms()
        request_id = message.get("id")
        payload = strings(message.get("payload"), _PAIRS_MAX)
        return encode(
            {
                "time": now_ms // 1_000,
                "time_ms": now_ms,
                **({"id": request_id} if isinstance(request_id, int) else {}),
                "conn_id": "6bd2f0a5",
                "channel": str(message.get("channel", ""))[:64],
                "event": str(message.get("event", ""))[:64],
                **({} if payload is None else {"payload": payload}),
                **more,
                "result": result,
            }
        )

    def _refusal(self, message: Json, text: str) -> bytes:
        error = {"code": _INVALID_ARGUMENT, "message": text}
        return self._answer_to(message, {"status": "fail"}, error=error)

    def _book_ticker(self, book: Book) -> Json:
        pair = book.pair
        return {
            "t": book.time_ns // 1_000_000,
            "u": book.sequence,
            "s": pair.symbol,
            "b": plain(book.bid, pair.places),
            "B": shortest(book.bid_size),
            "a": plain(book.ask, pair.places),
            "A": shortest(book.ask_size),
        }

    def _ticker(self, book: Book) -> Json:
        pair = book.pair
        return {
            "currency_pair": pair.symbol,
            "last": plain(book.last, pair.places),
            "lowest_ask": plain(book.ask, pair.places),
            "lowest_size": shortest(book.ask_size),
            "highest_bid": plain(book.bid, pair.places),
            "highest_size": shortest(book.bid_size),
            "change_percentage": "0.00",
            "base_volume": shortest(book.volume),
            "quote_volume": shortest(book.volume * book.last // ONE),
            "high_24h": plain(book.high, pair.places),
            "low_24h": plain(book.low, pair.places),
        }

    def _trade(self, book: Book) -> Json:
        pair = book.pair
        micros = book.trade_time_ns // 1_000
        return {
            "id": book.trade_id,
            "create_time": micros // 1_000_000,
            "create_time_ms": f"{micros // 1_000}.{micros % 1_000:03d}",
            "side": "sell" if book.buyer_is_maker else "buy",
            "currency_pair": pair.symbol,
            "amount": shortest(book.last_size),
            "price": plain(book.last, pair.places),
        }

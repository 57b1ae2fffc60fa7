"""Crypto.com Exchange, v1 market data: `ticker` and `trade`.

https://exchange-docs.crypto.com/exchange/v1/rest-ws/index.html
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

_SUBSCRIPTIONS_MAX = 400
_BAD_REQUEST, _INVALID_CHANNEL, _TOO_MANY = 40001, 10004, 42901
_INVALID_INSTRUMENT = 40004
_NS_PER_S = 1_000_000_000


class CryptoCom(Venue):
    """Asks for a sign of life, and grants a new connection its share of the calendar second."""

    profile = Profile(
        venue="cryptocom",
        symbol_form="{base}_{quote}",
        lag_ms=160,
        offset_ppm=70,
        pace=0.8,
        spread_percent=150,
    )
    channels = ("ticker", "trade")
    ws_paths = ("/exchange/v1/market", "/")
    requests = Limit(100, 1)

    def __init__(self, market: Market, updates_per_s: float) -> None:
        super().__init__(market, updates_per_s)
        self.heartbeat_s = 30.0
        self.answer_within_s = 5.0
        self.first_second_messages = 100
        self._allowed: dict[Session, int] = {}
        self._awaited: dict[Session, int] = {}

    @override
    def on_open(self, session: Session, request: web.Request) -> Iterable[bytes]:
        rest_ns = _NS_PER_S - self.now_ns() % _NS_PER_S
        self._allowed[session] = -(-self.first_second_messages * rest_ns // _NS_PER_S)
        return ()

    @override
    def forget(self, session: Session) -> None:
        self._allowed.pop(session, None)
        self._awaited.pop(session, None)

    @override
    def on_message(self, session: Session, message: Json) -> Iterable[bytes]:
        name, method = message.get("id"), message.get("method")
        head: Json = {"id": name if isinstance(name, int) else -1, "method": str(method)[:64]}
        if self.clock_s() - session.opened_s < 1.0:
            self._allowed[session] -= 1
            if self._allowed[session] < 0:
                return (_refusal(head, _TOO_MANY, "Too many requests"),)
        if method == "public/respond-heartbeat":
            if self._awaited.get(session) == name:
                del self._awaited[session]
            return ()
        params = message.get("params")
        names = strings(params.get("channels")) if isinstance(params, dict) else None
        if method not in ("subscribe", "unsubscribe") or not names:
            return (_refusal(head, _BAD_REQUEST, "Bad request"),)
        topics = [self._topic(each) for each in names]
        known = [topic for topic in topics if topic is not None]
        if len(known) < len(topics) or len(session.topics) + len(known) > _SUBSCRIPTIONS_MAX:
            text = f"invalid channel {encode({'channels': [n[:64] for n in names]}).decode()}"
            return (_refusal(head, _INVALID_CHANNEL, text),)
        frames = [encode({**head, "code": 0})]
        for topic in known:
            if method == "unsubscribe":
                self.unsubscribe(session, topic)
            elif self.subscribe(session, topic) and (first := self.first(topic)) is not None:
                frames.append(first)
        return frames

    @override
    def malformed(self, session: Session, text: str) -> bytes:
        return _refusal({"id": -1, "method": ""}, _BAD_REQUEST, "Bad request")

    @override
    def frame(self, channel: str, book: Book) -> bytes | None:
        if channel == "trade" and not book.traded:
            return None
        symbol = book.pair.symbol
        result = {
            "instrument_name": symbol,
            "subscription": f"{channel}.{symbol}",
            "channel": channel,
            "data": [self._ticker(book) if channel == "ticker" else self._trade(book)],
        }
        return encode({"id": -1, "method": "subscribe", "code": 0, "result": result})

    @override
    def upkeep(self, session: Session, now_s: float) -> Iterable[bytes]:
        waited_s = now_s - max(session.last_ping_s, session.opened_s)
        if session in self._awaited and waited_s > self.answer_within_s:
            raise CloseConnection(1000, "no answer to a heartbeat")
        if session in self._awaited or waited_s < self.heartbeat_s:
            return ()
        session.last_ping_s = now_s
        self._awaited[session] = name = self.now_ms()
        return (encode({"id": name, "method": "public/heartbeat", "code": 0}),)

    @override
    def add_rest(self, router: web.UrlDispatcher) -> None:
        router.add_get("/exchange/v1/public/get-tickers", self._rest_tickers)

    async def _rest_tickers(self, request: web.Request) -> web.Response:
        symbol = request.query.get("instrument_name")
        books = [self.seen(each) for each in self.books if symbol in (None, each)]
        head: Json = {"id": -1, "method": "public/get-tickers"}
        if not books:
            text = "Invalid instrument_name"
            return json_response({**head, "code": _INVALID_INSTRUMENT, "message": text}, 400)
        result = {"data": [self._ticker(book) for book in books]}
        return json_response({**head, "code": 0, "result": result})

    def _topic(self, name: str) -> Topic | None:
        """Return the topic of a name such as `ticker.BTC_USD`."""
        channel, _, symbol = name.partition(".")
        return (channel, symbol) if channel in self.channels and symbol in self.books else None

    def _ticker(self, book: Book) -> Json:
        pair = book.pair
        return {
            "h": plain(book.high, pair.places),
            "l": plain(book.low, pair.places),
            # The last trade: not the ask, which is k.
            "a": plain(book.last, pair.places),
            "c": "0.0004",
            "b": plain(book.bid, pair.places),
            "bs": plain(book.bid_size, 5),
            "k": plain(book.ask, pair.places),
            "ks": plain(book.ask_size, 5),
            "i": pair.symbol,
            "v": plain(book.volume, 4),
            "vv": plain(book.volume * book.last // ONE, 2),
            "oi": "0",
            "t": book.time_ns // 1_000_000,
        }

    def _trade(self, book: Book) -> Json:
        pair = book.pair
        return {
            "d": str(book.trade_id),
            "t": book.trade_time_ns // 1_000_000,
            "tn": str(book.trade_time_ns),
            "q": plain(book.last_size, 5),
            "p": plain(book.last, pair.places),
            "s": "SELL" if book.buyer_is_maker else "BUY",
            "i": pair.symbol,
        }


def _refusal(head: Json, code: int, text: str) -> bytes:
    return encode({**head, "code": code, "message": text})

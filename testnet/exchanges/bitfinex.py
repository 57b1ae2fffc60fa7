"""Bitfinex, WebSocket API v2: `ticker` and `trades`, on channels numbered by connection.

https://docs.bitfinex.com/docs/ws-general
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

import msgspec
from aiohttp import web
from typing_extensions import override

from testnet.exchanges.book import Book, Profile
from testnet.exchanges.decimals import shortest
from testnet.exchanges.limits import Limit
from testnet.exchanges.server import Json, Topic, Venue, encode, json_response, number
from testnet.exchanges.session import Session
from testnet.market import Market

_INVALID, _DUPLICATE, _LIMIT = 10300, 10301, 10305
_NOT_SUBSCRIBED, _UNKNOWN_EVENT, _UNKNOWN_PAIR = 10400, 10000, 10020
_TIMESTAMP, _SEQ_ALL = 32_768, 65_536


@dataclass(slots=True)
class _Numbers:
    """What a connection counts: its channels, its messages, and when each channel spoke last."""

    flags: int = 0
    sequence: int = 0
    channels: dict[Topic, int] = field(default_factory=dict)
    spoke_s: dict[Topic, float] = field(default_factory=dict)


class Bitfinex(Venue):
    """Arrays without names; which symbol a channel is only its `subscribed` event tells."""

    profile = Profile(
        venue="bitfinex",
        symbol_form="t{base}{quote}",
        long_form="t{base}:{quote}",
        codes={"USDT": "UST", "USDC": "UDC"},
        lag_ms=150,
        offset_ppm=70,
        pace=0.7,
        spread_percent=150,
    )
    channels = ("ticker", "trades")
    ws_paths = ("/ws/2", "/")
    connects = Limit(20, 60)
    requests = Limit(30, 60)

    def __init__(self, market: Market, updates_per_s: float) -> None:
        super().__init__(market, updates_per_s)
        self.heartbeat_s = 15.0
        self.channels_max = 30
        self._numbers: dict[Session, _Numbers] = {}
        self._channels_total = 0

    @override
    def on_open(self, session: Session, request: web.Request) -> Iterable[bytes]:
        self._numbers[session] = _Numbers()
        server = "00000000-0000-4000-8000-000000000001"
        info = {"event": "info", "version": 2, "serverId": server, "platform": {"status": 1}}
        return (encode(info),)

    @override
    def forget(self, session: Session) -> None:
        self._numbers.pop(session, None)

    @override
    def on_message(self, session: Session, message: Json) -> Iterable[bytes]:
        match message.get("event"):
            case "ping":
                cid = message.get("cid")
                echo: Json = {"cid": cid} if isinstance(cid, int) else {}
                return (encode({"event": "pong", "ts": self.now_ms(), **echo}),)
            case "conf":
                return (self._configure(session, message.get("flags")),)
            case "subscribe":
                return self._subscription(session, message)
            case "unsubscribe":
                return (self._departure(session, message.get("chanId")),)
            case _:
                return (_error(_UNKNOWN_EVENT, "event: invalid"),)

    @override
    def malformed(self, session: Session, text: str) -> bytes:
        return _error(_UNKNOWN_EVENT, "message: invalid")

    @override
    def frame(self, channel: str, book: Book) -> bytes | None:
        if channel == "ticker":
            return encode(self._ticker(book))
        return b'"te",' + encode(self._trade(book)) if book.traded else None

    @override
    def addressed(self, session: Session, topic: Topic, frame: bytes) -> bytes:
        numbers = self._numbers[session]
        numbers.spoke_s[topic] = self.clock_s()
        tail = b""
        if numbers.flags & _SEQ_ALL:
            numbers.sequence += 1
            tail += b",%d" % numbers.sequence
        if numbers.flags & _TIMESTAMP:
            tail += b",%d" % self.now_ms()
        return b"[%d,%b%b]" % (numbers.channels[topic], frame, tail)

    @override
    def upkeep(self, session: Session, now_s: float) -> Iterable[bytes]:
        numbers = self._numbers[session]
        frames = []
        for topic, spoke_s in list(numbers.spoke_s.items()):
            if now_s - spoke_s >= self.heartbeat_s:
                frames.append(self.addressed(session, topic, b'"hb"'))
                numbers.spoke_s[topic] = now_s
        return frames

    @override
    def farewell(self) -> bytes:
        text = "Stopping. Please try to reconnect"
        return encode({"event": "info", "code": 20051, "msg": text})

    @override
    def add_rest(self, router: web.UrlDispatcher) -> None:
        router.add_get("/v2/ticker/{symbol}", self._rest_ticker)
        router.add_get("/v2/tickers", self._rest_tickers)

    async def _rest_ticker(self, request: web.Request) -> web.Response:
        book = self.shown(request.match_info["symbol"])
        if book is None:
            return json_response(["error", _UNKNOWN_PAIR, "symbol: invalid"], 500)
        return json_response(self._ticker(book))

    async def _rest_tickers(self, request: web.Request) -> web.Response:
        asked = request.query.get("symbols", "").split(",")[:100]
        symbols = list(self.books) if asked == ["ALL"] else asked
        books = [book for symbol in symbols if (book := self.shown(symbol)) is not None]
        return json_response([[book.pair.symbol, *self._ticker(book)] for book in books])

    def _configure(self, session: Session, flags: object) -> bytes:
        if not isinstance(flags, int) or not 0 <= flags < 2**20:
            return _error(_UNKNOWN_EVENT, "flags: invalid")
        self._numbers[session].flags = flags
        return encode({"event": "conf", "status": "OK", "flags": flags})

    def _subscription(self, session: Session, message: Json) -> Iterable[bytes]:
        channel, symbol = message.get("channel"), message.get("symbol")
        named = {"channel": str(channel)[:64], "symbol": str(symbol)[:64]}
        if channel not in self.channels or not isinstance(channel, str):
            return (_error(_INVALID, "channel: unknown", **named),)
        if not isinstance(symbol, str) or symbol not in self.books:
            return (_error(_INVALID, "symbol: invalid", **named),)
        numbers = self._numbers[session]
        topic = (channel, symbol)
        if topic in numbers.channels:
            return (_error(_DUPLICATE, "subscribe: dup", **named),)
        if len(numbers.channels) >= self.channels_max:
            return (_error(_LIMIT, "limit: open channels", **named),)
        self._channels_total += 1
        numbers.channels[topic] = 100 + self._channels_total
        self.subscribe(session, topic)
        pair = symbol.removeprefix("t")
        told = {"event": "subscribed", **named, "chanId": numbers.channels[topic], "pair": pair}
        book = self.seen(symbol)
        start = encode(self._ticker(book) if channel == "ticker" else [self._trade(book)])
        return (encode(told), self.addressed(session, topic, start))

    def _departure(self, session: Session, channel_id: object) -> bytes:
        numbers = self._numbers[session]
        for topic, number_ in numbers.channels.items():
            if number_ == channel_id:
                self.unsubscribe(session, topic)
                del numbers.channels[topic]
                del numbers.spoke_s[topic]
                return encode({"event": "unsubscribed", "status": "OK", "chanId": channel_id})
        return _error(_NOT_SUBSCRIBED, "unsubscribe: invalid")

    def _ticker(self, book: Book) -> list[msgspec.Raw | None]:
        change = abs(book.last - book.open)
        return [
            *(_number(value) for value in (book.bid, book.bid_size, book.ask, book.ask_size)),
            *(_number(value) for value in (change, change * 10**12 // book.open, book.last)),
            *(_number(value) for value in (book.volume, book.high, book.low)),
            # Since 2026 there is an eleventh element, so far without a value.
            None,
        ]

    def _trade(self, book: Book) -> list[object]:
        amount = shortest(book.last_size)
        signed = number(f"-{amount}" if book.buyer_is_maker else amount)
        return [book.trade_id, book.trade_time_ns // 1_000_000, signed, _number(book.last)]


def _number(value: int) -> msgspec.Raw:
    """Return a number with at most eight decimals."""
    return number(shortest(value // 10**4 * 10**4))


def _error(code: int, text: str, **more: str) -> bytes:
    return encode({"event": "error", "msg": text, "code": code, **more})

"""MEXC spot, API v3: `aggre.bookTicker` and `aggre.deals` as protocol buffers, the rest in JSON.

https://mexcdevelop.github.io/apidocs/spot_v3_en/#websocket-market-streams and
https://github.com/mexcdevelop/websocket-proto
"""

import re
from collections.abc import Iterable

from aiohttp import web
from typing_extensions import override

from testnet.exchanges.binance_rest import best_prices, day_ticker, rest_tickers
from testnet.exchanges.book import Book, Profile
from testnet.exchanges.decimals import plain
from testnet.exchanges.limits import Limit
from testnet.exchanges.protobuf import length_delimited, text, varint
from testnet.exchanges.server import (
    CloseConnection,
    Json,
    Topic,
    Venue,
    encode,
    strings,
)
from testnet.exchanges.session import Binary, Session
from testnet.market import Market

_SUBSCRIPTIONS_MAX = 30
_STREAM = re.compile(r"spot@public\.aggre\.(bookTicker|deals)\.v3\.api\.pb@(10ms|100ms)@(\w{1,24})")
# PushDataV3ApiWrapper and what it wraps: the numbers of the fields.
_CHANNEL, _SYMBOL, _SEND_TIME = 1, 3, 6
_DEALS, _BOOK_TICKER = 314, 315


class Mexc(Venue):
    """Says `code` 0 even to what it does not subscribe; only the words tell."""

    profile = Profile(
        venue="mexc",
        symbol_form="{base}{quote}",
        lag_ms=150,
        offset_ppm=80,
        pace=1.0,
    )
    channels = ("bookTicker 10ms", "bookTicker 100ms", "deals 10ms", "deals 100ms")
    ws_paths = ("/ws", "/")
    requests = Limit(500, 10)

    def __init__(self, market: Market, updates_per_s: float) -> None:
        super().__init__(market, updates_per_s)
        self.connection_age_s_max = 24 * 3600
        self.subscribe_within_s = 30.0
        self.silence_s = 60.0

    @override
    def on_message(self, session: Session, message: Json) -> Iterable[bytes]:
        method = message.get("method")
        if method == "PING":
            return (_answer("PONG"),)
        names = strings(message.get("params"), _SUBSCRIPTIONS_MAX)
        if method not in ("SUBSCRIPTION", "UNSUBSCRIPTION") or not names:
            return (_answer("msg format invalid"),)
        if method == "UNSUBSCRIPTION":
            for name in names:
                topic = self._topic(name)
                if topic is not None:
                    self.unsubscribe(session, topic)
            return (_answer(",".join(names)),)
        return self._subscription(session, names)

    @override
    def malformed(self, session: Session, text: str) -> bytes:
        return _answer("msg format invalid")

    @override
    def frame(self, channel: str, book: Book) -> bytes | None:
        kind, period = channel.split()
        if kind == "bookTicker":
            body = length_delimited(_BOOK_TICKER, _book_ticker(book))
        elif book.traded:
            body = length_delimited(_DEALS, _deals(book))
        else:
            return None
        symbol = book.pair.symbol
        name = f"spot@public.aggre.{kind}.v3.api.pb@{period}@{symbol}"
        sent_ms = book.time_ns // 1_000_000
        head = text(_CHANNEL, name) + text(_SYMBOL, symbol)
        return Binary(head + varint(_SEND_TIME, sent_ms) + body)

    @override
    def upkeep(self, session: Session, now_s: float) -> Iterable[bytes]:
        if not session.topics and now_s - session.opened_s > self.subscribe_within_s:
            raise CloseConnection(1005, "no valid subscription")
        if now_s - session.last_sent_s > self.silence_s:
            raise CloseConnection(1005, "no data")
        return ()

    @override
    def add_rest(self, router: web.UrlDispatcher) -> None:
        router.add_get("/api/v3/ticker/bookTicker", self._rest_book_ticker)
        router.add_get("/api/v3/ticker/24hr", self._rest_day)

    async def _rest_book_ticker(self, request: web.Request) -> web.Response:
        return rest_tickers(self, request, best_prices)

    async def _rest_day(self, request: web.Request) -> web.Response:
        return rest_tickers(self, request, lambda book: {**day_ticker(book), "count": None})

    def _subscription(self, session: Session, names: list[str]) -> Iterable[bytes]:
        frames = []
        for name in names:
            topic = self._topic(name)
            if topic is None or len(session.topics) >= _SUBSCRIPTIONS_MAX:
                shown = name[:100]
                frames.append(
                    _answer(f"Not Subscribed successfully! [{shown}].  Reason： Blocked! ")
                )
                continue
            frames.append(_answer(name))
            self.subscribe(session, topic)
            first = self.first(topic)
            if first is not None:
                frames.append(first)
        return frames

    def _topic(self, name: str) -> Topic | None:
        match = _STREAM.fullmatch(name)
        if match is None or match[3] not in self.books:
            return None
        return (f"{match[1]} {match[2]}", match[3])


def _answer(words: str) -> bytes:
    return encode({"id": 0, "code": 0, "msg": words})


def _book_ticker(book: Book) -> bytes:
    pair = book.pair
    return (
        text(1, plain(book.bid, pair.places))
        + text(2, plain(book.bid_size, pair.size_places))
        + text(3, plain(book.ask, pair.places))
        + text(4, plain(book.ask_size, pair.size_places))
        + text(5, str(book.sequence))
        + varint(6, book.time_ns // 1_000_000)
    )


def _deals(book: Book) -> bytes:
    pair = book.pair
    deal = (
        text(1, plain(book.last, pair.places))
        + text(2, plain(book.last_size, pair.size_places))
        + varint(3, 2 if book.buyer_is_maker else 1)
        + varint(4, book.trade_time_ns // 1_000_000)
    )
    return length_delimited(1, deal) + text(2, "spot@public.aggre.deals.v3.api.pb@10ms")

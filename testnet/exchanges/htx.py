"""HTX spot: `bbo`, `ticker`, `detail` and `trade.detail`, every frame compressed by gzip.

https://www.htx.com/en-us/opend/newApiPages/
"""

import gzip
from collections.abc import Iterable

from aiohttp import web
from typing_extensions import override

from testnet.exchanges.book import Book, Profile
from testnet.exchanges.decimals import ONE, shortest
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
from testnet.exchanges.session import Binary, Session
from testnet.market import Market

_PINGS_MISSED_MAX = 2


class Htx(Venue):
    """Pings in JSON each 5 s, and hangs up after two of them without an answer."""

    profile = Profile(
        venue="htx",
        symbol_form="{base}{quote}",
        lower_case=True,
        lag_ms=140,
        offset_ppm=60,
        pace=1.0,
    )
    channels = ("bbo", "ticker", "detail", "trade.detail")
    ws_paths = ("/ws", "/")
    connects = Limit(50, 1)
    requests = Limit(10, 1)

    def __init__(self, market: Market, updates_per_s: float) -> None:
        super().__init__(market, updates_per_s)
        self.ping_every_s = 5.0
        self._unanswered: dict[Session, int] = {}

    @override
    def forget(self, session: Session) -> None:
        self._unanswered.pop(session, None)

    @override
    def on_message(self, session: Session, message: Json) -> Iterable[bytes]:
        if "pong" in message:
            self._unanswered.pop(session, None)
            return ()
        if "ping" in message:
            stamp = message["ping"]
            return (encode({"pong": stamp if isinstance(stamp, int) else self.now_ms()}),)
        name = message.get("id")
        head: Json = {"id": str(name)[:64]} if isinstance(name, str | int) else {}
        verb = "sub" if "sub" in message else "unsub"
        asked = message.get(verb)
        topic = self._topic(asked)
        if topic is None:
            return (self._refusal(head, f"invalid topic {str(asked)[:64]}"),)
        answer = encode({**head, "status": "ok", f"{verb}bed": asked, "ts": self.now_ms()})
        if verb == "unsub":
            self.unsubscribe(session, topic)
            return (answer,)
        self.subscribe(session, topic)
        first = self.first(topic)
        return (answer,) if first is None else (answer, first)

    @override
    def malformed(self, session: Session, text: str) -> bytes:
        return self._refusal({}, "invalid command")

    @override
    def wire(self, frame: bytes) -> bytes:
        if isinstance(frame, Binary):
            return frame
        return Binary(gzip.compress(frame, compresslevel=1, mtime=0))

    @override
    def frame(self, channel: str, book: Book) -> bytes | None:
        if channel == "bbo":
            return self._message(channel, book, self._best(book))
        if channel == "ticker":
            return self._message(channel, book, self._ticker(book))
        if not book.traded:
            return None
        tick = self._detail(book) if channel == "detail" else self._trade(book)
        return self._message(channel, book, tick)

    @override
    def upkeep(self, session: Session, now_s: float) -> Iterable[bytes]:
        if now_s - max(session.last_ping_s, session.opened_s) < self.ping_every_s:
            return ()
        missed = self._unanswered.get(session, 0)
        if missed >= _PINGS_MISSED_MAX:
            raise CloseConnection(1003, "ping check expired")
        self._unanswered[session] = missed + 1
        session.last_ping_s = now_s
        return (encode({"ping": self.now_ms()}),)

    @override
    def add_rest(self, router: web.UrlDispatcher) -> None:
        router.add_get("/market/detail/merged", self._rest_merged)

    async def _rest_merged(self, request: web.Request) -> web.Response:
        book = self.shown(request.query.get("symbol"))
        if book is None:
            error = {"err-code": "invalid-parameter", "err-msg": "invalid symbol"}
            return json_response({"ts": self.now_ms(), "status": "error", **error, "data": None})
        tick = {
            **self._detail(book),
            "bid": [_number(book.bid), _number(book.bid_size)],
            "ask": [_number(book.ask), _number(book.ask_size)],
        }
        channel = f"market.{book.pair.symbol}.detail.merged"
        answer = {"ch": channel, "status": "ok", "ts": self.now_ms(), "tick": tick}
        return json_response(answer)

    def _topic(self, name: object) -> Topic | None:
        """Return the topic of a name such as `market.btcusdt.bbo`."""
        parts = name.split(".", 2) if isinstance(name, str) else []
        if len(parts) != 3 or parts[0] != "market":
            return None
        _, symbol, channel = parts
        return (channel, symbol) if channel in self.channels and symbol in self.books else None

    def _refusal(self, head: Json, text: str) -> bytes:
        error = {"err-code": "bad-request", "err-msg": text}
        return encode({"status": "error", "ts": self.now_ms(), **head, **error})

    def _message(self, channel: str, book: Book, tick: Json) -> bytes:
        name = f"market.{book.pair.symbol}.{channel}"
        return encode({"ch": name, "ts": book.time_ns // 1_000_000 + 1, "tick": tick})

    def _best(self, book: Book) -> Json:
        return {
            "seqId": book.sequence,
            "ask": _number(book.ask),
            "askSize": _number(book.ask_size),
            "bid": _number(book.bid),
            "bidSize": _number(book.bid_size),
            "quoteTime": book.time_ns // 1_000_000,
            "symbol": book.pair.symbol,
        }

    def _ticker(self, book: Book) -> Json:
        return {
            **self._detail(book),
            "bid": _number(book.bid),
            "bidSize": _number(book.bid_size),
            "ask": _number(book.ask),
            "askSize": _number(book.ask_size),
            "lastPrice": _number(book.last),
            "lastSize": _number(book.last_size),
        }

    def _detail(self, book: Book) -> Json:
        return {
            "id": book.sequence,
            "version": book.sequence,
            "open": _number(book.open),
            "close": _number(book.last),
            "low": _number(book.low),
            "high": _number(book.high),
            "amount": _number(book.volume),
            "vol": _number(book.volume * book.last // ONE),
            "count": book.trade_id % 100_000,
        }

    def _trade(self, book: Book) -> Json:
        entry = {
            "id": number(f"{book.sequence}{book.trade_id}"),
            "ts": book.trade_time_ns // 1_000_000,
            "tradeId": book.trade_id,
            "amount": _number(book.last_size),
            "price": _number(book.last),
            "direction": "sell" if book.buyer_is_maker else "buy",
        }
        return {"id": book.sequence, "ts": book.trade_time_ns // 1_000_000, "data": [entry]}


def _number(value: int) -> object:
    return number(shortest(value))

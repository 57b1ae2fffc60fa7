"""Gemini's older WebSocket API, which many clients still speak: v1 market data and v2.

`/v1/marketdata/<symbol>` and `/v1/multimarketdata?symbols=…` are subscribed by their address;
`/v2/marketdata` takes `l2` subscriptions. https://docs.gemini.com/websocket-api/
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from aiohttp import web

from testnet.exchanges.book import Book
from testnet.exchanges.decimals import plain
from testnet.exchanges.server import Json, Topic, encode, strings
from testnet.exchanges.session import Session

PATHS = ("/v1/marketdata/{symbol}", "/v1/multimarketdata", "/v2/marketdata")
TOP, TRADES, LEVELS = "v1 top", "v1 trades", "v2 l2"
CHANNELS = (TOP, TRADES, LEVELS)

_HEARTBEAT_S = 5.0
_SYMBOLS_MAX = 100
_ENTRIES = ("bids", "offers", "trades")


@dataclass(slots=True)
class Stream:
    """One connection to the old API.

    `sequence` counts its messages, `sides` are those of the book that it wants, `tops` what it was
    told last of each symbol.
    """

    is_v2: bool
    heartbeat: bool
    sides: frozenset[str] = frozenset()
    trades: bool = False
    sequence: int = 0
    tops: dict[str, tuple[int, int]] = field(default_factory=dict)

    def next(self) -> int:
        """Count a message and return its number, from 0."""
        self.sequence += 1
        return self.sequence - 1


def is_old(request: web.Request) -> bool:
    """Tell whether a connection is one to the old API."""
    return request.path.startswith(("/v1/", "/v2/"))


def opened(request: web.Request) -> Stream:
    """Return the stream that an address asks for."""
    query = request.query
    if request.path.startswith("/v2/"):
        return Stream(is_v2=True, heartbeat=True)
    # If any kind of entry is named, only those named are wanted.
    named = any(entry in query for entry in _ENTRIES)
    wanted = {entry for entry in _ENTRIES if query.get(entry, str(not named)).lower() == "true"}
    sides = {side for side, entry in (("bid", "bids"), ("ask", "offers")) if entry in wanted}
    return Stream(
        is_v2=False,
        heartbeat=query.get("heartbeat") == "true",
        sides=frozenset(sides),
        trades="trades" in wanted,
    )


def addressed_topics(request: web.Request, stream: Stream) -> Iterable[Topic]:
    """Return the topics that an address names; symbols may be unknown."""
    one = request.match_info.get("symbol")
    listed = [one] if one is not None else request.query.get("symbols", "").split(",")
    for symbol in listed[:_SYMBOLS_MAX]:
        if symbol and stream.sides:
            yield TOP, symbol.lower()
        if symbol and stream.trades:
            yield TRADES, symbol.lower()


def subscribed(message: Json, books: Mapping[str, Book]) -> list[Topic] | bytes:
    """Return the topics of a v2 subscription, or the answer to a bad one."""
    entries = message.get("subscriptions")
    if message.get("type") not in ("subscribe", "unsubscribe") or not isinstance(entries, list):
        return encode({"result": "error", "reason": "InvalidJson"})
    topics = []
    for entry in entries[:_SYMBOLS_MAX]:
        symbols = strings(entry.get("symbols"), _SYMBOLS_MAX) if isinstance(entry, dict) else None
        if symbols is None or entry.get("name") != "l2":
            return encode({"result": "error", "reason": "UnsupportedSubscription"})
        topics += [(LEVELS, symbol.lower()) for symbol in symbols if symbol.lower() in books]
    if not topics:
        return encode({"result": "error", "reason": "NoValidTradingPairs"})
    return topics


def heartbeat(session: Session, stream: Stream, now_s: float, now_ms: int) -> Iterable[bytes]:
    """Return the heartbeat if one is due: each five seconds, where it was asked for."""
    if not stream.heartbeat or now_s - session.last_ping_s < _HEARTBEAT_S:
        return ()
    session.last_ping_s = now_s
    if stream.is_v2:
        return (encode({"type": "heartbeat", "timestamp": now_ms}),)
    return (encode({"type": "heartbeat", "socket_sequence": stream.next()}),)


def message(stream: Stream, channel: str, book: Book) -> bytes:
    """Return a channel's message for the book as it stands, as one connection gets it."""
    if channel == LEVELS:
        return encode(_level_updates(stream, book))
    time_ms = book.time_ns // 1_000_000
    events = [_trade(book)] if channel == TRADES else _top(stream, book)
    return encode(
        {
            "type": "update",
            "eventId": book.sequence,
            "timestamp": time_ms // 1_000,
            "timestampms": time_ms,
            "socket_sequence": stream.next(),
            "events": events,
        }
    )


def _top(stream: Stream, book: Book) -> list[Json]:
    is_first = book.pair.symbol not in stream.tops
    stream.tops[book.pair.symbol] = (book.bid, book.ask)
    sides = (("bid", book.bid, book.bid_size), ("ask", book.ask, book.ask_size))
    return [
        {
            "type": "change",
            "symbol": book.pair.symbol.upper(),
            "side": side,
            "price": plain(price, book.pair.places),
            "remaining": plain(size, 8),
            "reason": "initial" if is_first else "top-of-book",
        }
        for side, price, size in sides
        if side in stream.sides
    ]


def _trade(book: Book) -> Json:
    return {
        "type": "trade",
        "symbol": book.pair.symbol.upper(),
        "tid": book.trade_id,
        "price": plain(book.last, book.pair.places),
        "amount": plain(book.last_size, 8),
        "makerSide": "bid" if book.buyer_is_maker else "ask",
    }


def _level_updates(stream: Stream, book: Book) -> Json:
    """Return the changes of levels that move a client's book to this one's best prices."""
    places = book.pair.places
    changes = []
    bid, ask = stream.tops.get(book.pair.symbol, (book.bid, book.ask))
    for side, before, price, size in (
        ("buy", bid, book.bid, book.bid_size),
        ("sell", ask, book.ask, book.ask_size),
    ):
        if before != price:
            changes.append([side, plain(before, places), "0"])
        changes.append([side, plain(price, places), plain(size, 8)])
    stream.tops[book.pair.symbol] = (book.bid, book.ask)
    return {"type": "l2_updates", "symbol": book.pair.symbol.upper(), "changes": changes}

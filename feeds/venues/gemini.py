"""Gemini, the WebSocket API of 2025: `<symbol>@bookTicker`.

https://developer.gemini.com/websocket/streams. Times are in nanoseconds; the update id orders
frames; an empty side is an empty string. How old the last trade `c` is, is not told. Some pairs
are quoted in the exchange's own dollar: `btcgusd` is not `btcusd`.
"""

from collections.abc import Sequence

from msgspec import UNSET, Struct, UnsetType
from msgspec.json import Decoder

from feeds.frames import (
    Acknowledged,
    Decoded,
    Price,
    Refused,
    WholeNumber,
    last_text,
    scaled_text,
    told,
)
from feeds.rest import Rest, get
from feeds.symbols import QUOTES, Pair, Symbols, joined
from feeds.venue import Liveness, Ping, Venue, VenueEndpoint, one_each, stateless

_STATUS_OK = 200
_FIRST_PING_ID = 1_000_000


class _Error(Struct, frozen=True):
    msg: str = ""


class _Kind(Struct, frozen=True):
    id: int | str | None = None
    status: int = _STATUS_OK
    error: _Error | None = None
    u: WholeNumber | UnsetType = UNSET


class _BookTicker(Struct, frozen=True):
    u: WholeNumber
    E: WholeNumber
    s: str
    b: str
    a: str
    c: str = ""


class _Volume(Struct, frozen=True):
    timestamp: WholeNumber


class _RestTicker(Struct, frozen=True):
    bid: str
    ask: str
    volume: _Volume
    last: str = ""


_KIND = Decoder(_Kind)
_BOOK_TICKER = Decoder(_BookTicker)
_REST_TICKER = Decoder(_RestTicker)
_JOINED = joined(lower_case=True, quotes=(*QUOTES, "GUSD"))


def _pair(symbol: str) -> Pair:
    # The one currency whose name makes a dollar pair look like one in Gemini's dollar.
    return ("PAXG", "USD") if symbol.lower() == "paxgusd" else _JOINED.pair(symbol)


def _request(number: int, symbol: str) -> object:
    return {"id": number, "method": "SUBSCRIBE", "params": [f"{symbol}@bookTicker"]}


def _read(frame: str) -> Sequence[Decoded]:
    kind = _KIND.decode(frame)
    if kind.u is not UNSET:
        ticker = _BOOK_TICKER.decode(frame)
        price = Price(
            symbol=ticker.s.lower(),
            bid=scaled_text(ticker.b),
            ask=scaled_text(ticker.a),
            last=last_text(ticker.c),
            exchange_time_ms=ticker.E // 1_000_000,
            sequence=ticker.u,
        )
        return (price,)
    key = None if kind.id is None else str(kind.id)
    if kind.error is not None or kind.status != _STATUS_OK:
        reason = kind.error.msg if kind.error is not None else ""
        return (Refused(key, told(f"status {kind.status}: {reason}")),)
    if key is None:
        raise ValueError("neither a price nor an answer")
    return (Acknowledged(key),)


def _read_rest(body: bytes, symbols: Sequence[str]) -> Sequence[Price]:
    ticker = _REST_TICKER.decode(body)
    price = Price(
        symbol=symbols[0],
        bid=scaled_text(ticker.bid),
        ask=scaled_text(ticker.ask),
        last=last_text(ticker.last),
        exchange_time_ms=ticker.volume.timestamp,
    )
    return (price,)


def _ping(count: int) -> str:
    return f'{{"id":{_FIRST_PING_ID + count},"method":"ping"}}'


GEMINI = Venue(
    name="gemini",
    endpoint=VenueEndpoint("wss://ws.gemini.com", "https://api.gemini.com"),
    symbols=Symbols(_JOINED.spell, _pair),
    subscribe=one_each(_request),
    reader=stateless(_read),
    liveness=Liveness(any_frame_s=25, price_s=60),
    # 120 requests a minute. The ticker of version 2 tells no time.
    rest=Rest(lambda symbols: get(f"/v1/pubticker/{symbols[0]}"), _read_rest, 1),
    ping=Ping(10, _ping),
)

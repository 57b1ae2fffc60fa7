"""Gemini, the WebSocket API of 2025: `<symbol>@bookTicker`.

https://developer.gemini.com/websocket/streams. Times are in nanoseconds; the update id orders
frames; an empty side is an empty string. The last trade `c` is left aside: its age is not told.
"""

from collections.abc import Sequence

from msgspec import UNSET, Struct, UnsetType
from msgspec.json import Decoder, encode

from feeds.frames import (
    Acknowledged,
    Decoded,
    Price,
    Refused,
    WholeNumber,
    scaled_text,
    told,
)
from feeds.venue import Liveness, Ping, Subscription, Venue, VenueEndpoint

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


_KIND = Decoder(_Kind)
_BOOK_TICKER = Decoder(_BookTicker)


def _subscribe(symbols: Sequence[str]) -> list[Subscription]:
    # One request a symbol, so that the answer's id tells which one was refused.
    return [
        Subscription(
            encode(
                {"id": number, "method": "SUBSCRIBE", "params": [f"{symbol}@bookTicker"]}
            ).decode(),
            {str(number): (symbol,)},
        )
        for number, symbol in enumerate(symbols, start=1)
    ]


def _read(frame: str) -> Sequence[Decoded]:
    kind = _KIND.decode(frame)
    if kind.u is not UNSET:
        ticker = _BOOK_TICKER.decode(frame)
        price = Price(
            symbol=ticker.s.lower(),
            bid=scaled_text(ticker.b),
            ask=scaled_text(ticker.a),
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


def _ping(count: int) -> str:
    return f'{{"id":{_FIRST_PING_ID + count},"method":"ping"}}'


GEMINI = Venue(
    name="gemini",
    endpoint=VenueEndpoint("wss://ws.gemini.com", "https://api.gemini.com"),
    symbol_form="{base}{quote}",
    lower_case=True,
    subscribe=_subscribe,
    read=_read,
    liveness=Liveness(any_frame_s=25, price_s=60),
    ping=Ping(10, _ping),
)

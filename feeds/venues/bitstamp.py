"""Bitstamp, WebSocket API v2: the top of `order_book_<pair>`, since there is no ticker channel.

https://www.bitstamp.net/websocket/v2/. The exchange may ask for a new connection with
`bts:request_reconnect`; `bts:heartbeat` is answered in kind.
"""

from collections.abc import Sequence

from msgspec import Raw, Struct
from msgspec.json import Decoder, encode

from feeds.frames import (
    ALIVE,
    Acknowledged,
    Decoded,
    Price,
    Reconnect,
    Refused,
    scaled_text,
    told,
    whole_text,
)
from feeds.venue import Liveness, Ping, Subscription, Venue, VenueEndpoint

_CHANNEL = "order_book_"
_NO_DATA = Raw(b"null")


class _Frame(Struct, frozen=True):
    event: str
    channel: str = ""
    data: Raw = _NO_DATA


class _Book(Struct, frozen=True):
    microtimestamp: str
    bids: list[tuple[str, str]]
    asks: list[tuple[str, str]]


class _Error(Struct, frozen=True):
    message: str = ""


_FRAME = Decoder(_Frame)
_BOOK = Decoder(_Book)
_ERROR = Decoder(_Error)


def _subscribe(symbols: Sequence[str]) -> list[Subscription]:
    return [
        Subscription(
            encode(
                {"event": "bts:subscribe", "data": {"channel": _CHANNEL + symbol}},
            ).decode(),
            {_CHANNEL + symbol: (symbol,)},
        )
        for symbol in symbols
    ]


def _read(frame: str) -> Sequence[Decoded]:
    received = _FRAME.decode(frame)
    match received.event:
        case "data" if received.channel.startswith(_CHANNEL):
            book = _BOOK.decode(received.data)
            price = Price(
                symbol=received.channel.removeprefix(_CHANNEL),
                bid=scaled_text(book.bids[0][0]) if book.bids else 0,
                ask=scaled_text(book.asks[0][0]) if book.asks else 0,
                exchange_time_ms=whole_text(book.microtimestamp) // 1000,
            )
            return (price,)
        case "bts:subscription_succeeded":
            return (Acknowledged(received.channel),)
        case "bts:request_reconnect":
            return (Reconnect("the exchange asks for a new connection"),)
        case "bts:error":
            return (Refused(received.channel or None, told(_ERROR.decode(received.data).message)),)
        case _:
            return (ALIVE,)


BITSTAMP = Venue(
    name="bitstamp",
    endpoint=VenueEndpoint("wss://ws.bitstamp.net", "https://www.bitstamp.net"),
    symbol_form="{base}{quote}",
    lower_case=True,
    subscribe=_subscribe,
    read=_read,
    liveness=Liveness(any_frame_s=25, price_s=30),
    ping=Ping(10, lambda _count: '{"event":"bts:heartbeat"}'),
)

"""Bitstamp, WebSocket API v2: the top of `order_book_<pair>`, since there is no ticker channel.

https://www.bitstamp.net/websocket/v2/. The exchange may ask for a new connection with
`bts:request_reconnect`; `bts:heartbeat` is answered in kind.
"""

from collections.abc import Sequence

from msgspec import Raw, Struct
from msgspec.json import Decoder, encode

from feeds.frames import (
    ALIVE,
    NULL,
    Acknowledged,
    Decoded,
    Price,
    Reconnect,
    Refused,
    last_text,
    scaled_text,
    told,
    whole_text,
)
from feeds.rest import Rest, get
from feeds.symbols import joined
from feeds.venue import Liveness, Ping, Subscription, Venue, VenueEndpoint, stateless

_CHANNEL = "order_book_"
_DAY_S = 86_400


class _Frame(Struct, frozen=True):
    event: str
    channel: str = ""
    data: Raw = NULL


class _Book(Struct, frozen=True):
    microtimestamp: str
    bids: list[tuple[str, str]]
    asks: list[tuple[str, str]]


class _Error(Struct, frozen=True):
    message: str = ""


class _RestTicker(Struct, frozen=True):
    timestamp: str
    bid: str
    ask: str
    last: str = ""


_FRAME = Decoder(_Frame)
_BOOK = Decoder(_Book)
_ERROR = Decoder(_Error)
_REST_TICKER = Decoder(_RestTicker)


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


def _read_rest(body: bytes, symbols: Sequence[str]) -> Sequence[Price]:
    ticker = _REST_TICKER.decode(body)
    price = Price(
        symbol=symbols[0],
        bid=scaled_text(ticker.bid),
        ask=scaled_text(ticker.ask),
        last=last_text(ticker.last),
        exchange_time_ms=whole_text(ticker.timestamp) * 1000,
    )
    return (price,)


BITSTAMP = Venue(
    name="bitstamp",
    endpoint=VenueEndpoint("wss://ws.bitstamp.net", "https://www.bitstamp.net"),
    symbols=joined(lower_case=True),
    subscribe=_subscribe,
    reader=stateless(_read),
    liveness=Liveness(any_frame_s=25, price_s=30),
    # 10,000 requests in 10 minutes; its times are whole seconds.
    rest=Rest(
        lambda symbols: get(f"/api/v2/ticker/{symbols[0]}/"), _read_rest, 0.5, time_step_ms=1000
    ),
    ping=Ping(10, lambda _count: '{"event":"bts:heartbeat"}'),
    # A connection is said to last 90 days at most.
    rotate_after_s=30 * _DAY_S,
)

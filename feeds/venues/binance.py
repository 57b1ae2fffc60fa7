"""Binance spot: `<symbol>@bookTicker`, in real time, raw or wrapped in a combined stream.

https://developers.binance.com/en/docs/products/spot/web-socket-streams. The frames bear no
time. The exchange pings by WebSocket every 20 s, ends each connection after 24 h, and announces
restarts by `serverShutdown`. It has no book in US dollars.
"""

from collections.abc import Sequence

from msgspec import UNSET, Raw, Struct, UnsetType
from msgspec.json import Decoder, encode

from feeds.frames import (
    ALIVE,
    Acknowledged,
    Decoded,
    Price,
    Reconnect,
    Refused,
    WholeNumber,
    scaled_text,
    told,
)
from feeds.rest import Rest, get
from feeds.symbols import joined
from feeds.venue import (
    ConnectLimit,
    Liveness,
    Subscription,
    Venue,
    VenueEndpoint,
    stateless,
)

_REQUEST_ID = 1
_HOUR_S = 3600


class _Error(Struct, frozen=True):
    msg: str = ""


class _Kind(Struct, frozen=True):
    e: str = ""
    u: WholeNumber | UnsetType = UNSET
    id: int | str | None = None
    result: Raw | UnsetType = UNSET
    error: _Error | None = None
    msg: str | None = None
    stream: str | None = None
    data: Raw | UnsetType = UNSET


class _BookTicker(Struct, frozen=True):
    u: WholeNumber
    s: str
    b: str
    a: str


class _RestTicker(Struct, frozen=True):
    symbol: str
    bidPrice: str
    askPrice: str


_KIND = Decoder(_Kind)
_BOOK_TICKER = Decoder(_BookTicker)
_REST_TICKER = Decoder(_RestTicker)


def _subscribe(symbols: Sequence[str]) -> list[Subscription]:
    # One request for all: the exchange takes no more than five messages a second.
    streams = [f"{symbol.lower()}@bookTicker" for symbol in symbols]
    request = encode({"method": "SUBSCRIBE", "params": streams, "id": _REQUEST_ID}).decode()
    return [Subscription(request, {str(_REQUEST_ID): tuple(symbols)})]


def _read(frame: str) -> Sequence[Decoded]:
    kind = _KIND.decode(frame)
    if kind.stream is not None and kind.data is not UNSET:
        payload = bytes(kind.data).decode()
        return (_event(_KIND.decode(payload), payload),)
    return (_event(kind, frame),)


def _event(kind: _Kind, text: str) -> Decoded:
    if kind.e == "serverShutdown":
        return Reconnect("the exchange announces a restart")
    if kind.e in ("", "bookTicker") and kind.u is not UNSET:
        ticker = _BOOK_TICKER.decode(text)
        return Price(
            symbol=ticker.s,
            bid=scaled_text(ticker.b),
            ask=scaled_text(ticker.a),
            sequence=ticker.u,
        )
    key = None if kind.id is None else str(kind.id)
    if kind.error is not None:
        return Refused(key, told(kind.error.msg))
    if kind.msg is not None:
        return Refused(key, told(kind.msg))
    if key is not None and kind.result is not UNSET:
        return Acknowledged(key)
    if kind.e == "":
        raise ValueError("neither an event nor an answer")
    return ALIVE


def _read_rest(body: bytes, _symbols: Sequence[str]) -> Sequence[Price]:
    ticker = _REST_TICKER.decode(body)
    return (
        Price(ticker.symbol, bid=scaled_text(ticker.bidPrice), ask=scaled_text(ticker.askPrice)),
    )


BINANCE = Venue(
    name="binance",
    endpoint=VenueEndpoint("wss://stream.binance.com:9443/ws", "https://api.binance.com"),
    symbols=joined(),
    subscribe=_subscribe,
    reader=stateless(_read),
    liveness=Liveness(any_frame_s=25, price_s=30),
    # Weight 2 of 6,000 a minute; 300 connects in 5 minutes.
    rest=Rest(lambda symbols: get("/api/v3/ticker/bookTicker", symbol=symbols[0]), _read_rest, 0.5),
    rotate_after_s=23 * _HOUR_S,
    connect_limit=ConnectLimit(150, 300),
)

"""Gate spot, API v4: `spot.book_ticker`, the top of the book.

https://www.gate.com/docs/developers/apiv4/ws/en/. Requests bear our time, which the exchange
compares with its own. A side without orders is an empty string.
"""

import time
from collections.abc import Sequence

from msgspec import Raw, Struct
from msgspec.json import Decoder, encode

from feeds.frames import (
    ALIVE,
    NULL,
    Acknowledged,
    Alive,
    Decoded,
    Price,
    Refused,
    WholeNumber,
    last_text,
    scaled_text,
    told,
)
from feeds.rest import Rest, get
from feeds.symbols import separated
from feeds.venue import Liveness, Ping, Subscription, Venue, VenueEndpoint, stateless

_CHANNEL = "spot.book_ticker"
# Not asked for, but read: recorded sessions may hold it, and REST answers in the same words.
_TICKERS = "spot.tickers"


class _Error(Struct, frozen=True):
    message: str = ""


class _Frame(Struct, frozen=True):
    channel: str
    event: str = ""
    time_ms: WholeNumber | None = None
    id: int | None = None
    error: _Error | None = None
    result: Raw = NULL


class _BookTicker(Struct, frozen=True):
    t: WholeNumber
    u: WholeNumber
    s: str
    b: str
    a: str


class _Ticker(Struct, frozen=True):
    currency_pair: str
    highest_bid: str
    lowest_ask: str
    last: str = ""


_FRAME = Decoder(_Frame)
_BOOK_TICKER = Decoder(_BookTicker)
_TICKER = Decoder(_Ticker)
_TICKER_LIST = Decoder(list[_Ticker])


def _unix_s() -> int:
    return int(time.time())


def _subscribe(symbols: Sequence[str]) -> list[Subscription]:
    # One request a symbol, so that an unknown one is refused alone.
    return [
        Subscription(
            encode(
                {
                    "time": _unix_s(),
                    "id": number,
                    "channel": _CHANNEL,
                    "event": "subscribe",
                    "payload": [symbol],
                }
            ).decode(),
            {str(number): (symbol,)},
        )
        for number, symbol in enumerate(symbols, start=1)
    ]


def _read(frame: str) -> Sequence[Decoded]:
    received = _FRAME.decode(frame)
    key = None if received.id is None else str(received.id)
    if received.error is not None:
        return (Refused(key, told(received.error.message)),)
    if received.channel == "spot.pong":
        return (ALIVE if received.time_ms is None else Alive(received.time_ms),)
    if received.channel == _TICKERS and received.event == "update":
        return (_ticker_price(_TICKER.decode(received.result), received.time_ms),)
    if received.channel != _CHANNEL:
        raise ValueError(f"a channel that nobody asked for: {told(received.channel)}")
    match received.event:
        case "update":
            ticker = _BOOK_TICKER.decode(received.result)
            price = Price(
                symbol=ticker.s,
                bid=scaled_text(ticker.b),
                ask=scaled_text(ticker.a),
                exchange_time_ms=ticker.t,
                sequence=ticker.u,
            )
            return (price,)
        case "subscribe" if key is not None:
            return (Acknowledged(key),)
        case _:
            raise ValueError(f"neither an update nor an answer: {told(received.event)}")


def _ticker_price(ticker: _Ticker, time_ms: int | None) -> Price:
    return Price(
        symbol=ticker.currency_pair,
        bid=scaled_text(ticker.highest_bid),
        ask=scaled_text(ticker.lowest_ask),
        last=last_text(ticker.last),
        exchange_time_ms=time_ms,
    )


def _read_rest(body: bytes, _symbols: Sequence[str]) -> Sequence[Price]:
    return [_ticker_price(ticker, None) for ticker in _TICKER_LIST.decode(body)]


GATE = Venue(
    name="gate",
    endpoint=VenueEndpoint("wss://api.gateio.ws/ws/v4/", "https://api.gateio.ws"),
    symbols=separated("_"),
    subscribe=_subscribe,
    reader=stateless(_read),
    liveness=Liveness(any_frame_s=25, price_s=30),
    # 200 requests in 10 seconds.
    rest=Rest(
        lambda symbols: get("/api/v4/spot/tickers", currency_pair=symbols[0]), _read_rest, 0.5
    ),
    ping=Ping(10, lambda _count: f'{{"time":{_unix_s()},"channel":"spot.ping"}}'),
)

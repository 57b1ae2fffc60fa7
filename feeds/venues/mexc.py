"""MEXC spot, API v3: `aggre.bookTicker`, the top of the book in protocol buffers.

https://mexcdevelop.github.io/apidocs/spot_v3_en/#websocket-market-streams and
https://github.com/mexcdevelop/websocket-proto. Answers are JSON text, and their `code` is 0 even
where a subscription was refused. A connection takes 30 subscriptions and lives for a day. A side
without orders is the empty string.
"""

import re
from collections.abc import Sequence

from google.protobuf.message import DecodeError
from msgspec import Struct
from msgspec.json import Decoder, encode

from feeds.frames import (
    ALIVE,
    Acknowledged,
    Decoded,
    Price,
    Refused,
    scaled_text,
    told,
    whole_text,
)
from feeds.rest import Rest, get
from feeds.symbols import joined
from feeds.venue import Liveness, Ping, Subscription, Venue, VenueEndpoint, stateless
from feeds.venues.mexc_messages import PUSH

_CHANNEL = "spot@public.aggre.bookTicker.v3.api.pb@10ms@"
_HOUR_S = 3600
_REFUSED_STREAM = re.compile(r"\[([\w@.]{1,100})\]")


class _Answer(Struct, frozen=True):
    msg: str
    code: int = 0


class _RestTicker(Struct, frozen=True):
    symbol: str
    bidPrice: str
    askPrice: str


_ANSWER = Decoder(_Answer)
_REST_TICKER = Decoder(_RestTicker)


def _subscribe(symbols: Sequence[str]) -> list[Subscription]:
    return [
        Subscription(
            encode({"method": "SUBSCRIPTION", "params": [_CHANNEL + symbol]}).decode(),
            {_CHANNEL + symbol: (symbol,)},
        )
        for symbol in symbols
    ]


def _read_text(frame: str) -> Sequence[Decoded]:
    answer = _ANSWER.decode(frame)
    if answer.msg == "PONG":
        return (ALIVE,)
    if answer.code == 0 and answer.msg.startswith(_CHANNEL):
        return (Acknowledged(answer.msg),)
    stream = _REFUSED_STREAM.search(answer.msg)
    return (Refused(stream and stream[1], told(f"{answer.code} {answer.msg}")),)


def _read(frame: bytes) -> Sequence[Decoded]:
    try:
        push = PUSH.FromString(frame)
    except DecodeError as error:
        raise ValueError(f"not a message of this exchange: {told(error)}") from None
    if not push.HasField("ticker") or push.channel != _CHANNEL + push.symbol:
        raise ValueError(f"not the top of a book: {told(push.channel)}")
    ticker = push.ticker
    price = Price(
        symbol=push.symbol,
        bid=scaled_text(ticker.bid_price),
        ask=scaled_text(ticker.ask_price),
        exchange_time_ms=_time_ms(push.send_time),
        sequence=whole_text(ticker.version) if ticker.version else None,
    )
    return (price,)


def _time_ms(send_time: int) -> int | None:
    if send_time < 0:
        raise ValueError(f"sent at {send_time}")
    return send_time or None


def _read_rest(body: bytes, _symbols: Sequence[str]) -> Sequence[Price]:
    ticker = _REST_TICKER.decode(body)
    return (
        Price(ticker.symbol, bid=scaled_text(ticker.bidPrice), ask=scaled_text(ticker.askPrice)),
    )


MEXC = Venue(
    name="mexc",
    endpoint=VenueEndpoint("wss://wbs-api.mexc.com/ws", "https://api.mexc.com"),
    symbols=joined(),
    subscribe=_subscribe,
    reader=stateless(_read_text, _read),
    liveness=Liveness(any_frame_s=25, price_s=30),
    # 500 requests in 10 seconds.
    rest=Rest(lambda symbols: get("/api/v3/ticker/bookTicker", symbol=symbols[0]), _read_rest, 0.5),
    ping=Ping(10, lambda _count: '{"method":"PING"}'),
    rotate_after_s=23 * _HOUR_S,
    pairs_per_connection=30,
)

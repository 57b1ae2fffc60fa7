"""Crypto.com Exchange, v1 market data: `ticker`.

https://exchange-docs.crypto.com/exchange/v1/rest-ws/index.html. The letters mislead: `a` is the
last trade, `k` the best ask, `c` the change of the day. The exchange asks for a sign of life each
30 s, and advises to wait for a second before the first request. A side without orders is null.
"""

import time
from collections.abc import Sequence

from msgspec import Struct
from msgspec.json import Decoder, encode

from feeds.frames import (
    ALIVE,
    Acknowledged,
    Decoded,
    Price,
    Refused,
    Reply,
    WholeNumber,
    scaled_text,
    told,
)
from feeds.rest import Rest, get
from feeds.symbols import separated
from feeds.venue import Liveness, Venue, VenueEndpoint, one_each, stateless


class _Ticker(Struct, frozen=True):
    i: str
    b: str | None
    k: str | None
    t: WholeNumber
    a: str | None = None


class _Result(Struct, frozen=True):
    data: list[_Ticker]
    channel: str = ""


class _Frame(Struct, frozen=True):
    method: str
    id: int = -1
    code: int = 0
    message: str = ""
    result: _Result | None = None


_FRAME = Decoder(_Frame)


def _request(number: int, symbol: str) -> object:
    return {
        "id": number,
        "method": "subscribe",
        "params": {"channels": [f"ticker.{symbol}"]},
        "nonce": time.time_ns() // 1_000_000,
    }


def _read(frame: str) -> Sequence[Decoded]:
    received = _FRAME.decode(frame)
    key = str(received.id) if received.id > 0 else None
    if received.code != 0:
        return (Refused(key, told(f"{received.code} {received.message}")),)
    match received.method:
        case "public/heartbeat":
            answer = {"id": received.id, "method": "public/respond-heartbeat"}
            return (Reply(encode(answer).decode()),)
        case "subscribe" if received.result is not None:
            if received.result.channel != "ticker":
                raise ValueError(f"a channel nobody asked for: {told(received.result.channel)}")
            return [_price(ticker) for ticker in received.result.data]
        case "subscribe" if key is not None:
            return (Acknowledged(key),)
        case "subscribe":
            raise ValueError("neither prices nor an answer to a request")
        case _:
            return (ALIVE,)


def _price(ticker: _Ticker) -> Price:
    return Price(
        symbol=ticker.i,
        bid=scaled_text(ticker.b or ""),
        ask=scaled_text(ticker.k or ""),
        last=None if ticker.a is None else scaled_text(ticker.a),
        exchange_time_ms=ticker.t,
    )


def _read_rest(body: bytes, _symbols: Sequence[str]) -> Sequence[Price]:
    answer = _FRAME.decode(body)
    if answer.code != 0 or answer.result is None:
        raise ValueError(f"the exchange says {told(f'{answer.code} {answer.message}')}")
    return [_price(ticker) for ticker in answer.result.data]


CRYPTOCOM = Venue(
    name="cryptocom",
    endpoint=VenueEndpoint("wss://stream.crypto.com/exchange/v1/market", "https://api.crypto.com"),
    symbols=separated("_"),
    subscribe=one_each(_request),
    reader=stateless(_read),
    liveness=Liveness(any_frame_s=35, price_s=30),
    # 100 requests a second.
    rest=Rest(
        lambda symbols: get("/exchange/v1/public/get-tickers", instrument_name=symbols[0]),
        _read_rest,
        0.5,
    ),
    subscribe_after_s=1,
)

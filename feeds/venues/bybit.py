"""Bybit spot, API v5: `orderbook.1`, the top of the book.

https://bybit-exchange.github.io/docs/v5/websocket/public/orderbook. The top is always told whole;
unchanged, it is told again after three seconds, which is a sign of life and no news. `u` begins
anew when the exchange restarts, the cross sequence `seq` does not. The spot ticker has no bid. The
time in a REST answer is that of answering, and says nothing of the book.
"""

from collections.abc import Sequence

from msgspec import Struct
from msgspec.json import Decoder

from feeds.frames import (
    ALIVE,
    Acknowledged,
    Decoded,
    Price,
    Refused,
    WholeNumber,
    best_text,
    last_text,
    scaled_text,
    told,
)
from feeds.rest import Rest, get
from feeds.symbols import joined
from feeds.venue import (
    ConnectLimit,
    Liveness,
    Ping,
    Venue,
    VenueEndpoint,
    one_each,
    stateless,
)

_CHANNEL = "orderbook.1."


class _Top(Struct, frozen=True):
    s: str
    b: list[list[str]]
    a: list[list[str]]
    seq: WholeNumber


class _Frame(Struct, frozen=True):
    topic: str = ""
    type: str = ""
    ts: WholeNumber = 0
    cts: WholeNumber | None = None
    data: _Top | None = None
    op: str = ""
    success: bool | None = None
    ret_msg: str = ""
    req_id: str = ""


class _RestTicker(Struct, frozen=True):
    symbol: str
    bid1Price: str
    ask1Price: str
    lastPrice: str = ""


class _RestResult(Struct, frozen=True, rename={"tickers": "list"}):
    tickers: list[_RestTicker] = []


class _RestAnswer(Struct, frozen=True):
    retCode: int
    retMsg: str = ""
    result: _RestResult = _RestResult()


_FRAME = Decoder(_Frame)
_REST_ANSWER = Decoder(_RestAnswer)


def _request(number: int, symbol: str) -> object:
    return {"op": "subscribe", "req_id": str(number), "args": [_CHANNEL + symbol]}


def _read(frame: str) -> Sequence[Decoded]:
    received = _FRAME.decode(frame)
    if received.topic:
        top = received.data
        if top is None or received.topic != _CHANNEL + top.s or received.type != "snapshot":
            raise ValueError(f"not the whole top of a book: {told(received.topic)}")
        price = Price(
            symbol=top.s,
            bid=best_text(top.b),
            ask=best_text(top.a),
            exchange_time_ms=received.ts if received.cts is None else received.cts,
            sequence=top.seq,
        )
        return (price,)
    if received.op in ("ping", "pong"):
        return (ALIVE,)
    if received.success is True and received.op == "subscribe":
        return (Acknowledged(received.req_id),)
    if received.success is False:
        return (Refused(received.req_id or None, told(received.ret_msg)),)
    raise ValueError("neither a top of a book nor an answer")


def _read_rest(body: bytes, _symbols: Sequence[str]) -> Sequence[Price]:
    answer = _REST_ANSWER.decode(body)
    if answer.retCode != 0:
        raise ValueError(f"the exchange says {told(f'{answer.retCode} {answer.retMsg}')}")
    return [
        Price(
            symbol=ticker.symbol,
            bid=scaled_text(ticker.bid1Price),
            ask=scaled_text(ticker.ask1Price),
            last=last_text(ticker.lastPrice),
        )
        for ticker in answer.result.tickers
    ]


BYBIT = Venue(
    name="bybit",
    endpoint=VenueEndpoint("wss://stream.bybit.com/v5/public/spot", "https://api.bybit.com"),
    symbols=joined(),
    subscribe=one_each(_request),
    reader=stateless(_read),
    liveness=Liveness(any_frame_s=25, price_s=30),
    # 600 requests in 5 seconds; beyond it the address is shut out for ten minutes.
    rest=Rest(
        lambda symbols: get("/v5/market/tickers", category="spot", symbol=symbols[0]),
        _read_rest,
        0.5,
    ),
    ping=Ping(10, lambda count: f'{{"op":"ping","req_id":"ping {count}"}}'),
    # 500 connects in 5 minutes.
    connect_limit=ConnectLimit(100, 300),
    forbids_for_s=600,
)

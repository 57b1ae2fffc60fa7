"""HTX spot: `market.<pair>.bbo`, the top of the book, every frame compressed by gzip.

https://www.htx.com/en-us/opend/newApiPages/. Prices are JSON numbers. The exchange pings in JSON
each 5 s and hangs up after two without an answer. Its `detail` channel has no bid and no hurry.
The time in a REST answer is that of answering, and says nothing of the book.
"""

from collections.abc import Sequence

from msgspec import Raw, Struct
from msgspec.json import Decoder

from feeds.frames import (
    NULL,
    Acknowledged,
    Alive,
    Decoded,
    Price,
    Refused,
    Reply,
    WholeNumber,
    gunzipped,
    last_number,
    scaled_number,
    told,
)
from feeds.rest import Rest, get
from feeds.symbols import joined
from feeds.venue import (
    ConnectLimit,
    Liveness,
    Venue,
    VenueEndpoint,
    one_each,
    stateless,
)


class _Top(Struct, frozen=True):
    symbol: str
    bid: Raw
    ask: Raw
    seqId: WholeNumber
    quoteTime: WholeNumber


class _Frame(Struct, frozen=True, rename={"err_msg": "err-msg"}):
    ch: str = ""
    tick: _Top | None = None
    ping: WholeNumber | None = None
    id: str | None = None
    status: str = ""
    err_msg: str = ""


class _Merged(Struct, frozen=True):
    bid: list[Raw]
    ask: list[Raw]
    close: Raw = NULL


class _RestAnswer(Struct, frozen=True, rename={"err_msg": "err-msg"}):
    status: str
    tick: _Merged | None = None
    err_msg: str = ""


_FRAME = Decoder(_Frame)
_REST_ANSWER = Decoder(_RestAnswer)


def _channel(symbol: str) -> str:
    return f"market.{symbol}.bbo"


def _request(number: int, symbol: str) -> object:
    return {"sub": _channel(symbol), "id": str(number)}


def _read_text(_frame: str) -> Sequence[Decoded]:
    raise ValueError("a text frame, where all are compressed")


def _read(frame: bytes) -> Sequence[Decoded]:
    received = _FRAME.decode(gunzipped(frame))
    if received.ping is not None:
        return (Reply(f'{{"pong":{received.ping}}}'), Alive(received.ping))
    if received.tick is not None:
        top = received.tick
        if received.ch != _channel(top.symbol):
            raise ValueError(f"{told(top.symbol)} on the channel {told(received.ch)}")
        price = Price(
            symbol=top.symbol,
            bid=scaled_number(top.bid),
            ask=scaled_number(top.ask),
            exchange_time_ms=top.quoteTime,
            sequence=top.seqId,
        )
        return (price,)
    if received.status == "error":
        return (Refused(received.id, told(received.err_msg)),)
    if received.status == "ok" and received.id is not None:
        return (Acknowledged(received.id),)
    raise ValueError("neither a top of a book nor an answer")


def _read_rest(body: bytes, symbols: Sequence[str]) -> Sequence[Price]:
    answer = _REST_ANSWER.decode(body)
    tick = answer.tick
    if answer.status != "ok" or tick is None:
        raise ValueError(f"the exchange says {told(f'{answer.status} {answer.err_msg}')}")
    price = Price(
        symbol=symbols[0],
        bid=scaled_number(tick.bid[0]) if tick.bid else 0,
        ask=scaled_number(tick.ask[0]) if tick.ask else 0,
        last=last_number(tick.close),
    )
    return (price,)


HTX = Venue(
    name="htx",
    endpoint=VenueEndpoint("wss://api.huobi.pro/ws", "https://api.huobi.pro"),
    symbols=joined(lower_case=True),
    subscribe=one_each(_request),
    reader=stateless(_read_text, _read),
    liveness=Liveness(any_frame_s=15, price_s=30),
    # 10 requests a second.
    rest=Rest(lambda symbols: get("/market/detail/merged", symbol=symbols[0]), _read_rest, 0.5),
    # 50 connects a second.
    connect_limit=ConnectLimit(10, 1),
)

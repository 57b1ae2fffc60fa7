"""OKX, WebSocket API v5: `bbo-tbt`, the top of the book tick by tick.

https://www.okx.com/docs-v5/en/#overview-websocket. The ping is the bare text `ping`, answered
by `pong`; without traffic the exchange hangs up after 30 s. Before a service upgrade it sends a
notice with code 64008.
"""

import re
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
    WholeNumber,
    best_text,
    last_text,
    scaled_text,
    told,
    whole_text,
)
from feeds.rest import Rest, get
from feeds.symbols import separated
from feeds.venue import (
    ConnectLimit,
    Liveness,
    Ping,
    Subscription,
    Venue,
    VenueEndpoint,
    stateless,
)

_CHANNEL = "bbo-tbt"
# Not asked for, but read: recorded sessions may hold it, and REST answers in the same words.
_TICKERS = "tickers"
_CODE_SERVICE_UPGRADE = "64008"
_REFUSED_INSTRUMENT = re.compile(r"instId:([A-Z0-9]{1,12}-[A-Z0-9]{1,12})\b")


class _Argument(Struct, frozen=True):
    channel: str = ""
    instId: str = ""


class _Top(Struct, frozen=True):
    asks: list[list[str]]
    bids: list[list[str]]
    ts: str
    seqId: WholeNumber | None = None


class _Frame(Struct, frozen=True):
    event: str = ""
    arg: _Argument | None = None
    data: Raw = NULL
    code: str = ""
    msg: str = ""


class _Ticker(Struct, frozen=True):
    instId: str
    bidPx: str
    askPx: str
    ts: str
    last: str = ""


class _RestAnswer(Struct, frozen=True):
    code: str
    msg: str = ""
    data: list[_Ticker] = []


_FRAME = Decoder(_Frame)
_TOP_LIST = Decoder(list[_Top])
_TICKER_LIST = Decoder(list[_Ticker])
_REST_ANSWER = Decoder(_RestAnswer)


def _subscribe(symbols: Sequence[str]) -> list[Subscription]:
    arguments = [{"channel": _CHANNEL, "instId": symbol} for symbol in symbols]
    request = encode({"op": "subscribe", "args": arguments}).decode()
    return [Subscription(request, {symbol: (symbol,) for symbol in symbols})]


def _read(frame: str) -> Sequence[Decoded]:
    if frame == "pong":
        return (ALIVE,)
    received = _FRAME.decode(frame)
    match received.event:
        case "" if received.arg is not None:
            if received.arg.channel == _TICKERS:
                return [_ticker_price(ticker) for ticker in _TICKER_LIST.decode(received.data)]
            if received.arg.channel != _CHANNEL:
                raise ValueError(f"data of a channel that is not read: {told(received.arg)}")
            return [
                Price(
                    symbol=received.arg.instId,
                    bid=best_text(top.bids),
                    ask=best_text(top.asks),
                    exchange_time_ms=whole_text(top.ts),
                    sequence=top.seqId,
                )
                for top in _TOP_LIST.decode(received.data)
            ]
        case "":
            raise ValueError("neither data nor an event")
        case "subscribe" if received.arg is not None and received.arg.channel == _CHANNEL:
            return (Acknowledged(received.arg.instId),)
        case "error":
            refused = _REFUSED_INSTRUMENT.search(received.msg)
            return (Refused(refused and refused[1], told(f"{received.code} {received.msg}")),)
        case "notice" if received.code == _CODE_SERVICE_UPGRADE:
            return (Reconnect(told(received.msg)),)
        case _:
            return (ALIVE,)


def _ticker_price(ticker: _Ticker) -> Price:
    return Price(
        symbol=ticker.instId,
        bid=scaled_text(ticker.bidPx),
        ask=scaled_text(ticker.askPx),
        last=last_text(ticker.last),
        exchange_time_ms=whole_text(ticker.ts),
    )


def _read_rest(body: bytes, _symbols: Sequence[str]) -> Sequence[Price]:
    answer = _REST_ANSWER.decode(body)
    if answer.code != "0":
        raise ValueError(f"the exchange says {told(f'{answer.code} {answer.msg}')}")
    return [_ticker_price(ticker) for ticker in answer.data]


OKX = Venue(
    name="okx",
    endpoint=VenueEndpoint("wss://ws.okx.com:8443/ws/v5/public", "https://www.okx.com"),
    symbols=separated("-"),
    subscribe=_subscribe,
    reader=stateless(_read),
    liveness=Liveness(any_frame_s=25, price_s=30),
    # 20 requests in 2 seconds.
    rest=Rest(lambda symbols: get("/api/v5/market/ticker", instId=symbols[0]), _read_rest, 0.5),
    ping=Ping(10, lambda _count: "ping"),
    # Three connects a second, and bursts should not take them all.
    connect_limit=ConnectLimit(2, 1),
)

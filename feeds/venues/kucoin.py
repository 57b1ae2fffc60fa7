"""KuCoin spot: `/market/ticker`, behind a token that is asked for by HTTP before each connection.

https://www.kucoin.com/docs-new/websocket-api/base-info/introduction. The exchange welcomes a
connection before it takes requests, and wants a ping as often as it said with the token, which
lasts for a day.
"""

from collections.abc import Sequence
from urllib.parse import urlencode

from msgspec import Raw, Struct
from msgspec.json import Decoder

from feeds.frames import (
    ALIVE,
    NULL,
    Acknowledged,
    Decoded,
    Greeting,
    Price,
    Refused,
    WholeNumber,
    last_text,
    scaled_text,
    told,
    whole_text,
)
from feeds.rest import Bootstrap, Opening, Request, Rest, get
from feeds.symbols import separated
from feeds.venue import (
    ConnectLimit,
    Liveness,
    Ping,
    Venue,
    VenueEndpoint,
    one_each,
    stateless,
)

_CHANNEL = "/market/ticker:"
_CODE_OK = "200000"
_HOUR_S = 3600
_PING_MS_MIN, _PING_MS_MAX = 1_000, 60_000


class _Frame(Struct, frozen=True):
    type: str
    id: str = ""
    topic: str = ""
    code: int | str | None = None
    data: Raw = NULL


class _Ticker(Struct, frozen=True):
    bestBid: str
    bestAsk: str
    sequence: str
    time: WholeNumber
    price: str = ""


class _Server(Struct, frozen=True):
    endpoint: str
    pingInterval: WholeNumber


class _Bullet(Struct, frozen=True):
    token: str
    instanceServers: list[_Server]


class _RestAnswer(Struct, frozen=True):
    code: str
    data: Raw = NULL
    msg: str = ""


_FRAME = Decoder(_Frame)
_TICKER = Decoder(_Ticker)
_BULLET = Decoder(_Bullet)
_REST_ANSWER = Decoder(_RestAnswer)
_TEXT = Decoder(str)


def _request(number: int, symbol: str) -> object:
    return {
        "id": str(number),
        "type": "subscribe",
        "topic": _CHANNEL + symbol,
        "privateChannel": False,
        "response": True,
    }


def _read(frame: str) -> Sequence[Decoded]:
    received = _FRAME.decode(frame)
    match received.type:
        case "message":
            if not received.topic.startswith(_CHANNEL):
                raise ValueError(f"a topic that nobody asked for: {told(received.topic)}")
            return (_price(received.topic.removeprefix(_CHANNEL), _TICKER.decode(received.data)),)
        case "welcome":
            return (Greeting(),)
        case "ack":
            return (Acknowledged(received.id),)
        case "error":
            return (Refused(received.id or None, told(f"{received.code} {_said(received)}")),)
        case _:
            return (ALIVE,)


def _said(received: _Frame) -> str:
    return _TEXT.decode(received.data) if bytes(received.data).startswith(b'"') else ""


def _price(symbol: str, ticker: _Ticker) -> Price:
    return Price(
        symbol=symbol,
        bid=scaled_text(ticker.bestBid),
        ask=scaled_text(ticker.bestAsk),
        last=last_text(ticker.price),
        exchange_time_ms=ticker.time,
        sequence=whole_text(ticker.sequence),
    )


def _data(body: bytes) -> Raw:
    answer = _REST_ANSWER.decode(body)
    if answer.code != _CODE_OK or bytes(answer.data) == b"null":
        said = told(f"{answer.code} {answer.msg}") if answer.code != _CODE_OK else "nothing"
        raise ValueError(f"the exchange says {said}")
    return answer.data


def _read_rest(body: bytes, symbols: Sequence[str]) -> Sequence[Price]:
    return (_price(symbols[0], _TICKER.decode(_data(body))),)


def _read_bullet(body: bytes, connection_id: str) -> Opening:
    bullet = _BULLET.decode(_data(body))
    if not bullet.instanceServers:
        raise ValueError("the exchange names no server")
    server = bullet.instanceServers[0]
    if not server.endpoint.startswith(("wss://", "ws://")) or set(server.endpoint) & set("?#@"):
        raise ValueError(f"not an address to connect to: {told(server.endpoint)}")
    if not _PING_MS_MIN <= server.pingInterval <= _PING_MS_MAX:
        raise ValueError(f"a ping each {server.pingInterval} ms")
    query = urlencode({"token": bullet.token, "connectId": connection_id})
    # With the time that a ping may take on its way.
    return Opening(f"{server.endpoint}?{query}", server.pingInterval * 2 / 3_000)


KUCOIN = Venue(
    name="kucoin",
    endpoint=VenueEndpoint("wss://ws-api-spot.kucoin.com/", "https://api.kucoin.com"),
    symbols=separated("-"),
    subscribe=one_each(_request),
    reader=stateless(_read),
    liveness=Liveness(any_frame_s=30, price_s=30),
    # 2,000 requests in 30 seconds, as weighed by the exchange.
    rest=Rest(
        lambda symbols: get("/api/v1/market/orderbook/level1", symbol=symbols[0]),
        _read_rest,
        0.5,
    ),
    ping=Ping(12, lambda count: f'{{"id":"ping {count}","type":"ping"}}'),
    rotate_after_s=23 * _HOUR_S,
    greets=True,
    bootstrap=Bootstrap(Request("/api/v1/bullet-public", "POST"), _read_bullet),
    # 30 connects a minute; 100 messages in 10 seconds.
    connect_limit=ConnectLimit(15, 60),
    pairs_per_connection=90,
)

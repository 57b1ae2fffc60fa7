"""Kraken, WebSocket API v2: the `ticker` channel, triggered by the best bid and offer.

https://docs.kraken.com/exchange/api-reference/spot-websocket-v2/ticker. Prices are JSON
numbers and are read from their characters. Under this trigger nothing tells how old the last trade
is. Heartbeats come about each second. By REST the exchange spells its older currencies in its own
way: `XBTUSD` is asked for, and the answer is about `XXBTZUSD`.
"""

from collections.abc import Sequence

from msgspec import UNSET, Raw, Struct, UnsetType
from msgspec.json import Decoder, encode

from feeds.frames import (
    ALIVE,
    NULL,
    Acknowledged,
    Alive,
    Decoded,
    Price,
    Refused,
    Trading,
    UtcTime,
    last_number,
    scaled_number,
    scaled_text,
    told,
    unix_ms,
)
from feeds.rest import Request, Rest, get
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

_REST_CURRENCIES = {"BTC": "XBT", "DOGE": "XDG"}


class _Result(Struct, frozen=True):
    channel: str = ""
    symbol: str = ""


class _Kind(Struct, frozen=True):
    channel: str = ""
    method: str = ""
    time_out: UtcTime | None = None
    success: bool | UnsetType = UNSET
    result: _Result = _Result()
    symbol: str | None = None
    error: str | None = None


class _Ticker(Struct, frozen=True):
    symbol: str
    bid: Raw
    ask: Raw
    timestamp: UtcTime
    last: Raw = NULL


class _Tickers(Struct, frozen=True):
    data: list[_Ticker]


class _System(Struct, frozen=True):
    system: str


class _Status(Struct, frozen=True):
    data: list[_System]


class _RestTicker(Struct, frozen=True):
    a: list[str]
    b: list[str]
    c: list[str] = []


class _RestAnswer(Struct, frozen=True):
    error: list[str]
    result: dict[str, _RestTicker] = {}


_KIND = Decoder(_Kind)
_TICKERS = Decoder(_Tickers)
_STATUS = Decoder(_Status)
_REST_ANSWER = Decoder(_RestAnswer)


def _subscribe(symbols: Sequence[str]) -> list[Subscription]:
    params = {
        "channel": "ticker",
        "symbol": list(symbols),
        "event_trigger": "bbo",
        "snapshot": True,
    }
    request = encode({"method": "subscribe", "params": params, "req_id": 1}).decode()
    return [Subscription(request, {symbol: (symbol,) for symbol in symbols})]


def _read(frame: str) -> Sequence[Decoded]:
    kind = _KIND.decode(frame)
    match kind.channel:
        case "ticker":
            return [
                Price(
                    symbol=ticker.symbol,
                    bid=scaled_number(ticker.bid),
                    ask=scaled_number(ticker.ask),
                    last=last_number(ticker.last),
                    exchange_time_ms=unix_ms(ticker.timestamp),
                )
                for ticker in _TICKERS.decode(frame).data
            ]
        case "status":
            return [
                Trading(status.system == "online", told(f"the exchange says {status.system!r}"))
                for status in _STATUS.decode(frame).data
            ]
        case "":
            return (_answer(kind),)
        case _:
            return (ALIVE,)


def _answer(kind: _Kind) -> Decoded:
    if kind.success is False or kind.error is not None:
        return Refused(kind.symbol, told(kind.error or "no reason given"))
    if kind.method == "subscribe" and kind.success is True and kind.result.channel == "ticker":
        return Acknowledged(kind.result.symbol)
    if kind.method == "":
        raise ValueError("neither a channel nor a method")
    if kind.method == "pong" and kind.time_out is not None:
        return Alive(unix_ms(kind.time_out))
    return ALIVE


def _rest_names(symbol: str) -> tuple[str, set[str]]:
    """Return how a pair is asked for by REST, and which keys its answer may bear."""
    base, quote = (_REST_CURRENCIES.get(name, name) for name in symbol.split("/"))
    keys = {f"{b}{base}{q}{quote}" for b in ("", "X") for q in ("", "Z", "X")}
    return f"{base}{quote}", keys


def _request_rest(symbols: Sequence[str]) -> Request:
    return get("/0/public/Ticker", pair=",".join(_rest_names(symbol)[0] for symbol in symbols))


def _read_rest(body: bytes, symbols: Sequence[str]) -> Sequence[Price]:
    answer = _REST_ANSWER.decode(body)
    if answer.error:
        raise ValueError(f"the exchange says {told(', '.join(answer.error))}")
    prices = []
    for symbol in symbols:
        found = [answer.result[key] for key in _rest_names(symbol)[1] & answer.result.keys()]
        if len(found) != 1 or not found[0].a or not found[0].b:
            raise ValueError(f"not exactly one ticker of {symbol}")
        ticker = found[0]
        last = scaled_text(ticker.c[0]) if ticker.c else None
        prices.append(Price(symbol, scaled_text(ticker.b[0]), scaled_text(ticker.a[0]), last))
    return prices


KRAKEN = Venue(
    name="kraken",
    endpoint=VenueEndpoint("wss://ws.kraken.com/v2", "https://api.kraken.com"),
    symbols=separated("/"),
    subscribe=_subscribe,
    reader=stateless(_read),
    liveness=Liveness(any_frame_s=10, price_s=30),
    # One request a second.
    rest=Rest(_request_rest, _read_rest, 1.5, pairs_max=20),
    ping=Ping(20, lambda count: f'{{"method":"ping","req_id":{1000 + count}}}'),
    # About 150 connects in 10 minutes.
    connect_limit=ConnectLimit(75, 600),
)

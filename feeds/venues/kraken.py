"""Kraken, WebSocket API v2: the `ticker` channel, triggered by the best bid and offer.

https://docs.kraken.com/exchange/api-reference/spot-websocket-v2/ticker. Prices are JSON
numbers and are read from their characters. `last` is left aside: under this trigger nothing tells
how old that trade is. Heartbeats come about each second.
"""

from collections.abc import Sequence

from msgspec import UNSET, Raw, Struct, UnsetType
from msgspec.json import Decoder, encode

from feeds.frames import (
    ALIVE,
    Acknowledged,
    Decoded,
    Price,
    Refused,
    Trading,
    UtcTime,
    scaled_number,
    told,
    unix_ms,
)
from feeds.venue import Liveness, Ping, Subscription, Venue, VenueEndpoint


class _Result(Struct, frozen=True):
    channel: str = ""
    symbol: str = ""


class _Kind(Struct, frozen=True):
    channel: str = ""
    method: str = ""
    success: bool | UnsetType = UNSET
    result: _Result = _Result()
    symbol: str | None = None
    error: str | None = None


class _Ticker(Struct, frozen=True):
    symbol: str
    bid: Raw
    ask: Raw
    timestamp: UtcTime


class _Tickers(Struct, frozen=True):
    data: list[_Ticker]


class _System(Struct, frozen=True):
    system: str


class _Status(Struct, frozen=True):
    data: list[_System]


_KIND = Decoder(_Kind)
_TICKERS = Decoder(_Tickers)
_STATUS = Decoder(_Status)


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
    return ALIVE


KRAKEN = Venue(
    name="kraken",
    endpoint=VenueEndpoint("wss://ws.kraken.com/v2", "https://api.kraken.com"),
    symbol_form="{base}/{quote}",
    subscribe=_subscribe,
    read=_read,
    liveness=Liveness(any_frame_s=10, price_s=30),
    ping=Ping(20, lambda count: f'{{"method":"ping","req_id":{1000 + count}}}'),
)

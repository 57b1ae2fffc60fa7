"""Coinbase Exchange: the `ticker` channel, with `heartbeat` each second as the sign of life.

https://docs.cdp.coinbase.com/exchange/websocket-feed. The ticker speaks only when a trade
matches, so a quiet pair is silent while its heartbeats go on; its sequence is shared with the
product's other channels, so its gaps mean nothing. A REST answer's time is that of the last trade.
"""

import re
from collections.abc import Sequence

from msgspec import Struct
from msgspec.json import Decoder, encode

from feeds.frames import (
    ALIVE,
    Acknowledged,
    Alive,
    Decoded,
    Price,
    Refused,
    UtcTime,
    WholeNumber,
    last_text,
    scaled_text,
    told,
    unix_ms,
)
from feeds.rest import Rest, get
from feeds.symbols import separated
from feeds.venue import Liveness, Subscription, Venue, VenueEndpoint, stateless


class _Channel(Struct, frozen=True):
    name: str
    product_ids: list[str] = []


class _Kind(Struct, frozen=True):
    type: str


class _Ticker(Struct, frozen=True):
    product_id: str
    sequence: WholeNumber
    price: str
    best_bid: str
    best_ask: str
    time: UtcTime


class _RestTicker(Struct, frozen=True):
    bid: str
    ask: str
    price: str = ""
    time: UtcTime | None = None


class _Heartbeat(Struct, frozen=True):
    time: UtcTime | None = None


class _Subscriptions(Struct, frozen=True):
    channels: list[_Channel]


class _Error(Struct, frozen=True):
    message: str = ""
    reason: str = ""


_KIND = Decoder(_Kind)
_TICKER = Decoder(_Ticker)
_SUBSCRIPTIONS = Decoder(_Subscriptions)
_ERROR = Decoder(_Error)
_HEARTBEAT = Decoder(_Heartbeat)
_REST_TICKER = Decoder(_RestTicker)
_REFUSED_PRODUCT = re.compile(r"([A-Z0-9]{1,12}-[A-Z0-9]{1,12}) is ")


def _subscribe(symbols: Sequence[str]) -> list[Subscription]:
    # One request a product: a single delisted one makes the exchange refuse the whole request.
    return [
        Subscription(
            encode(
                {
                    "type": "subscribe",
                    "product_ids": [symbol],
                    "channels": ["ticker", "heartbeat"],
                }
            ).decode(),
            {symbol: (symbol,)},
        )
        for symbol in symbols
    ]


def _read(frame: str) -> Sequence[Decoded]:
    match _KIND.decode(frame).type:
        case "ticker":
            ticker = _TICKER.decode(frame)
            price = Price(
                symbol=ticker.product_id,
                bid=scaled_text(ticker.best_bid),
                ask=scaled_text(ticker.best_ask),
                last=scaled_text(ticker.price),
                exchange_time_ms=unix_ms(ticker.time),
                sequence=ticker.sequence,
            )
            return (price,)
        case "subscriptions":
            return [
                Acknowledged(product)
                for channel in _SUBSCRIPTIONS.decode(frame).channels
                if channel.name == "ticker"
                for product in channel.product_ids
            ] or (ALIVE,)
        case "error":
            error = _ERROR.decode(frame)
            product = _REFUSED_PRODUCT.match(error.reason)
            return (
                Refused(
                    product and product[1],
                    told(": ".join(filter(None, (error.message, error.reason)))),
                ),
            )
        case "heartbeat":
            time = _HEARTBEAT.decode(frame).time
            return (ALIVE if time is None else Alive(unix_ms(time)),)
        case _:
            # New kinds: the documentation says that those will come.
            return (ALIVE,)


def _read_rest(body: bytes, symbols: Sequence[str]) -> Sequence[Price]:
    ticker = _REST_TICKER.decode(body)
    price = Price(
        symbol=symbols[0],
        bid=scaled_text(ticker.bid),
        ask=scaled_text(ticker.ask),
        last=last_text(ticker.price),
        exchange_time_ms=None if ticker.time is None else unix_ms(ticker.time),
    )
    return (price,)


COINBASE_EXCHANGE = Venue(
    name="coinbase_exchange",
    endpoint=VenueEndpoint(
        "wss://ws-feed.exchange.coinbase.com", "https://api.exchange.coinbase.com"
    ),
    symbols=separated("-"),
    subscribe=_subscribe,
    reader=stateless(_read),
    liveness=Liveness(any_frame_s=10, price_s=30),
    # 10 requests a second.
    rest=Rest(lambda symbols: get(f"/products/{symbols[0]}/ticker"), _read_rest, 0.5),
    last_is_fresh=True,
)

"""Coinbase Advanced Trade: the `ticker` channel, with `heartbeats` as the sign of life.

https://docs.cdp.coinbase.com/coinbase-app/advanced-trade-apis/websocket/websocket-channels. Every
message of a connection is counted by `sequence_num`, acknowledgements too, so that a gap is a loss.
That count orders a connection and no book, which are ordered by time. A product in USDC is the book
in USD by another name: it is no source of its own. It is the same exchange as Coinbase Exchange.
"""

from collections.abc import Sequence

from msgspec import UNSET, Struct, UnsetType
from msgspec.json import Decoder, encode

from feeds.frames import (
    ALIVE,
    Acknowledged,
    Alive,
    Decoded,
    Gap,
    Price,
    Refused,
    UtcTime,
    WholeNumber,
    last_text,
    scaled_text,
    told,
    unix_ms,
)
from feeds.rest import Request, Rest, get
from feeds.symbols import Pair, Symbols, separated
from feeds.venue import Liveness, Reader, Subscription, Venue, VenueEndpoint

_SEPARATED = separated("-")


class _Ticker(Struct, frozen=True):
    product_id: str
    price: str
    best_bid: str
    best_ask: str


class _Event(Struct, frozen=True):
    tickers: list[_Ticker] = []
    subscriptions: dict[str, list[str]] = {}


class _Message(Struct, frozen=True):
    channel: str = ""
    timestamp: UtcTime | UnsetType = UNSET
    sequence_num: WholeNumber | UnsetType = UNSET
    events: list[_Event] = []
    type: str = ""
    message: str = ""


class _Trade(Struct, frozen=True):
    price: str
    time: UtcTime


class _RestTicker(Struct, frozen=True):
    best_bid: str
    best_ask: str
    trades: list[_Trade] = []


_MESSAGE = Decoder(_Message)
_REST_TICKER = Decoder(_RestTicker)


def _spell(base: str, quote: str) -> str:
    if quote == "USDC":
        raise ValueError(f"coinbase_advanced has no book of {base}/USDC; name {base}/USD")
    return _SEPARATED.spell(base, quote)


def _pair(symbol: str) -> Pair:
    base, quote = _SEPARATED.pair(symbol)
    return base, "USD" if quote == "USDC" else quote


def _subscribe(symbols: Sequence[str]) -> list[Subscription]:
    # One request a product: a single unknown one makes the exchange refuse the whole request.
    tickers = [
        Subscription(
            encode({"type": "subscribe", "product_ids": [symbol], "channel": "ticker"}).decode(),
            {symbol: (symbol,)},
        )
        for symbol in symbols
    ]
    return [Subscription('{"type":"subscribe","channel":"heartbeats"}', {}), *tickers]


def _reader() -> Reader:
    return Reader(_Counted().read)


class _Counted:
    """Reads one connection's frames and counts them."""

    def __init__(self) -> None:
        self._next: int | None = None

    def read(self, frame: str) -> Sequence[Decoded]:
        message = _MESSAGE.decode(frame)
        if message.type == "error":
            return (Refused(None, told(message.message)),)
        if message.timestamp is UNSET or message.sequence_num is UNSET:
            raise ValueError("a message without a time or number")
        meaning = _meaning(message, unix_ms(message.timestamp), message.sequence_num)
        expected, self._next = self._next, message.sequence_num + 1
        if expected not in (None, message.sequence_num):
            lost = f"message {message.sequence_num} came where {expected} was due"
            return (Gap(lost), *meaning)
        return meaning


def _meaning(message: _Message, time_ms: int, number: int) -> Sequence[Decoded]:
    match message.channel:
        case "ticker":
            return [
                Price(
                    symbol=ticker.product_id,
                    bid=scaled_text(ticker.best_bid),
                    ask=scaled_text(ticker.best_ask),
                    last=last_text(ticker.price),
                    exchange_time_ms=time_ms,
                    sequence=number,
                )
                for event in message.events
                for ticker in event.tickers
            ] or (Alive(time_ms),)
        case "subscriptions":
            return [
                Acknowledged(product)
                for event in message.events
                for product in event.subscriptions.get("ticker", [])
            ] or (ALIVE,)
        case _:
            return (Alive(time_ms),)


def _request_rest(symbols: Sequence[str]) -> Request:
    return get(f"/api/v3/brokerage/market/products/{symbols[0]}/ticker", limit="1")


def _read_rest(body: bytes, symbols: Sequence[str]) -> Sequence[Price]:
    ticker = _REST_TICKER.decode(body)
    trade = ticker.trades[0] if ticker.trades else None
    price = Price(
        symbol=symbols[0],
        bid=scaled_text(ticker.best_bid),
        ask=scaled_text(ticker.best_ask),
        last=last_text(trade.price) if trade else None,
        exchange_time_ms=unix_ms(trade.time) if trade else None,
    )
    return (price,)


COINBASE_ADVANCED = Venue(
    name="coinbase_advanced",
    endpoint=VenueEndpoint("wss://advanced-trade-ws.coinbase.com", "https://api.coinbase.com"),
    symbols=Symbols(_spell, _pair),
    subscribe=_subscribe,
    reader=_reader,
    liveness=Liveness(any_frame_s=10, price_s=30),
    # 10 requests a second.
    rest=Rest(_request_rest, _read_rest, 0.5),
    # Eight messages a second from one address, and all asked before answers are overdue.
    request_pause_s=0.2,
    pairs_per_connection=40,
    last_is_fresh=True,
)

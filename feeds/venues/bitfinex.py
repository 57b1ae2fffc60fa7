"""Bitfinex, API v2: `ticker`, in arrays on channels that are numbered anew by each connection.

https://docs.bitfinex.com/docs/ws-general. Which pair a channel is about only its `subscribed` event
tells. Prices are JSON numbers. Frames end with the connection's count and the time of sending only
on request, and are not asked for them: the book as it stood would look like news on each new
connection. The dollar of Tether is `UST`; longer names of currencies are set off by a colon.
"""

from collections.abc import Sequence

from msgspec import Raw, Struct
from msgspec.json import Decoder, encode

from feeds.frames import (
    ALIVE,
    Acknowledged,
    Alive,
    Decoded,
    Price,
    Reconnect,
    Refused,
    Trading,
    WholeNumber,
    last_number,
    scaled_number,
    told,
)
from feeds.rest import Rest, get
from feeds.symbols import Pair, Symbols
from feeds.venue import (
    ConnectLimit,
    Liveness,
    Ping,
    Reader,
    Subscription,
    Venue,
    VenueEndpoint,
)

_RESTART, _MAINTENANCE_BEGINS, _MAINTENANCE_ENDS = 20051, 20060, 20061
_CODES = {"USDT": "UST", "USDC": "UDC"}
_NAMES = {code: name for name, code in _CODES.items()}
_SHORT = 3
_CHANNELS_MAX = 30
_VERSION = 2
_BID, _ASK, _LAST, _TICKER_LENGTH = 0, 2, 6, 10


class _Platform(Struct, frozen=True):
    status: int = 1


class _Event(Struct, frozen=True):
    event: str
    channel: str = ""
    chanId: WholeNumber | None = None
    symbol: str | None = None
    msg: str = ""
    code: int | None = None
    version: int | None = None
    platform: _Platform = _Platform()
    ts: WholeNumber | None = None


_EVENT = Decoder(_Event)
_FRAME = Decoder(list[Raw])
_NUMBER = Decoder(WholeNumber)
_TEXT = Decoder(str)
_REST_TICKERS = Decoder(list[list[Raw]])


def _spell(base: str, quote: str) -> str:
    base, quote = _CODES.get(base, base), _CODES.get(quote, quote)
    return f"t{base}{':' if max(len(base), len(quote)) > _SHORT else ''}{quote}"


def _pair(symbol: str) -> Pair:
    base, colon, quote = symbol.removeprefix("t").partition(":")
    if not colon:
        base, quote = base[:_SHORT], base[_SHORT:]
    if symbol[:1] != "t" or not (base.isalnum() and quote.isalnum()) or len(quote) < _SHORT:
        raise ValueError(f"no pair is spelled {told(symbol[:40])!r}")
    return _NAMES.get(base, base), _NAMES.get(quote, quote)


def _subscribe(symbols: Sequence[str]) -> list[Subscription]:
    return [
        Subscription(
            encode({"event": "subscribe", "channel": "ticker", "symbol": symbol}).decode(),
            {symbol: (symbol,)},
        )
        for symbol in symbols
    ]


def _reader() -> Reader:
    return Reader(_Channels().read)


class _Channels:
    """Reads one connection's frames and remembers which channel is about which pair."""

    def __init__(self) -> None:
        self._symbols: dict[int, str] = {}

    def read(self, frame: str) -> Sequence[Decoded]:
        if not frame.startswith("["):
            return (self._on_event(_EVENT.decode(frame)),)
        content = _FRAME.decode(frame)
        if not 2 <= len(content) <= 4:
            raise ValueError(f"a frame of {len(content)} parts")
        symbol = self._symbols.get(_NUMBER.decode(content[0]))
        if symbol is None:
            raise ValueError(
                f"a channel that was not announced: {told(bytes(content[0]).decode())}"
            )
        numbers = [_NUMBER.decode(part) for part in content[2:]]
        sequence = numbers[0] if numbers else None
        time_ms = numbers[1] if len(numbers) > 1 else None
        if bytes(content[1]).startswith(b"["):
            return (_price(symbol, _FRAME.decode(content[1]), time_ms, sequence),)
        if _TEXT.decode(content[1]) != "hb":
            raise ValueError(f"neither a ticker nor a heartbeat: {told(content[1])}")
        return (ALIVE if time_ms is None else Alive(time_ms),)

    def _on_event(self, event: _Event) -> Decoded:
        match event.event:
            case "subscribed" if event.channel == "ticker":
                if event.chanId is None or event.symbol is None:
                    raise ValueError("a channel without number or symbol")
                if self._symbols.get(event.chanId, event.symbol) != event.symbol:
                    raise ValueError(f"channel {event.chanId} for a second symbol")
                if len(self._symbols) >= _CHANNELS_MAX and event.chanId not in self._symbols:
                    raise ValueError(f"more than {_CHANNELS_MAX} channels")
                self._symbols[event.chanId] = event.symbol
                return Acknowledged(event.symbol)
            case "error":
                return Refused(event.symbol, told(f"{event.code} {event.msg}"))
            case "info":
                return _info(event)
            case "pong" if event.ts is not None:
                return Alive(event.ts)
            case _:
                return ALIVE


def _info(event: _Event) -> Decoded:
    match event.code:
        case None if event.version not in (None, _VERSION):
            raise ValueError(f"version {event.version} of the protocol")
        case None:
            return Trading(event.platform.status == 1, "the exchange tells its platform's status")
        case code if code == _RESTART:
            return Reconnect(told(event.msg or "the exchange restarts"))
        case code if code in (_MAINTENANCE_BEGINS, _MAINTENANCE_ENDS):
            return Trading(code == _MAINTENANCE_ENDS, told(event.msg or "maintenance"))
        case _:
            return ALIVE


def _price(
    symbol: str, ticker: Sequence[Raw], time_ms: int | None = None, sequence: int | None = None
) -> Price:
    # Since 2026 there is an eleventh element; more may come.
    if len(ticker) < _TICKER_LENGTH:
        raise ValueError(f"a ticker of {len(ticker)} elements")
    return Price(
        symbol=symbol,
        bid=scaled_number(ticker[_BID]),
        ask=scaled_number(ticker[_ASK]),
        last=last_number(ticker[_LAST]),
        exchange_time_ms=time_ms,
        sequence=sequence,
    )


def _read_rest(body: bytes, _symbols: Sequence[str]) -> Sequence[Price]:
    return [_price(_TEXT.decode(symbol), ticker) for symbol, *ticker in _REST_TICKERS.decode(body)]


BITFINEX = Venue(
    name="bitfinex",
    endpoint=VenueEndpoint("wss://api-pub.bitfinex.com/ws/2", "https://api-pub.bitfinex.com"),
    symbols=Symbols(_spell, _pair),
    subscribe=_subscribe,
    reader=_reader,
    liveness=Liveness(any_frame_s=25, price_s=60),
    # 30 requests a minute.
    rest=Rest(
        lambda symbols: get("/v2/tickers", symbols=",".join(symbols)),
        _read_rest,
        4,
        pairs_max=30,
    ),
    ping=Ping(10, lambda count: f'{{"event":"ping","cid":{count}}}'),
    # About 20 connects a minute.
    connect_limit=ConnectLimit(10, 60),
    pairs_per_connection=_CHANNELS_MAX,
)

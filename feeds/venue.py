"""What one exchange is to the supervised connections: data and a few small functions.

A venue's file says how pairs are spelled, what is sent, what each frame means and what the
exchange demands of its clients; everything that happens over time is `connection` and `link`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from msgspec.json import encode

from feeds.frames import Decoded, Undecodable, told
from feeds.rest import Bootstrap, Rest
from feeds.symbols import Symbols

_FORBIDDEN = 403
_NOT_UNDERSTOOD = (ValueError, ArithmeticError, RecursionError)


@dataclass(frozen=True, slots=True)
class VenueEndpoint:
    """Where an exchange is reached."""

    ws_url: str
    rest_url: str | None = None


@dataclass(frozen=True, slots=True)
class Liveness:
    """How long a connection may be silent, in seconds, before it is replaced.

    `any_frame_s` is for frames of any kind, pings included; `price_s` for the newest price of
    any pair, so that a connection which only says that it is alive does not pass for one that
    delivers.
    """

    any_frame_s: float
    price_s: float


@dataclass(frozen=True, slots=True)
class Ping:
    """An application ping: sent every so often, worded from a counter that starts at 1."""

    every_s: float
    text: Callable[[int], str]


@dataclass(frozen=True, slots=True)
class Subscription:
    """One request, and the acknowledgements it must bring, by key with the symbols it covers."""

    text: str
    acknowledgements: dict[str, tuple[str, ...]]


def one_each(
    request: Callable[[int, str], object],
) -> Callable[[Sequence[str]], list[Subscription]]:
    """Return a `subscribe` with one request a symbol, so that an unknown one is refused alone.

    `request` is JSON for a number from 1 and a symbol; the number is the acknowledgement's key.
    """

    def subscribe(symbols: Sequence[str]) -> list[Subscription]:
        return [
            Subscription(encode(request(number, symbol)).decode(), {str(number): (symbol,)})
            for number, symbol in enumerate(symbols, start=1)
        ]

    return subscribe


@dataclass(frozen=True, slots=True)
class ConnectLimit:
    """How many connections an exchange lets one address open within a window, in seconds."""

    connects: int
    window_s: float


@dataclass(frozen=True, slots=True)
class Reader:
    """How the frames of one connection are read; one that keeps state belongs to one connection.

    `text` and `binary` may raise ValueError, ArithmeticError or RecursionError; call `decode`.
    Without `binary`, binary frames are not understood.
    """

    text: Callable[[str], Sequence[Decoded]]
    binary: Callable[[bytes], Sequence[Decoded]] | None = None

    def decode(self, frame: str | bytes) -> Sequence[Decoded]:
        """Return what a frame means; whatever it holds, nothing is raised."""
        try:
            if isinstance(frame, str):
                return self.text(frame)
            if self.binary is None:
                return (Undecodable("a binary frame"),)
            return self.binary(frame)
        except _NOT_UNDERSTOOD as error:
            return (Undecodable(told(error)),)


def stateless(
    text: Callable[[str], Sequence[Decoded]],
    binary: Callable[[bytes], Sequence[Decoded]] | None = None,
) -> Callable[[], Reader]:
    """Return a source of readers for an exchange whose frames explain themselves."""
    reader = Reader(text, binary)
    return lambda: reader


@dataclass(frozen=True, slots=True)
class Venue:
    """One exchange.

    `symbols` spells a pair as the price frames do; `subscribe` words the requests for some of
    them; `reader` gives each connection its reader. `rotate_after_s` replaces a connection, with
    an overlap, before the exchange would end it. With `greets` nothing is sent before the
    exchange's `Greeting`, and `subscribe_after_s` later than that (or than the handshake);
    `request_pause_s` passes between two requests.
    `bootstrap` asks by HTTP where to connect, each time. A connection carries at most
    `pairs_per_connection`; with more, the venue gets several. `last_is_fresh` says that a price
    frame is itself a trade, so that its last price is as new as its book. `rest` is asked while
    the WebSocket does not deliver. `forbids_for_s` is how long the exchange shuts an address out
    that it answers with status 403, without saying so.
    """

    name: str
    endpoint: VenueEndpoint
    symbols: Symbols
    subscribe: Callable[[Sequence[str]], list[Subscription]]
    reader: Callable[[], Reader]
    liveness: Liveness
    rest: Rest | None = None
    ping: Ping | None = None
    rotate_after_s: float | None = None
    greets: bool = False
    subscribe_after_s: float = 0
    request_pause_s: float = 0
    bootstrap: Bootstrap | None = None
    connect_limit: ConnectLimit = ConnectLimit(30, 60)
    pairs_per_connection: int = 100
    last_is_fresh: bool = False
    forbids_for_s: float = 0

    def shut_out_s(self, status: int) -> float:
        """Return how long an HTTP status means that one should stay away; 0 if it says nothing."""
        return self.forbids_for_s if status == _FORBIDDEN else 0

    def symbol(self, base: str, quote: str) -> str:
        """Return the exchange's name of a pair."""
        return self.symbols.spell(base, quote)

    def decode(self, frame: str | bytes) -> Sequence[Decoded]:
        """Return what the first frame of a connection means; nothing is raised."""
        return self.reader().decode(frame)

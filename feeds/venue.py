"""What one exchange is to the supervised connection: data and three small functions."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from feeds.frames import Decoded, Undecodable, told


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


@dataclass(frozen=True, slots=True)
class Venue:
    """One exchange.

    `symbol_form` spells a pair as the price frames do. `read` may raise ValueError,
    ArithmeticError or RecursionError; call `decode`. `rotate_after_s` replaces a connection
    before the exchange would end it.
    """

    name: str
    endpoint: VenueEndpoint
    symbol_form: str
    subscribe: Callable[[Sequence[str]], list[Subscription]]
    read: Callable[[str], Sequence[Decoded]]
    liveness: Liveness
    ping: Ping | None = None
    rotate_after_s: float | None = None
    lower_case: bool = False

    def symbol(self, base: str, quote: str) -> str:
        """Return the exchange's name of a pair."""
        spelled = self.symbol_form.format(base=base, quote=quote)
        return spelled.lower() if self.lower_case else spelled

    def decode(self, frame: str) -> Sequence[Decoded]:
        """Return what a frame means; whatever it holds, nothing is raised."""
        try:
            return self.read(frame)
        except (ValueError, ArithmeticError, RecursionError) as error:
            return (Undecodable(told(error)),)

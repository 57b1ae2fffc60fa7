"""What is asked of an exchange by HTTP: its prices, and where to connect."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import quote, urlencode

from feeds.frames import Price


@dataclass(frozen=True, slots=True)
class Request:
    """An HTTP request; `path`, with its query, follows the venue's REST address."""

    path: str
    method: str = "GET"


def get(path: str, **query: str) -> Request:
    """Return a GET request whose query is percent-encoded; commas stay."""
    return Request(f"{path}?{urlencode(query, safe=',', quote_via=quote)}" if query else path)


@dataclass(frozen=True, slots=True)
class Rest:
    """Prices by HTTP, for while the WebSocket does not deliver.

    `request` asks for at most `pairs_max` symbols, spelled as on the WebSocket; `read` makes
    their prices of the body of an answer with status 200 and raises ValueError (ArithmeticError,
    RecursionError) for one that it does not understand, an error in words included. Between two
    requests pass at least `every_s` seconds, which keeps well within the venue's limit.
    `time_step_ms` is how coarse the times in answers are.
    """

    request: Callable[[Sequence[str]], Request]
    read: Callable[[bytes, Sequence[str]], Sequence[Price]]
    every_s: float
    pairs_max: int = 1
    time_step_ms: int = 1


@dataclass(frozen=True, slots=True)
class Opening:
    """Where to connect, as the exchange says, and what it asks of this connection."""

    ws_url: str
    ping_every_s: float | None = None


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """The request before each connection.

    `read` gets the answer's body and a random id for the connection, and raises as `Rest.read`.
    """

    request: Request
    read: Callable[[bytes, str], Opening]

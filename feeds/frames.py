"""What one frame of an exchange can mean, and the bounds on the tokens inside it.

A venue's reader turns each frame into these and into nothing else. What it does not
understand is `Undecodable`: counted, never guessed.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated

from msgspec import Meta, Raw

from aggregation.quote import parse_decimal

REASON_LENGTH_MAX = 200
DIGITS_MAX = 19
DECIMAL_LENGTH_MAX = 40
INFLATED_BYTES_MAX = 256 * 1024

_GZIP = 16 + zlib.MAX_WBITS
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)

WholeNumber = Annotated[int, Meta(ge=0, le=2**63 - 1)]
"""A counter or a time in a JSON number: an integer that fits 63 bits."""

UtcTime = Annotated[datetime, Meta(tz=True)]
"""An RFC 3339 time with its zone."""


@dataclass(frozen=True, slots=True)
class Price:
    """The top of one book, scaled by 10**QUOTE_SCALE; a side that is empty is 0.

    `last` is the last trade, None if the frame does not tell; `Venue.last_is_fresh` says whether
    it is as new as the book. `sequence` orders the frames of one symbol on one connection, the
    exchange's time does where there is none.
    """

    symbol: str
    bid: int
    ask: int
    last: int | None = None
    exchange_time_ms: int | None = None
    sequence: int | None = None


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """The exchange accepted the subscription that bears this key."""

    key: str


@dataclass(frozen=True, slots=True)
class Refused:
    """The exchange refused a request; `key` is None if it does not say which."""

    key: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class Alive:
    """A heartbeat, a pong, or a well-formed message that carries nothing we need.

    With the exchange's time, if it tells it: of the moment at which it sent this.
    """

    exchange_time_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """The exchange demands an answer: this text, at once."""

    text: str


@dataclass(frozen=True, slots=True)
class Greeting:
    """The exchange is ready for subscriptions."""


@dataclass(frozen=True, slots=True)
class Gap:
    """Frames of this connection went missing, by the exchange's own count."""

    reason: str


@dataclass(frozen=True, slots=True)
class Trading:
    """Whether the exchange says that it is trading; prices count only while it is."""

    online: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Reconnect:
    """The exchange asks us to open a new connection."""

    reason: str


@dataclass(frozen=True, slots=True)
class Undecodable:
    """A frame that broke the exchange's own format."""

    reason: str


Decoded = (
    Price
    | Acknowledged
    | Refused
    | Alive
    | Reply
    | Greeting
    | Gap
    | Trading
    | Reconnect
    | Undecodable
)

ALIVE = Alive()
NULL = Raw(b"null")


def told(text: object) -> str:
    """Make text from outside fit for a log line: one line, printable, bounded."""
    shown = "".join(c if c.isprintable() else "?" for c in str(text)[:REASON_LENGTH_MAX])
    return shown or "no reason given"


def scaled_text(token: str) -> int:
    """Scale a decimal from a JSON string exactly; the empty string, an empty side, is 0.

    Raises ValueError for anything else that is not a plain decimal.
    """
    if token == "":
        return 0
    if len(token) > DECIMAL_LENGTH_MAX:
        raise ValueError(f"a decimal of {len(token)} characters")
    return parse_decimal(token)


def best_text(levels: Sequence[Sequence[str]]) -> int:
    """Scale the price of the first level of one side of a book; no level is 0."""
    if not levels:
        return 0
    if not levels[0]:
        raise ValueError("a book level without a price")
    return scaled_text(levels[0][0])


def scaled_number(token: Raw) -> int:
    """Scale a JSON number exactly, from the very characters that arrived.

    Raises ValueError for anything that is not a plain decimal, strings and null included.
    """
    raw = bytes(token)
    if len(raw) > DECIMAL_LENGTH_MAX:
        raise ValueError(f"a decimal of {len(raw)} characters")
    return parse_decimal(raw.decode("ascii"))


def whole_text(token: str) -> int:
    """Return a non-negative integer that is written in a JSON string; ValueError otherwise."""
    if not (token.isascii() and token.isdigit() and len(token) <= DIGITS_MAX):
        raise ValueError(f"not a whole number: {told(token)!r}")
    return int(token)


def unix_ms(time: datetime) -> int:
    """Return Unix milliseconds, rounded down."""
    return (time - _EPOCH) // _MILLISECOND


def gunzipped(frame: bytes) -> str:
    """Return the text of one gzip member, of at most `INFLATED_BYTES_MAX` bytes of UTF-8.

    Raises ValueError for anything else; never inflates more than that.
    """
    inflater = zlib.decompressobj(_GZIP)
    try:
        content = inflater.decompress(frame, INFLATED_BYTES_MAX)
    except zlib.error as error:
        raise ValueError(f"not gzip: {told(error)}") from None
    if not inflater.eof:
        raise ValueError(f"gzip that is cut off, or of more than {INFLATED_BYTES_MAX} bytes")
    if inflater.unused_data:
        raise ValueError("something follows the gzip data")
    return content.decode("utf-8")


def last_text(token: str) -> int | None:
    """Scale the last trade from a JSON string; the empty string means that there is none."""
    return None if token == "" else scaled_text(token)


def last_number(token: Raw) -> int | None:
    """Scale the last trade from a JSON number; null means that there is none."""
    return None if bytes(token) == b"null" else scaled_number(token)

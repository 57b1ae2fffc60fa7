"""One source as its connection sees it: its state, its order of frames, its counters."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from aggregation.quote import RawQuote
from feeds.frames import Price

_NS_PER_MS = 1_000_000

SourceKey = tuple[str, str, str]
"""Venue, base and quote currency."""

Sink = Callable[[RawQuote], None]
"""Takes each quote as it arrives, on the asyncio thread; must be quick, for it is called often."""


class SourceState(Enum):
    """What an operator sees of a source."""

    WAITING = "waiting"
    """No connection: not started, or between two tries."""
    CONNECTING = "connecting"
    SUBSCRIBING = "subscribing"
    """Connected; no price has come yet."""
    LIVE = "live"
    STALE = "stale"
    """Connected, but its newest quote is older than the source's limit."""
    REFUSED = "refused"
    """The exchange refused the subscription or never acknowledged it."""
    HALTED = "halted"
    """The exchange says that it is not trading."""


@dataclass(frozen=True, slots=True)
class SourceHealth:
    """A snapshot of one source.

    `frames`, `faults` and `reconnects` are those of the connection that it shares with the other
    pairs of its venue; `quotes` are its own. `last_quote_age_ms` is None before the first.
    """

    venue: str
    base: str
    quote: str
    state: SourceState
    reason: str
    frames: int
    faults: int
    quotes: int
    reconnects: int
    last_quote_age_ms: int | None


class Source:
    """The record of one pair at one venue; written by its connection alone."""

    def __init__(self, base: str, quote: str, symbol: str, max_age_ms: int) -> None:
        self.base = base
        self.quote = quote
        self.symbol = symbol
        self.max_age_ms = max_age_ms
        # Replaced as one value, so that another thread never reads half of it.
        self.standing: tuple[SourceState, str] = (SourceState.WAITING, "not started")
        self.quotes = 0
        self._newest: Price | None = None
        self._newest_ns: int | None = None
        self._last_sequence: int | None = None
        self._last_time_ms: int | None = None

    def begin(self, state: SourceState, reason: str) -> None:
        """Start a new life on a new connection: exchanges may count from anew there."""
        self.standing = (state, reason)
        self._last_sequence = None
        self._last_time_ms = None

    def is_repeated(self, price: Price) -> bool:
        """Whether a price is the very one taken last, with the same sequence and time.

        A new connection begins with the book as it stands: if it has not changed, that is no
        news, and must not make an exchange that stands still look alive.
        """
        return price == self._newest

    def is_older(self, price: Price) -> bool:
        """Whether a price belongs before one that was already taken on this connection."""
        if price.sequence is not None:
            return self._last_sequence is not None and price.sequence < self._last_sequence
        if price.exchange_time_ms is not None:
            return self._last_time_ms is not None and price.exchange_time_ms < self._last_time_ms
        return False

    def take(self, price: Price, received_ns: int) -> None:
        """Record a price as the newest."""
        if price.sequence is not None:
            self._last_sequence = price.sequence
        if price.exchange_time_ms is not None:
            self._last_time_ms = price.exchange_time_ms
        self._newest = price
        self._newest_ns = received_ns
        self.quotes += 1
        if self.standing[0] is not SourceState.LIVE:
            self.standing = (SourceState.LIVE, "prices arrive")

    def seen(self, now_ns: int) -> tuple[SourceState, str, int | None]:
        """Return state, reason and the newest quote's age in milliseconds."""
        state, reason = self.standing
        if self._newest_ns is None:
            return state, reason, None
        age_ms = max(0, now_ns - self._newest_ns) // _NS_PER_MS
        if state is SourceState.LIVE and age_ms > self.max_age_ms:
            limit = f"its limit is {self.max_age_ms} ms"
            return SourceState.STALE, f"connected, but no price for {age_ms} ms; {limit}", age_ms
        return state, reason, age_ms

"""One source, whoever reads it: what it said last, when, and what operators are told of it."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from aggregation.quote import RawQuote
from feeds.frames import Price

_NS_PER_MS = 1_000_000
_POLL_SHARE = (6, 10)
_POLL_WHILE_DOWN_MS = 1_000

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
    POLLED = "polled"
    """The WebSocket does not deliver, but fresh prices come by REST."""
    STALE = "stale"
    """Connected, but its newest quote is older than the source's limit."""
    FROZEN = "frozen"
    """It repeats a price which the same pair's other venues have left; not used."""
    REFUSED = "refused"
    """The exchange refused the subscription or never acknowledged it."""
    HALTED = "halted"
    """The exchange says that it is not trading."""


@dataclass(frozen=True, slots=True)
class SourceHealth:
    """A snapshot of one source.

    `frames`, `faults`, `reconnects`, `last_loss` (what ended a connection last) and
    `clock_offset_ms` (of its clock against ours; negative: its lag) are the venue's; `quotes`
    are its own, `polled` those among them that came by REST. `last_quote_age_ms` is None before
    the first.
    """

    venue: str
    base: str
    quote: str
    state: SourceState
    reason: str
    frames: int
    faults: int
    quotes: int
    polled: int
    reconnects: int
    last_loss: str
    last_quote_age_ms: int | None
    clock_offset_ms: int | None

    @property
    def delivers(self) -> bool:
        """Whether its quotes are fresh and handed over."""
        return self.state in (SourceState.LIVE, SourceState.POLLED)


class Source:
    """The record of one pair at one venue; written on the asyncio thread alone."""

    def __init__(self, base: str, quote: str, symbol: str, max_age_ms: int) -> None:
        self.base = base
        self.quote = quote
        self.symbol = symbol
        self.max_age_ms = max_age_ms
        # Replaced as one value, so that another thread never reads half of it.
        self.standing: tuple[SourceState, str] = (SourceState.WAITING, "not started")
        self.generation = 0
        """The connection whose prices count: while two overlap, the older one's do until the
        newer one has delivered."""
        self.quotes = 0
        self.polled = 0
        self.newest: Price | None = None
        self.newest_ns: int | None = None
        self.newest_is_polled = False
        self.heard_ns: int | None = None
        """When the WebSocket last bore a price, repeated ones included."""
        self.changed_ns = 0
        """When the top of the book was last another."""
        self.ahead_polls = 0
        """How often in a row REST had news and the WebSocket had none."""
        self.frozen: str | None = None
        self.held_back: str | None = None
        """Why its newest price does not count, if it was old by its own stamp when it came."""
        self.poll_problem: str | None = None

    def is_repeated(self, price: Price) -> bool:
        """Whether a price is the very one taken last: of the same time, or sequence without one.

        A new connection begins with the book as it stands: if it has not changed, that is no
        news, and must not make an exchange that stands still look alive. Its sequence may be new.
        """
        newest = self.newest
        return (
            newest is not None
            and price.bid == newest.bid
            and price.ask == newest.ask
            and price.last == newest.last
            and price.exchange_time_ms == newest.exchange_time_ms
            and (price.exchange_time_ms is not None or price.sequence == newest.sequence)
        )

    def is_behind(self, price: Price) -> bool:
        """Whether a price of another connection, or of REST, was overtaken by the newest.

        By the exchange's times where both have one, since sequences may count connections.
        """
        newest = self.newest
        if newest is None:
            return False
        if price.exchange_time_ms is not None and newest.exchange_time_ms is not None:
            return price.exchange_time_ms < newest.exchange_time_ms
        if price.sequence is not None and newest.sequence is not None:
            return price.sequence < newest.sequence
        return False

    def take(self, price: Price, received_ns: int, *, polled: bool = False) -> None:
        """Record a price as the newest."""
        newest = self.newest
        if newest is None or price.bid != newest.bid or price.ask != newest.ask:
            self.changed_ns = received_ns
            self.frozen = None
        self.newest = price
        self.newest_ns = received_ns
        self.newest_is_polled = polled
        self.quotes += 1
        if polled:
            self.polled += 1
        elif self.standing[0] is not SourceState.LIVE:
            self.standing = (SourceState.LIVE, "prices arrive")

    def age_ms(self, now_ns: int) -> int | None:
        """Return the newest quote's age in milliseconds."""
        return None if self.newest_ns is None else max(0, now_ns - self.newest_ns) // _NS_PER_MS

    def is_fresh(self, now_ns: int) -> bool:
        """Whether its newest quote is within the source's limit."""
        age_ms = self.age_ms(now_ns)
        return age_ms is not None and age_ms <= self.max_age_ms

    def wants_poll(self, now_ns: int) -> bool:
        """Whether REST should be asked: the WebSocket is down, or silent for most of the limit."""
        state = self.standing[0]
        if state is SourceState.HALTED:
            return False
        age_ms = self.age_ms(now_ns)
        if age_ms is None:
            return True
        if state is not SourceState.LIVE:
            return age_ms > min(self.max_age_ms * _POLL_SHARE[0] // 10, _POLL_WHILE_DOWN_MS)
        return age_ms * _POLL_SHARE[1] > self.max_age_ms * _POLL_SHARE[0]

    def seen(self, now_ns: int) -> tuple[SourceState, str, int | None]:
        """Return state, reason and the newest quote's age in milliseconds."""
        state, reason = self.standing
        age_ms = self.age_ms(now_ns)
        if age_ms is None:
            return state, self._with_poll(reason), None
        if self.frozen is not None and age_ms <= self.max_age_ms:
            return SourceState.FROZEN, self.frozen, age_ms
        if self.held_back is not None and age_ms <= self.max_age_ms:
            return SourceState.STALE, self._with_poll(self.held_back), age_ms
        if self.newest_is_polled and age_ms <= self.max_age_ms:
            because = "the WebSocket brings nothing new" if state is SourceState.LIVE else reason
            return SourceState.POLLED, f"prices by REST, because: {because}", age_ms
        if state is SourceState.LIVE and age_ms > self.max_age_ms:
            limit = f"its limit is {self.max_age_ms} ms"
            reason = f"connected, but no new price for {age_ms} ms; {limit}"
            return SourceState.STALE, self._with_poll(reason), age_ms
        if state is SourceState.LIVE:
            return state, reason, age_ms
        return state, self._with_poll(reason), age_ms

    def _with_poll(self, reason: str) -> str:
        return reason if self.poll_problem is None else f"{reason}; REST: {self.poll_problem}"

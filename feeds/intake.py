"""What becomes of a venue's prices, whichever connection or poll they came by."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import Enum, auto

from aggregation.quote import QUOTE_SCALE, RawQuote
from feeds.clock_offset import ClockOffset
from feeds.frames import Price, told
from feeds.source import Sink, Source, SourceHealth, SourceKey, SourceState
from feeds.supervision import Supervision
from feeds.venue import Venue


@dataclass(slots=True)
class Traffic:
    """What one venue's connections counted since the start, and what ended one last."""

    frames: int = 0
    faults: int = 0
    reconnects: int = 0
    poll_failures: int = 0
    last_loss: str = ""


class Outcome(Enum):
    """What became of a price that broke no rule."""

    TAKEN = auto()
    REPEATED = auto()
    OVERTAKEN = auto()
    """A newer one is known, from another connection or by REST."""


class _Order:
    """The order of one symbol's frames on one connection."""

    __slots__ = ("sequence", "time_ms")

    def __init__(self) -> None:
        self.sequence = -1
        self.time_ms = -1

    def admits(self, price: Price) -> bool:
        """Note a price, unless it belongs before one that came earlier."""
        sequence, time_ms = price.sequence, price.exchange_time_ms
        if sequence is not None:
            if sequence < self.sequence:
                return False
            self.sequence = sequence
        elif time_ms is not None:
            if time_ms < self.time_ms:
                return False
            self.time_ms = time_ms
        return True


@dataclass(slots=True)
class Stream:
    """One connection, as far as the order of its prices is concerned.

    Exchanges may count from anew on each. `overlaps` while its predecessor still delivers.
    """

    generation: int
    sources: dict[str, Source]
    overlaps: bool = False
    taken_over: set[str] = field(default_factory=set)
    orders: dict[str, _Order] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Begin all orders."""
        self.orders = {symbol: _Order() for symbol in self.sources}

    @property
    def replaces_all(self) -> bool:
        """Whether every source that delivered has come over from the predecessor."""
        live = {s for s, one in self.sources.items() if one.standing[0] is SourceState.LIVE}
        return bool(self.taken_over) and live <= self.taken_over


class Intake:
    """Hands a venue's news over as quotes; one per venue."""

    def __init__(
        self,
        venue: Venue,
        sources: Iterable[Source],
        sink: Sink,
        withdraw: Callable[[SourceKey], None],
        supervision: Supervision,
    ) -> None:
        self.venue = venue
        self.sources = {source.symbol: source for source in sources}
        self.traffic = Traffic()
        self.clock = ClockOffset(supervision.limits.clock_lead_max_ms)
        self._name = venue.name
        self._last_is_fresh = venue.last_is_fresh
        self._future_max_ms = supervision.limits.future_max_ms
        self._past_max_ms = supervision.limits.past_max_ms
        self._unix_ms = supervision.unix_ms
        self._sink = sink
        self._withdraw = withdraw
        self._generations = 0

    def stream(self, symbols: Iterable[str], *, overlaps: bool) -> Stream:
        """Return the record of a new connection that carries these symbols."""
        self._generations += 1
        carried = {symbol: self.sources[symbol] for symbol in symbols}
        return Stream(self._generations, carried, overlaps)

    def take(self, price: Price, stream: Stream, now_ns: int) -> Outcome:
        """Take a price that a connection bore; ValueError says which rule it breaks."""
        symbol = price.symbol
        source = stream.sources.get(symbol)
        if source is None:
            raise ValueError(f"a price of {told(symbol)}, which nobody asked for")
        if price.exchange_time_ms is not None:
            self._refuse_future(price.exchange_time_ms, now_ns)
        if not stream.orders[symbol].admits(price):
            raise ValueError(f"a price of {symbol} out of order")
        if stream.generation != source.generation and not self._comes_over(price, stream, source):
            return Outcome.OVERTAKEN
        source.heard_ns = now_ns
        source.ahead_polls = 0
        if source.is_repeated(price):
            return Outcome.REPEATED
        if source.newest_is_polled and source.is_behind(price):
            return Outcome.OVERTAKEN
        source.take(price, now_ns)
        self._judge_past(source, price)
        self._hand_over(source, price, now_ns)
        return Outcome.TAKEN

    def take_polled(self, price: Price, asked_ns: int, step_ms: int, now_ns: int) -> Outcome:
        """Take a price that REST answered; ValueError says which rule it breaks.

        It counts as of the moment of asking, and never displaces what a connection brought since.
        """
        source = self.sources.get(price.symbol)
        if source is None:
            raise ValueError(f"a price of {told(price.symbol)}, which nobody asked for")
        time_ms = price.exchange_time_ms
        if time_ms is not None:
            self._refuse_future(time_ms, None)
        newest = source.newest
        if newest is not None and source.newest_ns is not None:
            if source.newest_ns > asked_ns:
                return Outcome.OVERTAKEN
            newest_ms = newest.exchange_time_ms
            if time_ms is not None and newest_ms is not None and time_ms + step_ms <= newest_ms:
                return Outcome.OVERTAKEN
            same_book = (price.bid, price.ask) == (newest.bid, newest.ask)
            no_later = time_ms is None or newest_ms is None or time_ms <= newest_ms
            if same_book and no_later:
                return Outcome.REPEATED
        source.ahead_polls += 1
        source.take(price, asked_ns, polled=True)
        # An answer's stamp may be of its last trade; the book in it is of the moment of asking.
        source.held_back = None
        self._hand_over(source, price, asked_ns)
        return Outcome.TAKEN

    def freeze(self, source: Source, reason: str) -> None:
        """Stop using a source that stands still, until its book is another."""
        source.frozen = reason
        self._withdraw((self._name, source.base, source.quote))

    def halt(self, source: Source, reason: str) -> None:
        """Stop using a source whose exchange says that it is not trading."""
        source.standing = (SourceState.HALTED, reason)
        self._withdraw((self._name, source.base, source.quote))

    def health(self, now_ns: int) -> list[SourceHealth]:
        """Return a snapshot of each source; any thread may ask."""
        snapshots = []
        for source in self.sources.values():
            state, reason, age_ms = source.seen(now_ns)
            snapshots.append(
                SourceHealth(
                    venue=self._name,
                    base=source.base,
                    quote=source.quote,
                    state=state,
                    reason=reason,
                    frames=self.traffic.frames,
                    faults=self.traffic.faults,
                    quotes=source.quotes,
                    polled=source.polled,
                    reconnects=self.traffic.reconnects,
                    last_loss=self.traffic.last_loss,
                    last_quote_age_ms=age_ms,
                    clock_offset_ms=self.clock.offset_ms,
                )
            )
        return snapshots

    def _refuse_future(self, time_ms: int, now_ns: int | None) -> None:
        unix_ms = self._unix_ms()
        if now_ns is not None:
            self.clock.note(time_ms, unix_ms, now_ns)
        ahead_ms = time_ms - self.clock.lead_ms - unix_ms
        if ahead_ms > self._future_max_ms:
            raise ValueError(
                f"a price stamped {ahead_ms} ms in the future: check this machine's clock if "
                "other exchanges say so too"
            )

    def _judge_past(self, source: Source, price: Price) -> None:
        """Do not use what was old when it came: nobody can tell how the market stands now."""
        time_ms = price.exchange_time_ms
        behind_ms = 0 if time_ms is None else self._unix_ms() - time_ms
        if behind_ms <= self._past_max_ms:
            source.held_back = None
            return
        if source.held_back is None:
            self._withdraw((self._name, source.base, source.quote))
        source.held_back = (
            f"its newest price came {behind_ms // 1000} s after the exchange's own stamp: the "
            "connection is held back, or this machine's clock is fast"
        )

    def _comes_over(self, price: Price, stream: Stream, source: Source) -> bool:
        """Let a newer connection take a source over, unless the older one is still ahead."""
        if stream.generation < source.generation:
            return False
        if stream.overlaps and source.is_behind(price):
            return False
        source.generation = stream.generation
        stream.taken_over.add(price.symbol)
        return True

    def _hand_over(self, source: Source, price: Price, received_ns: int) -> None:
        if source.frozen is not None or source.held_back is not None:
            return
        time_ms = price.exchange_time_ms
        self._sink(
            RawQuote(
                venue=self._name,
                base=source.base,
                quote=source.quote,
                bid=price.bid,
                ask=price.ask,
                last=price.last if self._last_is_fresh and not source.newest_is_polled else None,
                scale=QUOTE_SCALE,
                exchange_time_ms=None if time_ms is None else time_ms - self.clock.lead_ms,
                sequence=price.sequence,
                received_ns=received_ns,
            )
        )

"""The books of one exchange, which move as the market and the exchange's fault have it."""

from collections.abc import Collection
from functools import partial

from testnet.exchanges.book import Book, Profile, Schedule
from testnet.exchanges.faults import Fault, Kind
from testnet.market import Market

_STANDING = (Kind.FREEZE, Kind.DISCONNECT)


class Quoting:
    """Moves the books of one venue; `updates_per_s` are those of all together."""

    def __init__(self, profile: Profile, market: Market, updates_per_s: float, now_ms: int) -> None:
        self.books = {pair.symbol: Book(profile, pair, market) for pair in profile.pairs()}
        self._new_schedule = partial(
            Schedule, updates_per_s=updates_per_s, seed=market.seed, venue=profile.venue
        )
        self._schedule = self._new_schedule(list(self.books.values()))
        self._shown_ms = now_ms
        for book in self.books.values():
            book.advance(now_ms)

    def keep(self, bases: Collection[str]) -> None:
        """Delist all pairs but those of some assets, which get the others' share of updates."""
        for symbol, book in list(self.books.items()):
            if book.pair.base not in bases:
                del self.books[symbol]
        self._schedule = self._new_schedule(list(self.books.values()))

    def due(self, now_ms: int, fault: Fault, elapsed_ms: int) -> list[Book]:
        """Move the books that are due, and return those that have news to show.

        `elapsed_ms` is the time since the fault was ordered.
        """
        due = self._schedule.due(now_ms)
        if fault.kind is Kind.FREEZE and fault.manner == "repeat":
            for book in due:
                book.touch(now_ms)
            return due
        shown_ms = now_ms - (fault.by_ms if fault.kind is Kind.LAG else 0)
        # A stream that begins to lag stands until the delay has built up; it does not go back.
        if fault.kind in _STANDING or shown_ms < self._shown_ms:
            return []
        self._shown_ms = shown_ms
        for book in due:
            book.advance(
                shown_ms,
                fault.factor_ppm(elapsed_ms),
                skew_ms=fault.skew_ms,
                crossed=fault.kind is Kind.CROSSED,
            )
        return due

    def next_ms(self) -> float:
        """Return the earliest time at which a book is due."""
        return self._schedule.next_ms()

    def shown(self, book: Book, fault: Fault) -> Book:
        """Return what clients see as a book: swapped with another if need be."""
        if fault.kind is not Kind.SWAP:
            return book
        books = list(self.books.values())
        return books[books.index(book) - 1].shown_as(book.pair)

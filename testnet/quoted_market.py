"""The simulated exchanges' books without their servers: what members would see at any time.

For replays that are faster than time. A book moves when it is due, as in `testnet.exchanges`; a
member may have a source's newest quote or, for the way takes time, the one before.
"""

from collections.abc import Callable, Mapping
from random import Random

from aggregation.quote import QUOTE_SCALE, RawQuote
from aggregation.sources import SourceKey
from aggregation.table import FeedTable
from testnet.exchanges.book import Book
from testnet.exchanges.simulator import VENUES
from testnet.market import Market
from testnet.noise import seeded_random

PPM = 1_000_000
Distortion = Callable[[SourceKey, int], int]
"""By which factor, in millionths, a source's price is wrong at a time (Unix ms)."""

_NS_OF_MS = 1_000_000
_LATE_CHANCE = 0.2


def undistorted(_source: SourceKey, _unix_ms: int) -> int:
    """Return that a price is right."""
    return PPM


class QuotedMarket:
    """The books behind the sources of a feed table; each moves about every `update_ms`."""

    def __init__(self, table: FeedTable, market: Market, update_ms: int = 500) -> None:
        self._books = {
            source.key: _book_of(source.key, market)
            for feed in table.feeds
            for source in feed.sources
        }
        self._update_ms = update_ms
        self._chance: Random = seeded_random("quoted market", market.seed)
        self._newest: dict[SourceKey, RawQuote] = {}
        self._before: dict[SourceKey, RawQuote] = {}
        self._last_ms: int | None = None

    def move(
        self,
        now_ms: int,
        distortion: Distortion = undistorted,
        dead: frozenset[str] = frozenset(),
    ) -> None:
        """Let the books that are due move; those of `dead` venues stand still."""
        elapsed_ms = self._update_ms if self._last_ms is None else now_ms - self._last_ms
        share = elapsed_ms / self._update_ms
        self._last_ms = now_ms
        for key, book in self._books.items():
            if key in self._newest and (key[0] in dead or self._chance.random() > share):
                continue
            book.advance(now_ms, distortion(key, now_ms))
            if key in self._newest:
                self._before[key] = self._newest[key]
            self._newest[key] = RawQuote(
                *key,
                book.bid,
                book.ask,
                None,
                QUOTE_SCALE,
                book.time_ns // _NS_OF_MS,
                book.sequence,
                now_ms * _NS_OF_MS,
            )

    def newest(self) -> Mapping[SourceKey, RawQuote]:
        """Return the newest quote of each source."""
        return self._newest

    def view(self) -> Mapping[SourceKey, RawQuote]:
        """Return what one member has: of a few sources the quote before the newest."""
        seen = dict(self._newest)
        oldest_ns = (self._last_ms or 0) * _NS_OF_MS - 2 * self._update_ms * _NS_OF_MS
        for key, quote in self._before.items():
            if quote.received_ns >= oldest_ns and self._chance.random() < _LATE_CHANCE:
                seen[key] = quote
        return seen


def _book_of(key: SourceKey, market: Market) -> Book:
    venue, base, quote = key
    profile = VENUES[venue].profile
    for pair in profile.pairs():
        if (pair.base, pair.quote) == (base, quote):
            return Book(profile, pair, market)
    raise ValueError(f"{venue} lists no {base}/{quote}: add it to testnet/exchanges/pairs.csv")

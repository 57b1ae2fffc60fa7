"""The top of one venue's book for one pair, moving around the simulated market."""

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field

from testnet.exchanges.decimals import ONE, scaled
from testnet.exchanges.pairs import Listing, listings
from testnet.market import Market
from testnet.noise import Octave, SmoothNoise, seeded_random

_OFFSET_PERIODS_S = (3, 30, 300)
_PPM = 1_000_000
_DAY_VOLUME_USD = 150_000_000
_WAIT_SHARES = (0.5, 1.5)


@dataclass(frozen=True, slots=True)
class Pair:
    """What a venue trades, as it names and prints it.

    `tick` is the smallest price step as text, `places` how many decimals prices are printed with,
    `size_places` how many sizes are. `spread_ppm` is the usual whole spread.
    """

    symbol: str
    base: str
    quote: str
    tick: str
    places: int
    size_places: int
    spread_ppm: int


@dataclass(frozen=True, slots=True)
class Profile:
    """How one venue differs from the others.

    `symbol_form` (`long_form` for assets of more than three letters, if there is one) and
    `lower_case` make its name of a pair, with what `codes` calls an asset there;
    `places` is how many decimals its prices have, as many as the tick's unless given, and
    `spread_percent` its spread relative to that of deep books. `lag_ms` is the time from its
    matching engine to its clients, `offset_ppm` the size of its prices' own wandering around the
    market, `pace` its share of all quotes relative to the others', `trade_chance` the share of its
    quotes that follow a trade. Two venues of one `engine` show the same book.
    """

    venue: str
    symbol_form: str
    lag_ms: int
    offset_ppm: int
    pace: float
    lower_case: bool = False
    long_form: str | None = None
    places: int | None = None
    spread_percent: int = 100
    trade_chance: float = 0.35
    codes: Mapping[str, str] = field(default_factory=dict)
    engine: str | None = None

    def pairs(self) -> list[Pair]:
        """Return the pairs that the venue lists, as it names and prints them."""
        return [self._pair(listing) for listing in listings(self.venue)]

    def symbol(self, base: str, quote: str) -> str:
        """Return the venue's name of a pair."""
        base, quote = self.codes.get(base, base), self.codes.get(quote, quote)
        is_long = self.long_form is not None and max(len(base), len(quote)) > 3
        form = self.long_form if is_long else self.symbol_form
        assert form is not None
        spelled = form.format(base=base, quote=quote)
        return spelled.lower() if self.lower_case else spelled

    def _pair(self, listing: Listing) -> Pair:
        of_tick = len(listing.tick.partition(".")[2])
        return Pair(
            symbol=self.symbol(listing.base, listing.quote),
            base=listing.base,
            quote=listing.quote,
            tick=listing.tick,
            places=of_tick if self.places is None else max(self.places, of_tick),
            size_places=listing.size_places,
            spread_ppm=listing.spread_ppm * self.spread_percent // 100,
        )


class Book:
    """The state that a venue's quotes, trades and tickers of one pair are made of.

    Prices and sizes are integers scaled by 10**12. `sequence` grows with every update and
    `trade_id` with every trade; times are Unix nanoseconds of the venue's matching engine.
    """

    def __init__(self, profile: Profile, pair: Pair, market: Market) -> None:
        self.pair = pair
        self._market = market
        self._lag_ms = profile.lag_ms
        self._trade_chance = profile.trade_chance
        self._tick = scaled(pair.tick)
        each = profile.offset_ppm / len(_OFFSET_PERIODS_S) ** 0.5
        name = f"offset {profile.engine or profile.venue} {pair.base}/{pair.quote}"
        self._offset_ppm = SmoothNoise(
            name, market.seed, [Octave(s * 1_000, each) for s in _OFFSET_PERIODS_S]
        )
        self._chance = seeded_random("book", profile.venue, pair.symbol, market.seed)
        self._size_step = int(10 ** (12 - pair.size_places))
        self.bid = self.ask = self.last = 0
        self.bid_size = self.ask_size = self.last_size = ONE
        self.buyer_is_maker = False
        self.traded = False
        self.sequence = self._chance.randrange(10**9, 10**10)
        self.trade_id = self._chance.randrange(10**7, 10**8)
        self.time_ns = self.trade_time_ns = 0
        self.open = self.high = self.low = 0
        self.volume = 0

    def advance(
        self, now_ms: int, factor_ppm: int = _PPM, *, skew_ms: int = 0, crossed: bool = False
    ) -> None:
        """Move to what clients see at `now_ms`, prices times `factor_ppm` millionths.

        `skew_ms` is how far the venue's clock is ahead; a `crossed` book bids more than it asks.
        """
        seen_ms = now_ms - self._lag_ms
        middle = self._middle(seen_ms) * factor_ppm // _PPM
        self._quote(middle)
        self._trade(seen_ms)
        if crossed:
            self.bid, self.ask = self.ask, self.bid
        self.touch(now_ms, skew_ms)

    def touch(self, now_ms: int, skew_ms: int = 0) -> None:
        """Count an update at `now_ms` that leaves every price as it is."""
        self.sequence += self._chance.randint(1, 9)
        stamped_ms = now_ms - self._lag_ms + skew_ms
        self.time_ns = stamped_ms * 1_000_000 + self._chance.randrange(1_000_000)
        if self.traded:
            self.trade_time_ns = self.time_ns

    def shown_as(self, pair: Pair) -> "Book":
        """Return this book as it would look under another pair's name."""
        other = copy(self)
        other.pair = pair
        return other

    def _middle(self, seen_ms: int) -> int:
        middle = self._market.middle(self.pair.base, seen_ms)
        if self.pair.quote != "USD":
            middle = middle * ONE // self._market.middle(self.pair.quote, seen_ms)
        return middle + middle * round(self._offset_ppm.at(seen_ms) * 1_000) // (1_000 * _PPM)

    def _quote(self, middle: int) -> None:
        tick = self._tick
        spread = middle * self.pair.spread_ppm // _PPM
        spread = spread * self._chance.randint(60, 160) // 100
        self.bid = (middle - spread // 2) // tick * tick
        self.ask = max(-(-(middle + spread // 2) // tick) * tick, self.bid + tick)
        self.bid_size = self._size(middle, 20_000)
        self.ask_size = self._size(middle, 20_000)

    def _trade(self, seen_ms: int) -> None:
        """Let some updates be trades at one side of the book; the last one's price stays."""
        first = self.last == 0
        # A book that jumped has been traded through.
        jumped = abs(self.last - self.bid) * 500 > self.bid
        self.traded = first or jumped or self._chance.random() < self._trade_chance
        if not self.traded:
            return
        self.buyer_is_maker = self._chance.random() < 0.5
        self.last = self.bid if self.buyer_is_maker else self.ask
        self.last_size = self._size(self.last, 3_000)
        self.trade_id += 1
        self.volume += self.last_size
        if first:
            self.open = self.high = self.low = self.last
            self.volume = _DAY_VOLUME_USD * ONE * ONE // self.last
        self.high = max(self.high, self.last)
        self.low = min(self.low, self.last)

    def _size(self, price: int, usual_usd: int) -> int:
        """Return a random size worth some thousand USD, on the venue's size step."""
        percent = self._chance.randint(1, 400)
        size = usual_usd * ONE * ONE // max(price, 1) * percent // 100
        return max(size // self._size_step, 1) * self._size_step


class Schedule:
    """When each book updates next: at random around its venue's pace, in steps of milliseconds."""

    def __init__(self, books: Sequence[Book], updates_per_s: float, seed: int, venue: str) -> None:
        self._books = books
        self._mean_ms = 1_000.0 * len(books) / updates_per_s
        self._chance = seeded_random("schedule", venue, seed)
        self._due_ms = [0.0] * len(books)

    def due(self, now_ms: float) -> list[Book]:
        """Return the books whose time has come and give each its next one."""
        due = []
        for index, book in enumerate(self._books):
            if self._due_ms[index] <= now_ms:
                due.append(book)
                least, most = _WAIT_SHARES
                wait_ms = self._mean_ms * self._chance.uniform(least, most)
                # After a stall of the process, missed updates are gone, not made up for.
                self._due_ms[index] = max(self._due_ms[index] + wait_ms, now_ms)
        return due

    def next_ms(self) -> float:
        """Return the earliest time at which a book is due."""
        return min(self._due_ms)

"""The simulated market: the true USD middle of every asset as a pure function of time.

The exchanges quote around it, and an auditor in another process, given the same seed and origin,
recomputes it at any Unix millisecond to judge what the network certified.
"""

import random
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from testnet.assets import RECORDED, followers
from testnet.bars import Bar, recorded_bars
from testnet.noise import SmoothNoise, seeded_random

MIDDLE_SCALE = 12
"""Middles are integers scaled by 10**MIDDLE_SCALE."""

BASES = (RECORDED, *followers())
"""Every asset that has a USD middle."""

_MINUTE_MS = 60_000
_KNOT_MS = 250
_KNOTS = _MINUTE_MS // _KNOT_MS
_RECORDED_DECIMALS = 8
# A few minutes of every asset, for clients that see the market at different delays.
_CACHED_MINUTES = 4 * len(BASES)
_CACHED_PATHS = 16

# A market that neither stands still nor storms: this many minutes in a row within these ranges.
_LIVELY_MINUTES = 30
_LIVELY_RANGE_PPM = (600, 4_000)

# A Brownian path's range over a time T is about 1.6 σ √T. Between its extremes the path takes this
# share of that σ: enough to tick, too little to outrun a quote that is 300 ms old.
_WIGGLE_SHARE = 0.35
_EXTREME_KNOTS = ((48, 104), (136, 192))


FACTOR_MAX = 10.0
"""Nothing is worth more than so many times what it was."""


@dataclass(frozen=True, slots=True)
class Depeg:
    """An asset that loses part of its worth for good: at `at_ms` (Unix) it begins to fall to
    `factor` of what it would be worth, and is there `over_ms` later.
    """

    asset: str
    factor: float
    at_ms: int
    over_ms: int = 0

    def __post_init__(self) -> None:
        if self.asset not in BASES:
            raise ValueError(f"the market has no {self.asset!r}, only {', '.join(BASES)}")
        if not 0.0 < self.factor <= FACTOR_MAX:
            raise ValueError(f"factor must be above 0, at most {FACTOR_MAX:g}, is {self.factor}")
        if not 0 <= self.over_ms <= 3_600_000:
            raise ValueError(f"over_ms must be from 0 to 3600000, is {self.over_ms}")

    def applied(self, middle: int, unix_ms: int) -> int:
        """Return what is left of a middle."""
        begun_ms = min(max(unix_ms - self.at_ms, 0), self.over_ms)
        if unix_ms < self.at_ms:
            return middle
        lost_ppm = round((1 - self.factor) * 1_000_000)
        share = lost_ppm * begun_ms // self.over_ms if self.over_ms else lost_ppm
        return middle * (1_000_000 - share) // 1_000_000


class Market:
    """The true middles of one run.

    Args:
        seed: decides every path; equal arguments give equal middles in every process.
        origin_ms: Unix ms at which the run starts; the path of other times, earlier ones too, is
            relative to it.
        start_minute: minute of the recording that plays at the origin. None lets the seed pick one
            that a lively but usual half-hour follows. At either end of the recording time turns
            round, so that the path is continuous for ever.
        depegs: what loses its worth, and when; `depeg` adds another.
    """

    def __init__(
        self,
        seed: int,
        origin_ms: int,
        start_minute: int | None = None,
        depegs: Sequence[Depeg] = (),
    ) -> None:
        self._bars = recorded_bars()
        if start_minute is None:
            start_minute = _lively_start(seed, self._bars)
        if not 0 <= start_minute < len(self._bars):
            raise ValueError(
                f"start_minute must be between 0 and {len(self._bars) - 1}, not {start_minute}"
            )
        self.seed = seed
        self.origin_ms = origin_ms
        self.start_minute = start_minute
        self._noise = {
            base: SmoothNoise(f"market {base}", seed, follower.octaves)
            for base, follower in followers().items()
        }
        self._depegs: dict[str, list[Depeg]] = {}
        for depeg in depegs:
            self.depeg(depeg)
        self._minutes: OrderedDict[tuple[str, int], list[int]] = OrderedDict()
        self._recorded: OrderedDict[int, list[float]] = OrderedDict()

    def depeg(self, depeg: Depeg) -> None:
        """Let an asset lose part of its worth."""
        self._depegs.setdefault(depeg.asset, []).append(depeg)

    def depegs_over(self) -> None:
        """Let everything be worth again what it was."""
        self._depegs.clear()

    def middle(self, base: str, unix_ms: int) -> int:
        """Return the USD middle of `base` at `unix_ms`, scaled by 10**MIDDLE_SCALE.

        Raises ValueError for an asset that the market does not know.
        """
        position_ms = self.start_minute * _MINUTE_MS + unix_ms - self.origin_ms
        minute, offset_ms = divmod(position_ms, _MINUTE_MS)
        knots = self._minutes.get((base, minute))
        if knots is None:
            knots = self._remember(base, minute)
        knot, part_ms = divmod(offset_ms, _KNOT_MS)
        here = knots[knot]
        middle = here + (knots[knot + 1] - here) * part_ms // _KNOT_MS
        for depeg in self._depegs.get(base, ()):
            middle = depeg.applied(middle, unix_ms)
        return middle

    def _remember(self, base: str, minute: int) -> list[int]:
        decimals = _RECORDED_DECIMALS
        if base == RECORDED:
            prices = self._recorded_minute(minute)
        elif base in followers():
            prices = self._follower_minute(base, minute)
            decimals = followers()[base].decimals
        else:
            raise ValueError(f"the market has no {base!r}, only {', '.join(BASES)}")
        quanta, quantum = 10**decimals, 10 ** (MIDDLE_SCALE - decimals)
        knots = [round(price * quanta) * quantum for price in prices]
        if len(self._minutes) >= _CACHED_MINUTES:
            self._minutes.popitem(last=False)
        self._minutes[base, minute] = knots
        return knots

    def _recorded_minute(self, minute: int) -> list[float]:
        path = self._recorded.get(minute)
        if path is None:
            path = self._path_of(minute)
            if len(self._recorded) >= _CACHED_PATHS:
                self._recorded.popitem(last=False)
            self._recorded[minute] = path
        return path

    def _path_of(self, minute: int) -> list[float]:
        count = len(self._bars)
        index = minute % (2 * count)
        if index < count:
            return self._bar_path(index)
        return self._bar_path(2 * count - 1 - index)[::-1]

    def _bar_path(self, index: int) -> list[float]:
        bar = self._bars[index]
        # One bar's open is often a tick off the last one's close; the path may not jump.
        start = self._bars[index - 1].close if index else bar.open
        return _path_through(bar, start, seeded_random("bar", self.seed, index))

    def _follower_minute(self, base: str, minute: int) -> list[float]:
        level, beta = followers()[base].level, followers()[base].beta
        noise = self._noise[base]
        begin_ms = minute * _MINUTE_MS
        first_open = self._bars[0].open
        return [
            level * (btc / first_open) ** beta * (1.0 + noise.at(begin_ms + knot * _KNOT_MS))
            for knot, btc in enumerate(self._recorded_minute(minute))
        ]


def _path_through(bar: Bar, start: float, chance: random.Random) -> list[float]:
    """Return the knots of a random path from `start` over the bar's extremes to its close."""
    low, high = min(bar.low, start), max(bar.high, start)
    # A minute that rose went down first more often than not.
    low_first = chance.random() < (0.75 if bar.close >= start else 0.25)
    extremes = (low, high) if low_first else (high, low)
    anchors = [(0, start)]
    anchors += [
        (chance.randint(*span), price) for span, price in zip(_EXTREME_KNOTS, extremes, strict=True)
    ]
    anchors.append((_KNOTS, bar.close))
    sigma = _WIGGLE_SHARE * (high - low) / 1.6 / _KNOTS**0.5
    path = [start]
    for (left, from_price), (right, to_price) in pairwise(anchors):
        steps = right - left
        price = from_price
        for remaining in range(steps, 1, -1):
            # One step of a Brownian bridge towards the next anchor.
            spread = sigma * ((remaining - 1) / remaining) ** 0.5
            price += (to_price - price) / remaining + chance.gauss(0.0, spread)
            price = min(max(price, low), high)
            path.append(price)
        path.append(to_price)
    return path


def _lively_start(seed: int, bars: tuple[Bar, ...]) -> int:
    """Return the first minute of a lively, usual half-hour, picked by the seed."""
    least_ppm, most_ppm = _LIVELY_RANGE_PPM
    starts = []
    run = 0
    for index, bar in enumerate(bars):
        range_ppm = (bar.high - bar.low) / bar.open * 1e6
        run = run + 1 if least_ppm <= range_ppm <= most_ppm else 0
        if run >= _LIVELY_MINUTES:
            starts.append(index - _LIVELY_MINUTES + 1)
    return seeded_random("start minute", seed).choice(starts)

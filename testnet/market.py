"""The simulated market: the true USD middle of every asset as a pure function of time.

The exchanges quote around it, and an auditor in another process, given the same seed and origin,
recomputes it at any Unix millisecond to judge what the network certified.
"""

import random
from collections import OrderedDict
from itertools import pairwise

from testnet.bars import Bar, recorded_bars
from testnet.noise import Octave, SmoothNoise, seeded_random

MIDDLE_SCALE = 12
"""Middles are integers scaled by 10**MIDDLE_SCALE."""

BASES = ("BTC", "ETH", "SOL", "USDT", "USDC")
"""Every asset that has a USD middle."""

_MINUTE_MS = 60_000
_KNOT_MS = 250
_KNOTS = _MINUTE_MS // _KNOT_MS
# Knots are rounded to 10**-8 USD, so that the last bit of a platform's pow() cannot matter.
_KNOT_QUANTUM = 10 ** (MIDDLE_SCALE - 8)
_CACHED_MINUTES = 64

# A market that neither stands still nor storms: this many minutes in a row within these ranges.
_LIVELY_MINUTES = 30
_LIVELY_RANGE_PPM = (600, 4_000)

# A Brownian path's range over a time T is about 1.6 σ √T. Between its extremes the path takes this
# share of that σ: enough to tick, too little to outrun a quote that is 300 ms old.
_WIGGLE_SHARE = 0.35
_EXTREME_KNOTS = ((48, 104), (136, 192))

_WALK_PERIODS_S = (1, 4, 16, 64, 256, 1_024, 4_096, 16_384)
_PEG_PERIODS_S = (2, 15, 120, 900)


def _random_walk(step_ppm: float) -> tuple[Octave, ...]:
    """Return octaves that look like a random walk of `step_ppm` a second up to some hours."""
    return tuple(Octave(s * 1_000, step_ppm * 1e-6 * s**0.5) for s in _WALK_PERIODS_S)


def _mean_reverting(sigma_ppm: float) -> tuple[Octave, ...]:
    """Return octaves of one size: deviations that come back within minutes."""
    each_ppm = sigma_ppm / len(_PEG_PERIODS_S) ** 0.5
    return tuple(Octave(s * 1_000, each_ppm * 1e-6) for s in _PEG_PERIODS_S)


# USD at the start of the recording, exponent on BTC's move since then, own noise.
_FOLLOWERS: dict[str, tuple[float, float, tuple[Octave, ...]]] = {
    "ETH": (3_680.0, 1.15, _random_walk(30.0)),
    "SOL": (170.0, 1.4, _random_walk(50.0)),
    "USDT": (1.0002, 0.0, _mean_reverting(120.0)),
    "USDC": (1.0, 0.0, _mean_reverting(60.0)),
}


class Market:
    """The true middles of one run.

    Args:
        seed: decides every path; equal arguments give equal middles in every process.
        origin_ms: Unix ms at which the run starts; the path of other times, earlier ones too, is
            relative to it.
        start_minute: minute of the recording that plays at the origin. None lets the seed pick one
            that a lively but usual half-hour follows. At either end of the recording time turns
            round, so that the path is continuous for ever.
    """

    def __init__(self, seed: int, origin_ms: int, start_minute: int | None = None) -> None:
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
            base: SmoothNoise(f"market {base}", seed, octaves)
            for base, (_, _, octaves) in _FOLLOWERS.items()
        }
        self._minutes: OrderedDict[tuple[str, int], list[int]] = OrderedDict()

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
        return here + (knots[knot + 1] - here) * part_ms // _KNOT_MS

    def _remember(self, base: str, minute: int) -> list[int]:
        if base == "BTC":
            prices = self._btc_minute(minute)
        elif base in _FOLLOWERS:
            prices = self._follower_minute(base, minute)
        else:
            raise ValueError(f"the market has no {base!r}, only {', '.join(BASES)}")
        quanta = 10**MIDDLE_SCALE // _KNOT_QUANTUM
        knots = [round(price * quanta) * _KNOT_QUANTUM for price in prices]
        if len(self._minutes) >= _CACHED_MINUTES:
            self._minutes.popitem(last=False)
        self._minutes[base, minute] = knots
        return knots

    def _btc_minute(self, minute: int) -> list[float]:
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
        level, beta, _ = _FOLLOWERS[base]
        noise = self._noise[base]
        begin_ms = minute * _MINUTE_MS
        first_open = self._bars[0].open
        return [
            level * (btc / first_open) ** beta * (1.0 + noise.at(begin_ms + knot * _KNOT_MS))
            for knot, btc in enumerate(self._btc_minute(minute))
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

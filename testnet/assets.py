"""The assets of the simulated market: what each is worth at first, and how it moves.

`assets.csv`, one line an asset: its price in USD at the start of the recording, the exponent on
BTC's move since then, and its own noise in parts per million: of a random walk a second, or, for
what is pegged, of deviations that come back. Who wants another asset adds a line.
"""

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from testnet.noise import Octave

_TABLE = Path(__file__).with_name("assets.csv")
_WALK_PERIODS_S = (1, 4, 16, 64, 256, 1_024, 4_096, 16_384)
_PEG_PERIODS_S = (2, 15, 120, 900)

RECORDED = "BTC"
"""The asset that follows the recording itself."""


@dataclass(frozen=True, slots=True)
class Follower:
    """An asset that follows the recorded one: `level` in USD times (its move) ** `beta`, and noise.

    `decimals` is how finely its path is known.
    """

    level: float
    beta: float
    octaves: tuple[Octave, ...]
    decimals: int


@cache
def followers() -> dict[str, Follower]:
    """Return every asset but the recorded one, in the table's order."""
    found: dict[str, Follower] = {}
    with _TABLE.open(encoding="ascii", newline="") as lines:
        for row in csv.DictReader(lines, strict=True):
            level, beta, noise = float(row["usd"]), float(row["beta"]), float(row["noise_ppm"])
            octaves = _random_walk(noise) if row["kind"] == "walk" else _mean_reverting(noise)
            # So that the last bit of a platform's pow() cannot matter.
            decimals = 8 if level >= 0.1 else 10
            found[row["asset"]] = Follower(level, beta, octaves, decimals)
    return found


def _random_walk(step_ppm: float) -> tuple[Octave, ...]:
    """Return octaves that look like a random walk of `step_ppm` a second up to some hours."""
    return tuple(Octave(s * 1_000, step_ppm * 1e-6 * s**0.5) for s in _WALK_PERIODS_S)


def _mean_reverting(sigma_ppm: float) -> tuple[Octave, ...]:
    """Return octaves of one size: deviations that come back within minutes."""
    each_ppm = sigma_ppm / len(_PEG_PERIODS_S) ** 0.5
    return tuple(Octave(s * 1_000, each_ppm * 1e-6) for s in _PEG_PERIODS_S)

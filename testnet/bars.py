"""The recorded month of one-minute BTC/USD bars that the simulated market moves along."""

import csv
import gzip
import io
from dataclasses import dataclass
from functools import cache
from importlib import resources

_RECORDING = "btc_usd_1m_2022-01.csv.gz"


@dataclass(frozen=True, slots=True)
class Bar:
    """One recorded minute; prices in USD as traded."""

    unix_s: int
    open: float
    high: float
    low: float
    close: float


@cache
def recorded_bars() -> tuple[Bar, ...]:
    """Return every recorded minute, oldest first and without gaps."""
    packed = resources.files("testnet").joinpath("data", _RECORDING).read_bytes()
    rows = csv.reader(io.StringIO(gzip.decompress(packed).decode("ascii")))
    next(rows)
    return tuple(Bar(int(row[0]), *(float(price) for price in row[1:])) for row in rows)

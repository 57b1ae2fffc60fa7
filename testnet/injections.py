"""What goes wrong with prices, put into the recorded market.

Two kinds: something happens to one venue, which must not move the price and must be told; or to the
whole market, which the price must follow and whoever reads it must be warned of.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import sin

from testnet.quoted_market import PPM, Distortion

Shape = Callable[[float], float]
"""The relative change of a price, so many seconds after it began."""


@dataclass(frozen=True, slots=True)
class Injection:
    """A change of BTC's price, named as in `SHAPES`, at one venue, or everywhere (None)."""

    name: str
    venue: str | None = None

    @property
    def shape(self) -> Shape:
        """How the price changes."""
        return SHAPES[self.name]

    def distortion(self, begun_ms: int) -> Distortion:
        """Return by which factor each source's price is changed."""

        def factor_ppm(source: tuple[str, str, str], unix_ms: int) -> int:
            venue, base, _ = source
            if base != "BTC" or self.venue not in (None, venue) or unix_ms < begun_ms:
                return PPM
            return round(PPM * (1 + self.shape((unix_ms - begun_ms) / 1_000)))

        return factor_ppm


SHAPES: dict[str, Shape] = {
    "spike": lambda s: 0.02 if s < 2 else 0.0,
    "step": lambda _s: 0.02,
    "drift": lambda s: 0.0005 * min(s, 60),
    "slow drift": lambda s: 0.00006 * s,
    "burst": lambda s: 0.003 * sin(7.1 * s) * sin(1.3 * s) if s < 30 else 0.0,
}
"""A spike and a step of 2 %, drifts of 5 and 0.6 basis points a second, half a minute of swings."""


def injections(venue: str = "kraken") -> Iterator[Injection]:
    """Yield every shape at one venue, and everywhere."""
    yield from (Injection(name, venue) for name in SHAPES)
    yield from (Injection(name) for name in SHAPES)

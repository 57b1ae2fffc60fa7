"""What each simulated exchange trades: `pairs.csv`, one line a pair.

A venue is named with the pairs that it lists, with a tick of its own after a colon if the line's is
not the one it trades in. Who wants another pair everywhere adds a line; that its assets have a
middle is the market's matter.
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_TABLE = Path(__file__).with_name("pairs.csv")


@dataclass(frozen=True, slots=True)
class Listing:
    """One pair at one venue.

    `tick` is the smallest price step as text, `size_places` how many decimals sizes have,
    `spread_ppm` the usual whole spread at a venue with deep books.
    """

    base: str
    quote: str
    tick: str
    size_places: int
    spread_ppm: int


def listings(venue: str) -> Sequence[Listing]:
    """Return what a venue trades, in the table's order; ValueError if that is nothing."""
    listed = _table().get(venue)
    if listed is None:
        raise ValueError(f"{_TABLE.name} lists nothing at {venue!r}; add it to a pair's venues")
    return listed


@cache
def _table() -> dict[str, list[Listing]]:
    by_venue: dict[str, list[Listing]] = {}
    with _TABLE.open(encoding="ascii", newline="") as lines:
        for row in csv.DictReader(lines, strict=True):
            for entry in row["venues"].split():
                venue, _, tick = entry.partition(":")
                listing = Listing(
                    base=row["base"],
                    quote=row["quote"],
                    tick=tick or row["tick"],
                    size_places=int(row["size_places"]),
                    spread_ppm=int(row["spread_ppm"]),
                )
                by_venue.setdefault(venue, []).append(listing)
    return by_venue

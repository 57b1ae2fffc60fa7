"""The long tail: exchanges that only ccxt knows, as venues named `ccxt:<exchange>`."""

import re
from collections.abc import Sequence

from feeds.frames import Price
from feeds.symbols import separated
from feeds.venue import Liveness, Venue, VenueEndpoint, stateless

PREFIX = "ccxt:"

_NAME = re.compile(r"ccxt:[a-z0-9]{1,27}")


def ccxt_venue(name: str) -> Venue | None:
    """Return the venue of a name such as `ccxt:bitmart`, None for another name."""
    if not _NAME.fullmatch(name):
        return None
    return Venue(
        name=name,
        endpoint=VenueEndpoint(name),
        symbols=separated("/"),
        subscribe=lambda _symbols: [],
        reader=stateless(_no_frames),
        liveness=Liveness(any_frame_s=60, price_s=60),
    )


def _no_frames(_frame: str) -> Sequence[Price]:
    raise ValueError("ccxt is asked for prices, not for frames")

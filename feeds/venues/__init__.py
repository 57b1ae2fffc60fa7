"""The exchanges, by name: one file each."""

from collections.abc import Mapping
from types import MappingProxyType

from feeds.venue import Venue
from feeds.venues.binance import BINANCE
from feeds.venues.bitstamp import BITSTAMP
from feeds.venues.coinbase_exchange import COINBASE_EXCHANGE
from feeds.venues.gemini import GEMINI
from feeds.venues.kraken import KRAKEN
from feeds.venues.okx import OKX

VENUES: Mapping[str, Venue] = MappingProxyType(
    {venue.name: venue for venue in (BINANCE, BITSTAMP, COINBASE_EXCHANGE, GEMINI, KRAKEN, OKX)}
)

"""The exchanges, by name: one file each."""

from collections.abc import Mapping
from types import MappingProxyType

from feeds.ccxt_venue import ccxt_venue
from feeds.venue import Venue
from feeds.venues.binance import BINANCE
from feeds.venues.bitfinex import BITFINEX
from feeds.venues.bitstamp import BITSTAMP
from feeds.venues.bybit import BYBIT
from feeds.venues.coinbase_advanced import COINBASE_ADVANCED
from feeds.venues.coinbase_exchange import COINBASE_EXCHANGE
from feeds.venues.cryptocom import CRYPTOCOM
from feeds.venues.gate import GATE
from feeds.venues.gemini import GEMINI
from feeds.venues.htx import HTX
from feeds.venues.kraken import KRAKEN
from feeds.venues.kucoin import KUCOIN
from feeds.venues.mexc import MEXC
from feeds.venues.okx import OKX

VENUES: Mapping[str, Venue] = MappingProxyType(
    {
        venue.name: venue
        for venue in (
            *(BINANCE, BITFINEX, BITSTAMP, BYBIT, COINBASE_ADVANCED, COINBASE_EXCHANGE, CRYPTOCOM),
            *(GATE, GEMINI, HTX, KRAKEN, KUCOIN, MEXC, OKX),
        )
    }
)


def find_venue(name: str) -> Venue | None:
    """Return the exchange of this name, `ccxt:<exchange>` for one of ccxt's; None without one."""
    return VENUES.get(name) or ccxt_venue(name)

"""How pairs are spelled, and which pair a spelling means."""

import pytest

from feeds.venues import VENUES

MEANT = [
    ("binance", "BTCUSDT", "BTC", "USDT"),
    ("binance", "USDCUSDT", "USDC", "USDT"),
    ("binance", "BTCFDUSD", "BTC", "FDUSD"),
    ("binance", "ETHBTC", "ETH", "BTC"),
    ("bitstamp", "usdtusd", "USDT", "USD"),
    ("gemini", "btcusd", "BTC", "USD"),
    ("gemini", "btcgusd", "BTC", "GUSD"),
    ("gemini", "paxgusd", "PAXG", "USD"),
    ("kraken", "USDT/USD", "USDT", "USD"),
    ("okx", "BTC-USDT", "BTC", "USDT"),
    ("coinbase_exchange", "BTC-USD", "BTC", "USD"),
]


@pytest.mark.parametrize(("venue", "symbol", "base", "quote"), MEANT)
def test_a_symbol_means_its_pair_and_is_how_that_is_spelled(
    venue: str, symbol: str, base: str, quote: str
) -> None:
    assert VENUES[venue].symbols.pair(symbol) == (base, quote)
    assert VENUES[venue].symbol(base, quote) == symbol


@pytest.mark.parametrize(
    "symbol", ["", "-", "/", "USD", "usd", "XYZ", "A-", "/B", "A/B/C", "\u0663-USD-"]
)
def test_what_is_no_pair_is_refused(symbol: str) -> None:
    for venue in VENUES.values():
        with pytest.raises(ValueError, match=r"not BASE|no known quote currency|no pair"):
            venue.symbols.pair(symbol)

"""How an exchange spells a pair, and which pair it means by a spelling."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

Pair = tuple[str, str]
"""Base and quote currency, as we name them."""

QUOTES = ("FDUSD", "USDT", "USDC", "USD", "EUR", "GBP", "DAI", "BTC", "ETH")
"""Quote currencies that end a spelling without a separator, the longest match first."""


@dataclass(frozen=True, slots=True)
class Symbols:
    """The two directions: `spell(base, quote)`, and `pair(symbol)`, which raises ValueError."""

    spell: Callable[[str, str], str]
    pair: Callable[[str], Pair]


def separated(separator: str) -> Symbols:
    """Spell pairs as in `BTC-USD`."""

    def pair(symbol: str) -> Pair:
        base, found, quote = symbol.partition(separator)
        if not found or not base.isalnum() or not quote.isalnum():
            raise ValueError(f"not BASE{separator}QUOTE: {symbol[:40]!r}")
        return base.upper(), quote.upper()

    return Symbols(lambda base, quote: f"{base}{separator}{quote}", pair)


def joined(*, lower_case: bool = False, quotes: Sequence[str] = QUOTES) -> Symbols:
    """Spell pairs as in `BTCUSDT` or `btcusd`.

    `quotes` are the exchange's quote currencies; of several that fit, the longest is meant.
    """
    longest_first = sorted(quotes, key=len, reverse=True)

    def spell(base: str, quote: str) -> str:
        return f"{base}{quote}".lower() if lower_case else f"{base}{quote}"

    def pair(symbol: str) -> Pair:
        text = symbol.upper()
        for quote in longest_first:
            base = text.removesuffix(quote)
            if base and base != text and base.isalnum():
                return base, quote
        raise ValueError(f"no known quote currency ends {symbol[:40]!r}")

    return Symbols(spell, pair)

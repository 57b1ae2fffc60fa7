"""What a transaction offers per unit of gas (EIP-1559), in wei, never above the operator's cap."""

from dataclasses import dataclass
from typing import Final

BUMP_PERCENT: Final = 112
"""A replacement raises both fees by this; pools ask for 10 %."""

_GAS_FIXED: Final = 400_000
_GAS_PER_WORD: Final = 40_000


@dataclass(frozen=True, slots=True)
class Fees:
    """The two fees of a transaction."""

    max_fee: int
    tip: int


def first_offer(base_fee: int, tip_suggested: int, cap: int) -> Fees | None:
    """Return fees that last while the base fee doubles; None if the cap is below the base fee."""
    tip = max(1, min(tip_suggested, cap - base_fee))
    if base_fee + tip > cap:
        return None
    return Fees(min(2 * base_fee + tip, cap), tip)


def replacement(old: Fees, base_fee: int, tip_suggested: int, cap: int) -> Fees | None:
    """Return fees that every pool takes in place of the old ones; None if the cap forbids it."""
    fresh = first_offer(base_fee, tip_suggested, cap)
    if fresh is None:
        return None
    max_fee = max(_raised(old.max_fee), fresh.max_fee)
    tip = max(_raised(old.tip), fresh.tip)
    if max_fee > cap:
        return None
    return Fees(max_fee, min(tip, max_fee))


def gas_limit(words: int) -> int:
    """Return a bound of what a push uses, for any committee and the first write of each word.

    A bound, because an estimate would have the RPC server execute the whole verification.
    """
    return _GAS_FIXED + _GAS_PER_WORD * words


def _raised(fee: int) -> int:
    return -(-fee * BUMP_PERCENT // 100)

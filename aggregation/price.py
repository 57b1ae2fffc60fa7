"""The width of a price, and divisions that name their rounding."""

PRICE_MAX = 2**48 - 1
"""An answer holds 48 bits; a price beyond is unavailable."""

TIME_MAX_MS = 2**63 - 1
UINT64_MAX = 2**64 - 1

_POWERS = tuple(10**exponent for exponent in range(32))


def divide_up(dividend: int, divisor: int) -> int:
    """Return the quotient, rounded up."""
    return -(-dividend // divisor)


def rescale_down(value: int, from_decimals: int, to_decimals: int) -> int:
    """Return a scaled integer in another scale, rounded down."""
    shift = to_decimals - from_decimals
    if shift >= 0:
        return value * (_POWERS[shift] if shift < len(_POWERS) else int(10**shift))
    return value // (_POWERS[-shift] if -shift < len(_POWERS) else int(10**-shift))


def rescale_up(value: int, from_decimals: int, to_decimals: int) -> int:
    """Return a scaled integer in another scale, rounded up."""
    return -rescale_down(-value, from_decimals, to_decimals)

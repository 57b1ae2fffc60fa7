"""Exact decimal texts of the integers that books are made of."""

SCALE = 12
"""Prices and sizes of a book are integers scaled by 10**SCALE."""

ONE = 1_000_000_000_000


def scaled(text: str) -> int:
    """Return the integer for a plain decimal number such as `0.01`; too fine ones raise."""
    whole, _, fraction = text.partition(".")
    if len(fraction) > SCALE:
        raise ValueError(f"{text} has more than {SCALE} decimals")
    return int(whole) * ONE + int(fraction.ljust(SCALE, "0"))


def plain(value: int, places: int) -> str:
    """Return `value` with exactly `places` decimals, finer ones cut off."""
    whole, fraction = divmod(value, ONE)
    return f"{whole}.{fraction // 10 ** (SCALE - places):0{places}d}" if places else f"{whole}"


def shortest(value: int) -> str:
    """Return `value` without trailing zeros, as JSON numbers are printed."""
    whole, fraction = divmod(value, ONE)
    return f"{whole}.{fraction:0{SCALE}d}".rstrip("0").rstrip(".")

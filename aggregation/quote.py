"""What a source says, and the price that a feed makes of it."""

from dataclasses import dataclass
from enum import StrEnum
from re import compile as pattern
from typing import NamedTuple

from aggregation.feed import PPM, FeedSpec, SourceSpec
from aggregation.price import PRICE_MAX, divide_up, rescale_down, rescale_up

QUOTE_SCALE = 12
"""Prices of quotes are integers scaled by 10**12, whatever the venue writes."""

DECIMAL_TEXT_MAX = 64
FUTURE_STAMP_MAX_MS = 2_000
"""How far an exchange's time may lead the local wall clock."""

NS_OF_MS = 1_000_000

_DECIMAL = pattern(r"([0-9]{1,18})(?:\.([0-9]{1,40}))?(?:[eE]([+-]?[0-9]{1,2}))?")


class RejectReason(StrEnum):
    """Why a source does not count; for health and alarms."""

    NO_QUOTE = "no quote yet"
    CROSSED = "not 0 < bid <= ask"
    WIDE_SPREAD = "half-spread beyond the feed's limit"
    STALE = "older than the source's limit"
    FUTURE_STAMP = "the exchange's time is in the future"
    UNREPRESENTABLE = "does not fit 48 bits"
    NO_CONVERSION_RATE = "too few direct books of the quote currency"


@dataclass(frozen=True, slots=True)
class RawQuote:
    """The newest of one venue's book for one pair, as it arrived.

    `bid`, `ask` and `last` are integers scaled by 10**`scale` (`QUOTE_SCALE`); `last` is None
    unless the last trade is as fresh as the book. `received_ns` is the receiving process's
    monotonic clock; the exchange's own time only orders and rejects future stamps.
    """

    venue: str
    base: str
    quote: str
    bid: int
    ask: int
    last: int | None
    scale: int
    exchange_time_ms: int | None
    sequence: int | None
    received_ns: int


# Tuples and no dataclasses: each observation makes one of every source, in a tenth of the time.


class Quote(NamedTuple):
    """A quote in the decimals of the feed that uses it."""

    bid: int
    ask: int
    last: int | None
    age_ms: int


class SourcePrice(NamedTuple):
    """A source's price and half its spread, in the feed's units."""

    price: int
    half_spread: int


class Rejected(NamedTuple):
    """A source that does not count, and why."""

    reason: RejectReason


def parse_decimal(text: str) -> int:
    """Return a plain decimal as an integer scaled by 10**`QUOTE_SCALE`, exactly.

    Takes at most 18 digits before the point, and a short exponent. Raises `ValueError` for a sign,
    a value finer than the scale or of 10**18 and more, and anything else that is no number.
    """
    match = _DECIMAL.fullmatch(text) if len(text) <= DECIMAL_TEXT_MAX else None
    if match is None:
        raise ValueError(f"not a plain decimal number: {text[:DECIMAL_TEXT_MAX]!r}")
    whole, fraction, exponent = match[1], match[2] or "", int(match[3] or 0)
    digits = int(whole + fraction)
    shift = QUOTE_SCALE + exponent - len(fraction)
    if shift >= 0:
        scaled = digits * int(10**shift)
    else:
        scaled, rest = divmod(digits, int(10**-shift))
        if rest:
            raise ValueError(f"finer than {QUOTE_SCALE} decimals: {text!r}")
    if scaled >= 10 ** (18 + QUOTE_SCALE):
        raise ValueError(f"too large: {text!r}")
    return scaled


def quote_for(raw: RawQuote, feed: FeedSpec, now_ns: int) -> Quote:
    """Return a quote in a feed's decimals: bid and last rounded down, ask and age up."""
    scale, decimals = raw.scale, feed.decimals
    last = None if raw.last is None else rescale_down(raw.last, scale, decimals)
    age_ns = now_ns - raw.received_ns
    return Quote(
        rescale_down(raw.bid, scale, decimals),
        rescale_up(raw.ask, scale, decimals),
        last,
        divide_up(age_ns, NS_OF_MS) if age_ns > 0 else 0,
    )


def source_price(quote: Quote, source: SourceSpec, feed: FeedSpec) -> SourcePrice | Rejected:
    """Return a source's price: its last trade clamped into the book, else the book's middle.

    The middle is rounded down, the half-spread up.
    """
    bid, ask, last, age_ms = quote
    if not 0 < bid <= ask:
        return Rejected(RejectReason.CROSSED)
    if ask > PRICE_MAX:
        return Rejected(RejectReason.UNREPRESENTABLE)
    if age_ms > source.max_age_ms:
        return Rejected(RejectReason.STALE)
    if (ask - bid) * PPM > feed.max_half_spread_ppm * (ask + bid):
        return Rejected(RejectReason.WIDE_SPREAD)
    price = (bid + ask) // 2 if last is None else min(max(last, bid), ask)
    return SourcePrice(price, divide_up(ask - bid, 2))

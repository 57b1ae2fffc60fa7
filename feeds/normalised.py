"""What frames mean, as plain documents: the same for every venue, with exact decimals."""

from typing import Any

from aggregation.quote import QUOTE_SCALE
from feeds.frames import (
    Acknowledged,
    Alive,
    Decoded,
    Gap,
    Greeting,
    Price,
    Reconnect,
    Refused,
    Reply,
    Trading,
    Undecodable,
    told,
)
from feeds.venue import Venue

Document = dict[str, Any]


def decimal_text(scaled: int, decimals: int = QUOTE_SCALE) -> str:
    """Return a price scaled by 10**`decimals` as a plain decimal without needless zeros."""
    whole, fraction = divmod(scaled, 10**decimals)
    return f"{whole}.{fraction:0{decimals}d}".rstrip("0").rstrip(".") if decimals else str(whole)


def document_of(decoded: Decoded, venue: Venue) -> Document:
    """Return a quote (venue, pair, bid, ask, last, exchange_time_ms, sequence), or a `kind`.

    Prices are decimal texts; None where the frame has none, an empty side of the book included.
    A symbol that is no pair of the venue makes the frame undecodable.
    """
    match decoded:
        case Price():
            return _quote(decoded, venue)
        case Acknowledged(key):
            return {"kind": "acknowledgement", "key": key}
        case Refused(key, reason):
            return {"kind": "error", "key": key, "reason": reason}
        case Alive(exchange_time_ms):
            return {"kind": "heartbeat", "exchange_time_ms": exchange_time_ms}
        case Reply(text):
            return {"kind": "heartbeat", "exchange_time_ms": None, "reply": text}
        case Greeting():
            return {"kind": "greeting"}
        case Gap(reason):
            return {"kind": "gap", "reason": reason}
        case Trading(online, reason):
            return {"kind": "status", "trading": online, "reason": reason}
        case Reconnect(reason):
            return {"kind": "reconnect", "reason": reason}
        case Undecodable(reason):
            return {"kind": "undecodable", "reason": reason}


def _quote(price: Price, venue: Venue) -> Document:
    try:
        base, quote = venue.symbols.pair(price.symbol)
    except ValueError as error:
        return {"kind": "undecodable", "reason": told(error)}
    return {
        "venue": venue.name,
        "pair": f"{base}/{quote}",
        "bid": decimal_text(price.bid) if price.bid else None,
        "ask": decimal_text(price.ask) if price.ask else None,
        "last": decimal_text(price.last) if price.last else None,
        "exchange_time_ms": price.exchange_time_ms,
        "sequence": price.sequence,
    }

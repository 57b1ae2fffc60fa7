"""A recorded session: quotes as `didyma feeds decode` prints them, one JSON object a line.

Besides venue, pair, bid, ask, last, exchange_time_ms and sequence, each has `received_ms`: when it
came, Unix milliseconds, never less than in the line before. A source whose quote must not be used
any more is `{"kind": "withdrawn", "venue", "pair", "received_ms"}`. Other kinds are passed over.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, BinaryIO

import msgspec
from msgspec import Meta, Struct

from aggregation.price import TIME_MAX_MS
from aggregation.quote import NS_OF_MS, QUOTE_SCALE, RawQuote, parse_decimal
from aggregation.sources import SourceKey
from feeds.normalised import decimal_text
from node.errors import ConfigurationError, OperatorError

LINE_BYTES_MAX = 4096

_Text = Annotated[str, Meta(max_length=64)]
_Time = Annotated[int, Meta(ge=0, le=TIME_MAX_MS)]


class _Line(Struct, frozen=True):
    venue: _Text = ""
    pair: _Text = ""
    received_ms: _Time | None = None
    bid: _Text | None = None
    ask: _Text | None = None
    last: _Text | None = None
    exchange_time_ms: _Time | None = None
    sequence: int | None = None
    kind: _Text | None = None


class Withdrawn(Struct, frozen=True):
    """A source whose newest quote must not be used any more."""

    key: SourceKey


Event = tuple[int, RawQuote | Withdrawn]
"""When it happened (Unix ms), and what."""

_decoder = msgspec.json.Decoder(_Line)


def line_of(event: Event) -> bytes:
    """Return an event as a line."""
    received_ms, what = event
    if isinstance(what, Withdrawn):
        venue, base, quote = what.key
        gone = {"kind": "withdrawn", "venue": venue, "pair": f"{base}/{quote}"}
        return msgspec.json.encode(gone | {"received_ms": received_ms}) + b"\n"
    said = {
        "venue": what.venue,
        "pair": f"{what.base}/{what.quote}",
        "bid": decimal_text(what.bid) if what.bid else None,
        "ask": decimal_text(what.ask) if what.ask else None,
        "last": decimal_text(what.last) if what.last else None,
        "exchange_time_ms": what.exchange_time_ms,
        "sequence": what.sequence,
        "received_ms": received_ms,
    }
    return msgspec.json.encode(said) + b"\n"


def read_session(path: Path) -> Iterator[Event]:
    """Yield what a session holds, in its order; raise `OperatorError` that names the line."""
    try:
        with path.open("rb") as lines:
            yield from _events(path, lines)
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read ({error.strerror})") from None


def _events(path: Path, lines: BinaryIO) -> Iterator[Event]:
    before_ms, number = 0, 0
    while line := lines.readline(LINE_BYTES_MAX + 1):
        number += 1
        place = f"{path}, line {number}"
        if len(line) > LINE_BYTES_MAX:
            raise OperatorError(f"{place}: longer than {LINE_BYTES_MAX} bytes; is it a session?")
        if not line.strip():
            continue
        try:
            event = _event(_decoder.decode(line))
        except (ValueError, RecursionError) as error:
            raise OperatorError(f"{place}: {error}; correct or remove that line") from None
        if event is None:
            continue
        if event[0] < before_ms:
            raise OperatorError(f"{place}: received before the line above; sort by received_ms")
        before_ms = event[0]
        yield event


def _event(line: _Line) -> Event | None:
    if line.kind is not None and line.kind != "withdrawn":
        return None
    if line.received_ms is None:
        raise ValueError("it has no received_ms, without which nobody knows when it counted")
    base, slash, quote = line.pair.partition("/")
    if not (line.venue and base and slash and quote):
        raise ValueError(f"a quote needs a venue, and a pair such as BTC/USD, not {line.pair!r}")
    if line.kind == "withdrawn":
        return line.received_ms, Withdrawn((line.venue, base, quote))
    return line.received_ms, RawQuote(
        line.venue,
        base,
        quote,
        parse_decimal(line.bid) if line.bid else 0,
        parse_decimal(line.ask) if line.ask else 0,
        parse_decimal(line.last) if line.last else None,
        QUOTE_SCALE,
        line.exchange_time_ms,
        line.sequence,
        line.received_ms * NS_OF_MS,
    )

"""Frames as they were recorded, one a line: text as it is, binary ones in base64."""

import base64
import binascii
from collections.abc import Iterator
from typing import BinaryIO

from msgspec.json import encode

from feeds.frames import Decoded, Undecodable
from feeds.normalised import document_of
from feeds.venue import Reader, Venue

LINE_BYTES_MAX = 1024 * 1024


def documents_of_lines(venue: Venue, lines: BinaryIO) -> Iterator[list[str]]:
    """Yield what each line's frame means, as JSON texts; blank lines are no frames.

    The lines are one connection's, in its order. Never raises for what a line holds.
    """
    reader = venue.reader()
    while line := lines.readline(LINE_BYTES_MAX + 1):
        if len(line) > LINE_BYTES_MAX:
            _skip_rest(lines, line)
            found: list[Decoded] = [Undecodable(f"a line of more than {LINE_BYTES_MAX} bytes")]
        elif stripped := line.strip():
            found = list(_decode(reader, stripped))
        else:
            continue
        yield [encode(document_of(decoded, venue)).decode() for decoded in found]


def _decode(reader: Reader, line: bytes) -> Iterator[Decoded]:
    if reader.binary is not None and line[:1] not in b"{[":
        try:
            frame = base64.b64decode(line, validate=True)
        except (binascii.Error, ValueError):
            yield Undecodable("neither JSON text nor base64")
            return
        yield from reader.decode(frame)
        return
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError:
        yield Undecodable("not UTF-8 text; a binary frame must be in base64")
        return
    yield from reader.decode(text)


def _skip_rest(lines: BinaryIO, line: bytes) -> None:
    while line and not line.endswith(b"\n"):
        line = lines.readline(LINE_BYTES_MAX)

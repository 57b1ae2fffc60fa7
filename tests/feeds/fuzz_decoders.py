"""Fuzzes a decoder with Atheris: `python -m tests.feeds.fuzz_decoders VENUE --executions N`.

Whatever a frame holds, decoding raises nothing, stays small, and makes no price that the frame does
not spell: each bid and ask is a decimal in it, and each symbol stands there, or was subscribed to.
"""

import argparse
import gzip
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["feeds"]):
    from feeds.frames import DECIMAL_LENGTH_MAX, Price, scaled_text
    from feeds.venues import VENUES
from tests.feeds.test_decoding import BITFINEX_SUBSCRIBED, TABLE

DECODED_MAX = 1_000
FRAME_BYTES_MAX = 4_096
MEMORY_MIB_MAX = 1_024
_DECIMAL = re.compile(r"\d+(?:\.\d+)?(?:[eE][+-]?\d+)?")
_COMPRESSED = {"htx"}
_BINARY = {"mexc"}
_BEFORE = {"bitfinex": (BITFINEX_SUBSCRIBED, "tETHUSD")}
"""What a connection has heard before, and the symbol that it then knows."""


def spelled(text: str, *, framed: bool) -> Iterator[int]:
    """Yield what the decimals in a text come to, scaled.

    In a binary frame a length may end a decimal in the middle of digits that go on.
    """
    tokens = _DECIMAL.findall(text)
    if framed:
        tokens = {
            token[start:end]
            for token in tokens
            for start in range(len(token))
            for end in range(start + 1, min(len(token), start + DECIMAL_LENGTH_MAX) + 1)
        }
    for token in tokens:
        try:
            yield scaled_text(token)
        except (ValueError, ArithmeticError):
            continue


def check_price(price: Price, text: str, known: str, *, framed: bool = False) -> None:
    """Raise unless a price is in the text that it was read from."""
    values = {0, *spelled(text, framed=framed)}
    assert price.bid in values, f"a bid of {price.bid}, which stands nowhere"
    assert price.ask in values, f"an ask of {price.ask}, which stands nowhere"
    # An escaped text spells symbols in another way.
    said = price.symbol.lower() in text.lower() or price.symbol == known or "\\" in text
    assert said, f"{price.symbol} stands nowhere"


def checker(venue: str) -> Callable[[bytes], None]:
    """Return what decodes one input and checks what came of it."""
    exchange = VENUES[venue]
    before, known = _BEFORE.get(venue, ("", ""))

    def frames(data: bytes) -> Iterator[tuple[str | bytes, str]]:
        text = data.decode("utf-8", "replace")
        if venue in _BINARY:
            yield data, data.decode("latin-1")
        if venue in _COMPRESSED:
            yield gzip.compress(data, 1), text
            yield data, ""
        yield text, text

    def check(data: bytes) -> None:
        for frame, text in frames(data):
            reader = exchange.reader()
            if before:
                reader.decode(before)
            decoded = reader.decode(frame)
            assert len(decoded) <= DECODED_MAX
            for one in decoded:
                if isinstance(one, Price) and text:
                    check_price(one, text, known, framed=venue in _BINARY)

    return check


def seeds(venue: str) -> Iterator[bytes]:
    """Yield what is known to mean something."""
    for name, frame, _ in TABLE:
        if name != venue:
            continue
        if isinstance(frame, str):
            yield frame.encode()
        else:
            yield gzip.decompress(frame) if venue in _COMPRESSED else frame


def main() -> None:
    """Run until the executions are done, or something is found; then the exit status is not 0."""
    parser = argparse.ArgumentParser(prog="fuzz_decoders", description=__doc__)
    parser.add_argument("venue", choices=sorted(VENUES))
    parser.add_argument("--executions", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="didyma-fuzz-") as corpus:
        for number, frame in enumerate(seeds(given.venue)):
            (Path(corpus) / f"seed-{number}").write_bytes(frame)
        options = {
            "atheris_runs": given.executions,
            "seed": given.seed,
            "max_len": FRAME_BYTES_MAX,
            "rss_limit_mb": MEMORY_MIB_MAX,
            "timeout": 5,
            "artifact_prefix": f"{tempfile.gettempdir()}/{given.venue}-",
        }
        atheris.Setup(
            [sys.argv[0], *(f"-{name}={value}" for name, value in options.items()), corpus],
            checker(given.venue),
        )
        atheris.Fuzz()


if __name__ == "__main__":
    main()

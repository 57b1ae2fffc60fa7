"""A million frames for each decoder, and that the fuzzer sees a decoder that guesses."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from feeds.frames import Price
from feeds.venues import VENUES

EXECUTIONS = 1_000_000


@pytest.mark.slow
@pytest.mark.checkout
@pytest.mark.parametrize("venue", sorted(VENUES))
def test_a_million_frames_are_decoded_or_refused(venue: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "tests.feeds.fuzz_decoders", venue),
            *("--executions", str(EXECUTIONS)),
        ],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        check=False,
        timeout=900,
    )
    told = done.stderr.decode(errors="replace")
    assert done.returncode == 0, told[-3_000:]
    assert f"Done {EXECUTIONS} in" in told


@pytest.mark.checkout
@pytest.mark.parametrize(
    "guessed",
    [
        Price("BTC/USD", 10**12, 3 * 10**12),
        Price("BTC/USD", 2 * 10**12, 10**12),
        Price("ETH/USD", 2 * 10**12, 3 * 10**12),
    ],
)
def test_a_price_that_no_frame_spells_is_found(guessed: Price) -> None:
    from tests.feeds.fuzz_decoders import check_price

    frame = '{"symbol":"BTC/USD","bid":2.0,"ask":"3"}'
    check_price(Price("BTC/USD", 2 * 10**12, 3 * 10**12), frame, "")
    with pytest.raises(AssertionError, match="stands nowhere"):
        check_price(guessed, frame, "")

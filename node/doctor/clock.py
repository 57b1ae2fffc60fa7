"""The clock, against those of the servers that the node talks to anyway.

An HTTP answer's `Date` (RFC 9110, 6.6.1) names a second that the server's clock was in while the
request was under way. So each answer says that our clock is ahead by something between two bounds;
what most of them agree on is found as in Marzullo's algorithm, and is exact to some 10 ms after
a few answers, since requests fall on different parts of a second.
"""

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from email.utils import parsedate_to_datetime
from typing import Final

import aiohttp

from node.doctor.finding import Finding, failed, ok, skipped, warning

AHEAD_MS_WARNING: Final = 100
ASKED_TIMES: Final = 4
SERVERS_MIN: Final = 2
_TIMEOUT: Final = aiohttp.ClientTimeout(total=4)

Bounds = tuple[float, float]
"""By how many milliseconds, at least and at most, our clock is ahead of a server's."""


async def clock(urls: Sequence[str], skew_ms_max: int) -> Finding:
    """Compare our clock with the servers'; `skew_ms_max` is what the committee's timing bears."""
    async with aiohttp.ClientSession(timeout=_TIMEOUT) as session:
        answers = await asyncio.gather(*(_ask(session, url) for url in urls))
    by_server = [bounds for bounds in answers if bounds]
    if len(by_server) < SERVERS_MIN:
        return skipped("clock", "fewer than two servers tell the time; see that NTP runs")
    low, high, servers = agreed(by_server)
    if 2 * servers <= len(by_server):
        return skipped("clock", "the servers do not agree on the time; see that NTP runs")
    said = f"{_told(low, high)}, by {servers} of {len(by_server)} servers"
    remedy = "let chrony or systemd-timesyncd keep it, and check with `timedatectl`"
    if low > skew_ms_max or high < -skew_ms_max:
        return failed("clock", f"{said}; members refuse more than {skew_ms_max} ms", remedy)
    if low > AHEAD_MS_WARNING or high < -AHEAD_MS_WARNING:
        return warning("clock", said, remedy)
    return ok("clock", said)


def agreed(by_server: Sequence[Bounds]) -> tuple[float, float, int]:
    """Return the bounds that the most servers agree on, and how many they are (Marzullo 1984)."""
    edges = sorted([(low, -1) for low, _ in by_server] + [(high, 1) for _, high in by_server])
    best = count = 0
    low = high = 0.0
    for index, (at, kind) in enumerate(edges):
        count -= kind
        if kind < 0 and count > best:
            best, low, high = count, at, edges[index + 1][0]
    return low, high, best


async def _ask(session: aiohttp.ClientSession, url: str) -> Bounds | None:
    """Narrow down one server's clock with a few requests at different parts of a second."""
    low, high = float("-inf"), float("inf")
    for _ in range(ASKED_TIMES):
        with suppress(aiohttp.ClientError, TimeoutError, OSError, ValueError, TypeError):
            before_ms = time.time() * 1000
            async with session.head(url, allow_redirects=False) as answer:
                after_ms = time.time() * 1000
                second_ms = parsedate_to_datetime(answer.headers["Date"]).timestamp() * 1000
            low = max(low, before_ms - second_ms - 1000)
            high = min(high, after_ms - second_ms)
        await asyncio.sleep(0.27)
    return (low, high) if low <= high < float("inf") else None


def _told(low: float, high: float) -> str:
    middle, apart = (low + high) / 2, (high - low) / 2
    if abs(middle) <= apart:
        return f"right to ±{max(abs(low), abs(high)):.0f} ms"
    side = "ahead" if middle > 0 else "behind"
    return f"{abs(middle):.0f} ms {side} (±{apart:.0f} ms)"

"""Measures how late each event loop wakes up: the first sign of a node that cannot keep up."""

import asyncio

import trio

from node.metrics import Metrics

_INTERVAL_SECONDS = 0.5


async def watch_trio(metrics: Metrics) -> None:
    """Measure the loop of the consensus until cancelled; runs in trio."""
    lag = metrics.loop_lag.labels("trio")
    while True:
        due = trio.current_time() + _INTERVAL_SECONDS
        await trio.sleep_until(due)
        lag.observe(max(0.0, trio.current_time() - due))


async def watch_asyncio(metrics: Metrics) -> None:
    """Measure the loop of input and output until cancelled; runs in asyncio."""
    lag = metrics.loop_lag.labels("asyncio")
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + _INTERVAL_SECONDS
        await asyncio.sleep(_INTERVAL_SECONDS)
        lag.observe(max(0.0, loop.time() - due))

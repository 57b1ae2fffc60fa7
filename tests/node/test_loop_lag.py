"""Both loops are watched."""

import asyncio

import pytest
import trio
import trio.testing

from node import loop_lag
from node.metrics import Metrics


def counted(metrics: Metrics, loop: str) -> float:
    return metrics.registry.get_sample_value("didyma_loop_lag_seconds_count", {"loop": loop}) or 0


async def test_the_trio_loop(autojump_clock: trio.testing.MockClock) -> None:
    metrics = Metrics(process=False)
    with trio.move_on_after(2.2):
        await loop_lag.watch_trio(metrics)
    assert counted(metrics, "trio") == 4


def test_the_asyncio_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_lag, "_INTERVAL_SECONDS", 0.0)
    metrics = Metrics(process=False)

    async def main() -> None:
        task = asyncio.create_task(loop_lag.watch_asyncio(metrics))
        for _ in range(10):
            await asyncio.sleep(0)
        task.cancel()

    asyncio.run(main())
    assert counted(metrics, "asyncio") > 0

"""Quotes into prices, as a node does it: how late, at what cost, and what a flood does to it.

    make bench-feeds                              2,000 and 20,000 quotes/s, beside four nodes
    make bench-feeds ARGS="--alone --rates 500"   nothing beside it; other rates; --json

A process of its own plays four exchanges, whose frames bear the moment of their sending in the
sequence. The measured process is built as a node is: the feeds in the asyncio thread, the member's
observations in the trio thread. A few times a second it observes, announced as by the runtime, and
takes the time: *arrival* from the sending of the newest frame to its quote being taken, *price*
from asking for the observation to having the prices of all feeds, *together* from the sending of
that frame to having the prices; *age* of the newest quote of every source, which a backlog would
raise and which at few quotes a source is the time between two of them. `core` is the share of
one core that the feeds' thread took. Beside it four nodes agree, on the same cores.
"""

import argparse
import asyncio
import json
import random
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from struct import pack
from typing import Any

import psutil
import trio
from aiohttp import WSMsgType, web
from real_nodes import running

from aggregation.feed import FeedSpec, SourceSpec
from aggregation.quote import RawQuote
from aggregation.table import FeedTable
from feeds.service import FeedService
from feeds.venue import VenueEndpoint
from node.asyncio_thread import AsyncioThread
from node.observer import Observer

FRAMES = {
    "binance": '{{"u":{stamp},"s":"{symbol}","b":"{bid}.01","B":"4.77","a":"{bid}.02","A":"11.3"}}',
    "okx": (
        '{{"arg":{{"channel":"bbo-tbt","instId":"{symbol}"}},"data":[{{"asks":[["{bid}.02","4","0",'
        '"13"]],"bids":[["{bid}.01","2","0","12"]],"ts":"{unix_ms}","seqId":{stamp}}}]}}'
    ),
    "coinbase_exchange": (
        '{{"type":"ticker","sequence":{stamp},"product_id":"{symbol}","price":"{bid}.01",'
        '"open_24h":"16869","volume_24h":"42492.05081975","low_24h":"1","high_24h":"2",'
        '"best_bid":"{bid}.01","best_bid_size":"0.6","best_ask":"{bid}.02","best_ask_size":"0.2",'
        '"side":"sell","time":"{rfc3339}","trade_id":463751434,"last_size":"0.1"}}'
    ),
    "gemini": (
        '{{"u":{stamp},"E":{unix_ms}000000,"s":"{symbol}","b":"{bid}.01","B":"958.7",'
        '"a":"{bid}.02","A":"38.4","c":"{bid}.01","C":"4.7"}}'
    ),
}
SYMBOLS = {
    "binance": "{}USD", "okx": "{}-USD", "coinbase_exchange": "{}-USD", "gemini": "{}usd",
}  # fmt: skip
FEEDS = 30
BURST_S = 0.002
BACKLOG_BYTES = 64 * 1024
PAUSE_S = (0.12, 0.2)
WARM_UP_S = 2.0
START_SECONDS_MAX = 240.0


def main() -> int:
    given = _arguments()
    if given.serve:
        asyncio.run(_serve(given.serve))
        return 0
    results = []
    with ExitStack() as stack:
        if not given.alone:
            root = stack.enter_context(tempfile.TemporaryDirectory(prefix="didyma-bench-"))
            cluster = stack.enter_context(running(4, 4.0, 200.0, Path(root)))
            cluster.wait_for_rounds(8, START_SECONDS_MAX)
        for rate in given.rates:
            results.append(_measure(rate, given.seconds))
            if not given.json:
                print(_row(results[-1], heading=len(results) == 1), flush=True)
    if given.json:
        print(json.dumps({"beside_nodes": not given.alone, "rates": results}))
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rates", type=int, nargs="+", default=[2_000, 20_000], metavar="N")
    parser.add_argument("--seconds", type=float, default=10.0, help="length of each measurement")
    parser.add_argument("--alone", action="store_true", help="without nodes beside it")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if not all(1 <= rate <= 200_000 for rate in given.rates):
        parser.error("rates are 1 to 200000 quotes a second")
    return given


# The exchanges.


async def _serve(rate: int) -> None:
    """Play the exchanges: so many quotes a second, evenly over all pairs of all venues."""
    urls = {}
    for name in FRAMES:
        app = web.Application()
        app.router.add_get("/", _Exchange(name, rate / len(FRAMES)).handle)
        runner = web.AppRunner(app, handle_signals=False, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        urls[name] = f"ws://127.0.0.1:{runner.addresses[0][1]}/"
    print(json.dumps(urls), flush=True)
    await asyncio.Event().wait()


class _Exchange:
    def __init__(self, name: str, rate: float) -> None:
        self._frame = FRAMES[name]
        self._symbols = [SYMBOLS[name].format(base) for base in _bases()]
        if name == "gemini":
            self._symbols = [symbol.lower() for symbol in self._symbols]
        self._rate = rate

    async def handle(self, request: web.Request) -> web.StreamResponse:
        ws = web.WebSocketResponse(autoping=False, compress=False)
        await ws.prepare(request)
        assert isinstance(request.transport, asyncio.WriteTransport)
        peer = request.transport.get_extra_info("socket")
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BACKLOG_BYTES)
        flood = asyncio.create_task(self._flood(request.transport))
        async for message in ws:
            if message.type is WSMsgType.TEXT and message.data == "ping":
                await ws.send_str("pong")
        flood.cancel()
        return ws

    async def _flood(self, transport: asyncio.WriteTransport) -> None:
        begun, sent = time.monotonic(), 0
        while not transport.is_closing():
            await asyncio.sleep(BURST_S)
            due = int((time.monotonic() - begun) * self._rate)
            if due - sent > self._rate or transport.get_write_buffer_size():
                # An exchange does not make up for what a slow client made it miss.
                begun, sent = time.monotonic(), 0
                continue
            unix_ms = time.time_ns() // 1_000_000
            seconds, millis = divmod(unix_ms, 1000)
            rfc3339 = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{millis:03}Z"
            stamp = time.monotonic_ns()
            frames = []
            for number in range(sent, due):
                text = self._frame.format(
                    symbol=self._symbols[number % FEEDS],
                    stamp=stamp + number - due,
                    bid=1000 + number % 7,
                    unix_ms=unix_ms,
                    rfc3339=rfc3339,
                )
                size = len(text)
                frames.append(
                    pack("!BB", 0x81, size) if size < 126 else pack("!BBH", 0x81, 126, size)
                )
                frames.append(text.encode())
            transport.write(b"".join(frames))
            sent = due


def _bases() -> list[str]:
    return [f"C{number}" for number in range(FEEDS)]


def _table() -> FeedTable:
    return FeedTable(
        tuple(
            FeedSpec(
                base, "USD", 7, 1, 3, 5_000, 1_000, 30_000,
                tuple(SourceSpec(venue, base, "USD", 10, 10_000) for venue in FRAMES),
            )
            for base in _bases()
        )
    )  # fmt: skip


# The measured process.


@dataclass
class _Samples:
    arrival_ms: list[float] = field(default_factory=list)
    price_ms: list[float] = field(default_factory=list)
    together_ms: list[float] = field(default_factory=list)
    age_ms: list[float] = field(default_factory=list)


class _Taker:
    """Takes quotes as a node's observer does, and keeps the newest of each source besides."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self.newest: RawQuote | None = None
        self.by_source: dict[tuple[str, str], RawQuote] = {}
        self.taken = 0

    def take(self, quote: RawQuote) -> None:
        self._observer.take(quote)
        self.newest = quote
        self.by_source[quote.venue, quote.base] = quote
        self.taken += 1


def _measure(rate: int, seconds: float) -> dict[str, Any]:
    with _exchanges(rate) as urls:
        return trio.run(_measured, rate, seconds, urls)


@contextmanager
def _exchanges(rate: int) -> Iterator[dict[str, str]]:
    process = subprocess.Popen(
        [sys.executable, __file__, "--serve", str(rate)], stdout=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())
    finally:
        process.kill()
        process.wait()


async def _measured(rate: int, seconds: float, urls: dict[str, str]) -> dict[str, Any]:
    table = _table()
    observer = Observer(table)
    taker = _Taker(observer)
    endpoints = {name: VenueEndpoint(url) for name, url in urls.items()}
    samples = _Samples()
    chance = random.Random(rate)
    async with AsyncioThread() as thread:
        service = FeedService(table, endpoints, taker.take, on_socket=thread.let_wait)
        thread.start(service.run)
        await trio.sleep(WARM_UP_S)
        memory = psutil.Process().memory_info().rss
        cpu = await thread.run(_thread_cpu)
        begun, taken, frames = time.monotonic(), taker.taken, _frames(service)
        while time.monotonic() - begun < seconds:
            pause_s = chance.uniform(*PAUSE_S)
            # As the runtime does: what waits on sockets is read shortly before it is wanted.
            thread.expect(pause_s)
            await trio.sleep(pause_s)
            _observe(observer, taker, samples)
        took = time.monotonic() - begun
        cpu = await thread.run(_thread_cpu) - cpu
        grown = psutil.Process().memory_info().rss - memory
        health = service.health()
        return {
            "offered_per_s": rate,
            "frames_per_s": round((_frames(service) - frames) / took),
            "quotes_per_s": round((taker.taken - taken) / took),
            "core": round(cpu / took, 3),
            "sources": len(health),
            "live": sum(one.delivers for one in health),
            "faults": sum({one.venue: one.faults for one in health}.values()),
            "reconnects": sum({one.venue: one.reconnects for one in health}.values()),
            "grown_kib": grown // 1024,
            **{
                name: {"p50": _quantile(values, 50), "p99": _quantile(values, 99)}
                for name, values in vars(samples).items()
            },
        }


async def _thread_cpu() -> float:
    assert threading.current_thread() is not threading.main_thread()
    return time.thread_time()


def _frames(service: FeedService) -> int:
    return sum({one.venue: one.frames for one in service.health()}.values())


def _observe(observer: Observer, taker: _Taker, samples: _Samples) -> None:
    newest, now_ns = taker.newest, time.monotonic_ns()
    if newest is None or newest.sequence is None:
        return
    for quote in taker.by_source.copy().values():
        assert quote.sequence is not None
        samples.age_ms.append((now_ns - quote.sequence) / 1e6)
    observer.observe(time.time_ns() // 1_000_000)
    ready_ns = time.monotonic_ns()
    assert all(price.price for price in observer.prices)
    arrival_ms = (newest.received_ns - newest.sequence) / 1e6
    price_ms = (ready_ns - now_ns) / 1e6
    samples.arrival_ms.append(arrival_ms)
    samples.price_ms.append(price_ms)
    samples.together_ms.append((ready_ns - newest.sequence) / 1e6)


def _quantile(values: Sequence[float], percent: int) -> float | None:
    ordered = sorted(values)
    if not ordered:
        return None
    return round(ordered[min(len(ordered) - 1, len(ordered) * percent // 100)], 3)


def _row(result: dict[str, Any], *, heading: bool) -> str:
    head = (
        "quotes/s offered   frames/s  quotes/s   core  "
        "arrival p50/p99   price p50/p99   together p50/p99   age p50/p99 (ms)   memory grown"
    )
    pairs = [
        f"{result[name]['p50']:.2f}/{result[name]['p99']:.2f}"
        for name in ("arrival_ms", "price_ms", "together_ms", "age_ms")
    ]
    line = (
        f"{result['offered_per_s']:>16,} {result['frames_per_s']:>10,} "
        f"{result['quotes_per_s']:>9,} "
        f"{100 * result['core']:>4.0f} %  {pairs[0]:>15} {pairs[1]:>15} {pairs[2]:>18} "
        f"{pairs[3]:>16} {result['grown_kib']:>12,} KiB"
    )
    return f"{head}\n{line}" if heading else line


if __name__ == "__main__":
    sys.exit(main())

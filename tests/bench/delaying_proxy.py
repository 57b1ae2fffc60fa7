"""A TCP proxy that hands every byte on a fixed time after it came: a network between members.

    python tests/bench/delaying_proxy.py DELAY_MS LISTEN_PORT:TARGET_PORT …

prints a line when it listens, and runs until it is terminated.
"""

import asyncio
import sys
from collections import deque

CHUNK_BYTES = 1 << 16


async def hand_on(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay_s: float
) -> None:
    """Copy one direction, each chunk after the delay."""
    loop = asyncio.get_running_loop()
    waiting: deque[tuple[float, bytes]] = deque()
    filled = asyncio.Event()

    async def write() -> None:
        while True:
            while not waiting:
                filled.clear()
                await filled.wait()
            due, chunk = waiting.popleft()
            await asyncio.sleep(due - loop.time())
            if not chunk:
                break
            writer.write(chunk)
            await writer.drain()
        writer.close()

    writing = loop.create_task(write())
    try:
        while True:
            chunk = await reader.read(CHUNK_BYTES)
            waiting.append((loop.time() + delay_s, chunk))
            filled.set()
            if not chunk:
                break
        await writing
    except OSError:
        writing.cancel()
        writer.transport.abort()


async def main(delay_ms: float, routes: dict[int, int]) -> None:
    """Serve until cancelled."""

    def handler(target: int):  # type: ignore[no-untyped-def]
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                there = await asyncio.open_connection("127.0.0.1", target)
            except OSError:
                writer.transport.abort()
                return
            await asyncio.gather(
                hand_on(reader, there[1], delay_ms / 1000),
                hand_on(there[0], writer, delay_ms / 1000),
            )

        return serve

    for port, target in routes.items():
        await asyncio.start_server(handler(target), "127.0.0.1", port)
    sys.stdout.write("listening\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    pairs = (route.split(":") for route in sys.argv[2:])
    asyncio.run(main(float(sys.argv[1]), {int(port): int(target) for port, target in pairs}))

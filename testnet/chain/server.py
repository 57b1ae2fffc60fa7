"""The embedded chain behind JSON-RPC over HTTP, on loopback only."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from aiohttp import web

from testnet.chain.evm import EvmChain
from testnet.chain.methods import Methods
from testnet.chain.producer import BlockProducer
from testnet.chain.rpc import REQUEST_BYTES_MAX, answer


class ChainServer:
    """A served chain: where it listens, and what makes its blocks."""

    def __init__(self, chain: EvmChain, producer: BlockProducer, runner: web.AppRunner) -> None:
        self.chain = chain
        self.producer = producer
        self.rpc_url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        self._runner = runner

    async def stop_listening(self) -> None:
        """Go off the network for good; the chain itself goes on."""
        await self._runner.cleanup()


@contextlib.asynccontextmanager
async def serve(
    chain: EvmChain, *, port: int = 0, interval_seconds: int = 1
) -> AsyncIterator[ChainServer]:
    """Serve a chain on 127.0.0.1 while the context is open; port 0 picks a free one.

    `interval_seconds` 0 makes blocks only when `evm_mine` asks for one.
    """
    producer = BlockProducer(chain, interval_seconds)
    methods = Methods(chain, producer)
    table = methods.table()

    async def handle(request: web.Request) -> web.Response:
        body = await request.read()
        return web.Response(body=await answer(body, table), content_type="application/json")

    application = web.Application(client_max_size=REQUEST_BYTES_MAX)
    application.router.add_post("/", handle)
    runner = web.AppRunner(application, handle_signals=False, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port)
    await site.start()
    blocks = asyncio.create_task(producer.run())
    try:
        yield ChainServer(chain, producer, runner)
    finally:
        blocks.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await blocks
        await runner.cleanup()
        methods.close()
        producer.close()

"""Makes blocks out of the pool: one a second on the wall clock, or when asked."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from testnet.chain.evm import GAS_LIMIT_BLOCK, Block, EvmChain
from testnet.chain.pool import Refused, TransactionPool
from testnet.chain.rpc import SERVER_ERROR, RpcError


class BlockProducer:
    """The only one that adds to a chain; it executes in a thread, so that the loop goes on.

    Headers take the wall clock's time, in whole seconds, and always increase.
    """

    def __init__(self, chain: EvmChain, interval_seconds: int) -> None:
        self.pool = TransactionPool(chain.chain_id, GAS_LIMIT_BLOCK)
        self._chain = chain
        self._interval_seconds = interval_seconds
        self._changed = asyncio.Event()
        self._mining = asyncio.Lock()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="evm-block")

    def close(self) -> None:
        """Make no more blocks."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def set_interval(self, seconds: int) -> None:
        """Make a block each so many seconds; 0: only when asked."""
        self._interval_seconds = seconds
        self._changed.set()

    def submit(self, transaction: Any) -> bytes:
        """Put a signed transaction into the pool and return its hash; raises RpcError."""
        sender = bytes(transaction.sender)
        if self._chain.receipt(bytes(transaction.hash)) is not None:
            raise RpcError(SERVER_ERROR, "already known")
        try:
            self.pool.add(transaction, self._chain.nonce(sender), self._chain.balance(sender))
        except Refused as refused:
            raise RpcError(SERVER_ERROR, str(refused)) from None
        return bytes(transaction.hash)

    async def mine(self) -> Block:
        """Make one block now."""
        async with self._mining:
            selected = self.pool.select(self._chain.next_base_fee(), self._chain.nonce)
            now = int(time.time())
            loop = asyncio.get_running_loop()
            block, refused = await loop.run_in_executor(
                self._thread, lambda: self._chain.mine(selected, timestamp=now)
            )
            self.pool.drop(transaction for transaction, _ in refused)
            self.pool.settle(self._chain.nonce)
            return block

    async def run(self) -> None:
        """Make blocks at the wall clock's full seconds until cancelled."""
        while True:
            self._changed.clear()
            interval = self._interval_seconds
            delay = interval - time.time() % interval if interval else None
            try:
                await asyncio.wait_for(self._changed.wait(), delay)
            except TimeoutError:
                await self.mine()

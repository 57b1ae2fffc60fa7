"""What an onlooker sees on the chain, and when."""

import asyncio
import time
from dataclasses import dataclass

from contracts import client
from contracts.client import Place, StoredAnswer
from testnet.rpc_client import RpcClient, RpcFailed

_POLL_S = 0.1


@dataclass(frozen=True, slots=True)
class SeenPush:
    """A stored report: when its event was first seen (Unix ms), in which block, at what cost."""

    place: Place
    words: tuple[int, ...]
    seen_ms: int
    block: int
    gas_used: int


class ChainWatch:
    """Follows the Oracle's events, by looking ten times a second for a new block."""

    def __init__(self, rpc: RpcClient, oracle: bytes, feeds: int) -> None:
        self._rpc = rpc
        self._oracle = oracle
        self.oracle = "0x" + oracle.hex()
        """The address that is watched."""
        self._feeds = feeds
        self.head = 0
        self.pushes: list[SeenPush] = []
        self.answers: tuple[StoredAnswer, ...] = ()
        self.error = ""

    async def run(self) -> None:
        """Follow the chain until cancelled; what fails is tried again at the next look."""
        while True:
            try:
                await self.look()
                self.error = ""
            except (RpcFailed, ValueError, KeyError) as error:
                self.error = str(error)
            await asyncio.sleep(_POLL_S)

    async def look(self) -> None:
        """Take in what is new."""
        head = int(await self._rpc.request("eth_blockNumber"), 16)
        if head <= self.head:
            return
        logs = await self._rpc.request(
            "eth_getLogs",
            {
                "fromBlock": hex(self.head + 1),
                "toBlock": hex(head),
                "address": self.oracle,
                "topics": ["0x" + client.pushed_topic().hex()],
            },
        )
        seen_ms = time.time_ns() // 1_000_000
        seen = [await self._seen(log, seen_ms) for log in logs]
        if seen:
            self.answers = await self._latest()
        self.pushes += [push for push in seen if push is not None]
        self.head = head

    async def _seen(self, log: dict[str, object], seen_ms: int) -> SeenPush | None:
        topics = [_octets(topic) for topic in _list(log["topics"])]
        pushed = client.decode_pushed(topics, _octets(log["data"]))
        if pushed is None:
            return None
        transaction = await self._rpc.request("eth_getTransactionByHash", log["transactionHash"])
        words = client.decode_push(_octets(transaction["input"])).words
        receipt = await self._rpc.request("eth_getTransactionReceipt", log["transactionHash"])
        block, gas_used = int(receipt["blockNumber"], 16), int(receipt["gasUsed"], 16)
        return SeenPush(pushed.place, words, seen_ms, block, gas_used)

    async def _latest(self) -> tuple[StoredAnswer, ...]:
        results = [
            await self._rpc.call(self._oracle, client.encode_latest(feed))
            for feed in range(self._feeds)
        ]
        return tuple(map(client.decode_latest, results))


def _octets(text: object) -> bytes:
    if not isinstance(text, str):
        raise ValueError("not a hexadecimal text")
    return bytes.fromhex(text.removeprefix("0x"))


def _list(value: object) -> list[object]:
    if not isinstance(value, list):
        raise ValueError("not a list")
    return value

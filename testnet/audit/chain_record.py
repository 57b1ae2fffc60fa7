"""What a chain says of an Oracle: every stored report with its transaction, and the state now."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from contracts import client, epochs
from testnet.rpc_client import RpcClient, RpcFailed

CHAIN_FILE = "chain.json"
CHAIN_FILE_BYTES_MAX = 1 << 28
READS_MAX = 20
Hex = str
"""Lower-case hexadecimal without a prefix."""


class ChainUnreadable(Exception):
    """The chain, or the record of it, cannot be read."""


class PushRecord(Struct, frozen=True, forbid_unknown_fields=True):
    """A `Pushed` event with the call that caused it, which holds the words."""

    block: int
    transaction: Hex
    sender: Hex
    calldata: Hex
    gas_used: int
    epoch: int
    view: int
    observed_at_ms: int
    id: Hex
    feed_root: Hex
    words: tuple[Hex, ...]


class AnswerRecord(Struct, frozen=True, forbid_unknown_fields=True):
    """What `latest` returns for one feed; `confidence_ppm` is None if unknown."""

    price: int
    confidence_ppm: int | None
    status: int
    observed_at_ms: int


class ChainRecord(Struct, frozen=True, forbid_unknown_fields=True):
    """One Oracle: which it is, the pushes in the order of the chain, and what it holds at last."""

    network: Hex
    domain: Hex
    epoch: int
    stored_view: int
    stored_observed_at_ms: int
    answers: tuple[AnswerRecord, ...]
    pushes: tuple[PushRecord, ...]


async def fetch_chain_record(url: str, oracle: bytes, feeds: int) -> ChainRecord:
    """Ask a chain; raise `ChainUnreadable`."""
    try:
        async with RpcClient(url) as rpc:
            return await _fetch(rpc, oracle, feeds)
    except (RpcFailed, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ChainUnreadable(f"the chain cannot be read: {error}") from None


async def _fetch(rpc: RpcClient, oracle: bytes, feeds: int) -> ChainRecord:
    async def get(getter: str) -> bytes:
        return await rpc.call(oracle, client.encode_getter(getter))

    domains: dict[int, bytes] = {}

    async def domain_of(epoch: int) -> bytes:
        if epoch not in domains:
            described = await rpc.call(oracle, epochs.encode_epoch_at(epoch))
            domains[epoch] = epochs.decode_epoch_at(described).domain
        return domains[epoch]

    async def stored() -> client.StoredPlace:
        return client.decode_stored(await get("stored"))

    # A push may be in flight while the nodes stop: nothing may change between the first read and
    # the last, or the state and the events are of different moments.
    for _ in range(READS_MAX):
        place = await stored()
        answers = [
            client.decode_latest(await rpc.call(oracle, client.encode_latest(feed)))
            for feed in range(feeds)
        ]
        logs = await rpc.request(
            "eth_getLogs",
            {"fromBlock": "0x0", "toBlock": "latest", "address": "0x" + oracle.hex()},
        )
        if await stored() == place:
            break
    else:
        raise ChainUnreadable(f"the Oracle changed during each of {READS_MAX} reads")
    pushes = [push for log in logs if (push := await _push(rpc, log, domain_of)) is not None]
    return ChainRecord(
        network=client.decode_bytes32(await get("network")).hex(),
        domain=client.decode_bytes32(await get("domain")).hex(),
        epoch=place.epoch,
        stored_view=place.view,
        stored_observed_at_ms=place.observed_at_ms,
        answers=tuple(
            AnswerRecord(a.price, a.confidence_ppm, a.status, a.observed_at_ms) for a in answers
        ),
        pushes=tuple(pushes),
    )


async def _push(
    rpc: RpcClient, log: dict[str, Any], domain_of: Callable[[int], Awaitable[bytes]]
) -> PushRecord | None:
    topics = [_octets(topic) for topic in log["topics"]]
    pushed = client.decode_pushed(topics, _octets(log["data"]))
    if pushed is None:
        return None
    transaction = await rpc.request("eth_getTransactionByHash", log["transactionHash"])
    receipt = await rpc.request("eth_getTransactionReceipt", log["transactionHash"])
    call = client.decode_push(_octets(transaction["input"]))
    header, domain = call.certificate.header, await domain_of(pushed.place.epoch)
    return PushRecord(
        block=int(log["blockNumber"], 16),
        transaction=_octets(log["transactionHash"]).hex(),
        sender=_octets(transaction["from"]).hex(),
        calldata=_octets(transaction["input"]).hex(),
        gas_used=int(receipt["gasUsed"], 16),
        epoch=pushed.place.epoch,
        view=pushed.place.view,
        observed_at_ms=pushed.place.observed_at_ms,
        id=header.id(domain).hex(),
        feed_root=header.feed_root.hex(),
        words=tuple(f"{word:064x}" for word in call.words),
    )


def _octets(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x"))


def save_chain_record(directory: Path, record: ChainRecord) -> None:
    """Keep what a chain said, for audits after its end."""
    (directory / CHAIN_FILE).write_bytes(msgspec.json.encode(record))


def load_chain_record(directory: Path) -> ChainRecord:
    """Read what was kept; raise `ChainUnreadable`."""
    path = directory / CHAIN_FILE
    try:
        if path.stat().st_size > CHAIN_FILE_BYTES_MAX:
            raise ChainUnreadable(f"{path} is longer than {CHAIN_FILE_BYTES_MAX} bytes")
        return msgspec.json.decode(path.read_bytes(), type=ChainRecord)
    except OSError as error:
        raise ChainUnreadable(f"cannot read {path}: {error.strerror}") from None
    except (msgspec.DecodeError, RecursionError) as error:
        raise ChainUnreadable(f"{path} is no record of a chain: {error}") from None

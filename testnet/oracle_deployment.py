"""The Oracle contract of a testnet, deployed by an account made for it."""

import asyncio
import secrets
from typing import Any

from consensus.digests import keccak
from contracts.epochs import MemberProof, encode_deploy, encode_open, encode_register
from node.network_file import NetworkFile
from testnet.rpc_client import RpcClient, RpcFailed

MAX_FUTURE_MS = 3_000
"""Blocks come at full seconds of the wall clock, so a report may be ahead of them by a second."""

_MINED_S_MAX = 60
_TRANSACTION_GAS_MAX = 1 << 24
"""No transaction may use more (EIP-7825)."""

_POLL_S = 0.1


class Deployer:
    """An account that deploys and opens one contract, whose address is known beforehand."""

    def __init__(self) -> None:
        from eth_account import Account

        self._account = Account.from_key(secrets.token_bytes(32))
        self.address = bytes.fromhex(self._account.address[2:])
        # The address that CREATE gives at nonce 0: the hash of the RLP of (sender, 0).
        self.contract = keccak(b"\xd6\x94" + self.address + b"\x80")[12:]

    async def deploy(self, rpc: RpcClient, network: NetworkFile) -> int:
        """Deploy the network's Oracle, open its first epoch, and return the gas of it all."""
        created, *calls = deployment_of(network)
        receipt = await self._send(rpc, 0, None, created)
        if receipt["contractAddress"].lower() != "0x" + self.contract.hex():
            raise RpcFailed("the Oracle was deployed at an unexpected address")
        gas_used = int(receipt["gasUsed"], 16)
        for nonce, call in enumerate(calls, 1):
            receipt = await self._send(rpc, nonce, self.contract, call)
            gas_used += int(receipt["gasUsed"], 16)
        return gas_used

    async def _send(self, rpc: RpcClient, nonce: int, to: bytes | None, data: bytes) -> Any:
        head = await rpc.request("eth_getBlockByNumber", "latest", False)
        transaction = {
            "type": 2,
            "chainId": int(await rpc.request("eth_chainId"), 16),
            "nonce": nonce,
            "value": 0,
            "data": data,
            "gas": min(int(head["gasLimit"], 16), _TRANSACTION_GAS_MAX),
            "maxFeePerGas": 4 * int(head["baseFeePerGas"], 16) + 10**9,
            "maxPriorityFeePerGas": 10**9,
        }
        if to is not None:
            transaction["to"] = to
        signed = self._account.sign_transaction(transaction)
        sent = await rpc.request(
            "eth_sendRawTransaction", "0x" + bytes(signed.raw_transaction).hex()
        )
        try:
            async with asyncio.timeout(_MINED_S_MAX):
                receipt = await _receipt(rpc, sent)
        except TimeoutError:
            raise RpcFailed(f"the Oracle's deployment was not mined in {_MINED_S_MAX} s") from None
        if int(receipt["status"], 16) != 1:
            raise RpcFailed(f"transaction {nonce} of the Oracle's deployment reverted")
        return receipt


async def _receipt(rpc: RpcClient, transaction: str) -> Any:
    while True:
        receipt = await rpc.request("eth_getTransactionReceipt", transaction)
        if receipt is not None:
            return receipt
        await asyncio.sleep(_POLL_S)


def deployment_of(network: NetworkFile) -> list[bytes]:
    """Return the creation code of a network's Oracle, and the calldata that open its epoch."""
    configuration = network.configuration
    proofs = []
    for member in network.members:
        assert member.registration is not None
        proofs.append(MemberProof(member.proof_of_possession, member.registration))
    return [
        encode_deploy(
            name=network.name, configuration_hash=configuration.hash, max_future_ms=MAX_FUTURE_MS
        ),
        *encode_register(configuration.members, proofs),
        encode_open(configuration, network.table),
    ]

"""The Oracle contract of a testnet, deployed by an account made for it."""

import asyncio
import secrets
from typing import Any

from aggregation.table import FeedTable
from consensus.digests import keccak
from contracts.client import MemberProof, encode_deploy
from node.network_file import NetworkFile
from testnet.rpc_client import RpcClient, RpcFailed

MAX_FUTURE_MS = 3_000
"""Blocks come at full seconds of the wall clock, so a report may be ahead of them by a second."""

_MINED_S_MAX = 60
_POLL_S = 0.1


class Deployer:
    """An account that deploys one contract, whose address is known beforehand."""

    def __init__(self) -> None:
        from eth_account import Account

        self._account = Account.from_key(secrets.token_bytes(32))
        self.address = bytes.fromhex(self._account.address[2:])
        # The address that CREATE gives at nonce 0: the hash of the RLP of (sender, 0).
        self.contract = keccak(b"\xd6\x94" + self.address + b"\x80")[12:]

    async def deploy(self, rpc: RpcClient, network: NetworkFile) -> int:
        """Deploy the network's Oracle and wait until it is there; return the gas used."""
        head = await rpc.request("eth_getBlockByNumber", "latest", False)
        transaction = {
            "type": 2,
            "chainId": int(await rpc.request("eth_chainId"), 16),
            "nonce": 0,
            "value": 0,
            "data": creation_code(network, network.table),
            "gas": int(head["gasLimit"], 16),
            "maxFeePerGas": 4 * int(head["baseFeePerGas"], 16) + 10**9,
            "maxPriorityFeePerGas": 10**9,
        }
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
            raise RpcFailed("the deployment of the Oracle reverted")
        if receipt["contractAddress"].lower() != "0x" + self.contract.hex():
            raise RpcFailed("the Oracle was deployed at an unexpected address")
        return int(receipt["gasUsed"], 16)


async def _receipt(rpc: RpcClient, transaction: str) -> Any:
    while True:
        receipt = await rpc.request("eth_getTransactionReceipt", transaction)
        if receipt is not None:
            return receipt
        await asyncio.sleep(_POLL_S)


def creation_code(network: NetworkFile, table: FeedTable) -> bytes:
    """Return the creation code of a network's Oracle, every proof in it."""
    proofs = []
    for member in network.members:
        assert member.registration is not None
        proofs.append(MemberProof(member.proof_of_possession, member.registration))
    return encode_deploy(
        name=network.name,
        configuration=network.configuration,
        feed_table=table,
        proofs=proofs,
        max_future_ms=MAX_FUTURE_MS,
    )

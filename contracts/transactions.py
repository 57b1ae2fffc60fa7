"""Transactions by one account: what they will do is tried first, and their receipts are awaited."""

import asyncio
from dataclasses import dataclass
from typing import Any, Final, Protocol

from contracts.errors import OracleError, error_of
from contracts.rpc import Rpc, RpcRefused, checked, integer, octets, quantity

GAS_MAX: Final = 1 << 24
"""No transaction may use more (EIP-7825)."""

_POLL_S: Final = 0.25
_TIP_WEI: Final = 10**9


class NotMined(Exception):
    """No block took the transaction in time; it still may. `transaction` is its hash."""

    def __init__(self, transaction: str, seconds: float) -> None:
        super().__init__(
            f"{transaction} is not in a block after {seconds:g} s: wait longer, or send it again "
            "with the same nonce and a higher fee"
        )
        self.transaction = transaction


class LocalAccount(Protocol):
    """What signs here: an `eth_account` account (`Account.from_key(...)`)."""

    @property
    def address(self) -> Any:
        """The address, 0x and 40 digits."""
        ...

    def sign_transaction(self, transaction_dict: Any) -> Any:
        """Return what has the signed bytes as `raw_transaction`."""
        ...


@dataclass(frozen=True, slots=True)
class Log:
    """An event that a transaction left: who emitted it, topics and data."""

    address: bytes
    topics: tuple[bytes, ...]
    data: bytes


@dataclass(frozen=True, slots=True)
class Receipt:
    """A transaction that succeeded; `contract` is what it created."""

    transaction: str
    block: int
    gas_used: int
    logs: tuple[Log, ...]
    contract: bytes | None


class Sender:
    """Sends one account's transactions, one at a time.

    `account` signs here, or is the address (20 bytes) of one that the server has unlocked, as
    development chains do. `timeout_s` is how long a receipt is waited for.
    """

    def __init__(self, rpc: Rpc, account: LocalAccount | bytes, *, timeout_s: float = 120) -> None:
        self.rpc = rpc
        self._account = account
        self._timeout_s = timeout_s
        self._lock = asyncio.Lock()
        text = "0x" + account.hex() if isinstance(account, bytes) else str(account.address)
        self.address = octets(text.lower())

    async def send(self, to: bytes | None, data: bytes, *, gas: int | None = None) -> Receipt:
        """Send a call, or creation code if `to` is None, and wait until it is in a block.

        It is tried first, so what would revert costs nothing. Raises an `OracleError` for what the
        contract says, `NotMined`, or what the `Rpc` raises. Without `gas` it is estimated.
        """
        call: dict[str, Any] = {"from": "0x" + self.address.hex(), "data": "0x" + data.hex()}
        if to is not None:
            call["to"] = "0x" + to.hex()
        async with self._lock:
            limit = await self._gas(call) if gas is None else gas
            sent = await self._send({**call, "gas": hex(limit)})
            receipt = await self._receipt(sent)
        done = receipt_of(sent, receipt)
        if done is None:
            # A block between the trial and this one changed something: ask again, as of then.
            block = hex(checked(lambda found: integer(found["blockNumber"]), receipt, "receipt"))
            try:
                await self.rpc("eth_call", [{**call, "gas": hex(limit)}, block])
            except RpcRefused as refused:
                raise refusal(refused) from None
            raise OracleError(f"{sent} reverted, with a gas limit of {limit}: allow more")
        return done

    async def _gas(self, call: dict[str, Any]) -> int:
        most = min(GAS_MAX, await self._of_head("gasLimit"))
        try:
            estimate = await quantity(self.rpc, "eth_estimateGas", [{**call, "gas": hex(most)}])
        except RpcRefused as refused:
            raise refusal(refused) from None
        # The state may be another one when it is mined: more words written for the first time.
        return min(estimate + estimate // 4, most)

    async def _send(self, call: dict[str, Any]) -> str:
        if isinstance(self._account, bytes):
            return str(await self.rpc("eth_sendTransaction", [call]))
        sender = call["from"]
        chain_id = await quantity(self.rpc, "eth_chainId", [])
        nonce = await quantity(self.rpc, "eth_getTransactionCount", [sender, "pending"])
        base_fee = await self._of_head("baseFeePerGas")
        try:
            tip = await quantity(self.rpc, "eth_maxPriorityFeePerGas", [])
        except RpcRefused:
            tip = _TIP_WEI  # Not every server has the method.
        transaction = {
            "type": 2,
            "chainId": chain_id,
            "nonce": nonce,
            "value": 0,
            "data": call["data"],
            "gas": integer(call["gas"]),
            "maxFeePerGas": 2 * base_fee + tip,
            "maxPriorityFeePerGas": tip,
        }
        if "to" in call:
            transaction["to"] = octets(call["to"])
        signed = self._account.sign_transaction(transaction)
        raw = bytes(signed.raw_transaction)
        return str(await self.rpc("eth_sendRawTransaction", ["0x" + raw.hex()]))

    async def _of_head(self, name: str) -> int:
        method = "eth_getBlockByNumber"
        head = await self.rpc(method, ["latest", False])
        return checked(lambda found: integer(found[name]), head, method)

    async def _receipt(self, transaction: str) -> dict[str, Any]:
        try:
            async with asyncio.timeout(self._timeout_s):
                while True:
                    found = await self.rpc("eth_getTransactionReceipt", [transaction])
                    if isinstance(found, dict):
                        return found
                    await asyncio.sleep(_POLL_S)
        except TimeoutError:
            raise NotMined(transaction, self._timeout_s) from None


def refusal(refused: RpcRefused) -> Exception:
    """Return what a contract said through a server's error, or the server's error itself."""
    if refused.data or "revert" in refused.message.lower():
        return error_of(refused.data)
    return refused


def receipt_of(transaction: str, answer: Any) -> Receipt | None:
    """Return a server's receipt, None if the transaction reverted; raise `RpcUnreachable`."""

    def read(found: Any) -> Receipt | None:
        if integer(found["status"]) != 1:
            return None
        contract = found.get("contractAddress")
        logs = tuple(
            Log(octets(log["address"]), tuple(map(octets, log["topics"])), octets(log["data"]))
            for log in found["logs"]
        )
        return Receipt(
            transaction,
            integer(found["blockNumber"]),
            integer(found["gasUsed"]),
            logs,
            None if contract is None else octets(contract),
        )

    return checked(read, answer, "eth_getTransactionReceipt")

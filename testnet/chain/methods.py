"""The RPC methods of the embedded chain, as an Ethereum node has them."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from testnet.chain import forms
from testnet.chain.evm import (
    GAS_LIMIT_BLOCK,
    Block,
    Call,
    EvmChain,
    ExecutionFailed,
    Reverted,
    decode_transaction,
)
from testnet.chain.producer import BlockProducer
from testnet.chain.rpc import INVALID_PARAMS, REVERTED, SERVER_ERROR, Method, RpcError

CLIENT_VERSION: Final = "didyma-testnet-chain/py-evm/prague"
TIP_SUGGESTED: Final = 10**9
LOG_BLOCKS_MAX: Final = 10_000
LOGS_MAX: Final = 10_000
FEE_HISTORY_MAX: Final = 1_024


class Methods:
    """Answers from one chain and its producer. Code runs in a thread of its own, reads do not."""

    def __init__(self, chain: EvmChain, producer: BlockProducer) -> None:
        self._chain = chain
        self._producer = producer
        self._pool = producer.pool
        self._calls = ThreadPoolExecutor(1, thread_name_prefix="evm-call")

    def close(self) -> None:
        """Stop taking calls."""
        self._calls.shutdown(wait=False, cancel_futures=True)

    def table(self) -> dict[str, Method]:
        """Return the methods by name."""
        simple: dict[str, Callable[[list[Any]], object]] = {
            "web3_clientVersion": lambda _: CLIENT_VERSION,
            "net_version": lambda _: str(self._chain.chain_id),
            "net_listening": lambda _: True,
            "eth_syncing": lambda _: False,
            "eth_accounts": lambda _: [],
            "eth_chainId": lambda _: forms.quantity(self._chain.chain_id),
            "eth_blockNumber": lambda _: forms.quantity(self._chain.head.number),
            "eth_gasPrice": lambda _: forms.quantity(self._chain.next_base_fee() + TIP_SUGGESTED),
            "eth_maxPriorityFeePerGas": lambda _: forms.quantity(TIP_SUGGESTED),
            "eth_feeHistory": self._fee_history,
            "eth_getBalance": self._balance,
            "eth_getCode": self._code,
            "eth_getStorageAt": self._storage,
            "eth_getTransactionCount": self._transaction_count,
            "eth_getBlockByNumber": self._block_by_number,
            "eth_getBlockByHash": self._block_by_hash,
            "eth_getTransactionByHash": self._transaction,
            "eth_getTransactionReceipt": self._receipt,
            "eth_getLogs": self._logs,
            "eth_sendRawTransaction": self._send,
            "evm_setNextBlockTimestamp": self._set_timestamp,
            "anvil_setNextBlockBaseFeePerGas": self._set_base_fee,
            "evm_setIntervalMining": self._set_interval,
        }

        def wrap(method: Callable[[list[Any]], object]) -> Method:
            async def run(params: list[Any]) -> object:
                return method(params)

            return run

        return {name: wrap(method) for name, method in simple.items()} | {
            "eth_call": self._call,
            "eth_estimateGas": self._estimate,
            "evm_mine": self._mine,
        }

    # Parameters.

    def _at(self, params: list[Any], index: int) -> Block:
        tag = params[index] if index < len(params) else "latest"
        block: Block | None
        if tag in (None, "latest", "pending", "safe", "finalized"):
            block = self._chain.head
        elif tag == "earliest":
            block = self._chain.block(0)
        elif isinstance(tag, dict) and "blockHash" in tag:
            block_hash = forms.read_bytes(tag["blockHash"], "blockHash", 32)
            block = self._chain.block_by_hash(block_hash)
        elif isinstance(tag, dict):
            number = forms.read_quantity(tag.get("blockNumber"), "blockNumber")
            block = self._chain.block(number)
        else:
            block = self._chain.block(forms.read_quantity(tag, "block"))
        if block is None:
            raise RpcError(SERVER_ERROR, "header not found")
        return block

    @staticmethod
    def _bytes(params: list[Any], index: int, what: str, length: int | None) -> bytes:
        if index >= len(params):
            raise RpcError(INVALID_PARAMS, f"missing value for required argument {index}: {what}")
        return forms.read_bytes(params[index], what, length)

    @staticmethod
    def _message(params: list[Any]) -> Call:
        form = params[0] if params else None
        if not isinstance(form, dict):
            raise RpcError(INVALID_PARAMS, "argument 0 must be a transaction object")
        calldata = form.get("input", form.get("data"))
        return Call(
            to=forms.read_bytes(form["to"], "to", 20) if form.get("to") else None,
            data=forms.read_bytes(calldata, "data") if calldata else b"",
            sender=forms.read_bytes(form["from"], "from", 20) if form.get("from") else bytes(20),
            value=forms.read_quantity(form["value"], "value") if form.get("value") else 0,
            gas=min(forms.read_quantity(form["gas"], "gas"), GAS_LIMIT_BLOCK)
            if form.get("gas")
            else None,
        )

    # Running code.

    async def _in_thread(self, function: Callable[[Call, Block], Any], params: list[Any]) -> Any:
        message, at = self._message(params), self._at(params, 1)
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._calls, function, message, at)
        except Reverted as error:
            raise RpcError(REVERTED, "execution reverted", forms.data(error.data)) from None
        except ExecutionFailed as error:
            raise RpcError(SERVER_ERROR, str(error)) from None

    async def _call(self, params: list[Any]) -> object:
        return forms.data(await self._in_thread(self._chain.execute, params))

    async def _estimate(self, params: list[Any]) -> object:
        return forms.quantity(await self._in_thread(self._chain.estimate_gas, params))

    # Accounts.

    def _balance(self, params: list[Any]) -> object:
        address = self._bytes(params, 0, "address", 20)
        return forms.quantity(self._chain.balance(address, self._at(params, 1)))

    def _code(self, params: list[Any]) -> object:
        address = self._bytes(params, 0, "address", 20)
        return forms.data(self._chain.code(address, self._at(params, 1)))

    def _storage(self, params: list[Any]) -> object:
        address = self._bytes(params, 0, "address", 20)
        slot = int(str(params[1]), 16) if len(params) > 1 else 0
        value = self._chain.storage(address, slot, self._at(params, 2))
        return forms.data(value.to_bytes(32, "big"))

    def _transaction_count(self, params: list[Any]) -> object:
        address = self._bytes(params, 0, "address", 20)
        nonce = self._chain.nonce(address, self._at(params, 1))
        if len(params) > 1 and params[1] == "pending":
            nonce = self._pool.nonce_after(address, nonce)
        return forms.quantity(nonce)

    # Blocks, transactions, logs.

    def _block_by_number(self, params: list[Any]) -> object:
        try:
            block = self._at(params, 0)
        except RpcError:
            return None
        return forms.block_form(block, full=len(params) > 1 and params[1] is True)

    def _block_by_hash(self, params: list[Any]) -> object:
        block = self._chain.block_by_hash(self._bytes(params, 0, "hash", 32))
        full = len(params) > 1 and params[1] is True
        return None if block is None else forms.block_form(block, full=full)

    def _transaction(self, params: list[Any]) -> object:
        transaction_hash = self._bytes(params, 0, "hash", 32)
        receipt = self._chain.receipt(transaction_hash)
        if receipt is None:
            waiting = self._pool.get(transaction_hash)
            return None if waiting is None else forms.transaction_form(waiting)
        block = self._chain.block(receipt.block_number)
        if block is None:
            return None
        return forms.transaction_form(block.transactions[receipt.index], block, receipt.index)

    def _receipt(self, params: list[Any]) -> object:
        receipt = self._chain.receipt(self._bytes(params, 0, "hash", 32))
        block = None if receipt is None else self._chain.block(receipt.block_number)
        return None if receipt is None or block is None else forms.receipt_form(receipt, block)

    def _send(self, params: list[Any]) -> object:
        transaction = decode_transaction(self._bytes(params, 0, "transaction", None))
        return forms.data(self._producer.submit(transaction))

    def _logs(self, params: list[Any]) -> object:
        query = params[0] if params else {}
        if not isinstance(query, dict):
            raise RpcError(INVALID_PARAMS, "argument 0 must be a filter object")
        if "blockHash" in query:
            first = last = self._at([{"blockHash": query["blockHash"]}], 0).number
        else:
            first = self._bound(query.get("fromBlock"), "fromBlock")
            last = min(self._bound(query.get("toBlock"), "toBlock"), self._chain.head.number)
        if last - first >= LOG_BLOCKS_MAX:
            raise RpcError(SERVER_ERROR, f"a range of at most {LOG_BLOCKS_MAX} blocks, please")
        addresses = _choices(query.get("address"), "address", 20)
        topics = [_choices(topic, "topic", 32) for topic in query.get("topics") or []]
        found: list[object] = []
        for number in range(first, last + 1):
            block = self._chain.block(number)
            assert block is not None
            for receipt in block.receipts:
                for log in receipt.logs:
                    if addresses is not None and log.address not in addresses:
                        continue
                    if len(topics) > len(log.topics) or any(
                        wanted is not None and topic not in wanted
                        for wanted, topic in zip(topics, log.topics, strict=False)
                    ):
                        continue
                    found.append(forms.log_form(log, receipt, block))
            if len(found) > LOGS_MAX:
                raise RpcError(SERVER_ERROR, f"more than {LOGS_MAX} logs; ask for fewer blocks")
        return found

    def _bound(self, tag: object, what: str) -> int:
        """Read one end of a range, which may lie beyond the head."""
        if isinstance(tag, str) and tag.startswith("0x"):
            return forms.read_quantity(tag, what)
        return self._at([tag], 0).number

    def _fee_history(self, params: list[Any]) -> object:
        count = params[0] if params else None
        count = int(count) if isinstance(count, int) else forms.read_quantity(count, "blockCount")
        newest = self._at(params, 1)
        first = max(0, newest.number + 1 - min(count, FEE_HISTORY_MAX))
        blocks = [block for n in range(first, newest.number + 1) if (block := self._chain.block(n))]
        fees = [block.header.base_fee_per_gas for block in blocks]
        after = self._chain.block(newest.number + 1)
        fees.append(after.header.base_fee_per_gas if after else self._chain.next_base_fee())
        history: dict[str, object] = {
            "oldestBlock": forms.quantity(first),
            "baseFeePerGas": [forms.quantity(fee) for fee in fees],
            "gasUsedRatio": [b.header.gas_used / b.header.gas_limit for b in blocks],
        }
        percentiles = params[2] if len(params) > 2 else None
        if percentiles:
            if not isinstance(percentiles, list) or len(percentiles) > 100:
                raise RpcError(INVALID_PARAMS, "rewardPercentiles must be a short list")
            history["reward"] = [_rewards(block, percentiles) for block in blocks]
        return history

    # Tests steer the chain with these.

    def _set_timestamp(self, params: list[Any]) -> object:
        value = params[0] if params else None
        if not isinstance(value, int):
            value = forms.read_quantity(value, "a timestamp in Unix seconds")
        self._chain.set_timestamp(value)
        return None

    def _set_base_fee(self, params: list[Any]) -> object:
        self._chain.set_base_fee(forms.read_quantity(params[0] if params else None, "base fee"))
        return None

    def _set_interval(self, params: list[Any]) -> object:
        if not params or not isinstance(params[0], int) or params[0] < 0:
            raise RpcError(INVALID_PARAMS, "an interval in seconds is due, 0 for none")
        self._producer.set_interval(params[0])
        return True

    async def _mine(self, params: list[Any]) -> object:
        if params and params[0] is not None:
            self._set_timestamp(params)
        await self._producer.mine()
        return "0x0"


def _choices(value: object, what: str, length: int) -> set[bytes] | None:
    if value is None or value == []:
        return None
    values = value if isinstance(value, list) else [value]
    return {forms.read_bytes(one, what, length) for one in values}


def _rewards(block: Block, percentiles: list[Any]) -> list[str]:
    tips = sorted(
        (receipt.gas_price - block.header.base_fee_per_gas, receipt.gas_used)
        for receipt in block.receipts
    )
    rewards = []
    for percentile in percentiles:
        due, reward = block.header.gas_used * float(percentile) / 100, 0
        for tip, gas in tips:
            reward = tip
            due -= gas
            if due <= 0:
                break
        rewards.append(forms.quantity(reward))
    return rewards

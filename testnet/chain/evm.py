"""An EVM chain inside the process: Prague's rules, blocks made on request, no network.

Tests use it as it is (`deploy`, `call`, `transact`); the JSON-RPC server puts a transaction pool
and a clock around it.
"""

import copy
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eth.chains.base import MiningChain
from eth.constants import POST_MERGE_DIFFICULTY, POST_MERGE_MIX_HASH, POST_MERGE_NONCE
from eth.db.atomic import AtomicDB
from eth.db.backends.memory import MemoryDB
from eth.exceptions import OutOfGas, Revert
from eth.vm.forks.prague.transactions import PragueTransactionBuilder
from eth.vm.spoof import SpoofTransaction
from eth_keys.datatypes import PrivateKey
from eth_typing import Address
from eth_utils.exceptions import ValidationError

from testnet.chain.precompiles import NativeVM

GAS_LIMIT_BLOCK = 30_000_000
WEI_PER_ETHER = 10**18
_ZERO_ADDRESS = bytes(20)
_BLANK_ROOT = bytes.fromhex("56e81f171bcc55a6ff8345e692c0f86e5b48e01b996cadc001622fb5e363b421")
_INITIAL_BASE_FEE = 10**9
_TEST_ACCOUNTS = 10
_CALL_STIPEND = 2_300


class Reverted(Exception):
    """A call or a deployment reverted; `data` is what it returned (an encoded custom error)."""

    def __init__(self, data: bytes) -> None:
        super().__init__("execution reverted" + (f": 0x{data.hex()}" if data else ""))
        self.data = data


class ExecutionFailed(Exception):
    """A call ended otherwise than by a return or a revert: out of gas, an invalid opcode."""


@dataclass(frozen=True, slots=True)
class Account:
    """A funded account of which the key is known, for tests."""

    private_key: bytes
    address: bytes


@dataclass(frozen=True, slots=True)
class Log:
    """One event: who emitted it, its topics (32 bytes each) and its data."""

    address: bytes
    topics: tuple[bytes, ...]
    data: bytes
    index: int


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a transaction.

    `output` is what the call returned, or the revert data if `succeeded` is false.
    """

    transaction_hash: bytes
    block_number: int
    index: int
    sender: bytes
    to: bytes | None
    succeeded: bool
    gas_used: int
    gas_used_cumulative: int
    gas_price: int
    contract: bytes | None
    logs: tuple[Log, ...]
    output: bytes
    bloom: int
    type_id: int


@dataclass(frozen=True, slots=True)
class Block:
    """A block with what its transactions did. `header` is py-evm's."""

    header: Any
    transactions: tuple[Any, ...]
    receipts: tuple[Receipt, ...]

    @property
    def number(self) -> int:
        """The block's height."""
        return int(self.header.block_number)

    @property
    def hash(self) -> bytes:
        """The block's hash."""
        return bytes(self.header.hash)

    @property
    def timestamp(self) -> int:
        """Unix seconds."""
        return int(self.header.timestamp)


@dataclass(frozen=True, slots=True)
class Call:
    """A message to execute; `to` None creates a contract, `gas` None means a block's worth."""

    to: bytes | None
    data: bytes = b""
    sender: bytes = _ZERO_ADDRESS
    value: int = 0
    gas: int | None = None


def account_of(private_key: bytes) -> Account:
    """Return the account of a private key (32 bytes)."""
    key = PrivateKey(private_key)
    return Account(private_key, key.public_key.to_canonical_address())


def decode_transaction(raw: bytes) -> Any:
    """Decode a signed transaction as it is sent; raises ValueError if it is malformed."""
    try:
        transaction = PragueTransactionBuilder.decode(raw)
        transaction.validate()
        _ = transaction.sender
    except Exception as error:
        raise ValueError(f"malformed transaction: {error}") from error
    return transaction


def transaction_type(transaction: Any) -> int:
    """Return the EIP-2718 type of a signed transaction; 0 for the legacy form."""
    return int(getattr(transaction, "type_id", None) or 0)


class EvmChain:
    """A chain of blocks over a state, with a head that only moves forwards.

    Blocks are made by one thread at a time; reads of the head's state may go on beside it.
    `accounts` are funded and exist for tests; `funded` gives others their first balance, in wei.
    """

    def __init__(
        self,
        *,
        chain_id: int = 31_337,
        funded: Mapping[bytes, int] | None = None,
        genesis_time: int | None = None,
        test_accounts: int = _TEST_ACCOUNTS,
    ) -> None:
        self.chain_id = chain_id
        self.accounts = tuple(
            account_of(number.to_bytes(32, "big")) for number in range(1, test_accounts + 1)
        )
        balances = {account.address: 10_000 * WEI_PER_ETHER for account in self.accounts}
        balances.update(funded or {})
        chain_class: Any = type(
            "TestnetChain",
            (MiningChain,),
            {"chain_id": chain_id, "vm_configuration": ((0, NativeVM),)},
        )
        genesis = {
            "coinbase": _ZERO_ADDRESS,
            "difficulty": POST_MERGE_DIFFICULTY,
            "extra_data": b"",
            "gas_limit": GAS_LIMIT_BLOCK,
            "mix_hash": POST_MERGE_MIX_HASH,
            "nonce": POST_MERGE_NONCE,
            "receipt_root": _BLANK_ROOT,
            "transaction_root": _BLANK_ROOT,
            "timestamp": int(time.time()) if genesis_time is None else genesis_time,
            "base_fee_per_gas": _INITIAL_BASE_FEE,
        }
        state = {
            address: {"balance": balance, "nonce": 0, "code": b"", "storage": {}}
            for address, balance in balances.items()
        }
        self._store: dict[bytes, bytes] = {}
        self._database = AtomicDB(MemoryDB(self._store))
        self._chain = chain_class.from_genesis(self._database, genesis, state)
        self._blocks = [Block(self._chain.get_canonical_block_header_by_number(0), (), ())]
        self._by_hash = {self._blocks[0].hash: self._blocks[0]}
        self._receipts: dict[bytes, Receipt] = {}
        self._next_timestamp: int | None = None
        self._next_base_fee: int | None = None

    def branch(self) -> "EvmChain":
        """Return a chain of its own that begins with the same blocks."""
        other = copy.copy(self)
        other._store = dict(self._store)
        other._database = AtomicDB(MemoryDB(other._store))
        other._chain = type(self._chain)(other._database, self._chain.header)
        other._blocks = list(self._blocks)
        other._by_hash = dict(self._by_hash)
        other._receipts = dict(self._receipts)
        return other

    # Reading.

    @property
    def head(self) -> Block:
        """The newest block."""
        return self._blocks[-1]

    def block(self, number: int) -> Block | None:
        """The block at a height, or None beyond the head."""
        return self._blocks[number] if 0 <= number < len(self._blocks) else None

    def block_by_hash(self, block_hash: bytes) -> Block | None:
        """The block with a hash, or None."""
        return self._by_hash.get(block_hash)

    def receipt(self, transaction_hash: bytes) -> Receipt | None:
        """The receipt of a transaction that stands in a block, or None."""
        return self._receipts.get(transaction_hash)

    def balance(self, address: bytes, block: Block | None = None) -> int:
        """An account's balance after a block (the head by default), in wei."""
        return int(self._state(block or self.head).get_balance(address))

    def nonce(self, address: bytes, block: Block | None = None) -> int:
        """The number of an account's next transaction after a block."""
        return int(self._state(block or self.head).get_nonce(address))

    def code(self, address: bytes, block: Block | None = None) -> bytes:
        """The code at an address after a block."""
        return bytes(self._state(block or self.head).get_code(address))

    def storage(self, address: bytes, slot: int, block: Block | None = None) -> int:
        """The value of a storage slot after a block."""
        return int(self._state(block or self.head).get_storage(address, slot))

    def next_base_fee(self) -> int:
        """The base fee per gas of the next block, in wei."""
        if self._next_base_fee is not None:
            return self._next_base_fee
        return int(self._child_header(self.head.timestamp + 1).base_fee_per_gas)

    # Executing.

    def execute(self, call: Call, block: Block | None = None) -> bytes:
        """Run a call over a block's state without keeping what it does; return its output.

        Raises Reverted or ExecutionFailed. The block's own time and number are seen by the code.
        """
        return bytes(self._run(call, block or self.head).output)

    def call(
        self, to: bytes, data: bytes, *, sender: bytes = _ZERO_ADDRESS, value: int = 0
    ) -> bytes:
        """Call a contract at the head without keeping what it does; raises as `execute`."""
        return self.execute(Call(to=to, data=data, sender=sender, value=value))

    def estimate_gas(self, call: Call, block: Block | None = None) -> int:
        """Return a gas limit with which a call succeeds; raises as `execute` if none does."""
        at = block or self.head
        limit = call.gas or GAS_LIMIT_BLOCK
        computation = self._run(call, at)
        used = limit - computation.get_gas_remaining() + max(computation.data_floor_gas, 0)
        # A callee gets at most 63/64 of what is left, and code may look at its gas, so the amount
        # used is tried before it is promised, with growing room.
        for estimate in (used, used + _CALL_STIPEND, used * 64 // 63, used * 5 // 4, used * 2):
            if estimate >= limit:
                break
            try:
                self._run(Call(call.to, call.data, call.sender, call.value, estimate), at)
            except (Reverted, ExecutionFailed):
                continue
            return int(estimate)
        return limit

    def transact(
        self,
        to: bytes | None,
        data: bytes = b"",
        *,
        sender: Account | None = None,
        value: int = 0,
        gas: int = GAS_LIMIT_BLOCK // 2,
    ) -> Receipt:
        """Sign a transaction, put it into a block of its own, and return its receipt.

        A revert does not raise: see the receipt's `succeeded` and `output`.
        """
        account = sender or self.accounts[0]
        unsigned = PragueTransactionBuilder.new_unsigned_dynamic_fee_transaction(
            chain_id=self.chain_id,
            nonce=self.nonce(account.address),
            max_priority_fee_per_gas=0,
            max_fee_per_gas=self.next_base_fee(),
            gas=gas,
            to=Address(to or b""),
            value=value,
            data=data,
            access_list=[],
        )
        signed = unsigned.as_signed_transaction(PrivateKey(account.private_key), self.chain_id)
        block, refused = self.mine([signed])
        if refused:
            raise ExecutionFailed(f"the transaction is not valid: {refused[0][1]}")
        return block.receipts[0]

    def deploy(self, code: bytes, *, sender: Account | None = None, value: int = 0) -> bytes:
        """Create a contract from its creation code (arguments appended); return its address.

        Raises Reverted with the constructor's error.
        """
        receipt = self.transact(None, code, sender=sender, value=value)
        if not receipt.succeeded or receipt.contract is None:
            raise Reverted(receipt.output)
        return receipt.contract

    # Making blocks.

    def set_timestamp(self, timestamp: int) -> None:
        """Give the next block's time, in Unix seconds; it must lie after the head's."""
        if timestamp <= self.head.timestamp:
            raise ValueError(f"the head's time is {self.head.timestamp}, {timestamp} is not later")
        self._next_timestamp = timestamp

    def set_base_fee(self, base_fee: int) -> None:
        """Give the next block's base fee per gas, in wei, instead of the one of EIP-1559."""
        if base_fee < 0:
            raise ValueError("a base fee is not negative")
        self._next_base_fee = base_fee

    def mine(
        self, transactions: Iterable[Any] = (), *, timestamp: int | None = None
    ) -> tuple[Block, list[tuple[Any, str]]]:
        """Make a block of signed transactions in the order given.

        Returns the block, and the transactions that were not valid on top of it, with reasons.
        The time is `timestamp`, else what `set_timestamp` said, else a second after the head's.
        """
        if self._next_timestamp is not None:
            timestamp = self._next_timestamp
        at = max(timestamp or 0, self.head.timestamp + 1)
        header = self._child_header(at)
        if self._next_base_fee is not None:
            header = header.copy(base_fee_per_gas=self._next_base_fee)
        vm = self._chain.get_vm(header)
        included: list[Any] = []
        py_receipts: list[Any] = []
        receipts: list[Receipt] = []
        refused: list[tuple[Any, str]] = []
        log_count = 0
        for transaction in transactions:
            try:
                py_receipt, computation = vm.apply_transaction(header, transaction)
            except ValidationError as error:
                refused.append((transaction, str(error)))
                continue
            receipt = _receipt_of(
                transaction, py_receipt, computation, header, len(included), log_count
            )
            header = vm.add_receipt_to_header(header, py_receipt)
            log_count += len(receipt.logs)
            included.append(transaction)
            py_receipts.append(py_receipt)
            receipts.append(receipt)
        filled = vm.set_block_transactions_and_withdrawals(
            vm.get_block(), header, tuple(included), tuple(py_receipts)
        )
        final = vm.finalize_block(filled).block
        self._chain.chaindb.persist_block(final)
        block = Block(final.header, tuple(included), tuple(receipts))
        for receipt in receipts:
            self._receipts[receipt.transaction_hash] = receipt
        self._by_hash[block.hash] = block
        self._blocks.append(block)
        self._next_timestamp = None
        self._next_base_fee = None
        return block, refused

    def _child_header(self, timestamp: int) -> Any:
        parent = self.head.header
        return NativeVM.create_header_from_parent(
            parent, timestamp=timestamp, gas_limit=parent.gas_limit, coinbase=_ZERO_ADDRESS
        )

    def _state(self, block: Block, *, free: bool = False) -> Any:
        header = block.header.copy(base_fee_per_gas=0) if free else block.header
        return self._chain.get_vm(header).state

    def _run(self, call: Call, block: Block) -> Any:
        state = self._state(block, free=True)
        unsigned = PragueTransactionBuilder.new_unsigned_dynamic_fee_transaction(
            chain_id=self.chain_id,
            nonce=state.get_nonce(call.sender),
            max_priority_fee_per_gas=0,
            max_fee_per_gas=0,
            gas=min(call.gas or GAS_LIMIT_BLOCK, GAS_LIMIT_BLOCK),
            to=Address(call.to or b""),
            value=call.value,
            data=call.data,
            access_list=[],
        )
        transaction = SpoofTransaction(unsigned, from_=call.sender)
        if transaction.gas < transaction.intrinsic_gas:
            raise ExecutionFailed(f"intrinsic gas too low: {transaction.intrinsic_gas} are needed")
        try:
            computation = state.apply_transaction(transaction)
        except ValidationError as invalid:
            raise ExecutionFailed(str(invalid)) from invalid
        error = computation.error if computation.is_error else None
        if isinstance(error, Revert):
            raise Reverted(bytes(computation.output))
        if isinstance(error, OutOfGas):
            raise ExecutionFailed("out of gas")
        if error is not None:
            raise ExecutionFailed(str(error) or type(error).__name__)
        return computation


def _receipt_of(
    transaction: Any, receipt: Any, computation: Any, header: Any, index: int, logs_before: int
) -> Receipt:
    logs: Sequence[Any] = receipt.logs
    succeeded = not computation.is_error
    reverted = computation.is_error and isinstance(computation.error, Revert)
    return Receipt(
        transaction_hash=bytes(transaction.hash),
        block_number=int(header.block_number),
        index=index,
        sender=bytes(transaction.sender),
        to=bytes(transaction.to) or None,
        succeeded=succeeded,
        gas_used=int(receipt.gas_used - header.gas_used),
        gas_used_cumulative=int(receipt.gas_used),
        gas_price=min(
            int(transaction.max_fee_per_gas),
            int(header.base_fee_per_gas + transaction.max_priority_fee_per_gas),
        ),
        contract=bytes(computation.msg.storage_address)
        if succeeded and not transaction.to
        else None,
        logs=tuple(
            Log(
                bytes(log.address),
                tuple(topic.to_bytes(32, "big") for topic in log.topics),
                bytes(log.data),
                logs_before + position,
            )
            for position, log in enumerate(logs)
        ),
        output=bytes(computation.output) if succeeded or reverted else b"",
        bloom=int(receipt.bloom),
        type_id=transaction_type(transaction),
    )

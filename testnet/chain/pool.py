"""Transactions that wait for a block: one per sender and nonce, replaced only at a better price."""

import heapq
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

from testnet.chain.evm import transaction_type

TRANSACTIONS_MAX: Final = 4_096
TRANSACTIONS_PER_SENDER_MAX: Final = 64
TRANSACTION_BYTES_MAX: Final = 128 * 1024
REPLACEMENT_PERCENT: Final = 110
"""Both fees of a replacement must reach this part of what they replace, as in geth."""

_BLOB_TYPE = 3


class Refused(Exception):
    """The pool does not take a transaction; the text is what a node would answer."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A transaction in the pool; `arrival` orders those that pay the same."""

    transaction: Any
    arrival: int


class TransactionPool:
    """Waiting transactions by sender and nonce. Gaps are kept until they are filled."""

    def __init__(self, chain_id: int, block_gas_limit: int) -> None:
        self._chain_id = chain_id
        self._block_gas_limit = block_gas_limit
        self._by_sender: dict[bytes, dict[int, Waiting]] = {}
        self._by_hash: dict[bytes, Any] = {}
        self._arrivals = 0

    def __len__(self) -> int:
        return len(self._by_hash)

    def get(self, transaction_hash: bytes) -> Any | None:
        """Return a waiting transaction by its hash, or None."""
        return self._by_hash.get(transaction_hash)

    def add(self, transaction: Any, nonce_next: int, balance: int) -> None:
        """Take a signed transaction, given its sender's nonce and balance at the head.

        Raises Refused, with the reason, and then nothing has changed.
        """
        self._check(transaction, nonce_next, balance)
        sender, nonce = bytes(transaction.sender), int(transaction.nonce)
        of_sender = self._by_sender.get(sender, {})
        replaced = of_sender.get(nonce)
        if replaced is not None:
            old = replaced.transaction
            for fee in ("max_fee_per_gas", "max_priority_fee_per_gas"):
                if getattr(transaction, fee) * 100 < getattr(old, fee) * REPLACEMENT_PERCENT:
                    raise Refused("replacement transaction underpriced")
            del self._by_hash[bytes(old.hash)]
        elif len(of_sender) >= TRANSACTIONS_PER_SENDER_MAX or len(self) >= TRANSACTIONS_MAX:
            raise Refused("txpool is full")
        self._arrivals += 1
        self._by_sender.setdefault(sender, {})[nonce] = Waiting(transaction, self._arrivals)
        self._by_hash[bytes(transaction.hash)] = transaction

    def nonce_after(self, sender: bytes, nonce_next: int) -> int:
        """Return the first nonce from `nonce_next` on that no transaction waits for."""
        waiting = self._by_sender.get(sender, {})
        while nonce_next in waiting:
            nonce_next += 1
        return nonce_next

    def select(self, base_fee: int, nonce_next: Callable[[bytes], int]) -> list[Any]:
        """Return the next block's transactions: the best tip first, each sender's in nonce order.

        What does not fit into the block's gas, or does not pay its base fee, waits on.
        """
        candidates: list[tuple[int, int, bytes, int]] = []

        def offer(sender: bytes, nonce: int) -> None:
            waiting = self._by_sender[sender].get(nonce)
            if waiting is not None and waiting.transaction.max_fee_per_gas >= base_fee:
                transaction = waiting.transaction
                tip = min(
                    transaction.max_priority_fee_per_gas, transaction.max_fee_per_gas - base_fee
                )
                heapq.heappush(candidates, (-tip, waiting.arrival, sender, nonce))

        for sender in self._by_sender:
            offer(sender, nonce_next(sender))
        selected, gas_left = [], self._block_gas_limit
        while candidates:
            _, _, sender, nonce = heapq.heappop(candidates)
            transaction = self._by_sender[sender][nonce].transaction
            if transaction.gas > gas_left:
                continue
            gas_left -= transaction.gas
            selected.append(transaction)
            offer(sender, nonce + 1)
        return selected

    def drop(self, transactions: Iterable[Any]) -> None:
        """Forget transactions that turned out not to be valid."""
        for transaction in transactions:
            self._remove(bytes(transaction.sender), int(transaction.nonce))

    def settle(self, nonce_next: Callable[[bytes], int]) -> None:
        """Forget transactions whose nonce a block has used, whichever transaction used it."""
        for sender in list(self._by_sender):
            used_below = nonce_next(sender)
            for nonce in [nonce for nonce in self._by_sender[sender] if nonce < used_below]:
                self._remove(sender, nonce)

    def _remove(self, sender: bytes, nonce: int) -> None:
        waiting = self._by_sender.get(sender, {}).pop(nonce, None)
        if waiting is not None:
            del self._by_hash[bytes(waiting.transaction.hash)]
        if not self._by_sender.get(sender, True):
            del self._by_sender[sender]

    def _check(self, transaction: Any, nonce_next: int, balance: int) -> None:
        if transaction_type(transaction) == _BLOB_TYPE:
            raise Refused("transaction type not supported")
        if len(transaction.encode()) > TRANSACTION_BYTES_MAX:
            raise Refused("oversized data")
        if transaction.chain_id is None:
            raise Refused("only replay-protected (EIP-155) transactions allowed over RPC")
        if transaction.chain_id != self._chain_id:
            raise Refused(f"invalid chain id for signer: this is chain {self._chain_id}")
        if bytes(transaction.hash) in self._by_hash:
            raise Refused("already known")
        if transaction.max_priority_fee_per_gas > transaction.max_fee_per_gas:
            raise Refused("max priority fee per gas higher than max fee per gas")
        if transaction.gas > self._block_gas_limit:
            raise Refused("exceeds block gas limit")
        if transaction.gas < transaction.intrinsic_gas:
            raise Refused(f"intrinsic gas too low: {transaction.intrinsic_gas} are needed")
        if transaction.nonce < nonce_next:
            raise Refused(f"nonce too low: next nonce {nonce_next}, tx nonce {transaction.nonce}")
        if balance < transaction.gas * transaction.max_fee_per_gas + transaction.value:
            raise Refused("insufficient funds for gas * price + value")

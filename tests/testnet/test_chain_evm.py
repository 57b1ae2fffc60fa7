"""The in-process chain and its pool."""

import pytest
from eth.vm.forks.prague.transactions import PragueTransactionBuilder
from eth_keys.datatypes import PrivateKey
from eth_typing import Address
from hypothesis import given, settings
from hypothesis import strategies as st

from testnet.chain.evm import (
    WEI_PER_ETHER,
    Account,
    Call,
    EvmChain,
    ExecutionFailed,
    Reverted,
    decode_transaction,
)
from testnet.chain.pool import Refused, TransactionPool

# Stores its argument in slot 0, logs topic 1, and returns it; with 255 it reverts with it.
RUNTIME = bytes.fromhex("5f35805f555f5260015f5fa15f5160ff1460185760205ff35b60205ffd")
CREATION = bytes([0x60, len(RUNTIME), 0x80, 0x60, 0x09, 0x5F, 0x39, 0x5F, 0xF3]) + RUNTIME


def word(value: int) -> bytes:
    return value.to_bytes(32, "big")


def signed(
    sender: Account,
    nonce: int,
    *,
    max_fee: int = 10**10,
    tip: int = 1,
    chain_id: int = 31_337,
    **parts: int,
) -> object:
    unsigned = PragueTransactionBuilder.new_unsigned_dynamic_fee_transaction(
        chain_id=chain_id,
        nonce=nonce,
        max_priority_fee_per_gas=tip,
        max_fee_per_gas=max_fee,
        gas=parts.get("gas", 21_000),
        to=Address(b"\x11" * 20),
        value=parts.get("value", 1),
        data=b"",
        access_list=[],
    )
    return unsigned.as_signed_transaction(PrivateKey(sender.private_key), chain_id)


def test_a_contract_is_deployed_called_and_reverts_with_data() -> None:
    chain = EvmChain()
    contract = chain.deploy(CREATION)
    assert chain.code(contract) == RUNTIME
    receipt = chain.transact(contract, word(7))
    assert receipt.succeeded
    assert receipt.output == word(7)
    assert [log.topics for log in receipt.logs] == [(word(1),)]
    assert receipt.gas_used == 44_044
    assert chain.storage(contract, 0) == 7
    failed = chain.transact(contract, word(255))
    assert not failed.succeeded
    assert failed.output == word(255)
    assert chain.storage(contract, 0) == 7
    with pytest.raises(Reverted) as caught:
        chain.call(contract, word(255))
    assert caught.value.data == word(255)
    assert chain.call(contract, word(9)) == word(9)
    assert chain.storage(contract, 0) == 7


def test_branches_share_their_past_and_nothing_else() -> None:
    chain = EvmChain()
    contract = chain.deploy(CREATION)
    before = chain.transact(contract, word(7))
    branch = chain.branch()
    assert branch.receipt(before.transaction_hash) == before
    assert branch.transact(contract, word(8)).succeeded
    assert chain.transact(contract, word(9)).succeeded
    assert chain.transact(contract, word(10)).succeeded
    assert (branch.storage(contract, 0), chain.storage(contract, 0)) == (8, 10)
    assert branch.storage(contract, 0, chain.block(2)) == 7
    assert (branch.head.number, chain.head.number) == (3, 4)
    assert branch.head.hash != chain.block(3).hash  # type: ignore[union-attr]


def test_a_reverting_constructor_raises_with_its_data() -> None:
    with pytest.raises(Reverted) as caught:
        EvmChain().deploy(bytes.fromhex("60aa5f5260205ffd"))
    assert caught.value.data == word(0xAA)


def test_invalid_input_of_a_precompile_burns_all_gas_of_the_call() -> None:
    chain = EvmChain()
    g1_add = bytes(19) + b"\x0b"
    infinity = chain.transact(g1_add, bytes(256), gas=100_000)
    assert infinity.succeeded
    assert infinity.output == bytes(128)
    # Calldata alone: the floor of EIP-7623 is above what the addition took.
    assert infinity.gas_used == 21_000 + 256 * 10
    for data in (bytes(255), b"\xff" * 256, bytes(127) + b"\x01" + bytes(128)):
        refused = chain.transact(g1_add, data, gas=100_000)
        assert not refused.succeeded
        assert refused.gas_used == 100_000


def test_the_next_block_takes_the_time_that_was_set() -> None:
    chain = EvmChain(genesis_time=1_000)
    chain.set_timestamp(5_000)
    assert chain.mine()[0].timestamp == 5_000
    assert chain.mine()[0].timestamp == 5_001
    with pytest.raises(ValueError, match="not later"):
        chain.set_timestamp(5_001)


def test_a_gas_estimate_is_enough_and_not_far_above() -> None:
    chain = EvmChain()
    contract = chain.deploy(CREATION)
    estimate = chain.estimate_gas(Call(contract, word(3), chain.accounts[0].address))
    receipt = chain.transact(contract, word(3), gas=estimate)
    assert receipt.succeeded
    assert receipt.gas_used <= estimate <= receipt.gas_used + 5_000
    with pytest.raises(Reverted):
        chain.estimate_gas(Call(contract, word(255)))
    with pytest.raises(ExecutionFailed):
        chain.execute(Call(contract, word(3), gas=22_000))


def test_history_is_kept_and_hashes_lead_back_to_genesis() -> None:
    chain = EvmChain()
    contract = chain.deploy(CREATION)
    chain.transact(contract, word(1))
    before = chain.head
    chain.transact(contract, word(2))
    assert chain.storage(contract, 0, before) == 1
    for number in range(chain.head.number, 0, -1):
        block, parent = chain.block(number), chain.block(number - 1)
        assert block is not None
        assert parent is not None
        assert bytes(block.header.parent_hash) == parent.hash
        assert block.timestamp > parent.timestamp


def test_a_transaction_is_the_same_after_its_wire_form() -> None:
    chain = EvmChain()
    transaction = signed(chain.accounts[0], 0)
    assert decode_transaction(transaction.encode()).hash == transaction.hash  # type: ignore[attr-defined]


@pytest.mark.parametrize("raw", [b"", b"\x02", b"\x02\xc0", b"\xff" * 40, b"\x7f" + b"\0" * 99])
def test_a_malformed_transaction_is_refused(raw: bytes) -> None:
    with pytest.raises(ValueError, match="malformed"):
        decode_transaction(raw)


CHAIN = EvmChain()
RICH = 10_000 * WEI_PER_ETHER


def pool_of(*transactions: object) -> TransactionPool:
    pool = TransactionPool(31_337, 30_000_000)
    for transaction in transactions:
        pool.add(transaction, 0, RICH)
    return pool


def nonce_zero(_: bytes) -> int:
    return 0


def test_gaps_wait_until_they_are_filled() -> None:
    sender = CHAIN.accounts[0]
    first, third = signed(sender, 0), signed(sender, 2)
    pool = pool_of(first, third)
    assert pool.select(0, nonce_zero) == [first]
    assert pool.nonce_after(sender.address, 0) == 1
    second = signed(sender, 1)
    pool.add(second, 0, RICH)
    assert pool.select(0, nonce_zero) == [first, second, third]
    assert pool.nonce_after(sender.address, 0) == 3
    pool.settle(lambda _: 2)
    assert len(pool) == 1


def test_only_a_tenth_more_replaces() -> None:
    sender = CHAIN.accounts[0]
    pool = pool_of(signed(sender, 0, max_fee=1_000, tip=100))
    for max_fee, tip in ((1_000, 100), (1_099, 110), (1_100, 109)):
        with pytest.raises(Refused, match=r"known|underpriced"):
            pool.add(signed(sender, 0, max_fee=max_fee, tip=tip), 0, RICH)
    better = signed(sender, 0, max_fee=1_100, tip=110)
    pool.add(better, 0, RICH)
    assert len(pool) == 1
    assert pool.select(0, nonce_zero) == [better]


@pytest.mark.parametrize(
    ("changes", "nonce_next", "balance", "says"),
    [
        ({}, 1, RICH, "nonce too low"),
        ({"chain_id": 5}, 0, RICH, "chain id"),
        ({"gas": 20_999}, 0, RICH, "intrinsic gas"),
        ({"gas": 30_000_001}, 0, RICH, "block gas limit"),
        ({"tip": 11, "max_fee": 10}, 0, RICH, "higher than max fee"),
        ({"max_fee": 10**9, "value": 1}, 0, 21_000 * 10**9, "insufficient funds"),
    ],
)
def test_a_transaction_that_cannot_be_mined_is_refused(
    changes: dict[str, int], nonce_next: int, balance: int, says: str
) -> None:
    pool = pool_of()
    with pytest.raises(Refused, match=says):
        pool.add(signed(CHAIN.accounts[0], 0, **changes), nonce_next, balance)
    assert len(pool) == 0


def test_what_does_not_pay_the_base_fee_waits() -> None:
    sender = CHAIN.accounts[0]
    pool = pool_of(signed(sender, 0, max_fee=99), signed(sender, 1, max_fee=200))
    assert pool.select(100, nonce_zero) == []
    assert len(pool.select(99, nonce_zero)) == 2


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 4), st.integers(1, 50)), max_size=12))
def test_a_block_never_takes_a_senders_transactions_out_of_order(
    wanted: list[tuple[int, int, int]],
) -> None:
    pool = pool_of()
    for sender, nonce, tip in wanted:
        try:
            pool.add(signed(CHAIN.accounts[sender], nonce, tip=tip), 0, RICH)
        except Refused:
            continue
    seen: dict[bytes, int] = {}
    for transaction in pool.select(0, nonce_zero):
        assert transaction.nonce == seen.get(transaction.sender, 0)
        seen[transaction.sender] = transaction.nonce + 1

"""The JSON forms of Ethereum's RPC: quantities, bytes, blocks, transactions, receipts, logs."""

import re
from typing import Any

from testnet.chain.evm import Block, Log, Receipt, transaction_type

_QUANTITY = re.compile(r"0x(0|[1-9a-fA-F][0-9a-fA-F]{0,63})")
_BYTES = re.compile(r"0x([0-9a-fA-F]{2})*")
_DATA_BYTES_MAX = 1 << 19


def quantity(value: int) -> str:
    """Return an integer in the RPC's form."""
    return hex(value)


def data(value: bytes) -> str:
    """Return bytes in the RPC's form."""
    return "0x" + value.hex()


def read_quantity(value: object, what: str) -> int:
    """Read an integer; raise ValueError."""
    if not isinstance(value, str) or not _QUANTITY.fullmatch(value):
        raise ValueError(f"{what} must be a hexadecimal quantity without leading zeros")
    return int(value, 16)


def read_bytes(value: object, what: str, length: int | None = None) -> bytes:
    """Read bytes, of one length if that is given; raise ValueError."""
    if not isinstance(value, str) or not _BYTES.fullmatch(value):
        raise ValueError(f"{what} must be hexadecimal bytes with 0x")
    decoded = bytes.fromhex(value[2:])
    if len(decoded) > _DATA_BYTES_MAX or length not in (None, len(decoded)):
        raise ValueError(f"{what} must be {length or f'at most {_DATA_BYTES_MAX}'} bytes")
    return decoded


def block_form(block: Block, *, full: bool) -> dict[str, object]:
    """Return a block, with whole transactions or only their hashes."""
    header = block.header
    return {
        "number": quantity(block.number),
        "hash": data(block.hash),
        "parentHash": data(header.parent_hash),
        "nonce": data(header.nonce),
        "sha3Uncles": data(header.uncles_hash),
        "logsBloom": data(header.bloom.to_bytes(256, "big")),
        "transactionsRoot": data(header.transaction_root),
        "stateRoot": data(header.state_root),
        "receiptsRoot": data(header.receipt_root),
        "miner": data(header.coinbase),
        "difficulty": quantity(header.difficulty),
        "extraData": data(header.extra_data),
        "size": quantity(0),
        "gasLimit": quantity(header.gas_limit),
        "gasUsed": quantity(header.gas_used),
        "timestamp": quantity(block.timestamp),
        "mixHash": data(header.mix_hash),
        "baseFeePerGas": quantity(header.base_fee_per_gas),
        "withdrawalsRoot": data(header.withdrawals_root),
        "blobGasUsed": quantity(header.blob_gas_used),
        "excessBlobGas": quantity(header.excess_blob_gas),
        "parentBeaconBlockRoot": data(header.parent_beacon_block_root),
        "requestsHash": data(header.requests_hash),
        "uncles": [],
        "withdrawals": [],
        "transactions": [
            transaction_form(transaction, block, index) if full else data(transaction.hash)
            for index, transaction in enumerate(block.transactions)
        ],
    }


def transaction_form(
    transaction: Any, block: Block | None = None, index: int = 0
) -> dict[str, object]:
    """Return a signed transaction, with its place if it stands in a block."""
    kind = transaction_type(transaction)
    form: dict[str, object] = {
        "type": quantity(kind),
        "hash": data(transaction.hash),
        "nonce": quantity(transaction.nonce),
        "from": data(transaction.sender),
        "to": data(transaction.to) if transaction.to else None,
        "value": quantity(transaction.value),
        "gas": quantity(transaction.gas),
        "input": data(transaction.data),
        "chainId": quantity(transaction.chain_id),
        "r": quantity(transaction.r),
        "s": quantity(transaction.s),
        "v": quantity(transaction.y_parity if kind else transaction.v),
        "blockHash": data(block.hash) if block else None,
        "blockNumber": quantity(block.number) if block else None,
        "transactionIndex": quantity(index) if block else None,
    }
    if kind:
        form["yParity"] = quantity(transaction.y_parity)
        form["accessList"] = [
            {"address": data(address), "storageKeys": [data(k.to_bytes(32, "big")) for k in keys]}
            for address, keys in transaction.access_list
        ]
    if kind >= 2:
        form["maxFeePerGas"] = quantity(transaction.max_fee_per_gas)
        form["maxPriorityFeePerGas"] = quantity(transaction.max_priority_fee_per_gas)
    if block:
        form["gasPrice"] = quantity(block.receipts[index].gas_price)
    else:
        form["gasPrice"] = quantity(transaction.max_fee_per_gas)
    return form


def receipt_form(receipt: Receipt, block: Block) -> dict[str, object]:
    """Return a receipt; `block` is the one it stands in."""
    return {
        "type": quantity(receipt.type_id),
        "transactionHash": data(receipt.transaction_hash),
        "transactionIndex": quantity(receipt.index),
        "blockHash": data(block.hash),
        "blockNumber": quantity(block.number),
        "from": data(receipt.sender),
        "to": data(receipt.to) if receipt.to else None,
        "contractAddress": data(receipt.contract) if receipt.contract else None,
        "cumulativeGasUsed": quantity(receipt.gas_used_cumulative),
        "gasUsed": quantity(receipt.gas_used),
        "effectiveGasPrice": quantity(receipt.gas_price),
        "status": quantity(int(receipt.succeeded)),
        "logsBloom": data(receipt.bloom.to_bytes(256, "big")),
        "logs": [log_form(log, receipt, block) for log in receipt.logs],
    }


def log_form(log: Log, receipt: Receipt, block: Block) -> dict[str, object]:
    """Return one event with its place."""
    return {
        "address": data(log.address),
        "topics": [data(topic) for topic in log.topics],
        "data": data(log.data),
        "blockNumber": quantity(block.number),
        "blockHash": data(block.hash),
        "blockTimestamp": quantity(block.timestamp),
        "transactionHash": data(receipt.transaction_hash),
        "transactionIndex": quantity(receipt.index),
        "logIndex": quantity(log.index),
        "removed": False,
    }

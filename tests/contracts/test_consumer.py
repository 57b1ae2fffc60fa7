"""What integrators are shown: it compiles, values with a price, or reverts with the reason."""

import json
from pathlib import Path
from typing import Any

import pytest

from consensus.digests import keccak
from contracts import client
from testnet.chain.evm import Reverted

CONTRACTS = Path(__file__).parents[2] / "contracts"
ARTIFACT = Path(__file__).parent / "artifacts" / "Consumer.json"


def deployed(oracle: Any, network: bytes) -> bytes:
    code = bytes.fromhex(json.loads(ARTIFACT.read_text())["bytecode"].removeprefix("0x"))
    address: bytes = oracle.chain.deploy(code + bytes(12) + oracle.address + network)
    return address


def value_of(oracle: Any, consumer: bytes, amount: int) -> int:
    data = keccak(b"valueOf(uint256)")[:4] + amount.to_bytes(32, "big")
    return int.from_bytes(oracle.chain.call(consumer, data), "big")


def test_the_example_values_with_a_price_that_is_fit_for_use(kit: Any) -> None:
    oracle = kit.deploy(kit.Committee())
    consumer = deployed(oracle, oracle.committee.network)
    with pytest.raises(Reverted) as reverted:
        value_of(oracle, consumer, 1)
    assert client.describe_error(reverted.value.data) == "Unavailable(feed=0, status=0)"

    at = kit.CHAIN_TIME + 1000
    oracle.chain.set_timestamp(at)
    report = oracle.committee.report([kit.word_of(kit.answer(250_000_000))], at * 1000)
    assert oracle.push(report).succeeded
    assert value_of(oracle, consumer, 3) == 75  # 25 at 7 decimals

    oracle.chain.mine(timestamp=at + 61)
    with pytest.raises(Reverted) as reverted:
        value_of(oracle, consumer, 1)
    assert client.describe_error(reverted.value.data).startswith("Stale(")


def test_the_example_takes_no_oracle_of_another_network(kit: Any) -> None:
    oracle = kit.deploy(kit.Committee())
    with pytest.raises(Reverted) as reverted:
        deployed(oracle, bytes(32))
    assert reverted.value.data == keccak(b"AnotherNetwork(bytes32)")[:4] + oracle.committee.network


@pytest.mark.checkout
def test_the_interface_needs_no_exact_compiler() -> None:
    assert "pragma solidity ^0.8.20;" in (CONTRACTS / "src" / "IOracle.sol").read_text("utf-8")

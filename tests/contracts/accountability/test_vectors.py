"""The committed vectors of evidence, judged by the contract as by the consensus code."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

from consensus.committee import Configuration, Member, Timing
from consensus.digests import keccak
from contracts import abi, accountability, epochs
from node.evidence_file import evidence_in
from testnet.chain.evm import EvmChain, Receipt

CONTRACTS = Path(__file__).parents[1] / "artifacts"
VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "evidence.json").read_text("utf-8"))
EPOCH = 3
AT_S = 1_700_000_000


@dataclass
class Court:
    chain: EvmChain
    address: bytes

    def report(self, document: dict[str, Any]) -> Receipt:
        full = {**document, "members": VECTORS["members"]}
        _, evidence = evidence_in(msgspec.json.encode(full))
        calldata = accountability.encode_report(document["epoch"], evidence)
        return self.chain.transact(self.address, calldata, gas=2**24)


@pytest.fixture
def court(kit: Any) -> Court:
    """The real Oracle with the vectors' committee as its epoch 3, and nothing at stake."""
    document = VECTORS["valid"][0]["document"]
    chain = EvmChain(genesis_time=AT_S)
    code = json.loads((CONTRACTS / "OracleOfEpoch.json").read_text())["bytecode"][2:]
    configuration = bytes.fromhex(document["configuration"][2:])
    oracle = chain.deploy(bytes.fromhex(code) + keccak(VECTORS["network"].encode()) + configuration)
    assert chain.call(oracle, abi.selector("Oracle", "network")).hex() == document["network"][2:]
    committee = tuple(
        Member(
            bytes.fromhex(m["bls_key"][2:]),
            bytes(48),
            bytes.fromhex(m["ed25519_key"][2:]),
            bytes.fromhex(m["operator"][2:]),
        )
        for m in VECTORS["members"]
    )
    table = kit.feed_table(1)
    planted = epochs.encode_open(
        Configuration(committee, table.digest(), Timing(), VECTORS["valid_until_ms"]), table
    )
    plant(chain, oracle, planted, document)
    return Court(chain, chain.deploy(accountability.encode_deploy(oracle, bytes(20), 100_000)))


def plant(chain: EvmChain, oracle: bytes, opening: bytes, document: dict[str, Any]) -> None:
    configuration = (
        "((uint256[4],bytes32,address)[],(bytes32,bytes32,bytes32)[],"
        "(uint64,uint64,uint64,uint64,uint64,uint64),uint64)"
    )
    data = keccak(f"plant(uint64,bytes32,bytes32,{configuration})".encode())[:4]
    data += abi.encode_tuple(
        EPOCH,
        bytes.fromhex(document["domain"][2:]),
        bytes.fromhex(document["configuration"][2:]),
        abi.Dynamic(opening[4 + abi.WORD_BYTES :]),
    )
    receipt = chain.transact(oracle, data, gas=2**24)
    assert receipt.succeeded, receipt.output


@pytest.mark.parametrize("vector", VECTORS["valid"], ids=lambda v: v["name"])
def test_what_convicts(court: Court, vector: dict[str, Any]) -> None:
    document = vector["document"]
    receipt = court.report(document)
    assert receipt.succeeded, accountability.decode_error(receipt.output)
    print(f"{vector['name']}: {receipt.gas_used} gas")
    found = [accountability.decode_convicted(list(log.topics), log.data) for log in receipt.logs]
    assert [f.offence for f in found if f] == [document["kind"]] * len(document["accused"])
    keys = [bytes.fromhex(VECTORS["members"][i]["bls_key"][2:]) for i in document["accused"]]
    assert [f.key for f in found if f] == [accountability.key_name(key) for key in keys]


REFUSED = {
    "one header twice": "NotInOrder",
    "in the wrong order": "NotInOrder",
    "headers of two views": "ViewsDiffer",
    "nobody in both": "NobodyConvicted",
    "a bit beyond the committee": "UnknownSigner",
    "a bit of somebody who did not sign": "BadSignature",
    "a vote of another epoch": "BadSignature",
    "a report as high as the parent": "NobodyConvicted",
    "a timeout before the vote": "TimeoutBeforeVote",
    "another link": "AnotherLink",
    "a timeout of another": "NobodyConvicted",
    "a timeout of another epoch": "BadSignature",
    "groups that do not ascend": "MalformedGroup",
    "groups that overlap": "MalformedGroup",
    "a report not below its view": "MalformedGroup",
    "one timeout twice": "NotInOrder",
    "the same report of a member in two TCs": "NobodyConvicted",
    "timeouts of two views": "ViewsDiffer",
}


@pytest.mark.parametrize("vector", VECTORS["invalid"], ids=lambda v: v["name"])
def test_what_convicts_nobody(court: Court, vector: dict[str, Any]) -> None:
    receipt = court.report(vector["document"])
    assert not receipt.succeeded
    error = accountability.decode_error(receipt.output)
    assert error is not None
    assert error.name == REFUSED[vector["name"]], str(error)


def test_every_vector_is_judged() -> None:
    assert len(VECTORS["valid"]) >= 7
    assert {vector["name"] for vector in VECTORS["invalid"]} == set(REFUSED)

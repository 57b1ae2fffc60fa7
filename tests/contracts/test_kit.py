"""The kit for protocols' tests signs as members sign, and deploys the Oracle that is shipped."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from blspy import PopSchemeMPL, PrivateKey
from eth_abi import encode
from web3 import Web3

from aggregation.encoding import UNAVAILABLE_ANSWER, encode_answer, pack_words
from aggregation.status import Status
from consensus.digests import keccak
from contracts import client, epochs
from contracts.abi import artifact, bytecode
from contracts.points import decompress_g2
from testnet.chain.evm import EvmChain, Receipt, Reverted

ORDER = 0x73EDA753299D7D483339D80809A1D80553BDA402FFFE5BFEFFFFFFFF00000001
CHAIN_TIME = 1_700_000_000
NOW_MS = CHAIN_TIME * 1000
ARTIFACT = json.loads((Path(__file__).parent / "artifacts" / "OracleKit.json").read_text())
LIVE, CARRIED, DEGRADED, HALTED = 1, 2, 3, 4


IORACLE = Web3().eth.contract(abi=artifact("Oracle")["abi"])


def outputs_of(function: str) -> list[dict[str, Any]]:
    outputs: list[dict[str, Any]] = next(
        entry for entry in ARTIFACT["abi"] if entry.get("name") == function
    )["outputs"]
    return outputs


@dataclass
class Kit:
    """The deployed kit and its Oracle."""

    chain: EvmChain
    address: bytes
    contract: Any
    oracle: bytes

    def send(self, function: str, *arguments: Any) -> Receipt:
        data = bytes.fromhex(self.contract.encode_abi(function, list(arguments))[2:])
        return self.chain.transact(self.address, data, gas=2**24)

    def ask(self, function: str, *arguments: Any) -> Any:
        data = bytes.fromhex(self.contract.encode_abi(function, list(arguments))[2:])
        output = self.chain.call(self.address, data)
        types = [self._type(one) for one in outputs_of(function)]
        (value,) = Web3().codec.decode(types, output)
        return value

    def _type(self, one: dict[str, Any]) -> str:
        if not one["type"].startswith("tuple"):
            return str(one["type"])
        inner = ",".join(map(self._type, one["components"]))
        return f"({inner}){one['type'][5:]}"

    def report(self, function: str, *arguments: Any) -> Any:
        """Have a report signed; return it as contracts take it."""
        data = bytes.fromhex(self.contract.encode_abi(function, list(arguments))[2:])
        receipt = self.chain.transact(self.address, data, gas=2**24)
        assert receipt.succeeded
        (report,) = Web3().codec.decode(
            ["((uint256[6],bytes32,uint256),uint256[])"], receipt.output
        )
        return report

    def read(self, feed: int, age: int = 60) -> tuple[int, int]:
        data = client.encode_read(feed, age, 10_000)
        return client.decode_read(self.chain.call(self.oracle, data))

    def reason(self, feed: int, age: int = 60) -> client.Reason:
        data = client.encode_try_read(feed, age, 10_000)
        return client.decode_try_read(self.chain.call(self.oracle, data))[0]


def deploy(feeds: Sequence[tuple[str, str, int]] = ()) -> Kit:
    chain = EvmChain(genesis_time=CHAIN_TIME)
    arguments = encode(["(string,string,uint8)[]"], [list(feeds)])
    code = bytes.fromhex(ARTIFACT["bytecode"][2:])
    address = chain.deploy(code + arguments)
    contract = Web3().eth.contract(abi=ARTIFACT["abi"])
    kit = Kit(chain, address, contract, b"")
    kit.oracle = bytes.fromhex(kit.ask("oracle")[2:])
    return kit


@pytest.fixture(scope="module")
def deployed() -> Kit:
    return deploy()


@pytest.fixture
def kit() -> Kit:
    return deploy()


def keys() -> list[Any]:
    secrets = [
        int.from_bytes(keccak(encode(["string", "uint256"], ["test key", i])), "big") % (ORDER - 1)
        + 1
        for i in range(4)
    ]
    return [PrivateKey.from_bytes(secret.to_bytes(32, "big")) for secret in secrets]


def test_it_deploys_the_oracle_that_is_shipped(deployed: Kit) -> None:
    carried = Path(__file__).parents[2] / "contracts" / "kit" / "OracleCode.sol"
    if carried.exists():
        assert f'hex"{bytecode("Oracle").hex()}"' in carried.read_text()
    feeds = [
        client.decode_feed(deployed.chain.call(deployed.oracle, client.encode_feed(i)))
        for i in range(4)
    ]
    assert [(f.base, f.quote, f.decimals) for f in feeds] == [
        (base, "USD", 8) for base in ("BTC", "ETH", "SOL", "USDC")
    ]
    committee = deployed.chain.call(deployed.oracle, client.encode_getter("committee"))
    assert epochs.decode_committee(committee).quorum == 3


def test_its_signatures_are_those_of_the_same_keys_elsewhere(deployed: Kit) -> None:
    domain = deployed.chain.call(deployed.oracle, client.encode_getter("domain"))
    for signers in (0b1111, 0b0111, 0b1010, 0b1000):
        at_ms = NOW_MS + signers
        (signature, link, place), words = deployed.report("reportBy", signers, at_ms)
        where = client.place_of(place)
        assert (where.epoch, where.observed_at_ms, where.signers) == (0, at_ms, signers)
        header = client.Header(where.view, at_ms, client.feed_root(tuple(words)), link)
        shares = [
            PopSchemeMPL.sign(key, header.id(domain))
            for i, key in enumerate(keys())
            if signers >> i & 1
        ]
        expected = decompress_g2(bytes(PopSchemeMPL.aggregate(shares)))
        assert b"".join(part.to_bytes(32, "big") for part in signature) == expected


@pytest.mark.parametrize(
    ("price", "ppm", "status"),
    [
        *((1_000_000, ppm, LIVE) for ppm in (0, 1, 255, 256, 257, 511, 513, 99_999, 1_000_000)),
        (2**48 - 1, 5, DEGRADED),
        (1_000_000, 255 << 15, HALTED),
        (1_000_000, (255 << 15) + 1, CARRIED),
        (1_000_000, 2**256 - 1, LIVE),
        (5, 5, 0),
        (0, 5, LIVE),
    ],
)
def test_answers_are_encoded_as_members_do(
    deployed: Kit, price: int, ppm: int, status: int
) -> None:
    report = deployed.report("report", 1, price, ppm, status, NOW_MS)
    # At a price of 10**6 the confidence in units is that in parts per million.
    expected = encode_answer(price, ppm * price // 1_000_000, Status(status))
    if price == 2**48 - 1:
        expected = price << 16 | 5 << 8 | DEGRADED
    mine = report[1][0] >> 128 & (1 << 64) - 1
    assert mine == expected
    others = pack_words([UNAVAILABLE_ANSWER, expected, UNAVAILABLE_ANSWER, UNAVAILABLE_ANSWER])
    assert report[1] == others


def test_prices_statuses_and_times_as_a_test_needs_them(kit: Kit) -> None:
    assert kit.reason(0) is client.Reason.UNAVAILABLE
    assert kit.send("setPrice", 0, 65_000 * 10**8).succeeded
    assert kit.read(0)[0] == 65_000 * 10**8
    # Twice in one second is no trouble, and what was set before stays.
    assert kit.send("setPrice", 3, 10**8).succeeded
    assert [kit.read(feed)[0] for feed in (0, 3)] == [65_000 * 10**8, 10**8]
    assert kit.send("setAnswer", 0, 64_000 * 10**8, 500, HALTED).succeeded
    assert kit.reason(0) is client.Reason.HALTED
    assert kit.send("setAnswer", 0, 64_000 * 10**8, 20_000, LIVE).succeeded
    assert kit.reason(0) is client.Reason.UNCERTAIN
    assert kit.send("setAnswer", 0, 64_000 * 10**8, 500, DEGRADED).succeeded
    assert kit.reason(0) is client.Reason.NONE
    kit.chain.set_timestamp(kit.chain.head.timestamp + 100)
    kit.chain.mine()
    assert kit.reason(0, age=99) is client.Reason.STALE
    assert kit.reason(0, age=101) is client.Reason.NONE


def test_each_way_in_takes_its_reports(kit: Kit) -> None:
    report = kit.report("report", 2, 150 * 10**8, 500, LIVE, NOW_MS - 5_000)
    updates = Web3().codec.decode(
        ["((uint256[6],bytes32,uint256),(uint16,uint16,uint256,bytes32[])[])[]"],
        kit.chain.call(
            kit.address,
            bytes.fromhex(
                kit.contract.encode_abi(
                    abi_element_identifier="updates(((uint256[6],bytes32,uint256),uint256[]),uint16)",
                    args=[report, 2],
                )[2:]
            ),
        ),
    )[0]
    ((_, claims),) = updates
    assert claims == ((2, 1, report[1][0], ()),)
    posting = bytes(kit.ask("postCalldata", report))
    receipt = kit.chain.transact(kit.oracle, posting)
    assert client.decode_stored_flag(receipt.output)
    proof = client.encode_prove(NOW_MS - 5_000, client.Claim(*claims[0]))
    assert client.decode_stored_flag(kit.chain.transact(kit.oracle, proof).output)
    assert kit.read(2) == (150 * 10**8, NOW_MS - 5_000)
    newer = kit.report("report", 2, 151 * 10**8, 500, LIVE, NOW_MS)
    pushing = bytes(kit.ask("pushCalldata", newer))
    assert client.decode_stored_flag(kit.chain.transact(kit.oracle, pushing).output)
    assert kit.read(2) == (151 * 10**8, NOW_MS)
    older = kit.report("report", 2, 1, 500, LIVE, NOW_MS - 1)
    stale = kit.chain.transact(kit.oracle, bytes(kit.ask("pushCalldata", older)))
    assert stale.succeeded
    assert not client.decode_stored_flag(stale.output)


def test_what_a_quorum_did_not_sign_is_refused_as_by_any_oracle(kit: Kit) -> None:
    kit.send("agree", 0, 10**8, 500, LIVE)
    for signers, said in ((0b0011, "BelowQuorum(signers=2, quorum=3)"), (0b10111, "UnknownSigner")):
        report = kit.report("reportBy", signers, NOW_MS)
        receipt = kit.chain.transact(kit.oracle, bytes(kit.ask("pushCalldata", report)))
        assert not receipt.succeeded
        assert said in str(client.decode_error(receipt.output))
    report = kit.report("reportBy", 0b0111, NOW_MS)
    calldata = bytearray(kit.ask("pushCalldata", report))
    calldata[-1] ^= 1
    receipt = kit.chain.transact(kit.oracle, bytes(calldata))
    assert "BadSignature" in str(client.decode_error(receipt.output))


def test_final_reports_settle_as_the_network_s_do(kit: Kit) -> None:
    kit.send("agree", 1, 3_000 * 10**8, 500, LIVE)
    made = kit.send("finalReport", 1, NOW_MS - 4_000, NOW_MS - 3_000)
    assert made.succeeded
    types = [kit._type(one) for one in outputs_of("finalReport")]
    proof, claim = Web3().codec.decode(types, made.output)
    for moment, first in ((4_001, False), (4_000, True), (3_001, True), (3_000, False)):
        asked = IORACLE.encode_abi("firstAfter", [NOW_MS - moment, proof, claim])
        call = bytes.fromhex(asked[2:])
        if first:
            words = kit.chain.call(kit.oracle, call)
            assert client.abi.decode(["uint64", "uint64", "uint256"], words) == [
                NOW_MS - 4_000,
                NOW_MS - 3_000,
                3_000 * 10**8,
            ]
        else:
            with pytest.raises(Reverted) as refused:
                kit.chain.call(kit.oracle, call)
            assert "NotFirstAfter" in client.describe_error(refused.value.data)
    # The next report is later than what was final.
    assert kit.send("setPrice", 1, 3_001 * 10**8).succeeded
    assert kit.read(1)[0] == 3_001 * 10**8


def test_feeds_of_ones_own(kit: Kit) -> None:
    many = deploy([(f"T{i}", "EUR", i % 10) for i in range(21)])
    description = client.decode_feed(many.chain.call(many.oracle, client.encode_feed(20)))
    assert (description.base, description.quote, description.decimals) == ("T20", "EUR", 0)
    assert many.send("setPrice", 20, 7).succeeded
    assert many.read(20)[0] == 7
    report = many.report("report", 9, 5, 500, LIVE, NOW_MS + 900)
    claim = many.ask("claim", report, 9)
    assert claim[:2] == (9, 6)
    expected = client.claim_of(9, report[1])
    assert claim == (expected.feed, expected.words, expected.word, expected.path)
    # Mistakes of a test are told.
    for function, arguments in (
        ("setPrice", (21, 1)),
        ("setPrice", (0, 2**48)),
        ("setAnswer", (0, 1, 1, 5)),
    ):
        assert not many.send(function, *arguments).succeeded

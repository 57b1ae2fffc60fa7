import subprocess
import sys
from typing import Any

import pytest
from eth_abi import encode
from eth_utils import function_signature_to_4byte_selector

from consensus.committee import Configuration
from contracts import abi, client

PUSH = "push((uint64,uint64,bytes32,bytes32),uint256[],(uint256,uint256[6]))"
GENESIS = (
    "(bytes32,(uint256[4],bytes32,address,uint256[6],uint256[6])[],(bytes32,bytes32,bytes32)[],"
    "(uint64,uint64,uint64,uint64,uint64,uint64),uint64,uint64)"
)


def words_of(data: bytes) -> list[int]:
    return [int.from_bytes(data[i : i + 32], "big") for i in range(0, len(data), 32)]


def test_push_is_encoded_as_the_abi_demands(kit: Any) -> None:
    report = kit.Committee(table=kit.feed_table(9)).report()
    header = report.header
    expected = encode(
        [PUSH[5 : PUSH.index("),") + 1], "uint256[]", "(uint256,uint256[6])"],
        [
            (header.view, header.observed_at_ms, header.feed_root, header.link),
            report.words,
            (report.bitmap, words_of(report.signature)),
        ],
    )
    assert len(report.words) == 3
    assert report.calldata == function_signature_to_4byte_selector(PUSH) + expected
    bitmap = report.bitmap.to_bytes(32, "big")
    again = client.encode_push(header, report.words, bitmap, report.signature)
    assert again == report.calldata


def test_deployment_is_encoded_as_the_abi_demands(kit: Any) -> None:
    committee = kit.Committee(n=5, table=kit.feed_table(5))
    code = committee.creation_code()
    own = abi.bytecode("Oracle")
    assert code.startswith(own)
    decoded = encode([GENESIS], [genesis_of(committee, kit)])
    assert code[len(own) :] == decoded


def genesis_of(committee: Any, kit: Any) -> tuple[Any, ...]:
    from aggregation.table import feed_record
    from consensus.digests import keccak
    from contracts.points import decompress_g2

    members = [
        (
            words_of(member.bls_key),
            member.ed25519_key,
            "0x" + member.operator.hex(),
            words_of(decompress_g2(proof.proof_of_possession)),
            words_of(decompress_g2(proof.registration)),
        )
        for member, proof in zip(committee.members, committee.proofs, strict=True)
    ]
    records = [feed_record(feed) for feed in committee.table.feeds]
    return (
        keccak(committee.name.encode()),
        members,
        [(record[:32], record[32:64], record[64:]) for record in records],
        (250, 1000, 50, 2000, 500, 3000),
        committee.valid_until_ms,
        kit.MAX_FUTURE_MS,
    )


def test_a_deployment_that_does_not_fit_together_is_refused(kit: Any) -> None:
    committee = kit.Committee()
    other = kit.feed_table(5)
    with pytest.raises(ValueError, match="not that of the configuration"):
        committee.creation_code(feed_table=other)
    with pytest.raises(ValueError, match="4 members, 3 proofs"):
        committee.creation_code(proofs=committee.proofs[:3])


def test_a_deployment_beyond_the_size_of_creation_code_is_refused(kit: Any) -> None:
    committee = kit.Committee()
    proofs = committee.proofs[:1]
    members = tuple(
        kit.Member(
            committee.members[0].bls_key[:-1] + bytes([i]),
            bytes(48),
            bytes([i]) * 32,
            bytes([i]) * 20,
        )
        for i in range(100)
    )
    configuration = Configuration(
        members, committee.table.digest(), committee.configuration.timing, committee.valid_until_ms
    )
    with pytest.raises(ValueError, match="creation code, a chain takes 49152"):
        committee.creation_code(configuration=configuration, proofs=proofs * 100)


def test_a_signature_of_another_width_is_refused(kit: Any) -> None:
    report = kit.Committee().report()
    with pytest.raises(ValueError, match="192 bytes, not 96"):
        client.encode_push(report.header, report.words, report.bitmap, bytes(96))
    with pytest.raises(ValueError, match="does not fit a word"):
        client.encode_push(report.header, [1 << 256], report.bitmap, report.signature)


def test_errors_become_text() -> None:
    stale = function_signature_to_4byte_selector("Stale(uint256,uint256,uint256)")
    data = stale + encode(["uint256"] * 3, [2, 9000, 1000])
    assert str(client.decode_error(data)) == "Stale(feed=2, age=9000, maxAge=1000)"
    assert client.describe_error(data).startswith("Stale(feed=2, age=9000, maxAge=1000): ")
    duplicate = function_signature_to_4byte_selector("Duplicate(string,uint256,uint256)")
    data = duplicate + encode(["string", "uint256", "uint256"], ["operator", 0, 3])
    assert client.describe_error(data) == "Duplicate(what=operator, first=0, second=3)"
    bad = function_signature_to_4byte_selector("BadSignature(bytes32)")
    assert "id=0x1111" in client.describe_error(bad + b"\x11" * 32)
    assert "unknown data 0xdeadbeef" in client.describe_error(b"\xde\xad\xbe\xef")
    assert "without a reason" in client.describe_error(b"")
    assert client.decode_error(stale) is None


def test_every_error_and_event_of_the_contract_is_known() -> None:
    kinds = [entry["type"] for entry in abi.artifact("Oracle")["abi"]]
    assert kinds.count("error") >= 22
    assert kinds.count("event") == 1
    for name in client._ADVICE:
        assert abi._entry("Oracle", "error", name)


def test_hostile_return_data_raise_value_error() -> None:
    with pytest.raises(ValueError, match="are needed"):
        client.decode_latest(bytes(127))
    with pytest.raises(ValueError, match="is no uint64"):
        client.decode_stored(b"\xff" * 96)
    with pytest.raises(ValueError, match=r"elements|are needed"):
        client.decode_feed(b"\xff" * 192)
    with pytest.raises(ValueError, match="3 topics"):
        client.decode_pushed([client.pushed_topic()], b"")
    assert client.decode_pushed([bytes(32)], b"") is None
    assert client.decode_pushed([], b"") is None


def test_encoding_needs_neither_web3_nor_eth_abi() -> None:
    code = (
        "import contracts.client, sys; contracts.client.encode_latest(0);"
        "print([m for m in ('web3', 'eth_abi', 'blspy', 'asyncio') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest
from eth_abi import encode
from eth_utils import function_signature_to_4byte_selector

from contracts import abi, client, epochs, finality

CERTIFICATE = "(uint256[6],bytes32,uint256)"
CLAIM = "(uint16,uint16,uint256,bytes32[])"
UPDATES = f"({CERTIFICATE},{CLAIM}[])[]"
MEMBER = "(uint256[4],bytes32,address)"
CONFIGURATION = (
    f"({MEMBER}[],(bytes32,bytes32,bytes32)[],(uint64,uint64,uint64,uint64,uint64,uint64),uint64)"
)


def call(signature: str, types: list[str], values: list[Any]) -> bytes:
    selector = function_signature_to_4byte_selector(f"{signature}({','.join(types)})")
    return bytes(selector + encode(types, values))


def certificate_tuple(report: Any) -> tuple[Any, ...]:
    certificate = report.certificate
    return (words_of(certificate.signature), certificate.header.link, certificate.place.word)


def claim_tuple(claim: Any) -> tuple[Any, ...]:
    return (claim.feed, claim.words, claim.word, list(claim.path))


def words_of(data: bytes) -> list[int]:
    return [int.from_bytes(data[i : i + 32], "big") for i in range(0, len(data), 32)]


def test_feeding_is_encoded_as_the_abi_demands(kit: Any) -> None:
    report = kit.Committee(table=kit.feed_table(9)).report()
    certificate = certificate_tuple(report)
    assert len(report.words) == 3
    assert report.calldata == call("push", [CERTIFICATE, "uint256[]"], [certificate, report.words])
    assert client.decode_push(report.calldata) == client.PushCall(report.certificate, report.words)
    assert client.pushed_place(report.calldata) == report.certificate.place
    assert client.encode_post(report.certificate) == call(
        "post", [CERTIFICATE, "bytes32"], [certificate, report.header.feed_root]
    )
    claim = client.claim_of(5, report.words)
    assert client.encode_prove(1, claim) == call(
        "prove", ["uint256", "bytes32[]", "uint16", "uint64"], [claim.word, list(claim.path), 5, 1]
    )
    updates = [report.update(0, 8), report.update(4)]
    tuples = [(certificate, [claim_tuple(c) for c in update.claims]) for update in updates]
    assert client.encode_update(updates) == call("update", [UPDATES], [tuples])
    assert client.encode_use(updates, [0, 4], 60, 100) == call(
        "use", [UPDATES, "uint16[]", "uint32", "uint32"], [tuples, [0, 4], 60, 100]
    )


def member_tuple(member: Any) -> tuple[Any, ...]:
    return (words_of(member.bls_key), member.ed25519_key, "0x" + member.operator.hex())


def test_epochs_are_encoded_as_the_abi_demands(kit: Any) -> None:
    from aggregation.table import feed_record
    from consensus.digests import keccak
    from contracts.points import decompress_g2

    committee = kit.Committee(n=5, table=kit.feed_table(5))
    code = committee.creation_code()
    own = abi.bytecode("Oracle")
    assert code.startswith(own)
    genesis = [
        keccak(committee.name.encode()),
        committee.configuration.hash,
        kit.MAX_FUTURE_MS,
        epochs.EVIDENCE_WINDOW_MS,
    ]
    assert code[len(own) :] == encode(["bytes32", "bytes32", "uint256", "uint256"], genesis)
    registrations = [
        (
            member_tuple(member),
            words_of(decompress_g2(proof.proof_of_possession)),
            words_of(decompress_g2(proof.registration)),
        )
        for member, proof in zip(committee.members, committee.proofs, strict=True)
    ]
    types = f"({MEMBER},uint256[6],uint256[6])[]"
    assert committee.registrations() == [call("register", [types], [registrations])]
    records = [feed_record(feed) for feed in committee.table.feeds]
    configuration = (
        [member_tuple(member) for member in committee.members],
        [(record[:32], record[32:64], record[64:]) for record in records],
        (250, 1000, 50, 2000, 500, 3000),
        committee.valid_until_ms,
    )
    assert committee.opening == call("open", [CONFIGURATION], [configuration])
    terms = epochs.HandoverTerms(b"\x09" * 32, 77, 0b111, bytes(range(192)))
    encoded = epochs.encode_handover(3, committee.configuration, committee.table, terms)
    assert encoded == call(
        "handover",
        ["uint64", CONFIGURATION, "(bytes32,uint64,uint256,uint256[6])"],
        [3, configuration, (b"\x09" * 32, 77, 0b111, words_of(bytes(range(192))))],
    )


def test_proofs_of_finality_are_encoded_as_the_abi_demands(kit: Any) -> None:
    report = kit.Committee(table=kit.feed_table(9)).report()
    claim = client.claim_of(2, report.words)
    blocks = tuple(
        finality.LinkedBlock(4 + i, 50 + i, bytes([i]) * 32, 3 + i, b"\x05" * 32, b"\x06" * 32)
        for i in range(3)
    )
    proof = finality.FinalProof(
        2, kit.Header(3, 49, b"\x01" * 32, b"\x02" * 32), blocks, 7, bytes(192)
    )
    block = "(uint64,uint64,bytes32,uint64,bytes32,bytes32)"
    types = [f"(uint64,(uint64,uint64,bytes32,bytes32),{block}[],uint256,uint256[6])", CLAIM]
    values = [
        (
            2,
            (3, 49, b"\x01" * 32, b"\x02" * 32),
            [
                (b.view, b.observed_at_ms, b.feed_root, b.height, b.state_digest, b.payload_digest)
                for b in blocks
            ],
            7,
            [0] * 6,
        ),
        claim_tuple(claim),
    ]
    assert finality.encode_final_answer(proof, claim) == call("finalAnswer", types, values)
    assert finality.encode_first_after(49, proof, claim) == call(
        "firstAfter", ["uint64", *types], [49, *values]
    )


def test_parts_that_do_not_fit_together_are_refused(kit: Any) -> None:
    committee = kit.Committee()
    with pytest.raises(ValueError, match="not that of the configuration"):
        epochs.encode_open(committee.configuration, kit.feed_table(5))
    with pytest.raises(ValueError, match="4 members, 3 proofs"):
        list(epochs.encode_register(committee.members, committee.proofs[:3]))


def test_a_place_that_does_not_fit_is_refused() -> None:
    place = client.Place(1, 2, 3, 4)
    assert client.place_of(place.word) == place
    for field, bits in (("epoch", 32), ("view", 32), ("observed_at_ms", 64), ("signers", 128)):
        with pytest.raises(ValueError, match="does not fit"):
            _ = replace(place, **{field: 1 << bits}).word


def test_a_signature_of_another_width_is_refused(kit: Any) -> None:
    report = kit.Committee().report()
    with pytest.raises(ValueError, match="192 bytes, not 96"):
        client.encode_push(replace(report.certificate, signature=bytes(96)), report.words)
    with pytest.raises(ValueError, match="does not fit a word"):
        client.encode_push(report.certificate, [1 << 256])
    with pytest.raises(ValueError, match="not the calldata of a push"):
        client.decode_push(client.encode_latest(0))


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
    assert kinds.count("event") == 5
    for name in client._ADVICE:
        assert abi._entry("Oracle", "error", name)


def test_hostile_return_data_raise_value_error() -> None:
    with pytest.raises(ValueError, match="are needed"):
        client.decode_latest(bytes(127))
    with pytest.raises(ValueError, match="is no uint64"):
        client.decode_stored(b"\xff" * 96)
    with pytest.raises(ValueError, match=r"elements|are needed"):
        client.decode_feed(b"\xff" * 192)
    with pytest.raises(ValueError, match="are needed"):
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

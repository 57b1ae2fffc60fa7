"""Digests, words and trees in Solidity against Python and against the shared vectors."""

import json
from pathlib import Path
from typing import Any

import pytest
from eth_abi import encode
from eth_utils import keccak as any_keccak
from rlp import encode as rlp_encode

from aggregation.encoding import feed_root, prove
from aggregation.table import feed_record
from consensus.committee import Timing, network_id, quorum, registration_digest
from consensus.digests import TAG_FEED_TABLE, domain_digest, keccak
from contracts import client
from testnet.chain.evm import Reverted

VECTORS = Path(__file__).parents[1] / "vectors"


def load(name: str) -> Any:
    return json.loads((VECTORS / name).read_text())


def unhex(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x"))


def test_header_id_and_domain(harness: Any, kit: Any) -> None:
    committee = kit.Committee(n=7)
    network, configuration = committee.network, committee.configuration.hash
    for epoch in (0, 1, 2**63 - 1):
        expected = domain_digest(network, epoch, configuration)
        arguments = network + epoch.to_bytes(32, "big") + configuration
        assert harness.raw("domain(bytes32,uint64,bytes32)", arguments) == expected
    for view, time in ((0, 0), (1, 1_700_000_000_123), (2**63 - 1, 2**63 - 1)):
        header = kit.Header(view, time, b"\x11" * 32, b"\x22" * 32)
        arguments = encode(
            ["bytes32", "(uint64,uint64,bytes32,bytes32)"],
            [committee.domain, (view, time, header.feed_root, header.link)],
        )
        signature = "headerId(bytes32,(uint64,uint64,bytes32,bytes32))"
        assert harness.raw(signature, arguments) == header.id(committee.domain)


def test_configuration_hash_part_by_part(harness: Any, kit: Any) -> None:
    from consensus.digests import TAG_KEY_LIST

    committee = kit.Committee(n=10)
    records = b"".join(
        m.bls_key + m.ed25519_key + bytes(12) + m.operator for m in committee.members
    )
    key_list = keccak(TAG_KEY_LIST + (10).to_bytes(2, "big") + records)
    members = [
        (words_of(m.bls_key), m.ed25519_key, "0x" + m.operator.hex()) for m in committee.members
    ]
    kind = "(uint256[4],bytes32,address)[]"
    assert harness.raw(f"keyList({kind})", encode([kind], [members])) == key_list
    timing = Timing(1, 20, 300, 4000, 50_000, 600_000)
    arguments = encode(["uint256"] * 6, [1, 20, 300, 4000, 50_000, 600_000])
    kind = "(uint64,uint64,uint64,uint64,uint64,uint64)"
    assert harness.raw(f"timing({kind})", arguments) == timing.digest()
    whole = (
        key_list
        + committee.table.digest()
        + Timing().digest()
        + committee.valid_until_ms.to_bytes(32, "big")
    )
    signature = "configuration(bytes32,bytes32,bytes32,uint64)"
    assert harness.raw(signature, whole) == committee.configuration.hash
    arguments = keccak(b"testnet") + committee.configuration.hash
    expected = network_id("testnet", committee.configuration.hash)
    assert harness.raw("networkId(bytes32,bytes32)", arguments) == expected


def test_registration_digest(harness: Any) -> None:
    network, operator, key = b"\x01" * 32, b"\x02" * 20, b"\x03" * 32
    expected = registration_digest(network, operator, key)
    arguments = network + bytes(12) + operator + key
    assert harness.raw("registration(bytes32,address,bytes32)", arguments) == expected


@pytest.mark.parametrize("count", [1, 4, 5, 40])
def test_feed_table_digest(harness: Any, kit: Any, count: int) -> None:
    table = kit.feed_table(count)
    records = [feed_record(feed) for feed in table.feeds]
    assert feed_table_of(harness, records) == table.digest()


def feed_table_of(harness: Any, records: list[bytes]) -> bytes:
    kind = "(bytes32,bytes32,bytes32)[]"
    values = [(r[:32], r[32:64], r[64:]) for r in records]
    done: bytes = harness.raw(f"feedTable({kind})", encode([kind], [values]))
    return done


def test_quorum_of_every_committee(harness: Any) -> None:
    for n in range(1, 129):
        given = int.from_bytes(harness.raw("quorum(uint256)", n.to_bytes(32, "big")), "big")
        assert given == quorum(n)
        assert 2 * given - n > (n - 1) // 3, "two quorums share an honest member"


@pytest.mark.parametrize(
    "ordinal",
    [1, 2, 0x7F, 0x80, 0xFF, 0x100, 0xFFFF, 0x10000, 0xFFFFFF, 0x1000000, 2**32, 2**33 + 1],
)
def test_a_blob_is_found_where_the_chain_creates_it(harness: Any, ordinal: int) -> None:
    expected = any_keccak(rlp_encode([harness.address, ordinal]))[12:]
    assert harness.raw("blobAt(uint256)", ordinal.to_bytes(32, "big"))[12:] == expected


def test_only_a_stored_committee_is_found(deployed_harness: Any) -> None:
    """An account without code must not read as the key at infinity."""
    harness = deployed_harness

    def found(epoch: int) -> str:
        try:
            arguments = encode(["uint256"], [epoch])
            return str(int.from_bytes(harness.raw("loadCommittee(uint256)", arguments), "big"))
        except Reverted as reverted:
            return str(client.decode_error(reverted.data))

    assert found(0) == "CommitteeMissing(epoch=0)"
    data = bytes(64 + 16) + (4).to_bytes(16, "big") + b"\x01" * (128 + 148 * 4)
    store = keccak(b"storeBlob(bytes)")[:4] + encode(["bytes"], [data])
    receipt = harness.chain.transact(harness.address, store)
    assert receipt.succeeded
    assert harness.chain.code(receipt.output[12:]) == b"\0" + data
    assert found(0) == "4"
    assert found(1) == "CommitteeMissing(epoch=1)"


def test_a_blob_too_large_for_an_account_is_an_error(deployed_harness: Any) -> None:
    harness = deployed_harness
    for size, fits in ((0, True), (24_575, True), (24_576, False), (65_535, False)):
        store = keccak(b"storeBlob(bytes)")[:4] + encode(["bytes"], [bytes(size)])
        receipt = harness.chain.transact(harness.address, store)
        assert receipt.succeeded is fits, size
        if not fits:
            assert str(client.decode_error(receipt.output)) == "BlobNotStored()"


def test_vectors_of_answers(harness: Any) -> None:
    for vector in load("aggregation.json")["answers"]:
        decoded = vector["decoded"]
        for lane in range(4):
            word = int(vector["answer"], 16) << 64 * (3 - lane)
            feed = lane + 4 * 77
            output = harness.raw("answer(uint256,uint256)", encode(["uint256"] * 2, [word, feed]))
            price, confidence, status = words_of(output)
            known = None if confidence == 2**256 - 1 else confidence
            assert (price, known, status) == (
                decoded["price"],
                decoded["confidence_ppm"],
                decoded["status"],
            )


def test_vectors_of_trees(harness: Any) -> None:
    trees = load("aggregation.json")["trees"]
    assert {len(tree["words"]) for tree in trees} >= {1, 2, 3}
    for tree in trees:
        words = [int(word, 16) for word in tree["words"]]
        output = harness.raw("root(uint256[])", encode(["uint256[]"], [words]))
        assert output == unhex(tree["root"]), len(words)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 7, 8, 25, 96])
def test_paths_of_every_word(harness: Any, count: int) -> None:
    words = [keccak_number(i) for i in range(count)]
    root = feed_root(words)
    signature = "rootOf(uint256,uint256,uint256,bytes32[])"
    types = ["uint256", "uint256", "uint256", "bytes32[]"]
    for index in range(count):
        path = prove(words, index)
        found = harness.raw(signature, encode(types, [index, count, words[index], path]))
        assert found == root
        wrong = encode(types, [index, count, words[index] ^ 1, path])
        assert harness.raw(signature, wrong) != root
        for length in (len(path) - 1, len(path) + 1):
            if length < 0:
                continue
            other = [*path, bytes(32)][:length]
            with pytest.raises(Reverted) as raised:
                harness.raw(signature, encode(types, [index, count, words[index], other]))
            assert str(client.decode_error(raised.value.data)) == (
                f"PathLength(length={length}, index={index}, words={count})"
            )
    with pytest.raises(Reverted):
        harness.raw(signature, encode(types, [count, count, 1, []]))


def keccak_number(i: int) -> int:
    return int.from_bytes(keccak(bytes([i])), "big")


def test_vectors_of_links_and_handovers(harness: Any) -> None:
    vectors = load("consensus.json")
    link = unhex(vectors["digests"]["link"]["preimage"])
    assert link[0] == 4
    parent, view, height, state, payload = (
        link[1:33],
        int.from_bytes(link[33:41], "big"),
        int.from_bytes(link[41:49], "big"),
        link[49:81],
        link[81:113],
    )
    block = "(uint64,uint64,bytes32,uint64,bytes32,bytes32)"
    arguments = encode(
        ["bytes32", "uint64", block], [parent, view, (9, 9, bytes(32), height, state, payload)]
    )
    assert harness.raw(f"link(bytes32,uint64,{block})", arguments) == unhex(
        vectors["digests"]["link"]["digest"]
    )
    preimage = unhex(vectors["digests"]["handover"]["preimage"])
    assert preimage[0] == 0x12
    arguments = encode(
        ["bytes32", "uint64", "bytes32", "bytes32", "uint64"],
        [
            preimage[1:33],
            int.from_bytes(preimage[33:41], "big"),
            preimage[41:73],
            preimage[73:105],
            int.from_bytes(preimage[105:113], "big"),
        ],
    )
    signature = "handover(bytes32,uint64,bytes32,bytes32,uint64)"
    assert harness.raw(signature, arguments) == unhex(vectors["digests"]["handover"]["digest"])


def test_no_words_have_no_root(harness: Any) -> None:
    assert harness.raw("root(uint256[])", encode(["uint256[]"], [[]])) == bytes(32)


def test_vectors_of_feed_tables(harness: Any) -> None:
    for vector in load("aggregation.json")["feed_tables"]:
        records = [unhex(record) for record in vector["records"]]
        preimage = TAG_FEED_TABLE + len(records).to_bytes(2, "big") + b"".join(records)
        assert keccak(preimage) == unhex(vector["digest"])
        assert feed_table_of(harness, records) == unhex(vector["digest"])


def words_of(data: bytes) -> list[int]:
    return [int.from_bytes(data[i : i + 32], "big") for i in range(0, len(data), 32)]

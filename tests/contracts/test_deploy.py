"""What a genesis must prove (O8), and what the contract then says of itself."""

from dataclasses import replace
from typing import Any

import pytest
from blspy import AugSchemeMPL, BasicSchemeMPL, G1Element, PopSchemeMPL

from aggregation.feed import FeedSpec, SourceSpec
from aggregation.table import FeedTable, feed_record
from consensus.committee import registration_digest
from contracts import abi, client
from contracts.client import MemberProof
from contracts.points import decompress_g1
from testnet.chain.evm import EvmChain, Reverted

MEMBER_BYTES = 18 * 32


def refusal(kit: Any, code: bytes) -> str:
    chain = EvmChain(genesis_time=kit.CHAIN_TIME)
    with pytest.raises(Reverted) as raised:
        chain.deploy(code)
    return str(client.decode_error(raised.value.data))


def members_start() -> int:
    return len(abi.bytecode("Oracle")) + 32 + 11 * 32 + 32


def patched(code: bytes, member: int, offset: int, data: bytes) -> bytes:
    """Change a member's record: key, Ed25519 at 128, operator 160, proof 192, registration 384."""
    start = members_start() + member * MEMBER_BYTES + offset
    return code[:start] + data + code[start + len(data) :]


@pytest.mark.parametrize("n", [1, 4, 7, 16])
def test_the_contract_says_what_the_committee_computed(kit: Any, n: int) -> None:
    committee = kit.Committee(n=n, table=kit.feed_table(6), name="a network")
    oracle = kit.deploy(committee)
    assert oracle.get("network") == committee.network
    assert oracle.get("domain") == committee.domain
    assert oracle.get("configurationHash") == committee.configuration.hash
    assert client.decode_integer(oracle.get("epoch")) == 0
    assert client.decode_integer(oracle.get("maxFuture")) == kit.MAX_FUTURE_MS
    assert client.decode_integer(oracle.get("feedCount")) == 6
    assert client.decode_committee(oracle.get("committee")) == client.CommitteeDescription(
        n, committee.quorum, committee.valid_until_ms
    )
    assert oracle.stored() == client.StoredPlace(0, 0, 0)


def test_feeds_describe_themselves(kit: Any) -> None:
    committee = kit.Committee(table=kit.feed_table(6))
    oracle = kit.deploy(committee)
    for i, feed in enumerate(committee.table.feeds):
        output = oracle.chain.call(oracle.address, client.encode_feed(i))
        assert client.decode_feed(output) == client.FeedDescription(
            feed.base, feed.quote, feed.decimals, feed.deviation_ppm, feed.heartbeat_ms, feed.tier
        )
    with pytest.raises(Reverted) as raised:
        oracle.chain.call(oracle.address, client.encode_feed(6))
    assert str(client.decode_error(raised.value.data)) == "UnknownFeed(feed=6, feeds=6)"


def test_names_of_full_width_describe_themselves(kit: Any) -> None:
    name = "ABCDEFGHIJKL"
    sources = tuple(SourceSpec(v, name, "USD", 10, 5000) for v in ("okx", "kraken", "gemini"))
    feed = FeedSpec(name, "USD", 8, 3, 2, 5000, 1_000_000, 3_600_000, sources)
    oracle = kit.deploy(kit.Committee(table=FeedTable((feed,))))
    output = oracle.chain.call(oracle.address, client.encode_feed(0))
    described = client.decode_feed(output)
    assert (described.base, described.quote) == (name, "USD")


def test_a_key_registered_twice(kit: Any) -> None:
    committee = kit.Committee()
    code = committee.creation_code()
    start = members_start()
    for offset, width, what in ((0, 128, "blsKey"), (128, 32, "ed25519Key"), (160, 32, "operator")):
        first = code[start + MEMBER_BYTES + offset :][:width]
        text = refusal(kit, patched(code, 3, offset, first))
        # Without its proof a copied member is refused all the same, but for this reason.
        assert text == f"Duplicate(what={what}, first=1, second=3)"


def test_a_whole_member_registered_twice(kit: Any) -> None:
    code = kit.Committee().creation_code()
    start = members_start()
    record = code[start + 2 * MEMBER_BYTES :][:MEMBER_BYTES]
    text = refusal(kit, patched(code, 0, 0, record))
    assert text == "Duplicate(what=blsKey, first=0, second=2)"


def test_the_key_at_infinity(kit: Any) -> None:
    code = kit.Committee().creation_code()
    assert refusal(kit, patched(code, 1, 0, bytes(128))) == "InfinityKey(member=1)"
    nothing = bytes(128) + b"\x05" * 32 + bytes(12) + b"\x05" * 20 + bytes(384)
    assert refusal(kit, patched(code, 1, 0, nothing)) == "InfinityKey(member=1)"


def proven(kit: Any, member: int, **changes: bytes) -> str:
    committee = kit.Committee()
    proofs = list(committee.proofs)
    proofs[member] = replace(proofs[member], **changes)
    return refusal(kit, committee.creation_code(proofs=proofs))


def test_a_proof_of_possession_by_another_key(kit: Any) -> None:
    committee = kit.Committee()
    text = proven(kit, 2, proof_of_possession=committee.proofs[1].proof_of_possession)
    assert text == "BadProofOfPossession(member=2)"


def test_a_signature_under_another_tag_is_no_proof(kit: Any) -> None:
    key = kit.Committee().keys[2]
    compressed = bytes(key.get_g1())
    for scheme in (PopSchemeMPL, BasicSchemeMPL, AugSchemeMPL):
        signature = bytes(scheme.sign(key, compressed))
        text = proven(kit, 2, proof_of_possession=signature)
        assert text == "BadProofOfPossession(member=2)", scheme


def test_a_proof_at_infinity(kit: Any) -> None:
    code = kit.Committee().creation_code()
    assert refusal(kit, patched(code, 0, 192, bytes(192))) == "BadProofOfPossession(member=0)"
    assert refusal(kit, patched(code, 0, 384, bytes(192))) == "BadRegistration(member=0)"


def test_a_rogue_key(kit: Any) -> None:
    """A key chosen as x - (the others) would sign for all; nobody can prove to hold it."""
    committee = kit.Committee()
    rogue = AugSchemeMPL.key_gen(b"\x77" * 32)
    others = G1Element()
    for key in committee.keys[:3]:
        others = others + key.get_g1()
    point = rogue.get_g1() + others.negate()
    compressed = bytes(point)
    code = patched(committee.creation_code(), 3, 0, decompress_g1(compressed))
    assert refusal(kit, code) == "BadProofOfPossession(member=3)"


def test_points_outside_the_curve_or_subgroup_are_no_keys(kit: Any) -> None:
    code = kit.Committee().creation_code()
    outside = bytes(127) + b"\x02"  # (0, 2) is on the curve, of order 3
    off_curve = bytes(63) + b"\x01" + bytes(63) + b"\x01"
    padded = b"\x01" + kit.Committee().members[1].bls_key[1:]
    for key in (outside, off_curve, b"\xff" * 128, padded):
        text = refusal(kit, patched(code, 1, 0, key))
        assert text == "BadProofOfPossession(member=1)"


def test_a_stolen_registration(kit: Any) -> None:
    """Key and proof are public; whoever takes them for another operator cannot sign for it."""
    code = kit.Committee().creation_code()
    thief = bytes(12) + b"\xee" * 20
    assert refusal(kit, patched(code, 1, 160, thief)) == "BadRegistration(member=0)"
    # Whoever makes a network of the thief's has all others sign for that network.
    committee = kit.Committee()
    members = list(committee.members)
    members[1] = replace(members[1], operator=b"\xee" * 20)
    stolen = StolenCommittee(kit, tuple(members))
    assert refusal(kit, stolen.code) == "BadRegistration(member=1)"


class StolenCommittee:
    """All others signed for the new network; member 1's registration is that of the old one."""

    def __init__(self, kit: Any, members: tuple[Any, ...]) -> None:
        from consensus.committee import network_id

        base = kit.Committee()
        configuration = replace(base.configuration, members=members)
        network = network_id(base.name, configuration.hash)
        proofs = [
            MemberProof(
                old.proof_of_possession,
                old.registration
                if i == 1
                else bytes(
                    PopSchemeMPL.sign(
                        base.keys[i], registration_digest(network, m.operator, m.ed25519_key)
                    )
                ),
            )
            for i, (m, old) in enumerate(zip(members, base.proofs, strict=True))
        ]
        self.code = base.creation_code(configuration=configuration, proofs=proofs)


def test_a_registration_for_another_network(kit: Any) -> None:
    committee = kit.Committee()
    assert refusal(kit, committee.creation_code(name="another")) == "BadRegistration(member=0)"
    other = kit.Committee(name="another")
    text = proven(kit, 3, registration=other.proofs[3].registration)
    assert text == "BadRegistration(member=3)"


def test_any_part_of_the_genesis_is_covered_by_the_registrations(kit: Any) -> None:
    """A deployer cannot change what the members agreed on."""
    committee = kit.Committee()
    code = committee.creation_code()
    head = len(abi.bytecode("Oracle")) + 32
    feeds = members_start() + 4 * MEMBER_BYTES + 32
    covered = [head, *(head + 32 * i for i in range(3, 10))]
    covered += [feeds + 96 * 2 + offset for offset in (0, 31, 32, 64, 95)]
    for place in covered:
        at = place + 31 if place < members_start() else place
        changed = code[:at] + bytes([code[at] ^ 1]) + code[at + 1 :]
        assert refusal(kit, changed) == "BadRegistration(member=0)", place - head


def test_sizes_and_ranges(kit: Any) -> None:
    committee = kit.Committee()
    code = committee.creation_code()
    head = len(abi.bytecode("Oracle")) + 32

    def with_number(word: int, number: int) -> str:
        at = head + 32 * word
        return refusal(kit, code[:at] + number.to_bytes(32, "big") + code[at + 32 :])

    assert with_number(8, 3_600_001) == "OutOfRange(what=carry, value=3600001, maximum=3600000)"
    assert with_number(9, 2**48).startswith("OutOfRange(what=validUntil")
    assert with_number(10, 3_600_001).startswith("OutOfRange(what=maxFuture")
    empty = code[: members_start() - 32] + bytes(32) + code[members_start() :]
    assert refusal(kit, empty) == "CommitteeSize(members=0)"
    at = members_start() + 4 * MEMBER_BYTES
    assert refusal(kit, code[:at] + bytes(32) + code[at + 32 :]) == "FeedTableSize(feeds=0)"


def test_the_blob_is_as_the_committee_demands(kit: Any) -> None:
    """D | sum of the keys | negated keys, behind a byte that stops any call."""
    committee = kit.Committee()
    oracle = kit.deploy(committee)
    from eth_utils import keccak
    from rlp import encode

    total = G1Element()
    for key in committee.keys:
        total = total + key.get_g1()
    expected = b"\0" + committee.domain + decompress_g1(bytes(total))
    for key in committee.keys:
        expected += decompress_g1(bytes(key.get_g1().negate()))
    blob = keccak(encode([oracle.address, 1]))[12:]
    assert oracle.chain.code(blob) == expected
    table = keccak(encode([oracle.address, 2]))[12:]
    records = b"".join(feed_record(feed)[:64] for feed in committee.table.feeds)
    assert oracle.chain.code(table) == b"\0" + committee.configuration.hash + records


@pytest.mark.slow
def test_members_up_to_the_gas_of_one_transaction(kit: Any) -> None:
    """The limit that README names: EIP-7825 caps a transaction's gas at 2**24."""
    for n in (16, 40):
        code = kit.Committee(n=n, table=kit.feed_table(16)).creation_code()
        receipt = EvmChain(genesis_time=kit.CHAIN_TIME).transact(None, code, gas=2**24)
        print(f"deployment, {n} members: {receipt.gas_used:,} gas, {len(code):,} bytes")
        assert receipt.succeeded

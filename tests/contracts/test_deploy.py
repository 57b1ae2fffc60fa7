"""What members must prove before an epoch opens (O8), and what the contract then says of itself."""

from dataclasses import replace
from typing import Any

import pytest
from blspy import AugSchemeMPL, BasicSchemeMPL, G1Element, PopSchemeMPL

from aggregation.feed import FeedSpec, SourceSpec
from aggregation.table import FeedTable, feed_record
from consensus.committee import network_id, registration_digest
from contracts import client, epochs
from contracts.epochs import MemberProof
from contracts.points import decompress_g1
from testnet.chain.evm import EvmChain, Reverted

MEMBER_BYTES = 18 * 32
MEMBERS = 4 + 2 * 32
"""Where the records begin in the calldata of `register`: key, Ed25519 at 128, operator at 160,
proof of possession at 192, registration at 384."""


def empty(kit: Any, committee: Any, **changes: Any) -> Any:
    """Return an Oracle of which no epoch is open."""
    chain = EvmChain(genesis_time=kit.CHAIN_TIME)
    return kit.Deployed(chain, chain.deploy(committee.creation_code(**changes)), committee)


def refuses(oracle: Any, calldata: bytes) -> str:
    with pytest.raises(Reverted) as raised:
        oracle.chain.call(oracle.address, calldata)
    return str(client.decode_error(raised.value.data))


def registration_refused(kit: Any, calldata: bytes, **changes: Any) -> str:
    return refuses(empty(kit, kit.Committee(), **changes), calldata)


def patched(calldata: bytes, member: int, offset: int, data: bytes) -> bytes:
    start = MEMBERS + member * MEMBER_BYTES + offset
    return calldata[:start] + data + calldata[start + len(data) :]


def registering(kit: Any) -> bytes:
    (calldata,) = kit.Committee().registrations()
    return bytes(calldata)


@pytest.mark.parametrize("n", [1, 4, 7, 16])
def test_the_contract_says_what_the_committee_computed(kit: Any, n: int) -> None:
    committee = kit.Committee(n=n, table=kit.feed_table(6), name="a network")
    oracle = kit.deploy(committee)
    assert oracle.get("network") == committee.network
    assert oracle.get("domain") == committee.domain
    assert oracle.get("configurationHash") == committee.configuration.hash
    assert client.decode_integer(oracle.get("epoch")) == 0
    assert client.decode_integer(oracle.get("maxFuture")) == kit.MAX_FUTURE_MS
    assert client.decode_integer(oracle.get("evidenceWindow")) == epochs.EVIDENCE_WINDOW_MS
    assert client.decode_integer(oracle.get("feedCount")) == 6
    assert epochs.decode_committee(oracle.get("committee")) == epochs.CommitteeDescription(
        n, committee.quorum, committee.valid_until_ms
    )
    described = oracle.chain.call(oracle.address, epochs.encode_epoch_at(0))
    assert epochs.decode_epoch_at(described) == epochs.EpochDescription(
        committee.domain, committee.configuration.hash, bytes(32), 0, n, committee.valid_until_ms
    )
    assert oracle.stored() == client.StoredPlace(0, 0, 0)
    for i, member in enumerate(committee.members):
        data = oracle.chain.call(oracle.address, epochs.encode_member_at(0, i))
        negated = decompress_g1(bytes(committee.keys[i].get_g1().negate()))
        assert epochs.decode_member_at(data) == (member.operator, negated)
    text = refuses(oracle, epochs.encode_member_at(0, n))
    assert text == f"UnknownMember(member={n}, members={n})"
    assert refuses(oracle, epochs.encode_epoch_at(1)) == "CommitteeMissing(epoch=1)"


def test_nothing_works_before_the_first_epoch_is_open(kit: Any) -> None:
    committee = kit.Committee()
    oracle = empty(kit, committee)
    report = committee.report()
    assert refuses(oracle, report.calldata) == "CommitteeMissing(epoch=0)"
    assert refuses(oracle, client.encode_post(report.certificate)) == "CommitteeMissing(epoch=0)"
    assert refuses(oracle, client.encode_read(0, 9, 9)) == "UnknownFeed(feed=0, feeds=0)"
    assert refuses(oracle, committee.opening) == "NotRegistered(member=0)"


def test_an_epoch_opens_once(kit: Any) -> None:
    oracle = kit.deploy(kit.Committee())
    assert refuses(oracle, oracle.committee.opening) == "AlreadyOpen()"


def test_members_are_registered_one_by_one_and_by_anyone(kit: Any) -> None:
    committee = kit.Committee()
    oracle = empty(kit, committee)
    for i, (member, proof) in enumerate(zip(committee.members, committee.proofs, strict=True)):
        assert refuses(oracle, committee.opening) == f"NotRegistered(member={i})"
        asked = epochs.encode_is_registered(member)
        assert not client.decode_integer(oracle.chain.call(oracle.address, asked))
        (calldata,) = epochs.encode_register([member], [proof])
        receipt = oracle.send(calldata, sender=oracle.chain.accounts[i])
        assert receipt.succeeded
        print(f"registration of one member: {receipt.gas_used:,} gas")
        assert client.decode_integer(oracle.chain.call(oracle.address, asked))
    receipt = oracle.send(committee.opening)
    (log,) = receipt.logs
    assert epochs.decode_opened(log.topics, log.data) == epochs.Opened(
        0, committee.domain, committee.configuration.hash, bytes(32), 0
    )
    assert oracle.push(committee.report()).succeeded


def test_a_registration_again_costs_little_and_hurts_nobody(kit: Any) -> None:
    oracle = kit.deploy(kit.Committee())
    receipt = oracle.send(registering(kit))
    assert receipt.succeeded
    assert receipt.logs == ()
    # Nearly all of it is the calldata.
    assert receipt.gas_used < 130_000


def test_another_configuration_does_not_open(kit: Any) -> None:
    """A deployer can change nothing that the members agreed on."""
    committee = kit.Committee()
    oracle = empty(kit, committee)
    assert oracle.send(registering(kit)).succeeded
    calldata = committee.opening
    for place in range(4 + 32, len(calldata), 32):
        changed = (
            calldata[: place + 31] + bytes([calldata[place + 31] ^ 1]) + calldata[place + 32 :]
        )
        with pytest.raises(Reverted):
            oracle.chain.call(oracle.address, bytes(changed))
    assert oracle.send(calldata).succeeded


def test_feeds_describe_themselves(kit: Any) -> None:
    committee = kit.Committee(table=kit.feed_table(6))
    oracle = kit.deploy(committee)
    assert oracle.push(committee.report()).succeeded
    for i, f in enumerate(committee.table.feeds):
        output = oracle.chain.call(oracle.address, client.encode_feed(i))
        assert client.decode_feed(output) == client.FeedDescription(
            f.base, f.quote, f.decimals, f.deviation_ppm, f.heartbeat_ms, f.tier, 1
        )
    assert refuses(oracle, client.encode_feed(6)) == "UnknownFeed(feed=6, feeds=6)"


def test_names_of_full_width_describe_themselves(kit: Any) -> None:
    name = "ABCDEFGHIJKL"
    sources = tuple(SourceSpec(v, name, "USD", 10, 5000) for v in ("okx", "kraken", "gemini"))
    feed = FeedSpec(name, "USD", 8, 3, 2, 5000, 1_000_000, 3_600_000, sources)
    oracle = kit.deploy(kit.Committee(table=FeedTable((feed,))))
    output = oracle.chain.call(oracle.address, client.encode_feed(0))
    described = client.decode_feed(output)
    assert (described.base, described.quote) == (name, "USD")


@pytest.mark.parametrize("what", ["blsKey", "ed25519Key", "operator"])
def test_members_that_share_something(kit: Any, what: str) -> None:
    """Both are registered, each rightly, and yet no committee holds the two."""
    base = kit.Committee()
    first, shared = base.members[1], base.members[3]
    key = base.keys[3]
    if what == "blsKey":
        shared = replace(shared, bls_key=first.bls_key, bls_key_compressed=first.bls_key_compressed)
        key = base.keys[1]
    elif what == "ed25519Key":
        shared = replace(shared, ed25519_key=first.ed25519_key)
    else:
        shared = replace(shared, operator=first.operator)
    members = (*base.members[:3], shared)
    configuration = Unchecked(base.configuration, members)
    network = network_id(base.name, configuration.hash)
    keys = (*base.keys[:3], key)
    chain = EvmChain(genesis_time=kit.CHAIN_TIME)
    code = base.creation_code(configuration_hash=configuration.hash)
    oracle = kit.Deployed(chain, chain.deploy(code), base)
    proofs = [proof_of(k, m, network) for k, m in zip(keys, members, strict=True)]
    (calldata,) = epochs.encode_register(members, proofs)
    assert oracle.send(calldata, gas=2**24).succeeded
    text = refuses(oracle, epochs.encode_open(configuration, base.table))
    assert text == f"Duplicate(what={what}, first=1, second=3)"


class Unchecked:
    """A configuration that a node would refuse to build."""

    def __init__(self, base: Any, members: tuple[Any, ...]) -> None:
        from consensus.digests import TAG_CONFIGURATION, TAG_KEY_LIST, keccak

        self.members = members
        self.timing, self.valid_until_ms = base.timing, base.valid_until_ms
        self.feed_table_digest = base.feed_table_digest
        records = b"".join(map(epochs.member_record, members))
        key_list = keccak(TAG_KEY_LIST + len(members).to_bytes(2, "big") + records)
        self.hash = keccak(
            TAG_CONFIGURATION
            + key_list
            + self.feed_table_digest
            + self.timing.digest()
            + self.valid_until_ms.to_bytes(8, "big")
        )


def proof_of(key: Any, member: Any, network: bytes) -> MemberProof:
    digest = registration_digest(network, member.operator, member.ed25519_key)
    return MemberProof(bytes(PopSchemeMPL.pop_prove(key)), bytes(PopSchemeMPL.sign(key, digest)))


def test_the_key_at_infinity(kit: Any) -> None:
    text = registration_refused(kit, patched(registering(kit), 1, 0, bytes(128)))
    assert text == "InfinityKey(member=1)"
    nothing = bytes(128) + b"\x05" * 32 + bytes(12) + b"\x05" * 20 + bytes(384)
    text = registration_refused(kit, patched(registering(kit), 1, 0, nothing))
    assert text == "InfinityKey(member=1)"


def proven(kit: Any, member: int, **changes: bytes) -> str:
    committee = kit.Committee()
    proofs = list(committee.proofs)
    proofs[member] = replace(proofs[member], **changes)
    return registration_refused(kit, committee.registrations(proofs)[0])


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
    calldata = registering(kit)
    text = registration_refused(kit, patched(calldata, 0, 192, bytes(192)))
    assert text == "BadProofOfPossession(member=0)"
    text = registration_refused(kit, patched(calldata, 0, 384, bytes(192)))
    assert text == "BadRegistration(member=0)"


def test_a_rogue_key(kit: Any) -> None:
    """A key chosen as x - (the others) would sign for all; nobody can prove to hold it."""
    committee = kit.Committee()
    rogue = AugSchemeMPL.key_gen(b"\x77" * 32)
    others = G1Element()
    for key in committee.keys[:3]:
        others = others + key.get_g1()
    point = rogue.get_g1() + others.negate()
    calldata = patched(registering(kit), 3, 0, decompress_g1(bytes(point)))
    assert registration_refused(kit, calldata) == "BadProofOfPossession(member=3)"


def test_points_outside_the_curve_or_subgroup_are_no_keys(kit: Any) -> None:
    outside = bytes(127) + b"\x02"  # (0, 2) is on the curve, of order 3
    off_curve = bytes(63) + b"\x01" + bytes(63) + b"\x01"
    padded = b"\x01" + kit.Committee().members[1].bls_key[1:]
    for key in (outside, off_curve, b"\xff" * 128, padded):
        text = registration_refused(kit, patched(registering(kit), 1, 0, key))
        assert text == "BadProofOfPossession(member=1)"


def test_a_stolen_registration(kit: Any) -> None:
    """Key and proof are public; whoever takes them for another operator cannot sign for it."""
    thief = bytes(12) + b"\xee" * 20
    text = registration_refused(kit, patched(registering(kit), 1, 160, thief))
    assert text == "BadRegistration(member=1)"


def test_an_operator_with_dirty_bytes_is_refused(kit: Any) -> None:
    calldata = patched(registering(kit), 1, 160, b"\x01")
    oracle = empty(kit, kit.Committee())
    with pytest.raises(Reverted):
        oracle.chain.call(oracle.address, calldata)


def test_a_registration_for_another_network(kit: Any) -> None:
    text = registration_refused(kit, registering(kit), name="another")
    assert text == "BadRegistration(member=0)"
    other = kit.Committee(name="another")
    text = proven(kit, 3, registration=other.proofs[3].registration)
    assert text == "BadRegistration(member=3)"


def test_ranges_of_the_deployer_s_numbers(kit: Any) -> None:
    committee = kit.Committee()
    for changes, what in (
        ({"max_future_ms": 3_600_001}, "maxFuture"),
        ({"evidence_window_ms": 315_576_000_001}, "evidenceWindow"),
    ):
        with pytest.raises(Reverted) as raised:
            EvmChain().deploy(committee.creation_code(**changes))
        assert str(client.decode_error(raised.value.data)).startswith(f"OutOfRange(what={what}")


def test_the_blob_is_as_the_committee_demands(kit: Any) -> None:
    """Behind a byte that stops any call; see `Committees.sol`."""
    from eth_utils import keccak
    from rlp import encode

    committee = kit.Committee()
    oracle = kit.deploy(committee)
    total = G1Element()
    for key in committee.keys:
        total = total + key.get_g1()
    expected = b"\0" + bytes(32) + committee.domain
    expected += committee.valid_until_ms.to_bytes(8, "big") + bytes(8) + (4).to_bytes(16, "big")
    expected += decompress_g1(bytes(total))
    for key in committee.keys:
        expected += decompress_g1(bytes(key.get_g1().negate()))
    for member in committee.members:
        expected += member.operator
    blob = keccak(encode([oracle.address, 1]))[12:]
    assert oracle.chain.code(blob) == expected
    table = keccak(encode([oracle.address, 2]))[12:]
    records = b"".join(feed_record(feed)[:64] for feed in committee.table.feeds)
    assert oracle.chain.code(table) == b"\0" + committee.configuration.hash + records


@pytest.mark.slow
def test_a_hundred_members_and_all_feeds_open_within_the_gas_of_a_transaction(kit: Any) -> None:
    """EIP-7825 caps a transaction's gas at 2**24."""
    committee = kit.Committee(n=100, table=kit.feed_table(383))
    oracle = empty(kit, committee)
    for calldata in (*committee.registrations(), committee.opening):
        receipt = oracle.send(calldata, gas=2**24)
        name = "opening" if calldata == committee.opening else "registration"
        print(f"{name}: {receipt.gas_used:,} gas, {len(calldata):,} bytes")
        assert receipt.succeeded
    report = committee.report(signers=list(range(67)))
    assert oracle.push(report).succeeded

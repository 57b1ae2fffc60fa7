import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aggregation.state import genesis_state
from consensus.committee import Timing
from feeds.catalogue import load_catalogue
from node import network_file
from node.errors import NetworkFileError
from node.keys.account_key import AccountKey
from node.keys.bls_key import BlsKey
from node.keys.identity_key import IdentityKey
from node.keys.key_set import KeySet
from node.network_file import NetworkFile
from node.registration import (
    MemberRecord,
    encode_registration,
    load_registration,
    register,
)

NAMES = ("alice", "bob", "carol", "dave")
INFINITY_KEY = b"\xc0" + bytes(47)
INFINITY_SIGNATURE = b"\xc0" + bytes(95)


def keys_of(index: int) -> KeySet:
    secret = bytes(31) + bytes([index + 1])
    return KeySet(IdentityKey(secret), BlsKey(secret), AccountKey(secret))


KEYS = [keys_of(index) for index in range(len(NAMES))]
MEMBERS = [register(name, keys) for name, keys in zip(NAMES, KEYS, strict=True)]
TABLE = load_catalogue(None)


def created(members: list[MemberRecord] = MEMBERS, **changes: Any) -> NetworkFile:
    arguments: dict[str, Any] = {"genesis_time_ms": 1_000_000, "valid_until_ms": 2_000_000}
    return network_file.create("testing", members, TABLE, **arguments | changes)


def signed() -> NetworkFile:
    network = created()
    for keys in KEYS:
        assert keys.bls is not None
        network = network_file.sign(network, keys.bls)
    return network


SIGNED = signed()
CONTENT = network_file.encode(SIGNED)


def test_a_file_comes_back_as_it_was_written(tmp_path: Path) -> None:
    network_file.save(tmp_path / "network.json", SIGNED)
    loaded = network_file.load(tmp_path / "network.json")
    assert loaded == SIGNED
    assert loaded.context == SIGNED.context
    assert loaded.context.domain == SIGNED.context.domain
    assert loaded.member_names == NAMES
    assert loaded.context.genesis_state_digest == genesis_state(TABLE, 1_000_000).digest()


def test_signing_does_not_change_the_network() -> None:
    assert SIGNED.network == created().network
    assert SIGNED.unsigned == ()
    assert created().unsigned == NAMES


@pytest.mark.parametrize(
    "changes",
    [
        {"valid_until_ms": 2_000_001},
        {"timing": Timing(round_interval_ms=251)},
        {"members": MEMBERS[:3]},
        {"members": MEMBERS[::-1]},
    ],
)
def test_every_part_of_the_configuration_is_in_the_network_id(changes: dict[str, Any]) -> None:
    assert created(**changes).network != SIGNED.network


def test_a_node_takes_no_file_that_a_member_has_not_signed(tmp_path: Path) -> None:
    assert KEYS[0].bls is not None
    network_file.save(tmp_path / "n.json", network_file.sign(created(), KEYS[0].bls))
    with pytest.raises(NetworkFileError, match=r"bob, carol, dave.*network sign"):
        network_file.load(tmp_path / "n.json")
    draft = network_file.load(tmp_path / "n.json", allow_unsigned=True)
    assert draft.unsigned == NAMES[1:]


def test_copies_that_were_signed_apart_are_united() -> None:
    copies = [network_file.sign(created(), keys.bls) for keys in KEYS if keys.bls is not None]
    assert network_file.merge(copies) == SIGNED


def test_files_of_different_networks_are_not_merged() -> None:
    with pytest.raises(NetworkFileError, match="different networks"):
        network_file.merge([created(), created(genesis_time_ms=1_000_001)])


def test_a_stranger_cannot_sign() -> None:
    with pytest.raises(NetworkFileError, match="no member"):
        network_file.sign(created(), BlsKey(bytes(31) + b"\x63"))


def test_a_file_is_not_overwritten_unasked(tmp_path: Path) -> None:
    path = tmp_path / "network.json"
    network_file.save(path, created())
    with pytest.raises(NetworkFileError, match="exists"):
        network_file.save(path, SIGNED)
    network_file.save(path, SIGNED, replace=True)
    assert network_file.load(path) == SIGNED
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ("name", "names must differ"),
        ("bls_key", "proof of possession"),
        ("ed25519_key", "same ed25519_key"),
        ("operator", "same operator"),
    ],
)
def test_what_another_member_has_is_refused(field: str, message: str) -> None:
    copied = replace(MEMBERS[1], **{field: getattr(MEMBERS[0], field)})
    with pytest.raises(NetworkFileError, match=message):
        created([MEMBERS[0], copied, *MEMBERS[2:]])


def test_the_same_bls_key_twice_is_refused_even_with_its_proof() -> None:
    twin = replace(
        MEMBERS[1],
        bls_key=MEMBERS[0].bls_key,
        proof_of_possession=MEMBERS[0].proof_of_possession,
    )
    with pytest.raises(NetworkFileError, match="same bls_key"):
        created([MEMBERS[0], twin, *MEMBERS[2:]])


@pytest.mark.parametrize(
    "changes",
    [
        {"bls_key": INFINITY_KEY, "proof_of_possession": INFINITY_SIGNATURE},
        {"bls_key": b"\x80" + bytes(47)},
        {"proof_of_possession": INFINITY_SIGNATURE},
        {"proof_of_possession": MEMBERS[2].proof_of_possession},
        {"proof_of_possession": b"\xff" * 96},
        {"operator": bytes(20)},
        {"name": "Not A Name"},
    ],
)
def test_a_bad_key_or_proof_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(NetworkFileError, match="member"):
        created([*MEMBERS[:3], replace(MEMBERS[3], **changes)])


@pytest.mark.parametrize("field", ["operator", "ed25519_key"])
def test_a_registration_binds_the_operator_and_the_identity(field: str, tmp_path: Path) -> None:
    changed = replace(MEMBERS[0], **{field: b"\x01" * len(getattr(MEMBERS[0], field))})
    (tmp_path / "r.json").write_bytes(encode_registration(changed))
    with pytest.raises(NetworkFileError, match="not signed by the BLS key"):
        load_registration(tmp_path / "r.json")


def test_a_registration_for_no_network_is_none_for_this_one(tmp_path: Path) -> None:
    (tmp_path / "r.json").write_bytes(encode_registration(MEMBERS[0]))
    assert load_registration(tmp_path / "r.json") == MEMBERS[0]
    document = json.loads(CONTENT)
    document["members"][0]["registration"] = json.loads(encode_registration(MEMBERS[0]))[
        "registration"
    ]
    with pytest.raises(NetworkFileError, match="for this network"):
        network_file.decode(json.dumps(document).encode())


def paths_of(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    if isinstance(value, dict):
        return [at, *(path for key in value for path in paths_of(value[key], (*at, key)))]
    if isinstance(value, list):
        return [at, *(path for i, item in enumerate(value) for path in paths_of(item, (*at, i)))]
    return [at]


@given(st.sampled_from([path for path in paths_of(json.loads(CONTENT)) if path]), st.data())
def test_nothing_but_names_and_signatures_can_be_changed_unnoticed(
    path: tuple[Any, ...], data: st.DataObject
) -> None:
    document = json.loads(CONTENT)
    parent = document
    for part in path[:-1]:
        parent = parent[part]
    replacement = data.draw(
        st.sampled_from([None, 0, -1, 2**70, "", "x", [], {}, 1.5, True, parent[path[-1]]])
    )
    unchanged = replacement == parent[path[-1]]
    parent[path[-1]] = replacement
    try:
        loaded = network_file.decode(json.dumps(document).encode())
    except NetworkFileError:
        return
    assert unchanged or path[-1] in ("name", "registration")
    assert loaded.context == SIGNED.context


@settings(max_examples=60)
@given(st.integers(0, len(CONTENT) - 1), st.integers(0, 7))
def test_one_changed_bit_changes_at_most_a_name(position: int, bit: int) -> None:
    changed = bytearray(CONTENT)
    changed[position] ^= 1 << bit
    try:
        loaded = network_file.decode(bytes(changed))
    except NetworkFileError:
        return
    assert loaded.context == SIGNED.context
    assert [replace(member, name="") for member in loaded.members] == [
        replace(member, name="") for member in SIGNED.members
    ]


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[]", b"null", b"[" * 100_000, b"\xff", b'{"name": 1}']
)
def test_what_is_no_committee_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "n.json").write_bytes(content)
    with pytest.raises(NetworkFileError, match=r"n\.json is not valid"):
        network_file.load(tmp_path / "n.json")


def test_a_committee_lists_its_members_when_it_is_asked_for_a_stranger() -> None:
    assert SIGNED.index_of("carol") == 2
    with pytest.raises(NetworkFileError, match="alice, bob, carol, dave"):
        SIGNED.index_of("mallory")

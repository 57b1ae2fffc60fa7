import json
import logging
import os
import pickle
import stat
import traceback
from pathlib import Path
from typing import Any

import pytest

from node.errors import KeyFileError
from node.keys.account_key import AccountKey, account_address_of, load_account_key
from node.keys.bls_key import BlsKey, bls_public_key_of, load_bls_key
from node.keys.identity_key import IdentityKey, identity_public_key_of, load_identity_key
from node.keys.key_set import KeyPaths, KeySet, load_keys, save_keys
from node.keys.password import Password, read_password, write_password
from node.keys.secret_file import make_private_directory, write_new

SECRET = bytes(range(1, 33))
PASSWORD = Password("correct horse battery staple")
FEW = 1024
"""Rounds of key derivation; a test needs no protection."""


def key_set() -> KeySet:
    return KeySet(IdentityKey(SECRET), BlsKey(SECRET), AccountKey(SECRET))


def saved(tmp_path: Path, name: str) -> Path:
    path = tmp_path / name
    if name == "bls":
        BlsKey(SECRET).save(path, PASSWORD, FEW)
    elif name == "account":
        AccountKey(SECRET).save(path, PASSWORD, FEW)
    else:
        IdentityKey(SECRET).save(path, PASSWORD)
    return path


LOADERS: dict[str, Any] = {
    "bls": load_bls_key,
    "account": load_account_key,
    "identity": load_identity_key,
}
every_kind = pytest.mark.parametrize("kind", list(LOADERS))


def test_keys_come_back_as_they_were_saved(tmp_path: Path) -> None:
    keys = key_set()
    section = save_keys(keys, KeyPaths(tmp_path / "keys", tmp_path / "passwords"), iterations=FEW)
    loaded = load_keys(section)
    assert loaded.bls is not None
    assert loaded.account is not None
    assert loaded.identity.sign(b"x") == keys.identity.sign(b"x")
    assert keys.bls is not None
    assert loaded.bls.sign(bytes(32)) == keys.bls.sign(bytes(32))
    assert loaded.account.address == AccountKey(SECRET).address
    assert section.bls is not None
    assert section.account is not None
    assert bls_public_key_of(section.bls) == keys.bls.public_key
    assert account_address_of(section.account) == loaded.account.address
    assert identity_public_key_of(section.identity) == keys.identity.public_key


def test_files_and_directories_are_for_their_owner_alone(tmp_path: Path) -> None:
    save_keys(key_set(), KeyPaths(tmp_path / "a" / "keys", tmp_path / "passwords"), iterations=FEW)
    for directory in (tmp_path / "a" / "keys", tmp_path / "passwords"):
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
        for file in directory.iterdir():
            assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert len(list(directory.iterdir())) == 3  # and no temporary file


def test_each_file_has_a_password_of_its_own_unless_one_is_given(tmp_path: Path) -> None:
    save_keys(key_set(), KeyPaths(tmp_path / "k", tmp_path / "p"), iterations=FEW)
    assert len({path.read_bytes() for path in (tmp_path / "p").iterdir()}) == 3
    save_keys(key_set(), KeyPaths(tmp_path / "k2", tmp_path / "p2"), PASSWORD, FEW)
    assert len({path.read_bytes() for path in (tmp_path / "p2").iterdir()}) == 1


def test_nothing_is_written_when_one_file_is_in_the_way(tmp_path: Path) -> None:
    paths = KeyPaths(tmp_path / "keys", tmp_path / "passwords")
    make_private_directory(paths.passwords)
    in_the_way = paths.passwords / "account.password"
    in_the_way.symlink_to(tmp_path / "nowhere")
    with pytest.raises(KeyFileError, match="never overwritten"):
        save_keys(key_set(), paths, iterations=FEW)
    assert not paths.directory.exists()
    assert list(paths.passwords.iterdir()) == [in_the_way]


@every_kind
def test_a_key_file_is_never_overwritten(tmp_path: Path, kind: str) -> None:
    before = saved(tmp_path, kind).read_bytes()
    with pytest.raises(KeyFileError, match="never overwritten"):
        saved(tmp_path, kind)
    assert (tmp_path / kind).read_bytes() == before


@every_kind
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_key_file_that_others_can_open_is_refused_with_the_remedy(
    tmp_path: Path, kind: str, mode: int
) -> None:
    path = saved(tmp_path, kind)
    path.chmod(mode)
    with pytest.raises(KeyFileError, match=f"chmod 600 {path}"):
        LOADERS[kind](path, PASSWORD)


@every_kind
def test_no_command_is_advised_for_a_file_that_is_no_key(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "shadow"
    path.write_text("root:*:19000:0:99999:7:::\n" * 20)
    path.chmod(0o640)
    with pytest.raises(KeyFileError, match="correct its path") as caught:
        LOADERS[kind](path, PASSWORD)
    with pytest.raises(KeyFileError, match="correct its path") as caught_password:
        read_password(path)
    assert "chmod" not in f"{caught.value} {caught_password.value}"


def test_a_directory_that_others_can_enter_is_refused_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir(mode=0o755)
    (tmp_path / "open").chmod(0o755)
    with pytest.raises(KeyFileError, match="chmod 700"):
        make_private_directory(tmp_path / "open")


@every_kind
def test_a_wrong_password_is_told_without_showing_anything(tmp_path: Path, kind: str) -> None:
    path = saved(tmp_path, kind)
    wrong = Password("incorrect horse" + " battery")
    with pytest.raises(KeyFileError, match="wrong password") as caught:
        LOADERS[kind](path, wrong)
    shown = "".join(traceback.format_exception(caught.value))
    assert "incorrect horse battery" not in shown
    assert SECRET.hex() not in shown


@every_kind
@pytest.mark.parametrize(
    "damage", [b"", b"{}", b"[]", b"\xff\xfe", b'{"version": 4}', b"[" * 50_000]
)
def test_a_damaged_file_is_refused(tmp_path: Path, kind: str, damage: bytes) -> None:
    path = tmp_path / "damaged"
    write_new(path, damage)
    with pytest.raises(KeyFileError, match=str(path)):
        LOADERS[kind](path, PASSWORD)


@every_kind
def test_a_missing_file_is_told_with_the_remedy(tmp_path: Path, kind: str) -> None:
    with pytest.raises(KeyFileError, match="didyma keys new"):
        LOADERS[kind](tmp_path / "absent", PASSWORD)


@every_kind
def test_a_pipe_does_not_hold_the_node_up(tmp_path: Path, kind: str) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(KeyFileError, match="not a regular file"):
        LOADERS[kind](tmp_path / "pipe", PASSWORD)


@pytest.mark.parametrize(
    "parameters",
    [
        {"c": 10**12, "dklen": 32, "prf": "hmac-sha256", "salt": "00"},
        {"c": -1, "dklen": 32, "prf": "hmac-sha256", "salt": "00"},
        {"n": 2**40, "r": 8, "p": 1, "dklen": 32, "salt": "00"},
        {"n": 2**14, "r": 8, "p": 2**30, "dklen": 32, "salt": "00"},
        {"c": 1000, "dklen": 2**40, "prf": "hmac-sha256", "salt": "00"},
        None,
        [],
    ],
)
def test_a_file_cannot_ask_for_endless_work(tmp_path: Path, parameters: object) -> None:
    document = json.loads(saved(tmp_path, "bls").read_bytes())
    document["crypto"]["kdf"]["params"] = parameters
    write_new(tmp_path / "costly", json.dumps(document).encode())
    with pytest.raises(KeyFileError, match="too costly"):
        load_bls_key(tmp_path / "costly", PASSWORD)


def test_a_key_file_that_names_another_key_is_refused(tmp_path: Path) -> None:
    document = json.loads(saved(tmp_path, "bls").read_bytes())
    document["pubkey"] = BlsKey(bytes(31) + b"\x07").public_key.hex()
    write_new(tmp_path / "swapped", json.dumps(document).encode())
    with pytest.raises(KeyFileError, match="another public key"):
        load_bls_key(tmp_path / "swapped", PASSWORD)


@pytest.mark.parametrize("secret", [bytes(32), b"\xff" * 32, b"\x01" * 31, b""])
def test_a_zero_or_oversized_secret_is_no_bls_key(secret: bytes) -> None:
    with pytest.raises(ValueError, match="BLS private key"):
        BlsKey(secret)


def test_the_official_eip_2335_vector_opens(tmp_path: Path) -> None:
    # From the EIP; the password is written in mathematical letters and needs normalizing.
    document = {
        "crypto": {
            "kdf": {
                "function": "pbkdf2",
                "params": {
                    "dklen": 32,
                    "c": 262144,
                    "prf": "hmac-sha256",
                    "salt": "d4e56740f876aef8c010b86a40d5f56745a118d0906a34e69aec8c0db1cb8fa3",
                },
                "message": "",
            },
            "checksum": {
                "function": "sha256",
                "params": {},
                "message": "8a9f5d9912ed7e75ea794bc5a89bca5f193721d30868ade6f73043c6ea6febf1",
            },
            "cipher": {
                "function": "aes-128-ctr",
                "params": {"iv": "264daa3f303d7259501c93d997d84fe6"},
                "message": "cee03fde2af33149775b7223e7845e4fb2c8ae1792e5f99fe9ecf474cc8c16ad",
            },
        },
        "description": "",
        "pubkey": "9612d7a727c9d0a22e185a1c768478dfe919cada9266988cb32359c11f2b7b27"
        "f4ae4040902382ae2910c15e2b420d07",
        "path": "m/12381/60/0/0",
        "uuid": "64625def-3331-4eea-ab6f-782f3ed16a83",
        "version": 4,
    }
    write_new(tmp_path / "vector", json.dumps(document).encode())
    password = Password("𝔱𝔢𝔰𝔱𝔭𝔞𝔰𝔰𝔴𝔬𝔯𝔡🔑")
    assert load_bls_key(tmp_path / "vector", password).public_key.hex() == document["pubkey"]


def test_no_secret_shows_itself(caplog: pytest.LogCaptureFixture) -> None:
    keys = key_set()
    logging.getLogger("test").warning("%r %s %r", keys, keys.identity, PASSWORD)
    for shown in (caplog.text, repr(keys), f"{PASSWORD}"):
        assert SECRET.hex() not in shown
        assert "correct horse" not in shown
    for secret in (keys.identity, keys.bls, keys.account, PASSWORD):
        with pytest.raises(TypeError):
            pickle.dumps(secret)


def test_a_password_file_may_end_its_line_and_must_not_be_short(tmp_path: Path) -> None:
    write_password(tmp_path / "good", PASSWORD)
    assert read_password(tmp_path / "good").reveal() == PASSWORD.reveal()
    write_new(tmp_path / "short", b"hunter2\n")
    with pytest.raises(KeyFileError, match="12 characters"):
        read_password(tmp_path / "short")

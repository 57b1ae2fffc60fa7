"""What EIP-2335 and Web3 key files have in common: bounded JSON around an encrypted key.

The key derivation's cost stands in the file, so a hostile file could ask for hours or for all the
memory; its numbers are checked before anything is derived.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from node.errors import KeyFileError
from node.keys.password import Password
from node.keys.secret_file import read_secret, write_new

PBKDF2_ITERATIONS = 262_144
"""As in the EIP's own example; a generated password of 256 bits does not depend on it."""

ITERATIONS_MAX = 4_000_000
SCRYPT_MEMORY_MAX = 1 << 29
SCRYPT_WORK_MAX = 1 << 25


def write_encrypted(
    path: Path, secret: bytes, password: Password, version: int, iterations: int
) -> None:
    """Encrypt a private key into a new file of mode 0600."""
    from eth_keyfile import keyfile

    document = keyfile.create_keyfile_json(
        secret, password.reveal(), version=version, kdf="pbkdf2", iterations=iterations
    )
    write_new(path, json.dumps(document, indent=2).encode() + b"\n")


def read_document(path: Path, what: str, version: int) -> dict[str, Any]:
    """Return a key file's JSON after its shape and its costs were checked."""
    content = read_secret(path, what, lambda content: _table_in(content).get("version") == version)
    document = _table_in(content)
    if document.get("version") != version:
        raise KeyFileError(
            f"the {what} {path} is not a key file of version {version}; correct its path in the "
            "configuration, or restore the file from a backup"
        )
    return document


def _table_in(content: bytes) -> dict[str, Any]:
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def decrypt(
    path: Path, document: dict[str, Any], parameters: object, password: Password, what: str
) -> bytes:
    """Return the private key; raise `KeyFileError` for a wrong password or a damaged file."""
    from eth_keyfile import keyfile

    _check_cost(path, parameters, what)
    try:
        return bytes(keyfile.decode_keyfile_json(document, password.reveal()))
    except Exception:  # the library raises anything on a malformed file; none of it may leak
        raise KeyFileError(
            f"the {what} {path} cannot be opened: wrong password, or the file is damaged; check "
            "which password file the configuration names for it"
        ) from None


def _check_cost(path: Path, parameters: object, what: str) -> None:
    numbers = parameters if isinstance(parameters, Mapping) else {}
    n, r, p = (_count(numbers.get(name, 1)) for name in "nrp")
    affordable = (
        _count(numbers.get("c", 1)) <= ITERATIONS_MAX
        and _count(numbers.get("dklen")) == 32
        and 128 * n * r <= SCRYPT_MEMORY_MAX
        and n * r * p <= SCRYPT_WORK_MAX
    )
    if not affordable:
        raise KeyFileError(
            f"the {what} {path} asks for a key derivation that is malformed or too costly"
        )


def _count(value: object) -> int:
    return value if type(value) is int and value >= 1 else SCRYPT_MEMORY_MAX + 1

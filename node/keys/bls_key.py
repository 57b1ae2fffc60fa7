"""The BLS key that votes, in an EIP-2335 key file."""

import secrets
from pathlib import Path
from typing import Any

from blspy import G1Element, G2Element, PopSchemeMPL, PrivateKey

from node.errors import KeyFileError
from node.keys.encrypted_json import PBKDF2_ITERATIONS, decrypt, read_document, write_encrypted
from node.keys.password import Password

BLS_FILE_VERSION = 4
_WHAT = "BLS key file"


class BlsKey:
    """A BLS12-381 private key; it signs and proves, and never shows itself."""

    __slots__ = ("_key", "public_key")

    def __init__(self, secret: bytes) -> None:
        """Take 32 bytes, big-endian; raise `ValueError` for zero or what exceeds the order."""
        if len(secret) != 32 or not any(secret):
            raise ValueError("a BLS private key has 32 bytes and is not zero")
        try:
            self._key = PrivateKey.from_bytes(secret)
        except ValueError:
            raise ValueError("not a BLS private key: it exceeds the order of the group") from None
        self.public_key = bytes(self._key.get_g1())
        """The compressed point in G1, 48 bytes."""

    def sign(self, digest: bytes) -> bytes:
        """Return the compressed signature (96 bytes) of PopScheme on a digest."""
        return bytes(PopSchemeMPL.sign(self._key, digest))

    def proof_of_possession(self) -> bytes:
        """Return the proof (96 bytes) that whoever holds the key made it."""
        return bytes(PopSchemeMPL.pop_prove(self._key))

    def save(self, path: Path, password: Password, iterations: int = PBKDF2_ITERATIONS) -> None:
        """Write the key to a new EIP-2335 file; raise `KeyFileError` if one is there."""
        write_encrypted(path, bytes(self._key), password, BLS_FILE_VERSION, iterations)

    def __repr__(self) -> str:
        return f"BlsKey(public_key={self.public_key.hex()})"

    def __reduce__(self) -> str:
        raise TypeError("a private key is never pickled")


def generate_bls_key() -> BlsKey:
    """Return a new key from the system's randomness."""
    return BlsKey(bytes(PopSchemeMPL.key_gen(secrets.token_bytes(64))))


def load_bls_key(path: Path, password: Password) -> BlsKey:
    """Return the key in an EIP-2335 file; raise `KeyFileError`."""
    document = read_document(path, _WHAT, BLS_FILE_VERSION)
    kdf = _table(_table(document.get("crypto")).get("kdf"))
    secret = decrypt(path, document, kdf.get("params"), password, _WHAT)
    try:
        key = BlsKey(secret)
    except ValueError as error:
        raise KeyFileError(f"the {_WHAT} {path} holds no usable key: {error}") from None
    if key.public_key != _public_key(path, document):
        raise KeyFileError(f"the {_WHAT} {path} names another public key than it holds")
    return key


def bls_public_key_of(path: Path) -> bytes:
    """Return the public key that a key file names, without opening it."""
    return _public_key(path, read_document(path, _WHAT, BLS_FILE_VERSION))


def check_bls_public_key(compressed: bytes) -> G1Element:
    """Return a point of the right subgroup; raise `ValueError` for infinity or anything else."""
    try:
        point = G1Element.from_bytes(compressed)
    except ValueError:
        raise ValueError(
            "is not a BLS public key (48 bytes, compressed, in the subgroup)"
        ) from None
    if point == G1Element():
        raise ValueError("is the point at infinity, with which anyone could sign")
    return point


def is_bls_signature(compressed: bytes, key: G1Element, digest: bytes) -> bool:
    """Tell whether 96 bytes are this key's signature on a digest."""
    try:
        signature = G2Element.from_bytes(compressed)
    except ValueError:
        return False
    return bool(PopSchemeMPL.verify(key, digest, signature))


def is_proof_of_possession(compressed: bytes, key: G1Element) -> bool:
    """Tell whether 96 bytes prove possession of this key."""
    try:
        proof = G2Element.from_bytes(compressed)
    except ValueError:
        return False
    return bool(PopSchemeMPL.pop_verify(key, proof))


def _public_key(path: Path, document: dict[str, Any]) -> bytes:
    named = document.get("pubkey")
    try:
        public_key = bytes.fromhex(named.removeprefix("0x")) if isinstance(named, str) else b""
    except ValueError:
        public_key = b""
    if len(public_key) != 48:
        raise KeyFileError(f"the {_WHAT} {path} does not name its public key")
    return public_key


def _table(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}

"""The Ed25519 identity (libp2p and observations), encrypted as PKCS#8 in PEM."""

import secrets
from pathlib import Path

from nacl.signing import SigningKey

from node.errors import KeyFileError
from node.keys.password import Password
from node.keys.secret_file import read_secret, write_new

_WHAT = "identity key file"
_MARK = b"-----BEGIN ENCRYPTED PRIVATE KEY-----"


class IdentityKey:
    """An Ed25519 private key; it never shows itself."""

    __slots__ = ("_key", "public_key")

    def __init__(self, seed: bytes) -> None:
        """Take the seed of 32 bytes of RFC 8032; raise `ValueError`."""
        if len(seed) != 32:
            raise ValueError("an Ed25519 seed has 32 bytes")
        self._key = SigningKey(seed)
        self.public_key = bytes(self._key.verify_key)
        """32 bytes."""

    def sign(self, digest: bytes) -> bytes:
        """Return the signature, 64 bytes."""
        return bytes(self._key.sign(digest).signature)

    def reveal_seed(self) -> bytes:
        """Return the seed, for libp2p, which derives its own key object from it."""
        return bytes(self._key)

    def save(self, path: Path, password: Password) -> None:
        """Write the key to a new PEM file; raise `KeyFileError` if one is there."""
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        pem = Ed25519PrivateKey.from_private_bytes(bytes(self._key)).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(password.reveal()),
        )
        # The public key stands outside the block, where PEM readers skip it, so that it can be
        # shown without the password.
        write_new(path, f"Ed25519 public key: {self.public_key.hex()}\n".encode() + pem)

    def __repr__(self) -> str:
        return f"IdentityKey(public_key={self.public_key.hex()})"

    def __reduce__(self) -> str:
        raise TypeError("a private key is never pickled")


def generate_identity_key() -> IdentityKey:
    """Return a new key from the system's randomness."""
    return IdentityKey(secrets.token_bytes(32))


def load_identity_key(path: Path, password: Password) -> IdentityKey:
    """Return the key in an encrypted PEM file; raise `KeyFileError`."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    content = read_secret(path, _WHAT, _is_encrypted_key)
    if _MARK not in content:
        raise KeyFileError(
            f"the {_WHAT} {path} is not an encrypted PKCS#8 key; encrypt it with "
            "`openssl pkcs8 -topk8`"
        )
    try:
        key = serialization.load_pem_private_key(content[content.index(_MARK) :], password.reveal())
    except Exception:  # anything the library says may hold parts of the file
        raise KeyFileError(
            f"the {_WHAT} {path} cannot be opened: wrong password, or the file is damaged; check "
            "which password file the configuration names for it"
        ) from None
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyFileError(f"the {_WHAT} {path} does not hold an Ed25519 key")
    identity = IdentityKey(key.private_bytes_raw())
    named = _named_public_key(content)
    if named is not None and named != identity.public_key:
        raise KeyFileError(f"the {_WHAT} {path} names another public key than it holds")
    return identity


def identity_public_key_of(path: Path) -> bytes | None:
    """Return the public key that a key file names, if it does, without opening it."""
    return _named_public_key(read_secret(path, _WHAT, _is_encrypted_key))


def _is_encrypted_key(content: bytes) -> bool:
    return _MARK in content


def _named_public_key(content: bytes) -> bytes | None:
    first_line = content.split(b"\n", 1)[0]
    label, colon, digits = first_line.partition(b": ")
    if label != b"Ed25519 public key" or not colon:
        return None
    try:
        return bytes.fromhex(digits.decode())
    except ValueError:
        return None

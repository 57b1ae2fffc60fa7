"""The EVM account that pays for updates, in a Web3 key file."""

import secrets
from pathlib import Path
from typing import TYPE_CHECKING

from node.addresses import format_address, parse_address
from node.errors import KeyFileError
from node.keys.encrypted_json import PBKDF2_ITERATIONS, decrypt, read_document, write_encrypted
from node.keys.password import Password

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount

ACCOUNT_FILE_VERSION = 3
_WHAT = "account key file"


class AccountKey:
    """A secp256k1 private key; it never shows itself."""

    __slots__ = ("account", "address")

    def __init__(self, secret: bytes) -> None:
        """Take 32 bytes, big-endian; raise `ValueError` for zero or what exceeds the order."""
        from eth_account import Account

        try:
            self.account: LocalAccount = Account.from_key(secret)
        except Exception:
            raise ValueError("not a secp256k1 private key") from None
        self.address = parse_address(self.account.address)
        """The account's address, 20 bytes."""

    def save(self, path: Path, password: Password, iterations: int = PBKDF2_ITERATIONS) -> None:
        """Write the key to a new Web3 key file; raise `KeyFileError` if one is there."""
        secret = bytes(self.account.key)
        write_encrypted(path, secret, password, ACCOUNT_FILE_VERSION, iterations)

    def __repr__(self) -> str:
        return f"AccountKey(address={format_address(self.address)})"

    def __reduce__(self) -> str:
        raise TypeError("a private key is never pickled")


def generate_account_key() -> AccountKey:
    """Return a new key from the system's randomness."""
    while True:
        try:
            return AccountKey(secrets.token_bytes(32))
        except ValueError:  # zero or beyond the order, one draw in 2**128
            continue


def load_account_key(path: Path, password: Password) -> AccountKey:
    """Return the key in a Web3 key file; raise `KeyFileError`."""
    document = read_document(path, _WHAT, ACCOUNT_FILE_VERSION)
    crypto = document.get("crypto", document.get("Crypto"))
    parameters = crypto.get("kdfparams") if isinstance(crypto, dict) else None
    try:
        key = AccountKey(decrypt(path, document, parameters, password, _WHAT))
    except ValueError as error:
        raise KeyFileError(f"the {_WHAT} {path} holds no usable key: {error}") from None
    if key.address != account_address_of(path):
        raise KeyFileError(f"the {_WHAT} {path} names another address than its key has")
    return key


def account_address_of(path: Path) -> bytes:
    """Return the address that a key file names, without opening it."""
    named = read_document(path, _WHAT, ACCOUNT_FILE_VERSION).get("address")
    try:
        return parse_address(named if isinstance(named, str) else "")
    except ValueError:
        raise KeyFileError(f"the {_WHAT} {path} does not name its address") from None

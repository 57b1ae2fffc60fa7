"""Passwords come from files, never from arguments or the environment."""

import secrets
from pathlib import Path
from unicodedata import normalize

from node.errors import KeyFileError
from node.keys.secret_file import read_secret, write_new

PASSWORD_CHARACTERS_MIN = 12


class Password:
    """A password that does not show itself in representations, logs or tracebacks."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        """Take a password; raise `KeyFileError` if it is too short to protect anything."""
        cleaned = "".join(char for char in normalize("NFKD", text) if not _is_control(char))
        if len(cleaned) < PASSWORD_CHARACTERS_MIN:
            raise KeyFileError(
                f"a password must have at least {PASSWORD_CHARACTERS_MIN} characters"
            )
        self._text = cleaned

    def reveal(self) -> bytes:
        """Return the bytes for a key derivation: NFKD without control codes, as in EIP-2335."""
        return self._text.encode()

    def __repr__(self) -> str:
        return "Password(…)"

    def __reduce__(self) -> str:
        raise TypeError("a password is never pickled")


def generate_password() -> Password:
    """Return a password of 256 random bits."""
    return Password(secrets.token_urlsafe(32))


def write_password(path: Path, password: Password) -> None:
    """Write a password file of mode 0600; raise `KeyFileError` if one is there."""
    write_new(path, password.reveal() + b"\n")


def read_password(path: Path) -> Password:
    """Return the password in a file, without the end of its line; raise `KeyFileError`."""
    try:
        text = read_secret(path, "password file", _is_known).decode()
    except UnicodeDecodeError:
        raise KeyFileError(f"the password file {path} is not UTF-8") from None
    try:
        return Password(text.removesuffix("\n").removesuffix("\r"))
    except KeyFileError as error:
        raise KeyFileError(f"the password file {path} is not usable: {error}") from None


def _is_known(_content: bytes) -> bool:
    """Whether a file is certainly a node's password file: nothing about its content says so."""
    return False


def _is_control(char: str) -> bool:
    return ord(char) < 0x20 or 0x7F <= ord(char) <= 0x9F

"""All keys of a node: made together, saved together, opened as its configuration says."""

from dataclasses import dataclass
from pathlib import Path

from node.config import KeysSection
from node.errors import KeyFileError
from node.keys.account_key import AccountKey, generate_account_key, load_account_key
from node.keys.bls_key import BlsKey, generate_bls_key, load_bls_key
from node.keys.encrypted_json import PBKDF2_ITERATIONS
from node.keys.identity_key import IdentityKey, generate_identity_key, load_identity_key
from node.keys.password import Password, generate_password, read_password, write_password
from node.keys.secret_file import make_private_directory


@dataclass(frozen=True, slots=True)
class KeySet:
    """The keys of one node; one that only follows has no BLS key."""

    identity: IdentityKey
    bls: BlsKey | None
    account: AccountKey | None


@dataclass(frozen=True, slots=True)
class KeyPaths:
    """Where `save_keys` puts things; `section` is what the configuration says of it."""

    directory: Path
    passwords: Path

    def __post_init__(self) -> None:
        """Refuse one directory for both: who copies the keys would copy the passwords too."""
        if self.directory == self.passwords:
            raise KeyFileError("keys and passwords need directories of their own")

    @property
    def section(self) -> KeysSection:
        """The `[keys]` table of the configuration."""
        return KeysSection(
            identity=self.directory / "identity.pem",
            identity_password_file=self.passwords / "identity.password",
            bls=self.directory / "bls.json",
            bls_password_file=self.passwords / "bls.password",
            account=self.directory / "account.json",
            account_password_file=self.passwords / "account.password",
        )


def generate_keys() -> KeySet:
    """Return three new keys from the system's randomness."""
    return KeySet(generate_identity_key(), generate_bls_key(), generate_account_key())


def save_keys(
    keys: KeySet,
    paths: KeyPaths,
    password: Password | None = None,
    iterations: int = PBKDF2_ITERATIONS,
) -> KeysSection:
    """Write key and password files, and return the `[keys]` table that names them.

    Without a password each file gets one of 256 random bits, for which few `iterations` are as
    safe as many. Raises `KeyFileError`, before anything is written, if one of the files exists.
    """
    section = paths.section
    for _, path in section:
        if path.exists() or path.is_symlink():
            raise KeyFileError(
                f"{path} exists and is never overwritten; choose another directory, or move it away"
            )
    make_private_directory(paths.directory)
    make_private_directory(paths.passwords)
    # The password is durable before the key that needs it.
    secret = _new_password(section.identity_password_file, password)
    keys.identity.save(section.identity, secret)
    if keys.bls is not None and section.bls and section.bls_password_file:
        secret = _new_password(section.bls_password_file, password)
        keys.bls.save(section.bls, secret, iterations)
    if keys.account is not None and section.account and section.account_password_file:
        secret = _new_password(section.account_password_file, password)
        keys.account.save(section.account, secret, iterations)
    return section


def load_keys(section: KeysSection) -> KeySet:
    """Open every key that the configuration names; raise `KeyFileError`."""
    identity = load_identity_key(section.identity, read_password(section.identity_password_file))
    bls = account = None
    if section.bls is not None and section.bls_password_file is not None:
        bls = load_bls_key(section.bls, read_password(section.bls_password_file))
    if section.account is not None and section.account_password_file is not None:
        account = load_account_key(section.account, read_password(section.account_password_file))
    return KeySet(identity, bls, account)


def _new_password(path: Path, given: Password | None) -> Password:
    password = given if given is not None else generate_password()
    write_password(path, password)
    return password

"""A node's directory as `didyma init` makes it: keys, passwords, store and configuration."""

from dataclasses import dataclass
from pathlib import Path

from node.config import KeysSection
from node.config_template import NodeSettings, render
from node.errors import ConfigFileError
from node.keys.encrypted_json import PBKDF2_ITERATIONS
from node.keys.key_set import KeyPaths, KeySet, generate_keys, save_keys
from node.keys.password import Password
from node.keys.secret_file import make_private_directory, write_new
from node.registration import encode_registration, register
from node.store import Store

CONFIG_NAME = "node.toml"
REGISTRATION_NAME = "registration.json"
DATA_NAME = "data"


@dataclass(frozen=True, slots=True)
class NodeDirectory:
    """What was made: the keys, still open, and the settings that the configuration holds."""

    path: Path
    config_file: Path
    registration_file: Path
    keys: KeySet
    settings: NodeSettings


def create_node_directory(
    path: Path,
    member: str,
    *,
    p2p_listen: str = "/ip4/0.0.0.0/tcp/9400",
    password: Password | None = None,
    iterations: int = PBKDF2_ITERATIONS,
) -> NodeDirectory:
    """Make a directory with new keys, their passwords, a configuration and a registration.

    Everything is readable by its owner alone. Raises `ConfigurationError`, before anything is
    written, if any of it exists.
    """
    config_file, registration_file = path / CONFIG_NAME, path / REGISTRATION_NAME
    for taken in (config_file, registration_file):
        if taken.exists():
            raise ConfigFileError(
                f"{taken} exists and is never overwritten; choose another directory"
            )
    if (path / DATA_NAME).exists() and any((path / DATA_NAME).iterdir()):
        raise ConfigFileError(f"{path / DATA_NAME} holds another node's data; move it away first")
    keys = generate_keys()
    registration = encode_registration(register(member, keys))
    make_private_directory(path)
    section = save_keys(keys, KeyPaths(path / "keys", path / "passwords"), password, iterations)
    assert keys.bls is not None
    data = path / DATA_NAME
    make_private_directory(data)
    with Store.create(data) as store:
        # A key that was made together with its store has signed nothing before it.
        store.record_own_key(keys.bls.public_key)
    settings = NodeSettings(
        member, _relative_keys(section, path), Path(DATA_NAME), p2p_listen=p2p_listen
    )
    write_new(registration_file, registration)
    write_new(config_file, render(settings).encode())
    return NodeDirectory(path, config_file, registration_file, keys, settings)


def write_config(directory: NodeDirectory, settings: NodeSettings) -> None:
    """Replace the configuration of a directory that was just made, as a deployment tool does.

    `settings` are usually `dataclasses.replace(directory.settings, peers=…, chains=…)`.
    """
    directory.config_file.unlink(missing_ok=True)
    write_new(directory.config_file, render(settings).encode())


def _relative_keys(section: KeysSection, path: Path) -> KeysSection:
    """Return the key paths relative to a directory, so that it can be moved as a whole."""
    values = {
        name: value.relative_to(path) if value is not None and value.is_relative_to(path) else value
        for name, value in section
    }
    return KeysSection(**values)

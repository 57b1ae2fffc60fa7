"""Whether a configuration fits the files that it names, and their passwords open the keys."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from node import epoch_file, network_file
from node.config import Config
from node.epoch_file import EpochFile
from node.errors import OperatorError, Problem
from node.keys.account_key import account_address_of, load_account_key
from node.keys.bls_key import bls_public_key_of, load_bls_key
from node.keys.identity_key import identity_public_key_of, load_identity_key
from node.keys.password import Password, read_password
from node.network_file import NetworkFile
from node.validity import warning_of

_Found = TypeVar("_Found")


def check_files(config: Config) -> list[Problem]:
    """Return everything that would keep a node with this configuration from working.

    Looks at the committee file, opens the key files with their passwords, and sees whether all of
    them are of the same member.
    """
    check = _FileCheck()
    keys = config.keys
    network = check.found(
        "node.network_file",
        config.node.network_file,
        lambda: network_file.load(config.node.network_file),
    )
    joins = None
    if (epoch_path := config.node.epoch_file) is not None:
        joins = check.found("node.epoch_file", epoch_path, lambda: epoch_file.load(epoch_path))
    identity = check.key(
        "identity",
        keys.identity,
        keys.identity_password_file,
        identity_public_key_of,
        load_identity_key,
    )
    bls = check.key("bls", keys.bls, keys.bls_password_file, bls_public_key_of, load_bls_key)
    account = check.key(
        "account", keys.account, keys.account_password_file, account_address_of, load_account_key
    )
    if joins is not None:
        check.found("node.epoch_file", config.node.epoch_file or Path(), joins.check_proofs)
        if network is not None and joins.network != network.network:
            check.problems.append(
                Problem(
                    str(config.node.epoch_file),
                    f"is of another network than {config.node.network_file}",
                    "node.epoch_file",
                    "get both from the same network",
                )
            )
    if network is not None:
        problems = [
            *_member_problems(config, joins or network, identity, bls, account),
            *_peer_problems(config, network, joins),
        ]
        return [*check.problems, *problems]
    return check.problems


def ends_of(config: Config, now_ms: int) -> list[str]:
    """Return what to tell of configurations that end soon; not a problem of the files."""
    try:
        path = config.node.epoch_file
        if path is None:
            first = network_file.load(config.node.network_file)
            epoch, valid_until_ms = 0, first.valid_until_ms
        else:
            joins = epoch_file.load(path)
            epoch, valid_until_ms = joins.epoch, joins.valid_until_ms
    except OperatorError:
        return []
    warning = warning_of(epoch, valid_until_ms, now_ms)
    if warning is None:
        return []
    return [f"{warning}; unless a later one is in office already, see `didyma committee status`"]


class _FileCheck:
    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def found(self, key: str, path: Path, read: Callable[[], _Found]) -> _Found | None:
        try:
            return read()
        except OperatorError as error:
            self.problems.append(Problem(str(path), str(error), key))
            return None

    def key(
        self,
        kind: str,
        path: Path | None,
        password_path: Path | None,
        public_part_of: Callable[[Path], bytes | None],
        load: Callable[[Path, Password], object],
    ) -> bytes | None:
        """Return the public part that a key file names; open the key if nothing else is wrong."""
        if path is None or password_path is None:
            return None
        key, before = f"keys.{kind}", len(self.problems)
        public_part = self.found(key, path, lambda: public_part_of(path))
        password = self.found(
            f"{key}_password_file", password_path, lambda: read_password(password_path)
        )
        if password is not None and len(self.problems) == before:
            self.found(key, path, lambda: load(path, password))
        return public_part


def _member_problems(
    config: Config,
    network: NetworkFile | EpochFile,
    identity: bytes | None,
    bls: bytes | None,
    account: bytes | None,
) -> list[Problem]:
    if config.node.member is None:
        return []
    where = str(config.node.epoch_file or config.node.network_file)
    try:
        member = network.members[network.index_of(config.node.member)]
    except OperatorError as error:
        return [Problem(where, str(error), "node.member")]
    pairs = (
        ("keys.identity", identity, member.ed25519_key, "Ed25519 key"),
        ("keys.bls", bls, member.bls_key, "BLS key"),
        ("keys.account", account, member.operator, "account"),
    )
    return [
        Problem(
            where,
            f"lists another {what} for {member.name} than this key file holds",
            key,
            "point the configuration at the key files that the member was registered with",
        )
        for key, ours, listed, what in pairs
        if ours is not None and ours != listed
    ]


def _peer_problems(config: Config, network: NetworkFile, joins: EpochFile | None) -> list[Problem]:
    """Return whose address is missing; further ones may be of members of a later epoch."""
    if config.node.member is None:
        return []
    named = {peer.member for peer in config.p2p.peers}
    listing = joins or network
    where = str(config.node.epoch_file or config.node.network_file)
    others = set(listing.member_names) - {config.node.member}
    return [
        Problem(
            where,
            f"has a member {name!r} whose address is not configured",
            "p2p.peers",
            f'add [[p2p.peers]] with member = "{name}" and its address',
        )
        for name in sorted(others - named)
    ]

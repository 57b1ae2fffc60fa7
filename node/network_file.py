"""The committee file: who the members of a network are, what they price, and every proof of it.

`create` assembles it from registrations, each member adds its signature for the network with
`sign`, `merge` unites copies that were signed apart. The network id covers the name, the members'
keys, the feed table, the timing and the end of validity, never the signatures, so it is known
before the first of them. Members' names are labels for people: nothing that is signed covers them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta, Struct

from aggregation.state import genesis_state
from aggregation.table import FeedTable
from consensus.committee import EpochContext, Timing, network_id
from consensus.types import MEMBERS_MAX
from node.config import check_name
from node.configuration_form import (
    ConfigurationForm,
    decode_document,
    encode_document,
    united,
)
from node.errors import NetworkFileError
from node.keys.bls_key import BlsKey
from node.public_file import read_bounded, write_atomically
from node.registration import Hex32, MemberFile, MemberRecord

NETWORK_FILE_BYTES_MAX = 1 << 22
_Milliseconds = Annotated[int, Meta(ge=0, le=2**63 - 1)]


class _NetworkDocument(Struct, frozen=True, forbid_unknown_fields=True):
    """The JSON form. Every number of timing and feeds is written out; nothing is defaulted."""

    name: str
    network: Hex32
    genesis: Hex32
    epoch: Annotated[int, Meta(ge=0, le=0)]
    genesis_time_ms: _Milliseconds
    valid_until_ms: _Milliseconds
    timing: dict[str, Any]
    feeds: Annotated[tuple[dict[str, Any], ...], Meta(min_length=1, max_length=1 << 12)]
    members: Annotated[tuple[MemberFile, ...], Meta(min_length=1, max_length=MEMBERS_MAX)]


@dataclass(frozen=True)
class NetworkFile(ConfigurationForm):
    """A committee file whose proofs were all checked; times are Unix milliseconds.

    Construction raises `NetworkFileError`. A member may still lack its signature for the network:
    see `unsigned`; a node takes no such file.
    """

    name: str
    genesis_time_ms: int
    valid_until_ms: int
    timing: Timing
    table: FeedTable
    members: tuple[MemberRecord, ...]

    def __post_init__(self) -> None:
        """Check names, keys, proofs, signatures and duplicates."""
        try:
            check_name(self.name)
        except ValueError as error:
            raise NetworkFileError(f"the network's name {error}") from None
        if self.valid_until_ms <= self.genesis_time_ms:
            raise NetworkFileError("valid_until_ms must be later than genesis_time_ms")
        names = [member.name for member in self.members]
        for name in names:
            if names.count(name) > 1:
                raise NetworkFileError(f"two members are called {name!r}; names must differ")
        for member in self.members:
            # Points are decompressed for the configuration only after they were checked here.
            self._check(member, member.check_keys)
        try:
            network = self.network
        except ValueError as error:
            raise NetworkFileError(f"the committee is not valid: {error}") from None
        for member in self.members:
            if member.registration is not None:
                self._check(member, partial(member.check_registration, network))

    @staticmethod
    def _check(member: MemberRecord, check: Callable[[], None]) -> None:
        try:
            check()
        except ValueError as error:
            raise NetworkFileError(f"member {member.name!r}: {error}") from None

    @cached_property
    def network(self) -> bytes:
        """The network id, 32 bytes."""
        return network_id(self.name, self.configuration.hash)

    @cached_property
    def context(self) -> EpochContext:
        """The first epoch, as the consensus sees it."""
        state = genesis_state(self.table, self.genesis_time_ms)
        return EpochContext(
            self.network, 0, self.configuration, state.digest(), self.genesis_time_ms
        )

    def index_of(self, name: str) -> int:
        """Return a member's index; raise `NetworkFileError` for a stranger."""
        return self.index_in(f"of {self.name}", name)


def create(
    name: str,
    members: Sequence[MemberRecord],
    table: FeedTable,
    *,
    genesis_time_ms: int,
    valid_until_ms: int,
    timing: Timing | None = None,
) -> NetworkFile:
    """Return a network of these members, in this order, which none has signed for yet."""
    timing = Timing() if timing is None else timing
    candidates = tuple(replace(member, registration=None) for member in members)
    return NetworkFile(name, genesis_time_ms, valid_until_ms, timing, table, candidates)


def sign(network: NetworkFile, key: BlsKey) -> NetworkFile:
    """Return the network with the signature of the member that has this BLS key."""
    members = network.members_signed(network.network, key, f"of {network.name}")
    return replace(network, members=members)


def merge(copies: Sequence[NetworkFile]) -> NetworkFile:
    """Return one file with the signatures of all; raise `NetworkFileError` if they differ."""
    first = copies[0]
    for copy in copies[1:]:
        if copy.context != first.context or copy.member_names != first.member_names:
            raise NetworkFileError("these files are of different networks; nothing was merged")
    return replace(first, members=united(copies))


def encode(network: NetworkFile) -> bytes:
    """Return the content of a committee file."""
    document = _NetworkDocument(
        name=network.name,
        network="0x" + network.network.hex(),
        genesis="0x" + network.context.genesis_id.hex(),
        epoch=0,
        genesis_time_ms=network.genesis_time_ms,
        **network.written(),
    )
    return encode_document(document)


def decode(content: bytes) -> NetworkFile:
    """Read a committee file and check every proof in it; raise `NetworkFileError`."""
    document, timing, table, members = decode_document(content, _NetworkDocument)
    network = NetworkFile(
        document.name,
        document.genesis_time_ms,
        document.valid_until_ms,
        timing,
        table,
        members,
    )
    ids = ("0x" + network.network.hex(), "0x" + network.context.genesis_id.hex())
    if (document.network, document.genesis) != ids:
        raise NetworkFileError(
            "the ids of network and genesis are not the hashes of what the file says: something "
            "in it was changed; fetch it again from another member"
        )
    return network


def load(path: Path, *, allow_unsigned: bool = False) -> NetworkFile:
    """Return the committee file at `path`; raise `NetworkFileError` with what is wrong.

    With `allow_unsigned`, members may still lack their signature for the network.
    """
    content = read_bounded(path, "committee file", NETWORK_FILE_BYTES_MAX)
    try:
        network = decode(content)
    except NetworkFileError as error:
        raise NetworkFileError(f"the committee file {path} is not valid: {error}") from None
    if network.unsigned and not allow_unsigned:
        raise NetworkFileError(
            f"the committee file {path} lacks the signatures of {', '.join(network.unsigned)}; "
            "each adds its own with `didyma network sign`, `didyma network merge` unites them"
        )
    return network


def save(path: Path, network: NetworkFile, *, replace: bool = False) -> None:
    """Write a committee file; without `replace`, raise `NetworkFileError` if one is there."""
    write_atomically(path, encode(network), replace=replace)

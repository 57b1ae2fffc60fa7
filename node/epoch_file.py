"""The next epoch's configuration as a file: who its members are and what they price.

It is made from the committee in office and from registrations, signed by those who are new with
`sign`, proposed and approved through a running node. Compressed it is the `document` of a change
that a block carries, so whoever has the block has the whole configuration. Members' names are
labels for people; no hash of the configuration covers them, but every approval covers the document.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from aggregation.table import FeedTable
from consensus.committee import EpochContext, Timing
from consensus.messages import DOCUMENT_BYTES_MAX
from consensus.types import MEMBERS_MAX
from node import network_file
from node.config import check_name
from node.configuration_form import (
    ConfigurationForm,
    decode_document,
    encode_document,
    united,
)
from node.errors import NetworkFileError
from node.keys.bls_key import BlsKey
from node.network_file import NETWORK_FILE_BYTES_MAX, NetworkFile
from node.public_file import read_bounded, write_atomically
from node.registration import Hex32, MemberFile, MemberRecord

_Milliseconds = Annotated[int, Meta(ge=0, le=2**63 - 1)]


class _EpochDocument(Struct, frozen=True, forbid_unknown_fields=True):
    """The JSON form. Every number of timing and feeds is written out; nothing is defaulted."""

    name: Annotated[str, Meta(min_length=1, max_length=40)]
    network: Hex32
    epoch: Annotated[int, Meta(ge=1, le=2**53)]
    configuration: Hex32
    valid_until_ms: _Milliseconds
    timing: dict[str, Any]
    feeds: Annotated[tuple[dict[str, Any], ...], Meta(min_length=1, max_length=1 << 12)]
    members: Annotated[tuple[MemberFile, ...], Meta(min_length=1, max_length=MEMBERS_MAX)]


class _OfEpoch(Struct, frozen=True):
    """What tells the files of first and later epochs apart."""

    epoch: int


@dataclass(frozen=True)
class EpochFile(ConfigurationForm):
    """A configuration for an epoch after the first; times are Unix milliseconds.

    Construction checks its form and raises `NetworkFileError`; `check_proofs` checks signatures.
    """

    name: str
    network: bytes
    epoch: int
    valid_until_ms: int
    timing: Timing
    table: FeedTable
    members: tuple[MemberRecord, ...]

    def __post_init__(self) -> None:
        """Check names, and that keys and numbers make a configuration."""
        names = [member.name for member in self.members]
        try:
            for name in (self.name, *names):
                check_name(name)
            if len(set(names)) != len(names):
                raise ValueError("two members have the same name")
            _ = self.configuration
        except ValueError as error:
            raise NetworkFileError(f"the configuration is not valid: {error}") from None

    def index_of(self, name: str) -> int:
        """Return a member's index; raise `NetworkFileError` for a stranger."""
        return self.index_in(f"in epoch {self.epoch}", name)

    def check_proofs(self) -> None:
        """Check every proof of possession and registration; raise `NetworkFileError`.

        Takes some milliseconds for each member.
        """
        for member in self.members:
            try:
                member.check_keys()
                member.check_registration(self.network)
            except ValueError as error:
                raise NetworkFileError(f"member {member.name!r}: {error}") from None

    def check_follows(self, context: EpochContext, table: FeedTable) -> None:
        """Check what a next configuration must keep of the one in office (`context`, `table`).

        Raises `NetworkFileError`. Signatures are not looked at.
        """
        if self.network != context.network:
            raise NetworkFileError(
                f"the configuration is of another network, 0x{self.network.hex()}"
            )
        if self.epoch != context.epoch + 1:
            raise NetworkFileError(
                f"the configuration is of epoch {self.epoch}, the next is {context.epoch + 1}: "
                "make it from the one in office (`didyma committee create --base`)"
            )
        if self.valid_until_ms <= context.configuration.valid_until_ms:
            raise NetworkFileError(
                "its valid_until_ms must be later than that of the one in office: make it with "
                "more --valid-days"
            )
        if self.table.count < table.count:
            raise NetworkFileError("it lacks a feed; feeds are appended and never removed")
        for index, (now, then) in enumerate(zip(table.feeds, self.table.feeds, strict=False)):
            if (now.pair, now.decimals) != (then.pair, then.decimals):
                raise NetworkFileError(
                    f"feed {index} is {now.pair} with {now.decimals} decimals; neither ever changes"
                )


def check_names(file: EpochFile, members: Sequence[MemberRecord]) -> None:
    """Check that the members in office keep their names; raise `NetworkFileError`.

    Nothing that is hashed covers names, but nodes find each other's addresses by them. It is no
    rule of the consensus: names in the first committee file are only labels.
    """
    names = {member.bls_key: member.name for member in members}
    for member in file.members:
        name = names.get(member.bls_key, member.name)
        if name != member.name:
            raise NetworkFileError(
                f"it calls the member {name!r} {member.name!r}; a member in office keeps its name"
            )


def sign(file: EpochFile, key: BlsKey) -> EpochFile:
    """Return the file with the registration of the member that has this BLS key."""
    return replace(file, members=file.members_signed(file.network, key, "in the file"))


def merge(copies: Sequence[EpochFile]) -> EpochFile:
    """Return one file with the signatures of all; raise `NetworkFileError` if they differ."""
    first = copies[0]
    bare = [
        replace(copy, members=tuple(replace(m, registration=None) for m in copy.members))
        for copy in copies
    ]
    if any(copy != bare[0] for copy in bare):
        raise NetworkFileError("these files are of different configurations; nothing was merged")
    return replace(first, members=united(copies))


def encode(file: EpochFile) -> bytes:
    """Return the content of the file."""
    document = _EpochDocument(
        name=file.name,
        network="0x" + file.network.hex(),
        epoch=file.epoch,
        configuration="0x" + file.configuration.hash.hex(),
        **file.written(),
    )
    return encode_document(document)


def decode(content: bytes) -> EpochFile:
    """Read a file's content; raise `NetworkFileError`. No signature is checked."""
    document, timing, table, members = decode_document(content, _EpochDocument)
    file = EpochFile(
        document.name,
        bytes.fromhex(document.network[2:]),
        document.epoch,
        document.valid_until_ms,
        timing,
        table,
        members,
    )
    if document.configuration != "0x" + file.configuration.hash.hex():
        raise NetworkFileError(
            "its configuration is not the hash of what it says: something in it was changed"
        )
    return file


def to_document(file: EpochFile) -> bytes:
    """Return the compressed form that a change carries; raise `NetworkFileError` if too long."""
    document = zlib.compress(msgspec.json.encode(msgspec.json.decode(encode(file))), 9)
    if len(document) > DOCUMENT_BYTES_MAX:
        raise NetworkFileError(
            f"compressed it has {len(document)} bytes; a block takes {DOCUMENT_BYTES_MAX}"
        )
    return document


@lru_cache(maxsize=8)
def from_document(document: bytes) -> EpochFile:
    """Read what `to_document` made; raise `NetworkFileError`. No signature is checked."""
    inflate = zlib.decompressobj()
    try:
        content = inflate.decompress(document, NETWORK_FILE_BYTES_MAX)
    except zlib.error as error:
        raise NetworkFileError(f"not compressed: {error}") from None
    if not inflate.eof or inflate.unused_data:
        raise NetworkFileError("too long, cut off, or followed by something")
    return decode(content)


def load(path: Path) -> EpochFile:
    """Return the file at `path`; raise `NetworkFileError`. No signature is checked."""
    content = read_bounded(path, "configuration of the next epoch", NETWORK_FILE_BYTES_MAX)
    if _epoch_in(content) == 0:
        raise NetworkFileError(
            f"{path} is a committee file, of the first epoch: make the configuration of the next "
            "one from it (`didyma committee create --base`)"
        )
    try:
        return decode(content)
    except NetworkFileError as error:
        raise NetworkFileError(f"{path} is not valid: {error}") from None


def _epoch_in(content: bytes) -> int | None:
    try:
        return msgspec.json.decode(content, type=_OfEpoch).epoch
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def load_base(path: Path) -> EpochFile | NetworkFile:
    """Return the configuration of an epoch: a committee file if it is of the first one.

    Raises `NetworkFileError`.
    """
    epoch = _epoch_in(read_bounded(path, "configuration", NETWORK_FILE_BYTES_MAX))
    if epoch is None:
        raise NetworkFileError(
            f"{path} is neither a committee file nor the configuration of a later epoch"
        )
    return load(path) if epoch else network_file.load(path, allow_unsigned=True)


def save(path: Path, file: EpochFile, *, replace: bool = False) -> None:
    """Write a file; without `replace`, raise `NetworkFileError` if one is there."""
    write_atomically(path, encode(file), replace=replace)

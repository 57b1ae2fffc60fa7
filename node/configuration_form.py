"""What the files of the first and of later epochs have in common: a configuration, written out."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, Protocol, TypeVar

import msgspec

from aggregation.feed import FeedSpec
from aggregation.table import FeedTable
from consensus.committee import Configuration, Member, Timing
from contracts.points import decompress_g1
from node.errors import NetworkFileError
from node.keys.bls_key import BlsKey
from node.registration import MemberFile, MemberRecord


class ConfigurationForm:
    """A configuration as its file says it; times are Unix milliseconds."""

    valid_until_ms: int
    timing: Timing
    table: FeedTable
    members: tuple[MemberRecord, ...]

    @cached_property
    def configuration(self) -> Configuration:
        """What goes into the epoch's D."""
        members = tuple(
            Member(decompress_g1(m.bls_key), m.bls_key, m.ed25519_key, m.operator)
            for m in self.members
        )
        return Configuration(members, self.table.digest(), self.timing, self.valid_until_ms)

    @property
    def member_names(self) -> tuple[str, ...]:
        """The members' names by index."""
        return tuple(member.name for member in self.members)

    @property
    def unsigned(self) -> tuple[str, ...]:
        """The members that have not signed for this network."""
        return tuple(member.name for member in self.members if member.registration is None)

    def index_in(self, where: str, name: str) -> int:
        """Return a member's index; raise `NetworkFileError` for a stranger."""
        if name not in self.member_names:
            raise NetworkFileError(
                f"{name!r} is not a member {where}; its members are " + ", ".join(self.member_names)
            )
        return self.member_names.index(name)

    def members_signed(self, network: bytes, key: BlsKey, where: str) -> tuple[MemberRecord, ...]:
        """Return the members, with the signature for a network of the one that has a key."""
        if key.public_key not in {member.bls_key for member in self.members}:
            raise NetworkFileError(
                f"the BLS key {key.public_key.hex()} belongs to no member {where}"
            )
        return tuple(
            replace(member, registration=key.sign(member.digest(network)))
            if member.bls_key == key.public_key
            else member
            for member in self.members
        )

    def written(self) -> dict[str, Any]:
        """Return what the JSON form of the file has of this."""
        return {
            "valid_until_ms": self.valid_until_ms,
            "timing": msgspec.to_builtins(self.timing),
            "feeds": tuple(msgspec.to_builtins(feed) for feed in self.table.feeds),
            "members": tuple(member.to_file() for member in self.members),
        }


def united(copies: Sequence[ConfigurationForm]) -> tuple[MemberRecord, ...]:
    """Return the members of the first copy, with the signatures that are in any."""
    signed = {m.name: m for copy in copies for m in copy.members if m.registration is not None}
    return tuple(signed.get(m.name, m) for m in copies[0].members)


class _Document(Protocol):
    @property
    def timing(self) -> dict[str, Any]: ...
    @property
    def feeds(self) -> tuple[dict[str, Any], ...]: ...
    @property
    def members(self) -> tuple[MemberFile, ...]: ...


_Kind = TypeVar("_Kind", bound=_Document)


def encode_document(document: msgspec.Struct) -> bytes:
    """Return the content of a file."""
    return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"


def decode_document(
    content: bytes, kind: type[_Kind]
) -> tuple[_Kind, Timing, FeedTable, tuple[MemberRecord, ...]]:
    """Return what a file says; raise `NetworkFileError` for anything else. No proof is checked."""
    try:
        document = msgspec.json.decode(content, type=kind)
        timing = exactly(document.timing, Timing, "timing")
        table = FeedTable(tuple(exactly(f, FeedSpec, "feeds") for f in document.feeds))
        members = tuple(MemberRecord.from_file(member) for member in document.members)
    except (ValueError, RecursionError) as error:
        raise NetworkFileError(f"malformed: {error}") from None
    return document, timing, table, members


def exactly(given: dict[str, Any], kind: type[Any], where: str) -> Any:
    """Return a dataclass from JSON that has all of its fields and no other."""
    built = msgspec.convert(given, kind)
    _compare(given, msgspec.to_builtins(built), where)
    return built


def _compare(given: Any, built: Any, where: str) -> None:
    if isinstance(built, dict) and isinstance(given, dict):
        for key in given.keys() - built.keys():
            raise ValueError(f"{where} has an unknown key {key!r}")
        for key in built:
            if key not in given:
                raise ValueError(f"{where} lacks {key!r}; a committee file writes out every number")
            _compare(given[key], built[key], f"{where}.{key}")
    elif isinstance(built, list | tuple) and isinstance(given, list | tuple):
        for i, (one, other) in enumerate(zip(given, built, strict=True)):
            _compare(one, other, f"{where}[{i}]")


__all__ = ["ConfigurationForm", "decode_document", "encode_document", "exactly", "united"]

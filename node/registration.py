"""How a member enters a committee: one signed JSON file with its name and public keys.

The file is made before the network exists, so it signs for the network id of 32 zero bytes, which
no network has; what signs for the finished network is added by `node.network_file.sign`.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from consensus.committee import registration_digest
from node.addresses import format_address, parse_address
from node.config import check_name
from node.errors import NetworkFileError
from node.keys.bls_key import check_bls_public_key, is_bls_signature, is_proof_of_possession
from node.keys.key_set import KeySet
from node.public_file import read_bounded

REGISTRATION_BYTES_MAX = 1 << 14
NO_NETWORK = bytes(32)

Hex32 = Annotated[str, Meta(pattern=r"\A0x[0-9a-f]{64}\Z")]
Hex48 = Annotated[str, Meta(pattern=r"\A0x[0-9a-f]{96}\Z")]
Hex96 = Annotated[str, Meta(pattern=r"\A0x[0-9a-f]{192}\Z")]
AddressText = Annotated[str, Meta(pattern=r"\A0x[0-9a-fA-F]{40}\Z")]
NameText = Annotated[str, Meta(min_length=1, max_length=40)]


class MemberFile(Struct, frozen=True, forbid_unknown_fields=True):
    """A member in JSON; `registration` is null until it has signed for the network."""

    name: NameText
    bls_key: Hex48
    proof_of_possession: Hex96
    ed25519_key: Hex32
    operator: AddressText
    registration: Hex96 | None = None


@dataclass(frozen=True, slots=True)
class MemberRecord:
    """A member's name, public keys (compressed), proof, operator address and signature."""

    name: str
    bls_key: bytes
    proof_of_possession: bytes
    ed25519_key: bytes
    operator: bytes
    registration: bytes | None

    def check_keys(self) -> None:
        """Raise `ValueError` unless name, keys and proof of possession are right."""
        check_name(self.name)
        point = check_bls_public_key(self.bls_key)
        if not is_proof_of_possession(self.proof_of_possession, point):
            raise ValueError("the proof of possession does not match the BLS key")
        if not any(self.operator):
            raise ValueError("the operator address is zero")

    def check_registration(self, network: bytes) -> None:
        """Raise `ValueError` unless the member's checked BLS key signed for this network."""
        point = check_bls_public_key(self.bls_key)
        if self.registration is None:
            raise ValueError(
                "it has not signed for this network; its operator runs `didyma network sign`, or "
                "`didyma committee sign` to join a later epoch"
            )
        if not is_bls_signature(self.registration, point, self.digest(network)):
            raise ValueError("the registration was not signed by the BLS key for this network")

    def digest(self, network: bytes) -> bytes:
        """Return what the member's BLS key signs to take part in a network."""
        return registration_digest(network, self.operator, self.ed25519_key)

    def to_file(self) -> MemberFile:
        """Return the JSON form."""
        return MemberFile(
            self.name,
            "0x" + self.bls_key.hex(),
            "0x" + self.proof_of_possession.hex(),
            "0x" + self.ed25519_key.hex(),
            format_address(self.operator),
            None if self.registration is None else "0x" + self.registration.hex(),
        )

    @classmethod
    def from_file(cls, file: MemberFile) -> "MemberRecord":
        """Read the JSON form, unchecked but for widths; raise `ValueError`."""
        registration = file.registration
        return cls(
            file.name,
            bytes.fromhex(file.bls_key[2:]),
            bytes.fromhex(file.proof_of_possession[2:]),
            bytes.fromhex(file.ed25519_key[2:]),
            parse_address(file.operator),
            None if registration is None else bytes.fromhex(registration[2:]),
        )


def register(name: str, keys: KeySet) -> MemberRecord:
    """Return a member's registration, signed for no network yet; raise `NetworkFileError`."""
    if keys.bls is None or keys.account is None:
        raise NetworkFileError("a member needs a BLS key and an account; see `didyma keys new`")
    unsigned = MemberRecord(
        name,
        keys.bls.public_key,
        keys.bls.proof_of_possession(),
        keys.identity.public_key,
        keys.account.address,
        None,
    )
    signature = keys.bls.sign(unsigned.digest(NO_NETWORK))
    record = msgspec.structs.replace(unsigned.to_file(), registration="0x" + signature.hex())
    return _checked(MemberRecord.from_file(record), "the registration")


def encode_registration(record: MemberRecord) -> bytes:
    """Return the content of a registration file."""
    return msgspec.json.format(msgspec.json.encode(record.to_file()), indent=2) + b"\n"


def load_registration(path: Path) -> MemberRecord:
    """Return a registration whose proof and signature hold; raise `NetworkFileError`."""
    content = read_bounded(path, "registration", REGISTRATION_BYTES_MAX)
    try:
        record = MemberRecord.from_file(msgspec.json.decode(content, type=MemberFile))
    except (ValueError, RecursionError) as error:
        raise NetworkFileError(f"the registration {path} is malformed: {error}") from None
    return _checked(record, f"the registration {path}")


def _checked(record: MemberRecord, what: str) -> MemberRecord:
    try:
        record.check_keys()
        record.check_registration(NO_NETWORK)
    except ValueError as error:
        raise NetworkFileError(f"{what} of {record.name!r} is not valid: {error}") from None
    return record

"""The members of one epoch, their quorum and their order of leading."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from struct import pack

from consensus.digests import (
    TAG_CONFIGURATION,
    TAG_KEY_LIST,
    TAG_LEADER_ORDER,
    TAG_NETWORK,
    TAG_REGISTRATION,
    TAG_TIMING,
    domain_digest,
    genesis_id,
    keccak,
)
from consensus.messages import QC, Header
from consensus.types import BITMAP_BYTES, MEMBERS_MAX, Digest


@dataclass(frozen=True, slots=True)
class Member:
    """A node of the committee.

    `bls_key` is the key in the layout of EIP-2537 (128 bytes: x and y, each padded to 64), so
    that a contract can open the hash of the key list; `bls_key_compressed` is the same key in the
    48 bytes of the wire. The shell proves that the two agree before it builds a configuration.
    """

    bls_key: bytes
    bls_key_compressed: bytes
    ed25519_key: bytes
    operator: bytes

    def __post_init__(self) -> None:
        """Check widths; raise `ValueError`."""
        widths = (
            ("bls_key", self.bls_key, 128),
            ("bls_key_compressed", self.bls_key_compressed, 48),
            ("ed25519_key", self.ed25519_key, 32),
            ("operator", self.operator, 20),
        )
        for name, value, width in widths:
            if len(value) != width:
                raise ValueError(f"{name} must be {width} bytes, is {len(value)}")


@dataclass(frozen=True, slots=True)
class Timing:
    """The timing parameters of an epoch, in milliseconds."""

    round_interval_ms: int = 250
    base_timeout_ms: int = 1000
    grace_ms: int = 50
    max_lag_ms: int = 2000
    max_skew_ms: int = 500
    carry_ms: int = 3000

    def __post_init__(self) -> None:
        """Check ranges; raise `ValueError`."""
        for name in self.__slots__:
            value = getattr(self, name)
            if not 0 <= value <= 3_600_000:
                raise ValueError(f"{name} must be from 0 to 3600000 ms, is {value}")
        if self.base_timeout_ms < 10:
            raise ValueError("base_timeout_ms must be at least 10")
        if self.round_interval_ms >= self.base_timeout_ms:
            raise ValueError(
                "round_interval_ms must be less than base_timeout_ms, else every view times out "
                "while its observations wait"
            )

    def digest(self) -> Digest:
        """Return the hash of the six numbers."""
        numbers = (
            self.round_interval_ms,
            self.base_timeout_ms,
            self.grace_ms,
            self.max_lag_ms,
            self.max_skew_ms,
            self.carry_ms,
        )
        return keccak(TAG_TIMING + pack(">6Q", *numbers))


def quorum(n: int) -> int:
    """Return the votes that certify: any two such sets share an honest member."""
    return (n + faulty_max(n)) // 2 + 1


def faulty_max(n: int) -> int:
    """Return f, the number of Byzantine members that n tolerate."""
    return (n - 1) // 3


def bitmap_of(signers: Sequence[int]) -> bytes:
    """Return the bitmap with these members' bits set."""
    bits = 0
    for signer in signers:
        bits |= 1 << signer
    return bits.to_bytes(BITMAP_BYTES, "big")


@lru_cache(maxsize=1024)
def signers_of(bitmap: bytes) -> tuple[int, ...]:
    """Return the members whose bits are set, ascending."""
    bits = int.from_bytes(bitmap, "big")
    return tuple(i for i in range(bits.bit_length()) if bits >> i & 1)


@dataclass(frozen=True)
class Configuration:
    """Everything that the members of one epoch agree on beforehand.

    `valid_until_ms` (Unix ms) is when contracts stop taking this epoch's reports.
    """

    members: tuple[Member, ...]
    feed_table_digest: bytes
    timing: Timing
    valid_until_ms: int

    def __post_init__(self) -> None:
        """Refuse duplicate keys and impossible sizes; raise `ValueError`."""
        if not 1 <= len(self.members) <= MEMBERS_MAX:
            raise ValueError(f"a committee has 1 to {MEMBERS_MAX} members, not {len(self.members)}")
        for what in ("bls_key", "ed25519_key", "operator"):
            if len({getattr(member, what) for member in self.members}) != len(self.members):
                raise ValueError(f"two members have the same {what}")
        if len(self.feed_table_digest) != 32:
            raise ValueError("feed_table_digest must be 32 bytes")

    @cached_property
    def hash(self) -> Digest:
        """The configuration hash: a contract can open it part by part."""
        keys = b"".join(
            member.bls_key + member.ed25519_key + bytes(12) + member.operator
            for member in self.members
        )
        key_list_digest = keccak(TAG_KEY_LIST + pack(">H", len(self.members)) + keys)
        return keccak(
            TAG_CONFIGURATION
            + key_list_digest
            + self.feed_table_digest
            + self.timing.digest()
            + pack(">Q", self.valid_until_ms)
        )


def network_id(name: str, genesis_configuration_hash: bytes) -> Digest:
    """Return the identity of a network: its name and its genesis configuration."""
    return keccak(TAG_NETWORK + keccak(name.encode()) + genesis_configuration_hash)


def registration_digest(network: bytes, operator: bytes, ed25519_key: bytes) -> Digest:
    """Return what a member's BLS key signs so that nobody registers it as theirs."""
    assert len(network) == 32
    assert len(operator) == 20
    assert len(ed25519_key) == 32
    return keccak(TAG_REGISTRATION + network + bytes(12) + operator + ed25519_key)


@dataclass(frozen=True)
class EpochContext:
    """One epoch as the core sees it: committee, domain, genesis and order of leaders."""

    network: bytes
    epoch: int
    configuration: Configuration
    genesis_state_digest: bytes
    genesis_time_ms: int
    deciding_id: bytes = bytes(32)
    """The block that decided this epoch; zero for a network's first."""

    @cached_property
    def n(self) -> int:
        """The number of members."""
        return len(self.configuration.members)

    @cached_property
    def f(self) -> int:
        """The number of Byzantine members tolerated."""
        return faulty_max(self.n)

    @cached_property
    def q(self) -> int:
        """The number of votes that certify."""
        return quorum(self.n)

    @cached_property
    def domain(self) -> Digest:
        """D, which is inside everything signed in this epoch."""
        return domain_digest(self.network, self.epoch, self.configuration.hash)

    @cached_property
    def genesis_id(self) -> Digest:
        """The id of the genesis block."""
        return genesis_id(self.domain, self.deciding_id, self.genesis_state_digest)

    @cached_property
    def genesis_qc(self) -> QC:
        """The certificate of view 0, known to everyone and taken by equality only.

        Its link shows the genesis id, so that different genesis blocks differ here too.
        """
        header = Header(0, self.genesis_time_ms, bytes(32), self.genesis_id)
        return QC(header, bytes(BITMAP_BYTES), bytes(96))

    @cached_property
    def leader_order(self) -> tuple[int, ...]:
        """A permutation of the members fixed by the configuration hash (Fisher-Yates)."""
        order = list(range(self.n))
        for i in range(self.n - 1, 0, -1):
            draw = keccak(TAG_LEADER_ORDER + self.configuration.hash + pack(">H", i))
            # The bias of a 256-bit draw modulo at most 128 is far below 2**-200.
            j = int.from_bytes(draw, "big") % (i + 1)
            order[i], order[j] = order[j], order[i]
        return tuple(order)

    def leader(self, view: int) -> int:
        """Return the member that leads a view."""
        return self.leader_order[view % self.n]

    def id_of(self, qc: QC) -> Digest:
        """Return the id of the block that a certificate certifies."""
        header = qc.header
        if header.view == 0 and qc == self.genesis_qc:
            return self.genesis_id
        return header.id(self.domain)

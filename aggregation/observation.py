"""What a member signs: its price, confidence and risk level of every feed at one time."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from struct import Struct
from typing import NamedTuple

from aggregation.digests import TAG_OBSERVATION, TAG_PAYLOAD, keccak
from aggregation.price import TIME_MAX_MS, UINT64_MAX

FEEDS_MAX = 3854
"""As many entries fit the 64 KiB that an observation's body may have on the wire."""

RISK_MAX = 255

_HEAD = Struct(">QH")
_ENTRY = Struct(">QQB")
_BINDING = Struct(">QH")
_PAYLOAD_HEAD = Struct(">QH")


class Entry(NamedTuple):
    """What a member says of one feed; price 0 means that it lacks the feed.

    Price and confidence are integers scaled by the feed's decimals. A tuple and no dataclass,
    because a proposal holds members x feeds of them.
    """

    price: int
    confidence: int
    risk: int


LACKING = Entry(0, 0, 0)


def body_bytes(feeds: int) -> int:
    """Return the length of an observation's body for so many feeds."""
    return _HEAD.size + feeds * _ENTRY.size


@dataclass(frozen=True, slots=True)
class ObservationBody:
    """An observation without its member and view; `observed_at_ms` is Unix time."""

    observed_at_ms: int
    entries: tuple[Entry, ...]

    def encode(self) -> bytes:
        """Return observed_at_ms u64 | count u16 | count x (price u64 | confidence u64 | risk u8).

        Raises `ValueError` for what `decode` would refuse.
        """
        self._check()
        pack = _ENTRY.pack
        head = _HEAD.pack(self.observed_at_ms, len(self.entries))
        return head + b"".join([pack(*entry) for entry in self.entries])

    @staticmethod
    def decode(body: bytes) -> "ObservationBody":
        """Return what `encode` packed; raises `ValueError` for anything else."""
        if len(body) < _HEAD.size:
            raise ValueError(f"an observation has at least {_HEAD.size} bytes, not {len(body)}")
        observed_at_ms, count = _HEAD.unpack_from(body)
        if len(body) != _HEAD.size + count * _ENTRY.size:
            raise ValueError(f"an observation of {count} feeds cannot have {len(body)} bytes")
        entries = tuple(map(Entry._make, _ENTRY.iter_unpack(body[_HEAD.size :])))
        observation = ObservationBody(observed_at_ms, entries)
        observation._check()
        return observation

    def _check(self) -> None:
        if not 0 <= self.observed_at_ms <= TIME_MAX_MS:
            raise ValueError("observed_at_ms is out of range")
        if not 1 <= len(self.entries) <= FEEDS_MAX:
            raise ValueError(f"an observation has 1 to {FEEDS_MAX} feeds, not {len(self.entries)}")
        for index, (price, confidence, risk) in enumerate(self.entries):
            if not (
                0 <= price <= UINT64_MAX and 0 <= confidence <= UINT64_MAX and 0 <= risk <= RISK_MAX
            ):
                raise ValueError(f"feed {index}: a number is out of range")
            if price == 0 and confidence != 0:
                raise ValueError(f"feed {index}: a lacking price has confidence 0")


@dataclass(frozen=True, slots=True)
class Observation:
    """One member's observation, as `advance` takes it."""

    member: int
    observed_at_ms: int
    entries: tuple[Entry, ...]


def observation_digest(domain: bytes, view: int, member: int, body: ObservationBody) -> bytes:
    """Return the digest that the member's Ed25519 key signs; it binds domain, view and member."""
    if len(domain) != 32:
        raise ValueError(f"a domain has 32 bytes, not {len(domain)}")
    return keccak(TAG_OBSERVATION + domain + _BINDING.pack(view, member) + body.encode())


def payload_digest(view: int, signed: Sequence[tuple[int, bytes, bytes]]) -> bytes:
    """Return the digest of a block's observations: (member, observation digest, signature) each.

    Raises `ValueError` unless the members ascend strictly: one set of observations has one digest.
    """
    members = [member for member, _, _ in signed]
    if any(left >= right for left, right in pairwise(members)):
        raise ValueError("the observations of a payload ascend by member, one each")
    if any(len(digest) != 32 or len(signature) != 64 for _, digest, signature in signed):
        raise ValueError("an observation has a digest of 32 and a signature of 64 bytes")
    head = _PAYLOAD_HEAD.pack(view, len(signed))
    parts = [digest + signature for _, digest, signature in signed]
    return keccak(TAG_PAYLOAD + head + b"".join(parts))

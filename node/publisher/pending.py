"""The one transaction of ours that a chain has not decided yet."""

from dataclasses import dataclass, replace
from typing import Final, Self

from node.publisher.account import Signed
from node.publisher.call import Call
from node.publisher.fees import Fees

VERSIONS_KEPT: Final = 8


@dataclass(frozen=True, slots=True)
class Pending:
    """What stands at one nonce: all versions' hashes (any of them may be mined), newest last.

    `sent_at` and `since` are monotonic seconds, of the newest version and of the first.
    `accepted` is false until a server has taken the newest version.
    """

    nonce: int
    fees: Fees
    call: Call
    raw: bytes
    hashes: tuple[bytes, ...]
    sent_at: float
    since: float
    since_ms: int
    accepted: bool = False
    looks_since_used: int = 0

    def superseded_by(self, signed: Signed, fees: Fees, call: Call, now: float) -> Self:
        """Return the same nonce with a new version."""
        return replace(
            self,
            fees=fees,
            call=call,
            raw=signed.raw,
            hashes=(*self.hashes, signed.hash)[-VERSIONS_KEPT:],
            sent_at=now,
            accepted=False,
        )

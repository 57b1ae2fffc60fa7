"""What a member must never forget, and the form in which it is kept."""

from __future__ import annotations

import msgspec
from msgspec import Struct

from consensus.messages import QC, TC, Header
from consensus.types import WireDigest, WireView


class SafetyState(Struct, frozen=True, forbid_unknown_fields=True):
    """The durable state of one member in one epoch, keyed by the epoch's domain D.

    `last_timeout` is (view, high-QC view) of the one timeout signed last. After `closed` the member
    never votes, times out, proposes or observes under this domain again; `closing_qc` is what made
    the deciding block final, for members that have not seen it.
    """

    domain: WireDigest
    last_voted_view: WireView
    last_vote: Header | None
    last_timeout: tuple[WireView, WireView] | None
    last_proposed_view: WireView
    high_qc: QC
    high_tc: TC | None
    closed: bool = False
    closing_qc: QC | None = None

    def encode(self) -> bytes:
        """Return the stored form."""
        return msgspec.msgpack.encode(self)

    @staticmethod
    def decode(stored: bytes) -> SafetyState:
        """Return the state in a stored form; raise `ValueError` if it is damaged."""
        try:
            return msgspec.msgpack.decode(stored, type=SafetyState)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ValueError(f"damaged safety state: {error}") from None

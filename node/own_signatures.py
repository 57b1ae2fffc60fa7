"""Whether somebody else signs with this member's keys: a copy of it on another machine, or a thief.

All that this process signs is noted, and what it signed before is in its safety state. So a genuine
signature of its own keys that is neither was made elsewhere. What was signed before a crash is no
alarm: votes, timeouts and proposals were durable before they were signed, and observations bear
the time at which they were made.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Final, Generic, Literal, TypeVar

import msgspec

from consensus import messages as wire
from consensus.committee import EpochContext
from consensus.messages import QC, TC, Observed
from consensus.safety import SafetyState
from node.payload import decode_body, decode_content, digest_of

VIEWS_KEPT: Final = 4_096
"""So many views of each kind are remembered; what is older is not judged."""

_Signed = TypeVar("_Signed", bytes, int)

Kind = Literal["vote", "timeout", "proposal", "observation"]


@dataclass(frozen=True, slots=True)
class Foreign:
    """A genuine signature of our own key that was made elsewhere.

    `came` and `own` are what was signed there and here, as text; `proof` the encoded certificate or
    observation with the signature in it.
    """

    kind: Kind
    view: int
    came: str
    own: str | None
    proof: bytes

    def __str__(self) -> str:
        here = "nothing" if self.own is None else self.own
        return f"{self.came} as {self.kind} of view {self.view}, for which {here} was signed here"


class _Book(Generic[_Signed]):
    """What was signed in each view since `floor`, of which all is known."""

    def __init__(self, floor: int) -> None:
        self.floor = floor
        self._signed: dict[int, list[_Signed]] = {}

    def note(self, view: int, signed: _Signed) -> None:
        of_view = self._signed.setdefault(view, [])
        if signed not in of_view:
            of_view.append(signed)
        if len(self._signed) > 2 * VIEWS_KEPT:
            for old in sorted(self._signed)[:VIEWS_KEPT]:
                del self._signed[old]
            self.floor = max(self.floor, min(self._signed))

    def is_foreign(self, view: int, signed: _Signed) -> bool:
        return view >= self.floor and signed not in self._signed.get(view, ())

    def of(self, view: int) -> _Signed | None:
        of_view = self._signed.get(view)
        return of_view[-1] if of_view else None


class OwnSignatures:
    """What one member signed in one epoch, and what comes in its name."""

    def __init__(
        self,
        context: EpochContext,
        me: int,
        safety: SafetyState,
        *,
        since_ms: int,
        observed: Collection[bytes] = (),
    ) -> None:
        """Take the safety state that the process began with, and when that was (Unix ms).

        `observed` are the digests of observations that are known from before.
        """
        self._context = context
        self._me = me
        self._since_ms = since_ms
        self._observed_before = frozenset(observed)
        vote, timeout = safety.last_vote, safety.last_timeout
        # Between the last vote and the last voted view there were timeouts, and no other vote.
        self._votes = _Book[bytes](0 if vote is None else vote.view)
        if vote is not None:
            self._votes.note(vote.view, vote.id(context.domain))
        self._timeouts = _Book[int](0 if timeout is None else timeout[0])
        if timeout is not None:
            self._timeouts.note(*timeout)
        # Which block was proposed last before is not remembered.
        self._proposals = _Book[bytes](safety.last_proposed_view + 1)
        self._observations = _Book[bytes](0)

    # What this process signs; noted before it leaves.

    def vote(self, view: int, block_id: bytes) -> None:
        """Note a vote."""
        self._votes.note(view, block_id)

    def timeout(self, view: int, high_qc_view: int) -> None:
        """Note a timeout."""
        self._timeouts.note(view, high_qc_view)

    def proposal(self, view: int, block_id: bytes) -> None:
        """Note a proposal."""
        self._proposals.note(view, block_id)

    def observation(self, view: int, digest: bytes) -> None:
        """Note an observation."""
        self._observations.note(view, digest)

    # What comes from others, after its signatures were checked.

    def foreign_in(self, message: wire.Message) -> Foreign | None:
        """Return a signature in a checked message that our key made and this process did not."""
        return next(self._foreign_in(message), None)

    def _foreign_in(self, message: wire.Message) -> Iterator[Foreign]:
        match message:
            case wire.Proposal(block=block, tc=tc):
                yield from self._in_qc(block.justify)
                yield from self._in_tc(tc)
                for observed in decode_content(block.payload).observations:
                    if observed.member == self._me:
                        yield from self._in_observation(observed)
            case wire.Timeout(qc=qc, tc=tc) | wire.Certificate(qc=qc, tc=tc):
                yield from self._in_qc(qc)
                yield from self._in_tc(tc)
            case wire.BlockResponse(blocks=blocks):
                for block in blocks:
                    yield from self._in_qc(block.justify)
            case wire.CheckpointResponse(block=block, qc=qc):
                yield from self._in_qc(qc)
                yield from self._in_qc(block.justify)
            case wire.Testimony(records=records):
                for record in records:
                    if record.qc is not None:
                        yield from self._in_qc(record.qc)
                    yield from self._in_tc(record.tc)
            case _:
                return

    def _has_signed(self, bitmap: bytes) -> bool:
        return bool(int.from_bytes(bitmap, "big") >> self._me & 1)

    def _in_qc(self, qc: QC) -> Iterator[Foreign]:
        view = qc.view
        if view == 0:
            return
        block_id = qc.header.id(self._context.domain)
        proof = msgspec.msgpack.encode(qc)
        if self._has_signed(qc.bitmap) and self._votes.is_foreign(view, block_id):
            yield Foreign("vote", view, _hex(block_id), _hex_of(self._votes.of(view)), proof)
        # Whoever voted had the leader's signature; f members alone make no certificate.
        if self._context.leader(view) == self._me and self._proposals.is_foreign(view, block_id):
            yield Foreign(
                "proposal", view, _hex(block_id), _hex_of(self._proposals.of(view)), proof
            )

    def _in_tc(self, tc: TC | None) -> Iterator[Foreign]:
        if tc is None:
            return
        yield from self._in_qc(tc.high_qc)
        for group in tc.groups:
            high = group.high_qc_view
            if self._has_signed(group.bitmap) and self._timeouts.is_foreign(tc.view, high):
                own = self._timeouts.of(tc.view)
                yield Foreign(
                    "timeout",
                    tc.view,
                    f"high-QC view {high}",
                    None if own is None else f"high-QC view {own}",
                    msgspec.msgpack.encode(tc),
                )

    def _in_observation(self, observed: Observed) -> Iterator[Foreign]:
        digest = digest_of(self._context.domain, observed)
        if digest in self._observed_before:
            return
        # An observation is not made durable before it is signed: one from before a power cut may
        # be known to the others alone.
        if decode_body(observed.body).observed_at_ms < self._since_ms:
            return
        if self._observations.is_foreign(observed.view, digest):
            own = self._observations.of(observed.view)
            proof = msgspec.msgpack.encode(observed)
            yield Foreign("observation", observed.view, _hex(digest), _hex_of(own), proof)


def _hex(content: bytes) -> str:
    return "0x" + content.hex()


def _hex_of(content: bytes | None) -> str | None:
    return None if content is None else _hex(content)

"""Signs what its member has no right to sign, and aggregates what others signed.

What is signed here goes to the journal first, as everything does that a node signs, so that an
auditor sees each offence; but for shares that only ever leave inside an aggregate.
"""

from consensus.committee import EpochContext
from consensus.digests import timeout_digest
from consensus.messages import (
    TC,
    Block,
    Header,
    Message,
    Observed,
    Proposal,
    Timeout,
    Vote,
)
from node.edges import Seat
from node.payload import digest_of
from node.signer import Signer
from testnet.aggregates import Aggregates


class Forger(Aggregates):
    """One member's keys, and every share it has seen."""

    def __init__(self, seat: Seat) -> None:
        bls = seat.keys.bls
        assert bls is not None
        super().__init__(seat.epoch.context.domain)
        self._me = seat.me
        self._bls = bls
        self._identity = seat.keys.identity
        self._signer = Signer(self._domain, bls, self._identity)
        self._journal = seat.journal
        self._shares: dict[tuple[int, bytes], bytes] = {}
        self._views: dict[tuple[int, bytes], int] = {}
        self._journaled: set[tuple[str, int, object]] = set()

    # What it signs.

    def vote(self, header: Header) -> Vote:
        """Return this member's vote for a header."""
        block_id = header.id(self._domain)
        share = self._signer.vote(block_id)
        if self._is_new("vote", header.view, block_id):
            self._journal.signed_vote(self._domain, header, block_id, share)
        return Vote(header, share)

    def timeout(self, timeout: Timeout, high_qc_view: int) -> Timeout:
        """Return this member's timeout of the same view with another report."""
        view = timeout.view
        share = self._signer.timeout(view, high_qc_view)
        if self._is_new("timeout", view, high_qc_view):
            self._journal.signed_timeout(self._domain, view, high_qc_view, share)
        return Timeout(view, high_qc_view, share, timeout.qc, timeout.tc)

    def proposal(self, block: Block, tc: TC | None) -> Proposal:
        """Return this member's proposal of a block."""
        block_id = block.header.id(self._domain)
        signature = self._signer.proposal(block_id)
        vote = self.vote(block.header)
        if self._is_new("proposal", block.view, block_id):
            self._journal.signed_proposal(self._domain, block.view, block_id, signature)
        return Proposal(block, tc, vote.share, signature)

    def observed(self, view: int, body: bytes) -> Observed:
        """Return this member's observation."""
        unsigned = Observed(view, self._me, body, bytes(64))
        digest = digest_of(self._domain, unsigned)
        signature = self._signer.observation(digest)
        if self._is_new("observation", view, digest):
            self._journal.signed_observation(self._domain, view, digest, body, signature)
        return Observed(view, self._me, body, signature)

    def elsewhere(self, context: EpochContext) -> Signer:
        """Return a signer for another network or epoch; nothing of it belongs in this journal."""
        return Signer(context.domain, self._bls, self._identity)

    def _is_new(self, kind: str, view: int, what: object) -> bool:
        key = (kind, view, what)
        known = key in self._journaled
        self._journaled.add(key)
        return not known

    # What it knows that others signed.

    def note(self, sender: int, message: Message) -> None:
        """Keep the share in a message."""
        match message:
            case Vote(header=header, share=share):
                self._keep(sender, header.id(self._domain), header.view, share)
            case Proposal(block=block, vote=share):
                self._keep(sender, block.header.id(self._domain), block.view, share)
            case Timeout(view=view, high_qc_view=high, share=share):
                self._keep(sender, timeout_digest(self._domain, view, high), view, share)
            case _:
                pass

    def _keep(self, sender: int, digest: bytes, view: int, share: bytes) -> None:
        self._shares[sender, digest] = share
        self._views[sender, digest] = view

    def forget_below(self, view: int) -> None:
        """Forget what is of older views."""
        for key in [key for key, of in self._views.items() if of < view]:
            del self._views[key], self._shares[key]
        self._journaled = {key for key in self._journaled if key[1] >= view}

    def known_share(self, member: int, digest: bytes) -> bytes | None:
        """Return an own share, or one that was seen."""
        if member == self._me:
            return self._bls.sign(digest)
        return self._shares.get((member, digest))

"""What one member has seen signed, and the offences in it.

Certificates count as they come, in whatever message and however old: the shell verified them.
Single shares of votes and timeouts it did not verify, but their senders are known from the channel:
an accusation that rests on one names its sender, who is to blame if it does not verify.

Kept are, of the newest `VIEWS_MAX` views that were certified or left: one QC of each view, with
what its header's link covers once the block was here, and that TC of each view whose highest report
is lowest, since it is with the lowest that a fork is justified. Of each member the last
`SHARES_MAX` votes and timeouts of its own are kept. Whichever half of an offence comes last finds
it. The bounds go by count, so nobody makes room with views far ahead.
"""

from bisect import bisect_left, bisect_right, insort
from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from consensus.collectors import TimeoutCollector, VoteCollector
from consensus.committee import EpochContext, signers_of
from consensus.effects import Accusation, Effect, KeepWitnessed
from consensus.evidence import (
    Evidence,
    HiddenCertificate,
    SignedTimeout,
    SignedVote,
    accused_by,
    kind_of,
    single_timeout,
    single_vote,
    timeout_of,
    two_timeouts,
    two_votes,
    vote_of,
)
from consensus.messages import QC, TC, TESTIMONY_MAX, Header, Link, Testimony, Witnessed

VIEWS_MAX = 16_384
"""More than an hour at four views a second: a fork whose halves meet within it is proven."""

SEEN_MAX = 1024
"""TCs that were looked at, so that each is looked at once; members send them again and again."""

CERTIFICATES_TRIED_MAX = 16
"""With so many of the certificates that a member is in a timeout of its is compared, the newest.
What a fork needs is among them, and a timeout costs its receiver the same however old it is."""

LINKS_MAX = 256
"""Blocks without a certificate whose links are remembered."""

SHARES_MAX = 4
ACCUSATIONS_MAX = 4
"""So often a member is accused of one kind of offence in one view: a bad share must not hide a
good one, and a flood must not make a flood of evidence."""

ACCUSED_MAX = 8192
"""So many (kind, member, view) are remembered to have been told."""


@dataclass(slots=True)
class _Certified:
    """The QC of a view; without a link its parent is unknown and `parent_view` -1."""

    qc: QC
    block_id: bytes
    bits: int
    link: Link | None = None
    parent_view: int = -1


@dataclass(slots=True)
class _Left:
    """The TC of a view, its groups as (high-QC view, bits)."""

    tc: TC
    groups: tuple[tuple[int, int], ...]


@dataclass(slots=True)
class _Own:
    """What one member sent by itself, newest last: (view, parent's view, …), (view, report, …)."""

    votes: deque[tuple[int, int, Header, bytes, Link]] = field(
        default_factory=lambda: deque(maxlen=SHARES_MAX)
    )
    timeouts: deque[tuple[int, int, bytes]] = field(
        default_factory=lambda: deque(maxlen=SHARES_MAX)
    )


class Witness:
    """One member's knowledge of signatures in one epoch; every method returns what it proves."""

    def __init__(
        self, context: EpochContext, votes: VoteCollector, timeouts: TimeoutCollector
    ) -> None:
        """Take the collectors too: their slots hold the newest single shares."""
        self._context = context
        self._votes = votes
        self._timeouts = timeouts
        self._certified: dict[int, _Certified] = {}
        self._certified_views: list[int] = []
        self._certified_of: list[list[int]] = [[] for _ in range(context.n)]
        """The views of the certificates that each member is in."""
        self._left: dict[int, _Left] = {}
        self._left_views: list[int] = []
        self._seen: set[bytes] = set()
        self._links: OrderedDict[bytes, Link] = OrderedDict()
        self._own = [_Own() for _ in range(context.n)]
        self._timed_out = 0
        """The highest view that a member said it left, by a share of its own."""
        self._accused: OrderedDict[tuple[str, int, int, bool], int] = OrderedDict()

    # What is seen.

    def qc(self, qc: QC) -> Iterable[Effect]:
        """Look at a verified QC."""
        known = self._certified.get(qc.header.view)
        if known is not None:
            if known.qc is qc or known.qc.header == qc.header:
                return ()
            return self._contradicting(known, qc)
        if qc.header.view == 0:
            return ()
        return self._new_qc(qc)

    def _contradicting(self, known: _Certified, qc: QC) -> list[Effect]:
        found: list[Effect] = []
        self._two_votes(vote_of(known.qc), vote_of(qc), None, found)
        link = self._links.get(qc.header.id(self._context.domain))
        if link is not None:
            self._vote_against_timeouts(vote_of(qc), link, None, found)
        return found

    def _new_qc(self, qc: QC) -> list[Effect]:
        found: list[Effect] = []
        block_id = qc.header.id(self._context.domain)
        bits = int.from_bytes(qc.bitmap, "big")
        certified = _Certified(qc, block_id, bits)
        for signer, slot in self._votes.slots(qc.view):
            if slot.block_id != block_id and bits >> signer & 1:
                vote = single_vote(signer, slot.header, slot.share)
                self._two_votes(vote, vote_of(qc), signer, found)
        self._certified[qc.view] = certified
        _add_view(self._certified_views, qc.view)
        for signer in signers_of(qc.bitmap):
            _add_view(self._certified_of[signer], qc.view)
        link = self._links.pop(block_id, None)
        if link is not None:
            self._open(certified, link, found)
        while len(self._certified_views) > VIEWS_MAX:
            oldest = self._certified_views.pop(0)
            for signer in signers_of(self._certified.pop(oldest).qc.bitmap):
                self._certified_of[signer].remove(oldest)
        return found

    def _open(self, certified: _Certified, link: Link, found: list[Effect]) -> None:
        certified.link, certified.parent_view = link, link.parent_view
        found.append(KeepWitnessed(Witnessed(certified.qc, link, None)))
        view = certified.qc.header.view
        if self._timed_out >= view or (self._left_views and self._left_views[-1] >= view):
            self._vote_against_timeouts(vote_of(certified.qc), link, None, found)

    def block(self, block_id: bytes, header: Header, link: Link) -> list[Effect]:
        """Learn what a block's link covers; it was checked to."""
        found: list[Effect] = []
        certified = self._certified.get(header.view)
        if certified is not None and certified.block_id == block_id:
            if certified.link is None:
                self._open(certified, link, found)
        else:
            self._links[block_id] = link
            if len(self._links) > LINKS_MAX:
                self._links.popitem(last=False)
        for signer, slot in self._votes.slots(header.view):
            if slot.block_id == block_id and not slot.bad:
                self._note_vote(signer, header, link, slot.share, found)
        return found

    def vote(
        self, signer: int, header: Header, block_id: bytes, share: bytes, *, timely: bool
    ) -> list[Effect]:
        """Look at a member's own vote, whose share is not verified; keep it if it is timely."""
        found: list[Effect] = []
        certified = self._certified.get(header.view)
        link = None
        if certified is None:
            link = self._links.get(block_id)
        elif certified.block_id == block_id:
            link = certified.link
        elif certified.bits >> signer & 1:
            vote = single_vote(signer, header, share)
            self._two_votes(vote, vote_of(certified.qc), signer, found)
        if link is not None and timely:
            self._note_vote(signer, header, link, share, found)
        return found

    def _note_vote(
        self, signer: int, header: Header, link: Link, share: bytes, found: list[Effect]
    ) -> None:
        votes = self._own[signer].votes
        view = header.view
        if votes and votes[-1][0] >= view:
            return
        votes.append((view, link.parent_view, header, share, link))
        if self._timed_out >= view or (self._left_views and self._left_views[-1] >= view):
            vote = single_vote(signer, header, share)
            self._vote_against_timeouts(vote, link, signer, found)

    def tc(self, tc: TC) -> Iterable[Effect]:
        """Look at a verified TC; its QC is looked at by itself."""
        # It verified, so no other claims have the same aggregate.
        if tc.aggregate in self._seen:
            return ()
        if len(self._seen) >= SEEN_MAX:
            self._seen.clear()
        self._seen.add(tc.aggregate)
        known = self._left.get(tc.view)
        found: list[Effect] = []
        groups = tuple((g.high_qc_view, int.from_bytes(g.bitmap, "big")) for g in tc.groups)
        timeout = timeout_of(tc)
        if known is not None:
            self._two_timeouts(timeout_of(known.tc), timeout, None, found)
        for signer, slot in self._timeouts.slots(tc.view):
            if any(bits >> signer & 1 and high != slot.high_qc_view for high, bits in groups):
                own = single_timeout(signer, tc.view, slot.high_qc_view, slot.share)
                self._two_timeouts(own, timeout, signer, found)
        for high, bits in groups:
            self._report_against_certificates(timeout, high, bits, None, found)
            for member, own_votes in enumerate(self._own):
                if bits >> member & 1:
                    self._report_against_votes(timeout, high, member, own_votes, found)
        if known is None:
            _add_view(self._left_views, tc.view)
        if known is None or groups[-1][0] < known.groups[-1][0]:
            self._left[tc.view] = _Left(tc, groups)
            found.append(KeepWitnessed(Witnessed(None, None, tc)))
        while len(self._left_views) > VIEWS_MAX:
            del self._left[self._left_views.pop(0)]
        return found

    def timeout(
        self, sender: int, view: int, high_qc_view: int, share: bytes, *, timely: bool
    ) -> list[Effect]:
        """Look at a member's own timeout, whose share is not verified; keep it if it is timely."""
        found: list[Effect] = []
        left = self._left.get(view)
        if left is not None:
            for high, bits in left.groups:
                if bits >> sender & 1 and high != high_qc_view:
                    timeout = single_timeout(sender, view, high_qc_view, share)
                    self._two_timeouts(timeout, timeout_of(left.tc), sender, found)
        own = self._own[sender]
        views = self._certified_views
        if (views and views[-1] > high_qc_view + 1) or own.votes:
            timeout = single_timeout(sender, view, high_qc_view, share)
            self._report_against_certificates(timeout, high_qc_view, 1 << sender, sender, found)
            self._report_against_votes(timeout, high_qc_view, sender, own, found)
        if timely and (not own.timeouts or own.timeouts[-1][0] < view):
            own.timeouts.append((view, high_qc_view, share))
            self._timed_out = max(self._timed_out, view)
        return found

    # What it knows.

    def take(self, record: Witnessed) -> list[Effect]:
        """Look at what was kept before, or what another member testifies; it was checked."""
        out: list[Effect] = []
        if record.qc is not None:
            if record.link is not None:
                block_id = record.qc.header.id(self._context.domain)
                out += self.block(block_id, record.qc.header, record.link)
            out += self.qc(record.qc)
        if record.tc is not None:
            out += self.qc(record.tc.high_qc)
            out += self.tc(record.tc)
        return out

    def testimony(self, view: int) -> Testimony | None:
        """Return what others need to find out who made a fork that begins with a view.

        The block of that view was voted for although something final was in its way: half of the
        offence are votes before that view, the other half the timeouts that it was justified with.
        """
        half = TESTIMONY_MAX // 2
        votes = [
            Witnessed(known.qc, known.link, None)
            for known in map(self._certified.__getitem__, self._certified_views)
            if known.link is not None and known.qc.view <= view
        ]
        at = bisect_left(self._left_views, view)
        timeouts = [
            Witnessed(None, None, self._left[left_view].tc)
            for left_view in self._left_views[max(0, at - half // 2) : at + half // 2]
        ]
        records = (*votes[-half:], *timeouts)
        return Testimony(records) if records else None

    def certified(self) -> Iterator[tuple[QC, Link | None]]:
        """Yield the QCs that are kept, with what their headers' links cover if it is known."""
        for view in self._certified_views:
            certified = self._certified[view]
            yield certified.qc, certified.link

    def left(self) -> Iterator[TC]:
        """Yield the TCs that are kept."""
        for view in self._left_views:
            yield self._left[view].tc

    # What it proves.

    def _vote_against_timeouts(
        self, vote: SignedVote, link: Link, witness: int | None, found: list[Effect]
    ) -> None:
        """Find who of a vote's signers left its view or a later one with too low a report."""
        view, parent_view = vote.header.view, link.parent_view
        bits = int.from_bytes(vote.bitmap, "big")
        for left_view in self._left_views[bisect_left(self._left_views, view) :]:
            left = self._left[left_view]
            if any(high < parent_view and members & bits for high, members in left.groups):
                evidence = HiddenCertificate(vote, link, timeout_of(left.tc))
                self._accuse(evidence, witness, found)
        if self._timed_out < view:
            return
        for member, own in enumerate(self._own):
            if bits >> member & 1:
                for left_view, high, share in own.timeouts:
                    if left_view >= view and high < parent_view:
                        timeout = single_timeout(member, left_view, high, share)
                        self._accuse(HiddenCertificate(vote, link, timeout), member, found)

    def _report_against_certificates(
        self,
        timeout: SignedTimeout,
        high_qc_view: int,
        bits: int,
        witness: int | None,
        found: list[Effect],
    ) -> None:
        """Find who of those that reported a view had voted on top of a later one."""
        while bits:
            member = bits.bit_length() - 1
            bits &= ~(1 << member)
            views = self._certified_of[member]
            at = bisect_right(views, timeout.view)
            for view in reversed(views[max(0, at - CERTIFICATES_TRIED_MAX) : at]):
                # A parent above the report is below the vote, which is so two views above it.
                if view <= high_qc_view + 1:
                    break
                certified = self._certified[view]
                if certified.link is not None and certified.parent_view > high_qc_view:
                    vote = vote_of(certified.qc)
                    self._accuse(HiddenCertificate(vote, certified.link, timeout), witness, found)
                    bits &= ~certified.bits
                    break

    def _report_against_votes(
        self,
        timeout: SignedTimeout,
        high_qc_view: int,
        member: int,
        own: _Own,
        found: list[Effect],
    ) -> None:
        for view, parent_view, header, share, link in own.votes:
            if parent_view > high_qc_view and view <= timeout.view:
                vote = single_vote(member, header, share)
                self._accuse(HiddenCertificate(vote, link, timeout), member, found)

    def _two_votes(
        self, one: SignedVote, other: SignedVote, witness: int | None, found: list[Effect]
    ) -> None:
        common = int.from_bytes(one.bitmap, "big") & int.from_bytes(other.bitmap, "big")
        if common and one.header != other.header:
            self._accuse(two_votes(self._context, one, other), witness, found)

    def two_votes(
        self, signer: int, one: tuple[Header, bytes], other: tuple[Header, bytes]
    ) -> list[Effect]:
        """Accuse a member of two votes, each a header and its share."""
        found: list[Effect] = []
        self._two_votes(single_vote(signer, *one), single_vote(signer, *other), signer, found)
        return found

    def _two_timeouts(
        self,
        one: SignedTimeout,
        other: SignedTimeout,
        witness: int | None,
        found: list[Effect],
    ) -> None:
        for group in one.groups:
            for against in other.groups:
                if group.high_qc_view != against.high_qc_view and int.from_bytes(
                    group.bitmap, "big"
                ) & int.from_bytes(against.bitmap, "big"):
                    self._accuse(two_timeouts(one, other), witness, found)
                    return

    def two_timeouts(
        self, signer: int, view: int, one: tuple[int, bytes], other: tuple[int, bytes]
    ) -> list[Effect]:
        """Accuse a member of two timeouts of a view, each a high-QC view and its share."""
        found: list[Effect] = []
        first = single_timeout(signer, view, *one)
        self._two_timeouts(first, single_timeout(signer, view, *other), signer, found)
        return found

    def _accuse(self, evidence: Evidence, witness: int | None, found: list[Effect]) -> None:
        members = accused_by(self._context, evidence)
        fresh = False
        for member in members:
            # Shares that may not even verify must not use up what certificates prove.
            key = (kind_of(evidence), member, evidence.view, witness is None)
            count = self._accused.get(key, 0)
            if count < ACCUSATIONS_MAX:
                self._accused[key] = count + 1
                fresh = True
        while len(self._accused) > ACCUSED_MAX:
            self._accused.popitem(last=False)
        if fresh:
            found.append(Accusation(evidence, members, witness))


def _add_view(views: list[int], view: int) -> None:
    if views and views[-1] > view:
        insort(views, view)
    else:
        views.append(view)

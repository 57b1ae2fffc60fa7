"""The safety rules, apart from all plumbing: what may be certified, voted for and committed.

Rules R1-R9 of README.md. Every function is total and changes nothing.
"""

from consensus.committee import EpochContext
from consensus.errors import InvalidMessage
from consensus.messages import QC, TC, Block, Header, Proposal
from consensus.safety import SafetyState


def check_qc(context: EpochContext, qc: QC) -> None:
    """Check everything about a QC except its aggregate signature (R1); raise `InvalidMessage`."""
    if qc.header.view == 0:
        if qc != context.genesis_qc:
            raise InvalidMessage("a certificate of view 0 that is not this epoch's genesis")
        return
    signers = _signers(context, qc.bitmap).bit_count()
    if signers < context.q:
        raise InvalidMessage(f"a QC with {signers} signers, {context.q} needed")


def check_tc(context: EpochContext, tc: TC) -> None:
    """Check everything about a TC except signatures (R2); raise `InvalidMessage`.

    The highest QC must be at least as high as what any signer reported. It may be higher: a member
    repeats its timeout verbatim while it learns newer certificates.
    """
    if tc.view < 1:
        raise InvalidMessage("a TC of view 0")
    seen = 0
    previous = -1
    for group in tc.groups:
        bits = _signers(context, group.bitmap)
        if bits == 0 or bits & seen:
            raise InvalidMessage("a TC with an empty or an overlapping group")
        if not previous < group.high_qc_view < tc.view:
            raise InvalidMessage("a TC whose groups do not ascend below its view")
        seen |= bits
        previous = group.high_qc_view
    if seen.bit_count() < context.q:
        raise InvalidMessage(f"a TC with {seen.bit_count()} signers, {context.q} needed")
    if tc.high_qc.view < previous:
        raise InvalidMessage("a TC whose QC is older than one of its signers reported")
    check_qc(context, tc.high_qc)


def _signers(context: EpochContext, bitmap: bytes) -> int:
    """Return a bitmap as a number; raise `InvalidMessage` if it names nobody's bit."""
    bits = int.from_bytes(bitmap, "big")
    if bits >> context.n:
        raise InvalidMessage("a bitmap with a bit beyond the committee")
    return bits


def highest_reported_view(tc: TC) -> int:
    """Return the greatest high-QC view that the signers of a TC reported."""
    return tc.groups[-1].high_qc_view


def check_proposal(context: EpochContext, sender: int, proposal: Proposal) -> None:
    """Check that a proposal comes from its view's leader and is justified (R3).

    Either it extends the certificate of the view just before, or it carries that view's TC and
    extends a certificate at least as high as any that the TC's signers reported.
    """
    block = proposal.block
    view, justify_view = block.header.view, block.justify.header.view
    if view < 1 or context.leader(view) != sender:
        raise InvalidMessage(f"a proposal for view {view} by a member that does not lead it")
    check_qc(context, block.justify)
    if proposal.tc is not None:
        check_tc(context, proposal.tc)
    if justify_view >= view:
        raise InvalidMessage("a proposal that is not newer than its certificate")
    if justify_view == view - 1:
        return
    tc = proposal.tc
    if tc is None or tc.view != view - 1:
        raise InvalidMessage("a proposal that skips a view without that view's TC")
    if block.justify.view < highest_reported_view(tc):
        raise InvalidMessage("a proposal that extends less than its TC's signers reported")


def may_vote(safety: SafetyState, current_view: int, block: Block) -> bool:
    """Tell whether a member may vote for a justified block (R4): once a view, never backwards."""
    return not safety.closed and block.view == current_view and block.view > safety.last_voted_view


def may_repeat_vote(safety: SafetyState, current_view: int, vote: Header) -> bool:
    """Tell whether a vote may be sent again after a restart (R4): not after its view's timeout."""
    timed_out_view = safety.last_timeout[0] if safety.last_timeout is not None else 0
    return not safety.closed and vote.view == current_view > timed_out_view


def is_timely(context: EpochContext, observed_at_ms: int, now_ms: int) -> bool:
    """Tell whether a block's time may be voted for (R5).

    It must be close enough to a member's own clock, and within the configuration's validity.
    """
    timing = context.configuration.timing
    latest_ms = min(now_ms + timing.max_skew_ms, context.configuration.valid_until_ms)
    return now_ms - timing.max_lag_ms <= observed_at_ms <= latest_ms


def commits_parent(block: Block) -> bool:
    """Tell whether a certificate of this block makes its parent final (R6).

    Views must be consecutive, and the block itself says so: its link covers the parent's view.
    """
    return block.justify.view + 1 == block.view

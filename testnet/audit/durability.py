"""S4: nothing is sent before it is durable, and nothing that was sent is forgotten."""

from collections.abc import Iterator

from consensus.safety import SafetyState
from node.journal import Persisted, Signed
from testnet.audit.case import Case, MemberCase
from testnet.audit.violation import Violation


def check_durability(case: Case) -> Iterator[Violation]:
    """Look for signatures without an earlier safety state that covers them."""
    for member in case.members:
        yield from _too_early(member, case.domain)
        yield from _forgotten(member, case.domain)


def _too_early(member: MemberCase, domain: str) -> Iterator[Violation]:
    votes: set[tuple[int, str]] = set()
    timeouts: set[tuple[int, int]] = set()
    last_proposed_view = last_voted_view = 0
    closed = False
    for entry in member.entries:
        if isinstance(entry, Persisted) and entry.domain == domain:
            if entry.last_voted_view < last_voted_view:
                detail = f"the durable state went back below view {last_voted_view}"
                yield Violation("not-durable", detail, entry.last_voted_view, member.name)
            closed = closed or entry.closed
            last_voted_view = max(last_voted_view, entry.last_voted_view)
            last_proposed_view = max(last_proposed_view, entry.last_proposed_view)
            if entry.vote_view is not None and entry.vote_id is not None:
                votes.add((entry.vote_view, entry.vote_id))
            if entry.last_timeout is not None:
                timeouts.add(entry.last_timeout)
        elif isinstance(entry, Signed):
            covered = {
                "vote": (entry.view, entry.id) in votes and last_voted_view >= entry.view,
                "timeout": (entry.view, entry.high_qc_view) in timeouts,
                "proposal": last_proposed_view >= entry.view,
                "observation": not closed,
                "approval": True,
                "handover": closed,
            }[entry.kind]
            if closed and entry.kind in ("vote", "timeout", "proposal"):
                detail = f"entry {entry.seq}: a {entry.kind} was sent in a closed epoch"
                yield Violation("not-durable", detail, entry.view, member.name)
            if not covered:
                detail = f"entry {entry.seq}: a {entry.kind} was sent before it was durable"
                yield Violation("not-durable", detail, entry.view, member.name)


def _forgotten(member: MemberCase, domain: str) -> Iterator[Violation]:
    """Compare what was signed last with what the store holds at the end."""
    last: dict[str, Signed] = {}
    for entry in member.entries:
        if isinstance(entry, Signed) and entry.domain == domain:
            before = last.get(entry.kind)
            if before is None or entry.view >= before.view:
                last[entry.kind] = entry
    safety = member.safety
    for kind in ("vote", "timeout", "proposal"):
        signed = last.get(kind)
        if signed is None:
            continue
        if safety is None:
            detail = f"the store knows nothing, though a {kind} was sent"
            yield Violation("not-durable", detail, signed.view, member.name)
        elif not _covers(safety, signed):
            detail = f"the store has forgotten the last {kind}"
            yield Violation("not-durable", detail, signed.view, member.name)


def _covers(safety: SafetyState, signed: Signed) -> bool:
    if signed.kind == "vote":
        vote = safety.last_vote
        if vote is None or safety.last_voted_view < signed.view or vote.view < signed.view:
            return False
        return vote.view > signed.view or vote.id(safety.domain).hex() == signed.id
    if signed.kind == "timeout":
        last = safety.last_timeout
        if last is None or last[0] < signed.view:
            return False
        return last[0] > signed.view or last[1] == signed.high_qc_view
    return safety.last_proposed_view >= signed.view

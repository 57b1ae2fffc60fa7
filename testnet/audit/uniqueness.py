"""S1: one report for a view at most, and one vote and one timeout of a member for a view."""

from collections.abc import Iterator

from node.journal import Signed
from testnet.audit.case import Case, MemberCase
from testnet.audit.reports import Reports
from testnet.audit.violation import Violation


def check_uniqueness(case: Case, reports: Reports) -> Iterator[Violation]:
    """Look for two ids that are certified, or have a quorum of votes, in one view."""
    voters: dict[tuple[int, str], set[int]] = {}
    for member in case.members:
        for entry in member.entries:
            if isinstance(entry, Signed) and entry.kind == "vote" and entry.id is not None:
                voters.setdefault((entry.view, entry.id), set()).add(member.index)
    certified = {view: set(ids) for view, ids in reports.ids_by_view.items()}
    for (view, block_id), members in voters.items():
        if len(members) >= case.network.context.q:
            certified.setdefault(view, set()).add(block_id)
    for push in case.chain.pushes:
        certified.setdefault(push.view, set()).add(push.id)
    for view, ids in sorted(certified.items()):
        if len(ids) > 1:
            yield Violation("two-reports", f"certified: {', '.join(sorted(ids))}", view)


def check_equivocation(case: Case) -> Iterator[Violation]:
    """Look for members that signed two different votes, timeouts or proposals in one view."""
    for member in case.members:
        yield from _equivocations_of(member, case.domain)


def _equivocations_of(member: MemberCase, domain: str) -> Iterator[Violation]:
    signed: dict[tuple[str, int], object] = {}
    last_timeout = -1
    for entry in member.entries:
        if not isinstance(entry, Signed) or entry.kind in ("observation", "approval"):
            continue
        if entry.domain != domain:
            detail = f"a {entry.kind} under another domain"
            yield Violation("equivocation", detail, entry.view, member.name)
            continue
        what = entry.high_qc_view if entry.kind == "timeout" else entry.id
        before = signed.get((entry.kind, entry.view))
        if before is None:
            signed[entry.kind, entry.view] = what
            if entry.kind == "vote" and entry.view <= last_timeout:
                detail = f"a vote after the timeout of view {last_timeout}"
                yield Violation("equivocation", detail, entry.view, member.name)
        elif before != what:
            detail = f"two {entry.kind}s: {before} and {what}"
            yield Violation("equivocation", detail, entry.view, member.name)
        if entry.kind == "timeout":
            last_timeout = max(last_timeout, entry.view)

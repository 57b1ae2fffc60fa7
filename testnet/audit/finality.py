"""S2: what is committed is an ancestor of all that is certified later."""

from collections.abc import Iterator
from itertools import pairwise

from node.journal import BeganFrom, Committed, Halted, Started
from testnet.audit.case import Case
from testnet.audit.reports import Reports
from testnet.audit.violation import Violation


def check_finality(case: Case, reports: Reports) -> Iterator[Violation]:
    """Compare the members' commits with each other and with the certified reports.

    A member that went on from a checkpoint may lack what is below it, but must be on the one chain.
    """
    by_height: dict[int, Committed | BeganFrom] = {}
    for member in case.members:
        last: Committed | BeganFrom | None = None
        for entry in member.entries:
            if isinstance(entry, Halted):
                yield Violation("halted", entry.reason, None, member.name)
            if isinstance(entry, Started):
                # What was committed last may be so once more: it is durable with the next vote.
                last = None
            if not isinstance(entry, Committed | BeganFrom):
                continue
            if isinstance(entry, BeganFrom):
                if last is not None and not (entry.height > last.height and entry.view > last.view):
                    detail = f"a checkpoint at height {entry.height} after height {last.height}"
                    yield Violation("fork", detail, entry.view, member.name)
            elif last is not None and (entry.height, entry.parent_id) != (last.height + 1, last.id):
                detail = f"height {entry.height} does not follow height {last.height}"
                yield Violation("fork", detail, entry.view, member.name)
            last = entry
            other = by_height.setdefault(entry.height, entry)
            if (other.id, other.view, other.parent_id) != (entry.id, entry.view, entry.parent_id):
                detail = f"height {entry.height} is {entry.id} here and {other.id} elsewhere"
                yield Violation("fork", detail, entry.view, member.name)
    committed = sorted(by_height.values(), key=lambda entry: entry.height)
    for below, above in pairwise(committed):
        if above.height == below.height + 1 and above.parent_id != below.id:
            detail = f"height {above.height} is no child of height {below.height}"
            yield Violation("fork", detail, above.view)
        if above.view <= below.view:
            yield Violation("fork", f"height {above.height} has no later view", above.view)
    yield from _strays(reports, committed)


def _strays(reports: Reports, committed: list[Committed | BeganFrom]) -> Iterator[Violation]:
    """Find certified reports that do not descend from all that is committed below their view."""
    parents: dict[str, tuple[str, int]] = {}
    for block_id, report in reports.by_id.items():
        parents[block_id] = (report.entry.parent_id, report.entry.parent_view)
    by_view = sorted(committed, key=lambda entry: entry.view)
    ids_committed = {entry.id for entry in committed}
    newest = -1
    for block_id, report in reports.by_id.items():
        view = report.entry.view
        while newest + 1 < len(by_view) and by_view[newest + 1].view < view:
            newest += 1
        if newest < 0:
            continue
        final = by_view[newest]
        ancestor, ancestor_view = parents[block_id]
        while ancestor_view > final.view and ancestor in parents:
            ancestor, ancestor_view = parents[ancestor]
        if ancestor != final.id:
            missing = ancestor_view > final.view
            detail = f"{block_id} does not descend from the committed {final.id}" + (
                f": nobody journaled its ancestor {ancestor}" if missing else ""
            )
            yield Violation("fork", detail, view)
        if block_id not in ids_committed and any(
            other.view == view for other in by_view[newest + 1 : newest + 2]
        ):
            yield Violation("fork", f"{block_id} is certified beside a committed block", view)

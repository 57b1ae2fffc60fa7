"""Votes, timeouts and certificates of one epoch in any interleaving, as a formula for z3.

There is no network and no clock: a vote, a timeout or a certificate exists or it does not, and
each rule says what must exist for it to exist. Everything depends on lower views only, or on the
votes of its own view, so every solution can be put in order and is a run; and every run, with
whatever delays, losses, repetitions and crashes, is a solution.

Blocks are what ids stand for: `(view, k)` is the k-th block of a view, and its parent is a
variable. So several blocks of one view and one parent exist, and an id fixes its view, its parent
and its parent's view as the signed header does. Members 0..f-1 are Byzantine: what they sign is
free.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import z3  # type: ignore[import-untyped]

from consensus.committee import faulty_max, quorum
from testnet.model.mistakes import Mistake

Formula = Any
"""A Boolean term of z3, which has no types of its own."""


class Id(NamedTuple):
    """A block: the k-th of its view. The genesis is the only one of view 0."""

    view: int
    k: int

    def __str__(self) -> str:
        return "genesis" if self.view == 0 else f"{self.view}{chr(ord('a') + self.k)}"


GENESIS = Id(0, 0)


class Justify(NamedTuple):
    """A block's parent and the view that the parent's certificate is taken to have."""

    parent: Id
    view: int


class Report(NamedTuple):
    """A timeout's high-QC view, and the view by which the member believed that QC the highest."""

    high_qc_view: int
    believed: int


@dataclass(frozen=True)
class Bounds:
    """How large a run may be: `views` above the genesis, `ids` blocks in each of them."""

    n: int
    views: int
    ids: int = 2

    @property
    def f(self) -> int:
        """The number of Byzantine members."""
        return faulty_max(self.n)

    def __str__(self) -> str:
        return f"n = {self.n}, f = {self.f}, {self.views} views of {self.ids} blocks"


class Certificates:
    """The formula: which votes, timeouts and certificates the rules allow."""

    def __init__(self, bounds: Bounds, mistake: Mistake | None = None) -> None:
        self.bounds = bounds
        self.mistake = mistake
        small = mistake is Mistake.SMALL_QUORUM
        self.q = 2 * bounds.f + 1 if small else quorum(bounds.n)
        self.members = range(bounds.n)
        self.honest = range(bounds.f, bounds.n)
        self.views = range(1, bounds.views + 1)
        self.blocks = [Id(view, k) for view in self.views for k in range(bounds.ids)]
        self.justify = {block: self._one_justify_of(block) for block in self.blocks}
        self.vote = {
            (member, block): z3.Bool(f"vote {member} {block}")
            for member in self.members
            for block in self.blocks
        }
        self.timeout = {
            (member, view): {
                report: z3.Bool(f"timeout {member} {view} {report.high_qc_view} {report.believed}")
                for report in self._reports(view)
            }
            for member in self.members
            for view in self.views
        }
        self.certified = {block: self._certificate(block) for block in self.blocks}
        self.certified[GENESIS] = z3.BoolVal(True)

    def _is(self, *mistakes: Mistake) -> bool:
        return self.mistake in mistakes

    # What there is.

    def _below(self, view: int) -> Iterator[Id]:
        yield GENESIS
        for block in self.blocks:
            if block.view < view:
                yield block

    def _one_justify_of(self, block: Id) -> dict[Justify, Formula]:
        """Return the choices of a parent; a block's link fixes one and, with it, one view."""
        choices = []
        for parent in self._below(block.view):
            labels: Sequence[int] = [parent.view]
            if self._is(Mistake.VIEW_NOT_SIGNED) and parent != GENESIS:
                labels = range(1, block.view)
            choices += [Justify(parent, label) for label in labels]
        return {c: z3.Bool(f"justify {block} {c.parent} {c.view}") for c in choices}

    def _reports(self, view: int) -> Iterator[Report]:
        for high_qc_view in range(view):
            yield Report(high_qc_view, high_qc_view)
            if self._is(Mistake.HIGH_QC_BY_LABEL) and high_qc_view > 0:
                for label in range(1, view):
                    if label != high_qc_view:
                        yield Report(high_qc_view, label)

    # R1 and R2: certificates.

    def _certificate(self, block: Id) -> Formula:
        """R1: a QC is a quorum's votes on one id."""
        votes = [self.vote[member, block] for member in self.members]
        if self._is(Mistake.SIGNER_COUNTED_TWICE):
            votes += votes[: self.bounds.f]
        return _at_least(self.q, votes)

    def certified_at(self, view: int) -> Formula:
        """Say that there is a QC which members take for one of this view."""
        if view == 0:
            return self.certified[GENESIS]
        labels_lie = self._is(Mistake.VIEW_NOT_SIGNED)
        return z3.Or([self.certified[b] for b in self.blocks if labels_lie or b.view == view])

    def reported_at_most(self, member: int, view: int, high_qc_view: int) -> Formula:
        """Say that a member timed out of a view and reported no QC above `high_qc_view`."""
        reports = self.timeout[member, view]
        return z3.Or([said for r, said in reports.items() if r.high_qc_view <= high_qc_view])

    def timed_out(self, view: int, high_qc_view: int) -> Formula:
        """R2: there is a TC of this view whose greatest report is at most `high_qc_view`.

        Different members may be shown different TCs of one view. The QC beside the reports may be
        higher than all of them and so does not occur here: the vote rule compares with the reports.
        """
        shares = [self.reported_at_most(m, view, high_qc_view) for m in self.members]
        if self._is(Mistake.OVERLAPPING_GROUPS) and high_qc_view > 0:
            shares += shares[: self.bounds.f]
        return _at_least(self.q, shares)

    # R3 and R4: votes.

    def justified(self, view: int, justify_view: int) -> Formula:
        """R3: a block of `view` may extend a certificate of `justify_view`."""
        if justify_view == view - 1 or self._is(Mistake.NO_TC_NEEDED):
            return z3.BoolVal(True)
        highest = view if self._is(Mistake.TC_HIGHEST_NOT_CHECKED) else justify_view
        oldest = 1 if self._is(Mistake.TC_OF_ANY_VIEW) else view - 1
        return z3.Or([self.timed_out(tc_view, highest) for tc_view in range(oldest, view)])

    def _voting(self) -> Iterator[Formula]:
        for block in self.blocks:
            yield z3.PbEq([(chosen, 1) for chosen in self.justify[block].values()], 1)
            votes = z3.Or([self.vote[member, block] for member in self.honest])
            for choice, chosen in self.justify[block].items():
                needed = z3.And(
                    self.certified[choice.parent], self.justified(block.view, choice.view)
                )
                yield z3.Implies(z3.And(votes, chosen), needed)
        if not self._is(Mistake.VOTE_TWICE):
            for member in self.honest:
                for view in self.views:
                    yield z3.AtMost(*[self.vote[member, b] for b in self.blocks_of(view)], 1)

    # R7: the high QC, and what timeouts report of it.

    def _timing_out(self) -> Iterator[Formula]:
        for member in self.honest:
            for view in self.views:
                reports = self.timeout[member, view]
                yield z3.AtMost(*reports.values(), 1)
                for report, said in reports.items():
                    yield z3.Implies(said, self.certified_at(report.high_qc_view))
                    for known in self._known_before(member, view, above=report.believed):
                        yield z3.Not(z3.And(said, known))

    def _known_before(self, member: int, view: int, above: int) -> Iterator[Formula]:
        """Yield all ways in which a member, timing out of a view, knows a QC above a view.

        It knows the QC of every block it voted for, and what it reported earlier. It may know more.
        """
        if self._is(Mistake.HIGH_QC_LOST):
            return
        last = view - 1 if self._is(Mistake.VOTE_AFTER_TIMEOUT) else view
        first = view if self._is(Mistake.VOTE_BACKWARDS) else 1
        for block in self.blocks:
            if first <= block.view <= last:
                for choice, chosen in self.justify[block].items():
                    if choice.view > above:
                        yield z3.And(self.vote[member, block], chosen)
        for earlier in range(1, view):
            for report, said in self.timeout[member, earlier].items():
                if report.believed > above:
                    yield said

    def rules(self) -> list[Formula]:
        """Return everything that holds of any run."""
        return [*self._voting(), *self._timing_out()]

    def names(self) -> list[Formula]:
        """Return what may be assumed since names are free: a view's certified blocks come first.

        Nothing is lost, and the solver need not look at the same run under each naming.
        """
        return [
            z3.Implies(self.certified[block], self.certified[Id(block.view, block.k - 1)])
            for block in self.blocks
            if block.k > 0
        ]

    def entries(self) -> list[Formula]:
        """Return what holds besides, and safety does not need: views are entered with a reason.

        A member is in a view because of the QC or a TC of the view before, and has taken it over.
        """
        return [
            z3.Implies(said, self.justified(view, report.high_qc_view))
            for (_, view), reports in self.timeout.items()
            for report, said in reports.items()
        ]

    # What is promised.

    def blocks_of(self, view: int) -> list[Id]:
        """Return the blocks of one view."""
        return [block for block in self.blocks if block.view == view]

    @cached_property
    def extends(self) -> Mapping[tuple[Id, Id], Formula]:
        """(child, ancestor) -> the one descends from the other."""
        extends: dict[tuple[Id, Id], Formula] = {}
        for child in self.blocks:
            for ancestor in self._below(child.view):
                ways = []
                for choice, chosen in self.justify[child].items():
                    if choice.parent == ancestor:
                        ways.append(chosen)
                    elif choice.parent.view > ancestor.view:
                        ways.append(z3.And(chosen, extends[choice.parent, ancestor]))
                extends[child, ancestor] = z3.Or(ways)
        return extends

    def commits(self, child: Id, parent: Id) -> Formula:
        """R6: a certificate of `child` makes `parent` final."""
        ways = [
            chosen
            for choice, chosen in self.justify[child].items()
            if choice.parent == parent
            and (choice.view + 1 == child.view or self._is(Mistake.COMMIT_WITH_A_GAP))
        ]
        return z3.And(self.certified[child], z3.Or(ways))

    def final(self, block: Id) -> Formula:
        """Say that some certificate makes a block final."""
        return z3.Or([self.commits(b, block) for b in self.blocks if b.view > block.view])

    def breaks_unique(self) -> Formula:
        """S1 is broken: two blocks of one view are certified."""
        return z3.Or(
            [
                z3.And(self.certified[one], self.certified[other])
                for one in self.blocks
                for other in self.blocks_of(one.view)
                if one < other
            ]
        )

    def breaks_final(self) -> Formula:
        """S2 is broken: a block is final, and a later certified one does not extend it."""
        return z3.Or(
            [
                z3.And(
                    self.final(block),
                    z3.Or(
                        [
                            z3.And(self.certified[later], z3.Not(self.extends[later, block]))
                            for later in self.blocks
                            if later.view > block.view
                        ]
                    ),
                )
                for block in self.blocks
            ]
        )


def _at_least(count: int, formulas: Sequence[Formula]) -> Formula:
    return z3.PbGe([(formula, 1) for formula in formulas], count)

"""One run of a committee, as a solver found it, and the same for a reader."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from testnet.model.certificates import GENESIS, Bounds, Id, Justify, Report


@dataclass(frozen=True)
class Run:
    """Who signed what: votes by block, timeouts by member and view, each in ascending order."""

    bounds: Bounds
    q: int
    justify: dict[Id, Justify]
    votes: dict[Id, tuple[int, ...]]
    timeouts: dict[tuple[int, int], tuple[Report, ...]]
    certified: frozenset[Id]
    final: frozenset[Id]

    def ancestors(self, block: Id) -> Iterator[Id]:
        """Yield a block's ancestors, newest first, the genesis last."""
        while block != GENESIS:
            block = self.justify[block].parent
            yield block

    def breaches(self) -> Iterator[str]:
        """Yield what is wrong with this run, in words."""
        for one in sorted(self.certified):
            for other in sorted(self.certified):
                if one.view == other.view and one < other:
                    yield f"S1: {one} and {other} are both certified in view {one.view}"
        for block in sorted(self.final):
            for later in sorted(self.certified):
                if later.view > block.view and block not in self.ancestors(later):
                    yield f"S2: {block} is final, and {later}, certified later, is not built on it"

    def text(self) -> str:
        """Return the run as lines in an order in which it can happen."""
        return "\n".join([*self._lines(), *self.breaches()])

    def _lines(self) -> Iterator[str]:
        byzantine = _names(range(self.bounds.f))
        yield f"{self.bounds.n} members, quorum {self.q}, Byzantine: {byzantine}"
        for view in range(1, self.bounds.views + 1):
            for block, choice in sorted(self.justify.items()):
                if block.view == view and self.votes[block]:
                    yield f"view {view}: {self._vote_line(block, choice)}"
            for member in range(self.bounds.n):
                for report in self.timeouts[member, view]:
                    yield f"view {view}: member {member} times out and {_report_text(report)}"

    def _vote_line(self, block: Id, choice: Justify) -> str:
        label = (
            f", taken for one of view {choice.view}" if choice.view != choice.parent.view else ""
        )
        voters = f"block {block} on {choice.parent}{label}: votes of {_names(self.votes[block])}"
        status = ", certified" if block in self.certified else ""
        return voters + status + (", final later" if block in self.final else "")


def _names(members: Sequence[int]) -> str:
    return ", ".join(map(str, members)) or "nobody"


def _report_text(report: Report) -> str:
    label = f", believed to be {report.believed}" if report.believed != report.high_qc_view else ""
    return f"reports high QC {report.high_qc_view}{label}"

"""The end of an epoch over the model of its certificates: one successor, and no price after it.

A block may decide the next epoch, and may have prices. Honest members vote for neither after an
ancestor has decided (the payload rule), and hand over only to what a final block decided. What is
promised follows from S2, so this is a model of how the two fit together.
"""

from enum import Enum

import z3  # type: ignore[import-untyped]

from testnet.model.certificates import Bounds, Certificates, Formula, Id
from testnet.model.mistakes import Mistake
from testnet.model.run import Run
from testnet.model.solving import find_run


class EndMistake(Enum):
    """A rule of the end that is left out."""

    DECIDED_TWICE = "a block may decide although an ancestor has decided"
    PRICES_AFTER_THE_END = "a block may have prices although an ancestor has decided"
    HANDED_OVER_UNLESS_FINAL = "members hand over to what a certified block decides"


class Handover(Certificates):
    """The formula of an epoch that may end."""

    def __init__(
        self, bounds: Bounds, mistake: Mistake | None = None, left_out: EndMistake | None = None
    ) -> None:
        super().__init__(bounds, mistake)
        self.left_out = left_out
        self.decides = {block: z3.Bool(f"decides {block}") for block in self.blocks}
        self.priced = {block: z3.Bool(f"priced {block}") for block in self.blocks}

    def rules(self) -> list[Formula]:
        """Return everything that holds of any run."""
        return [*super().rules(), *map(self._honest_content, self.blocks)]

    def _honest_content(self, block: Id) -> Formula:
        votes = z3.Or([self.vote[member, block] for member in self.honest])
        ended = z3.Or(
            [
                z3.And(self.extends[block, ancestor], self.decides[ancestor])
                for ancestor in self.blocks
                if ancestor.view < block.view
            ]
        )
        refused = []
        if self.left_out is not EndMistake.DECIDED_TWICE:
            refused.append(self.decides[block])
        if self.left_out is not EndMistake.PRICES_AFTER_THE_END:
            refused.append(self.priced[block])
        return z3.Implies(z3.And(votes, ended), z3.Not(z3.Or(refused)))

    def committed(self, block: Id) -> Formula:
        """Say that a block is final, by itself or below another."""
        above = [
            z3.And(self.final(other), self.extends[other, block])
            for other in self.blocks
            if other.view > block.view
        ]
        return z3.Or(self.final(block), *above)

    def handed_over(self, block: Id) -> Formula:
        """Say that there may be a handover certificate on what a block decided."""
        unless_final = self.left_out is EndMistake.HANDED_OVER_UNLESS_FINAL
        ends = self.certified[block] if unless_final else self.committed(block)
        return z3.And(ends, self.decides[block])

    def breaks_one_successor(self) -> Formula:
        """Two handover certificates of the epoch name different blocks."""
        return z3.Or(
            [
                z3.And(self.handed_over(one), self.handed_over(other))
                for one in self.blocks
                for other in self.blocks
                if one < other
            ]
        )

    def breaks_no_price_after(self) -> Formula:
        """A block has prices, and is certified later than the final one that ended the epoch.

        That is the deciding block or one above it. In a view between the two there may be a
        certified block beside them, with prices, which never becomes final.
        """
        return z3.Or(
            [
                z3.And(self._ends_the_epoch(final), self.certified[later], self.priced[later])
                for final in self.blocks
                for later in self.blocks
                if later.view > final.view
            ]
        )

    def _ends_the_epoch(self, block: Id) -> Formula:
        below = [
            z3.And(self.extends[block, other], self.decides[other])
            for other in self.blocks
            if other.view < block.view
        ]
        return z3.And(self.final(block), z3.Or(self.decides[block], *below))


def find_second_end(
    bounds: Bounds, mistake: Mistake | None = None, left_out: EndMistake | None = None
) -> Run | None:
    """Return a run with two successors, or with a price after the end; None proves none exists.

    Raises `Undecided` if the solver gives up.
    """
    model = Handover(bounds, mistake, left_out)
    breach = z3.Or(model.breaks_one_successor(), model.breaks_no_price_after())
    return find_run(model, [*model.names(), breach])


__all__ = ["EndMistake", "Handover", "find_second_end"]

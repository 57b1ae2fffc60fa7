"""S1, S2, S4 and A1, read off what left the members, without the judge's help.

The other promises have tests of their own names too: consensus/README.md lists all of them.
"""

from collections.abc import Sequence
from itertools import pairwise
from random import Random

import pytest

from consensus.committee import Timing
from consensus.messages import QC, Block, Certificate, Message, Proposal, Timeout, Vote
from testnet.byzantine import VICES, Coalition
from testnet.simulation import Conditions, Node, Simulation

TIMING = Timing(round_interval_ms=0, base_timeout_ms=300)
SEEDS = range(12)


class Recorded(Simulation):
    """Keeps everything that honest members ever sent, over all their lives."""

    def __init__(self, n: int, seed: int, vices: Sequence[str], crash: int = 0) -> None:
        self.votes: list[tuple[int, int, bytes]] = []
        """(member, view, block id)"""
        self.timeouts: list[tuple[int, int, int]] = []
        """(member, view, high-QC view)"""
        self.qcs: list[QC] = []
        self.blocks: dict[bytes, Block] = {}
        random = Random(f"promises {seed}")
        conditions = Conditions(
            delay_ms=(1, random.choice((5, 60))),
            loss=random.choice((20, 150)),
            disk_ms=(0, 20 if crash else 0),
            crash=crash,
        )
        faulty = random.sample(range(n), (n - 1) // 3) if vices else []
        super().__init__(n, seed, timing=TIMING, conditions=conditions, faulty=faulty)
        if faulty:
            self.coalition = Coalition(self, random, vices)

    def _send(self, node: Node, to: Sequence[int], message: Message) -> None:
        if node.member not in self.faulty:
            self._record(node.member, message)
        super()._send(node, to, message)

    def _record(self, member: int, message: Message) -> None:
        match message:
            case Vote(header=header):
                self.votes.append((member, header.view, header.id(self.context.domain)))
            case Proposal(block=block):
                block_id = block.header.id(self.context.domain)
                self.votes.append((member, block.view, block_id))
                self.qcs.append(block.justify)
            case Timeout(view=view, high_qc_view=high, qc=qc):
                self.timeouts.append((member, view, high))
                self.qcs.append(qc)
            case Certificate(qc=qc):
                self.qcs.append(qc)
            case _:
                pass

    def live(self) -> None:
        """Let faults have their time, then have all go on."""
        self.run(6_000)
        self.cut = None
        self.conditions = Conditions()
        self.after(0, self.restart_all)
        self.require_commits(3, 40_000)
        for node in self.nodes:
            self.blocks.update(node.disk.blocks)


@pytest.mark.parametrize("n", [4, 7])
def test_s1_no_two_blocks_of_a_view_are_certified(n: int) -> None:
    views = 0
    for seed in SEEDS:
        run = Recorded(n, seed, ["equivocate", "withhold", "hide", "jam"])
        run.live()
        certified: dict[int, bytes] = {}
        for qc in run.qcs:
            block_id = run.context.id_of(qc)
            assert certified.setdefault(qc.view, block_id) == block_id, run
        views += len(certified)
    assert views > 20 * len(SEEDS) // 2


@pytest.mark.parametrize("n", [4, 7])
def test_s2_what_is_final_is_below_everything_certified_later(n: int) -> None:
    judged = 0
    for seed in SEEDS:
        run = Recorded(n, seed, ["stale", "overreach", "equivocate", "hide", "jam"], crash=2)
        run.live()
        final = {block_id for node in run.honest for block_id in node.committed}
        views = {block_id: run.blocks[block_id].view for block_id in final}
        for qc in run.qcs:
            below = {run.context.id_of(qc)}
            block = run.blocks.get(run.context.id_of(qc))
            while block is not None:
                parent_id = run.context.id_of(block.justify)
                below.add(parent_id)
                block = run.blocks.get(parent_id)
            for block_id, view in views.items():
                if view < qc.view and run.context.id_of(qc) in run.blocks:
                    judged += 1
                    assert block_id in below, run
    assert judged > 1_000


@pytest.mark.parametrize("vices", [[], sorted(VICES)], ids=["all honest", "with liars"])
def test_s4_no_member_votes_for_two_blocks_of_a_view_whatever_crashes(vices: list[str]) -> None:
    crashes = 0
    for seed in SEEDS:
        run = Recorded(4, seed, vices, crash=8)
        run.live()
        crashes += sum(node.life for node in run.honest)
        voted: dict[tuple[int, int], bytes] = {}
        for member, view, block_id in run.votes:
            assert voted.setdefault((member, view), block_id) == block_id, run
    assert crashes > len(SEEDS)


@pytest.mark.parametrize("n", [4, 7])
def test_a1_nothing_that_an_honest_member_signs_convicts_it(n: int) -> None:
    """No two votes or timeouts of a view, no timeout that hides what a vote was built on."""
    pairs = 0
    for seed in SEEDS:
        run = Recorded(n, seed, sorted(VICES), crash=4)
        run.live()
        for member in (node.member for node in run.honest):
            votes = {view: block_id for who, view, block_id in run.votes if who == member}
            assert len(votes) == len({vote[1:] for vote in run.votes if vote[0] == member}), run
            timeouts = {view: high for who, view, high in run.timeouts if who == member}
            signed = {timeout[1:] for timeout in run.timeouts if timeout[0] == member}
            assert len(timeouts) == len(signed), run
            reported = [high for _, high in sorted(timeouts.items())]
            assert all(one <= other for one, other in pairwise(reported)), run
            for voted_view, block_id in votes.items():
                parent_view = run.blocks[block_id].justify.view
                for view, high in timeouts.items():
                    pairs += view >= voted_view
                    assert view < voted_view or high >= parent_view, run
    assert pairs > 100

"""The adversaries bite: rules that are weakened in memory fall to them, each by its own promise."""

from collections.abc import Callable

import pytest

from consensus import messages, rules
from consensus.committee import EpochContext
from consensus.messages import Block, Proposal
from consensus.safety import SafetyState
from testnet.chaos import chaos
from testnet.simulation import SimulationFailed

Weaken = Callable[[pytest.MonkeyPatch], None]


def commit_with_a_gap(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(rules, "commits_parent", lambda block: True)


def vote_after_a_timeout(patch: pytest.MonkeyPatch) -> None:
    def may_vote(safety: SafetyState, current_view: int, block: Block) -> bool:
        voted = safety.last_vote is not None and safety.last_vote.view >= block.view
        return block.view == current_view and not voted

    patch.setattr(rules, "may_vote", may_vote)


def view_of_a_qc_not_covered(patch: pytest.MonkeyPatch) -> None:
    covered = messages.header_id

    def header_id(domain: bytes, view: int, at_ms: int, root: bytes, link: bytes) -> bytes:
        return covered(domain, 0, at_ms, root, link)

    patch.setattr(messages, "header_id", header_id)


def highest_report_not_checked(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(rules, "highest_reported_view", lambda tc: 0)


def no_tc_needed(patch: pytest.MonkeyPatch) -> None:
    whole = rules.check_proposal

    def check_proposal(context: EpochContext, sender: int, proposal: Proposal) -> None:
        if proposal.tc is not None or proposal.block.justify.view >= proposal.block.view:
            whole(context, sender, proposal)

    patch.setattr(rules, "check_proposal", check_proposal)


def _first_failure(count: int) -> str:
    for seed in range(count):
        try:
            chaos(4, seed)
        except SimulationFailed as error:
            print(f"\ncaught in scenario {seed + 1}: {error}")
            return str(error)
    return f"nothing in {count} scenarios"


@pytest.mark.parametrize(
    ("weaken", "promises", "count"),
    [
        (commit_with_a_gap, ("S2",), 50),
        (vote_after_a_timeout, ("R4",), 50),
        # A label is seen by the quorum that never signed it, by the fork that it makes, or by the
        # innocent that it seems to convict.
        (view_of_a_qc_not_covered, ("R1", "S2", "member"), 600),
        pytest.param(highest_report_not_checked, ("S2",), 5000, marks=pytest.mark.slow),
        pytest.param(no_tc_needed, ("S2",), 5000, marks=pytest.mark.slow),
    ],
)
def test_a_weakened_rule_falls(
    weaken: Weaken, promises: tuple[str, ...], count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    weaken(monkeypatch)
    assert _first_failure(count).startswith(promises)

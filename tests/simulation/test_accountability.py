"""A1: nothing that an honest member signs, over all its lives, can be used against it."""

from dataclasses import replace
from itertools import combinations

from hypothesis import given, settings
from hypothesis import strategies as st

from consensus.committee import Timing
from consensus.evidence import (
    Evidence,
    HiddenCertificate,
    InvalidEvidence,
    SignedTimeout,
    SignedVote,
    link_of,
    single_timeout,
    single_vote,
    two_timeouts,
    two_votes,
    verify_evidence,
)
from consensus.messages import Block, Header, Link, Message, Proposal, Timeout, Vote
from testnet.simulation import Conditions, Node, Simulation


class Prosecutor:
    """Hears everything that anybody sends, and remembers all of it."""

    def __init__(self, simulation: Simulation) -> None:
        self.simulation = simulation
        self.votes: dict[int, dict[bytes, SignedVote]] = {}
        self.timeouts: dict[int, set[SignedTimeout]] = {}
        self.links: dict[Header, Link] = {}
        simulation.cut = self._hear

    def _hear(self, node: Node, _to: Node, message: Message) -> bool:
        context = self.simulation.context
        match message:
            case Vote(header=header, share=share):
                vote = single_vote(node.member, header, share)
                self.votes.setdefault(node.member, {})[header.id(context.domain)] = vote
            case Proposal(block=block, vote=share):
                vote = single_vote(node.member, block.header, share)
                self.votes.setdefault(node.member, {})[block.header.id(context.domain)] = vote
                self._open(block)
            case Timeout(view=view, high_qc_view=high, share=share):
                timeout = single_timeout(node.member, view, high, share)
                self.timeouts.setdefault(node.member, set()).add(timeout)
            case _:
                pass
        return False

    def _open(self, block: Block) -> None:
        payload_digest = self.simulation.rule.digest(block.view, block.payload)
        parent_id = self.simulation.context.id_of(block.justify)
        self.links[block.header] = link_of(block, parent_id, payload_digest)

    def charges(self) -> list[Evidence]:
        """Return everything that might be an offence, proven or not."""
        context = self.simulation.context
        found: list[Evidence] = []
        for member, of_id in self.votes.items():
            votes = list(of_id.values())
            timeouts = sorted(self.timeouts.get(member, ()), key=lambda one: one.view)
            found += [two_votes(context, *pair) for pair in combinations(votes, 2)]
            found += [two_timeouts(*pair) for pair in combinations(timeouts, 2)]
            found += [
                HiddenCertificate(vote, self.links[vote.header], timeout)
                for vote in votes
                for timeout in timeouts
                if vote.header in self.links
            ]
        return found


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    conditions=st.builds(
        Conditions,
        delay_ms=st.sampled_from([(1, 5), (1, 60), (1, 300)]),
        loss=st.sampled_from([0, 100, 300]),
        repetition=st.sampled_from([0, 50]),
        disk_ms=st.sampled_from([(0, 0), (0, 40)]),
        crash=st.sampled_from([0, 3, 10]),
    ),
    crashes=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2500)), max_size=6),
)
def test_a1_no_history_of_an_honest_member_convicts_it(
    seed: int, conditions: Conditions, crashes: list[tuple[int, int]]
) -> None:
    timing = Timing(round_interval_ms=0, base_timeout_ms=200)
    conditions = replace(conditions, down_ms=(1, 400))
    simulation = Simulation(4, seed, timing=timing, conditions=conditions)
    prosecutor = Prosecutor(simulation)
    for member, at_ms in crashes:
        simulation.after(at_ms, simulation.crash, simulation.nodes[member])
        simulation.after(at_ms + 150, simulation.start, simulation.nodes[member])
    simulation.run(2500)
    for evidence in prosecutor.charges():
        try:
            members = verify_evidence(simulation.context, evidence, simulation.signatures)
        except InvalidEvidence:
            continue
        raise AssertionError(f"{members} are convicted by {evidence} ({simulation})")
    assert not any(node.evidence or node.faults for node in simulation.nodes)


def test_the_prosecutor_convicts_a_member_with_two_voices_and_nobody_else() -> None:
    timing = Timing(round_interval_ms=0, base_timeout_ms=200)
    conditions = Conditions(delay_ms=(1, 40), loss=50)
    simulation = Simulation(4, 3, timing=timing, conditions=conditions, twins=[2])
    prosecutor = Prosecutor(simulation)
    simulation.run(2500)
    convicted: set[int] = set()
    for evidence in prosecutor.charges():
        try:
            convicted.update(verify_evidence(simulation.context, evidence, simulation.signatures))
        except InvalidEvidence:
            continue
    assert convicted == {2}

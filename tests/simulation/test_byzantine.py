"""Each vice by itself and all together: no promise is broken, and the others go on."""

from random import Random

import msgspec
import pytest

from consensus.committee import Timing
from consensus.evidence import kind_of
from consensus.messages import Certificate, Message, ObservationMessage
from consensus.safety import SafetyState
from testnet.byzantine import VICES, Coalition
from testnet.simulation import Conditions, Disk, Node, Simulation, SimulationFailed

TIMING = Timing(round_interval_ms=0, base_timeout_ms=300)


def _with(n: int, faulty: list[int], seed: int, vices: list[str] | None) -> Simulation:
    conditions = Conditions(delay_ms=(1, 20), loss=20)
    simulation = Simulation(n, seed, timing=TIMING, conditions=conditions, faulty=faulty)
    simulation.coalition = Coalition(simulation, Random(seed), vices)
    return simulation


@pytest.mark.parametrize("vice", sorted(VICES))
def test_one_vice(vice: str) -> None:
    for seed in range(3):
        simulation = _with(4, [seed], seed, [vice])
        simulation.run(3_000)
        simulation.require_commits(3, 20_000)
        for node in simulation.honest:
            assert node.halted is None
            assert {member for one in node.evidence for member in one.members} <= {seed}
            assert {fault.member for fault in node.faults} <= {seed}


@pytest.mark.parametrize("seed", range(4))
def test_two_of_seven_with_every_vice(seed: int) -> None:
    faulty = Random(seed).sample(range(7), 2)
    simulation = _with(7, faulty, seed, sorted(VICES))
    simulation.run(3_000)
    assert simulation.faults > 20
    simulation.cut = None
    simulation.require_commits(3, 40_000)


def test_twins_that_also_conspire() -> None:
    for seed in range(6):
        simulation = Simulation(4, seed, timing=TIMING, twins=[seed % 4])
        simulation.coalition = Coalition(simulation, Random(seed))
        simulation.run(3_000)
        simulation.cut = None
        simulation.require_commits(3, 30_000)


def test_an_equivocator_is_found_out() -> None:
    simulation = _with(4, [1], 5, ["equivocate"])
    simulation.require_commits(20, 60_000)
    kinds = {kind_of(one.evidence) for node in simulation.honest for one in node.evidence}
    assert kinds >= {"two-votes", "two-timeouts"}


def test_the_weakest_tc_is_what_a_voter_could_be_misled_with() -> None:
    """The coalition's TC reports less than what the honest ones know, and is valid all the same."""
    simulation = _with(4, [3], 1, [])
    assert simulation.coalition is not None
    knows = simulation.coalition.knows
    simulation.run(500)
    view = simulation.highest_view + 1
    sign = simulation.signatures
    for node, high in zip(simulation.honest, (view - 1, view - 3, view - 2), strict=True):
        knows.timeouts.setdefault(view, {})[node.member] = high
    tc = knows.weakest_tc(view)
    assert tc is not None
    assert [group.high_qc_view for group in tc.groups] == [0, view - 3, view - 2]
    assert tc.high_qc.view == view - 2
    sign.check(3, Certificate(tc.high_qc, tc))


def test_the_judge_sees_a_certificate_that_no_quorum_signed() -> None:
    """R1: anyone can forge in a simulation, so the judge looks behind the signature."""
    simulation = Simulation(4, 1, timing=TIMING)
    simulation.run(100)

    def forge(node: Node, to: int, message: Message) -> list[Message]:
        header = node.running.high_qc.header
        header = msgspec.structs.replace(header, view=header.view + 3, link=bytes(32))
        return [Certificate(simulation.signatures.qc(header, [0, 1, 2]), None)]

    simulation.nodes[0].intercept = forge
    with pytest.raises(SimulationFailed, match="R1"):
        simulation.run(5_000)


def test_the_judge_sees_a_time_outside_the_honest_range(monkeypatch: pytest.MonkeyPatch) -> None:
    """S3: a rule that took the greatest time would let one liar decide."""

    def run() -> None:
        simulation = Simulation(4, 3, timing=TIMING, faulty=[2])

        def lie(node: Node, to: int, message: Message) -> list[Message]:
            if isinstance(message, ObservationMessage):
                view, when = message.observed.view, simulation.now_ms + 400
                return [ObservationMessage(simulation.signatures.observed(2, view, when))]
            return [message]

        simulation.nodes[2].intercept = lie
        simulation.run(2_000)

    run()
    monkeypatch.setattr("testnet.stub_signatures.agreed_time", max)
    with pytest.raises(SimulationFailed, match="S3"):
        run()


class Forgetful(Disk):
    """A disk that says it has written."""

    def save(self, safety: SafetyState) -> None:
        pass


def test_the_judge_sees_a_vote_that_is_not_durable() -> None:
    simulation = Simulation(4, 1, timing=TIMING)
    disk = simulation.nodes[1].disk
    simulation.nodes[1].disk = Forgetful(disk.safety, disk.head)
    with pytest.raises(SimulationFailed, match="S4"):
        simulation.run(2_000)

"""Runs in which more than f members are Byzantine: S1 and S2 may fall, and A1 says who pays.

`overwhelmed` makes a random one, with up to q - 1 faulty members: an honest one is in every quorum,
else nothing that honest members see limits what is certified. Afterwards everything heals, and
`reconcile` lays together what the honest members know, as members do that exchange certificates.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from random import Random

from consensus import effects as fx
from consensus.collectors import TimeoutCollector, VoteCollector
from consensus.committee import Timing
from consensus.evidence import verify_evidence
from consensus.messages import QC
from consensus.witness import Witness
from testnet.byzantine import Coalition
from testnet.omniscient import Overwhelmed
from testnet.simulation import Conditions, Simulation, SimulationFailed


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a run: the promises that fell, and who is provably at fault."""

    broken: frozenset[str]
    accused: frozenset[int]
    by_certificates: frozenset[int]
    """Who certificates alone convict, without any single share: those that the members still hold,
    and those that contradicted one of them when they came."""
    kinds: frozenset[str]


def overwhelmed(n: int, seed: int, *, twins: bool = False) -> Simulation:
    """Run f + 1 to q - 1 Byzantine members, in concert or as twins, on a partitioned network."""
    random = Random(f"forks {seed}")
    timing = Timing(round_interval_ms=0, base_timeout_ms=random.choice((100, 300)))
    conditions = Conditions(
        delay_ms=(1, random.choice((3, 20, 60))),
        loss=random.choice((0, 0, 50)),
        disk_ms=(0, random.choice((0, 10))),
        crash=random.choice((0, 0, 1)),
    )
    f, q = (n - 1) // 3, (n + (n - 1) // 3) // 2 + 1
    faulty = random.sample(range(n), random.randint(f + 1, q - 1))
    simulation = Simulation(
        n,
        seed,
        timing=timing,
        conditions=conditions,
        faulty=() if twins else faulty,
        twins=faulty if twins else (),
    )
    if not twins:
        drawn = random.sample(["equivocate", "stale", "hide", "withhold", "jam"], 3)
        vices = sorted({"stale", "equivocate", "hide", *drawn} - {random.choice(drawn)})
        simulation.coalition = Coalition(simulation, Random(f"byzantine {seed}"), vices)
    for _ in range(random.randint(2, 6)):
        simulation.groups = _halves(simulation, random)
        simulation.run(random.randint(1, 8) * timing.base_timeout_ms)
        if random.randrange(2):
            simulation.groups = None
            simulation.run(random.randint(1, 40) * conditions.delay_ms[1])
    simulation.groups = None
    simulation.cut = None
    simulation.conditions = replace(conditions, delay_ms=(1, 10), loss=0, crash=0, disk_ms=(0, 0))
    simulation.restart_all()
    simulation.run(20 * timing.base_timeout_ms)
    return simulation


def _halves(simulation: Simulation, random: Random) -> list[set[int]]:
    """Part the honest nodes; the faulty ones are on both sides, twins one on each."""
    halves: list[set[int]] = [set(), set()]
    for node in simulation.nodes:
        if node.member not in simulation.faulty:
            halves[random.randrange(2)].add(node.number)
        elif len(simulation.nodes_of[node.member]) > 1:
            halves[node.side].add(node.number)
        else:
            for half in halves:
                half.add(node.number)
    return halves


def reconcile(simulation: Simulation) -> Outcome:
    """Lay together what all honest members know; raise `SimulationFailed` if one is wronged.

    An accusation counts if its evidence verifies.
    """
    context, judge = simulation.context, simulation.judge
    assert isinstance(judge, Overwhelmed)
    witness = Witness(context, VoteCollector(context.q), TimeoutCollector(context.q))
    told: list[fx.Effect] = []
    qcs: dict[bytes, QC] = {}
    for node in simulation.honest:
        known = node.running.witness
        for qc, link in known.certified():
            block_id = context.id_of(qc)
            qcs.setdefault(block_id, qc)
            if link is not None:
                told += witness.block(block_id, qc.header, link)
            told += witness.qc(qc)
        for tc in known.left():
            told += witness.tc(tc)
    found = [one for one in told if isinstance(one, fx.Accusation)]
    found += [one for node in simulation.honest for one in node.evidence]
    by_certificates = frozenset(
        member for one in found if one.witness is None for member in one.members
    )
    accused: set[int] = set()
    kinds: set[str] = set()
    for one in found:
        accused.update(verify_evidence(context, one.evidence, simulation.signatures))
        kinds.add(type(one.evidence).__name__)
    if not accused <= simulation.faulty:
        raise SimulationFailed(f"A1: of {accused} some are honest ({simulation})")
    return Outcome(
        frozenset(_broken(simulation, qcs)), frozenset(accused), by_certificates, frozenset(kinds)
    )


def _broken(simulation: Simulation, qcs: dict[bytes, QC]) -> Iterator[str]:
    judge = simulation.judge
    assert isinstance(judge, Overwhelmed)
    if len({qc.view for qc in qcs.values()}) < len(qcs):
        yield "S1"
    known = [block_id for block_id in qcs if judge.knows(block_id)]
    # What is final by a certified child of the next view; its ancestors are only so later.
    final = {parent for one in known if (parent := judge.parent_if_final(one)) is not None}
    for one in final:
        for other in known:
            if judge.view_of(other) > judge.view_of(one) and not judge.extends(other, one):
                yield "S2"
                return

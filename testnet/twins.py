"""Twins: one faulty member runs twice, and each view has its leader and its two halves.

After Bano et al., "Twins: BFT systems made robust" (OPODIS 2021). A schedule says, round by round,
who leads and which nodes hear each other; afterwards everything heals. `schedules` enumerates all
of them up to renaming: the honest members are alike, and so are the twins.
"""

import multiprocessing
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations, product

from consensus.committee import Timing
from consensus.messages import Message, ObservationMessage, Proposal, Timeout, Vote
from testnet.chaos import require_nobody_wronged
from testnet.simulation import Conditions, Node, Simulation, SimulationFailed

TWIN = 0
TIMING = Timing(round_interval_ms=0, base_timeout_ms=100)


@dataclass(frozen=True, slots=True, order=True)
class Round:
    """One view: its leader, and the half of the nodes that holds node 0, as a bit mask."""

    leader: int
    half: int


def rounds(n: int) -> list[Round]:
    """Return every leader with every partition of the nodes (the twin has two) into two."""
    nodes = n + 1
    return [Round(leader, half) for leader in range(n) for half in range(1, 1 << nodes, 2)]


def schedules(n: int, length: int) -> Iterator[tuple[Round, ...]]:
    """Yield one of each class of schedules that differ in names only.

    Nodes 0 and 1 are the twins of member 0, node i > 1 is member i - 1.
    """
    names = Renaming(n)
    for schedule in product(rounds(n), repeat=length):
        if names.is_first(schedule):
            yield schedule


class Renaming:
    """All ways to rename the honest members and to swap the twins."""

    def __init__(self, n: int) -> None:
        # For each way: what becomes of each leader and half, as one table.
        self._ways: list[dict[Round, Round]] = []
        for honest in permutations(range(1, n)):
            for twins in ((0, 1), (1, 0)):
                nodes = [*twins, *(member + 1 for member in honest)]
                members = [0, *honest]
                table = {
                    one: Round(members[one.leader], _renamed(one.half, nodes)) for one in rounds(n)
                }
                self._ways.append(table)

    def variants(self, schedule: Sequence[Round]) -> set[tuple[Round, ...]]:
        """Return everything that a schedule becomes by renaming, itself included."""
        return {tuple(table[one] for one in schedule) for table in self._ways}

    def is_first(self, schedule: Sequence[Round]) -> bool:
        """Tell whether no renaming makes a schedule smaller."""
        for table in self._ways:
            for one in schedule:
                other = table[one]
                if other != one:
                    if other < one:
                        return False
                    break
        return True


def _renamed(half: int, nodes: Sequence[int]) -> int:
    mask = sum(1 << nodes[i] for i in range(len(nodes)) if half >> i & 1)
    return mask if mask & 1 else mask ^ ((1 << len(nodes)) - 1)


def run_all(
    n: int, length: int, jobs: int = 1, batch: int = 200
) -> Iterator[tuple[int, float, list[str]]]:
    """Run every schedule; yield (count, CPU seconds, failures) of each batch."""
    every = list(schedules(n, length))
    tasks = [(n, every[i : i + batch]) for i in range(0, len(every), batch)]
    if jobs <= 1:
        yield from map(_run_batch, tasks)
        return
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        yield from pool.imap_unordered(_run_batch, tasks)


def _run_batch(task: tuple[int, Sequence[Sequence[Round]]]) -> tuple[int, float, list[str]]:
    n, batch = task
    begun = time.process_time()
    failures = []
    for schedule in batch:
        try:
            run(n, schedule)
        except SimulationFailed as error:
            failures.append(f"{schedule}: {error}")
    return len(batch), time.process_time() - begun, failures


def run(n: int, schedule: Sequence[Round], seed: int = 0) -> Simulation:
    """Run one schedule, then heal everything and require two more commits.

    In a round nothing passes between the halves but the second sending of a timeout: a partition
    outlives the first, and without the second no schedule would ever get past its round.
    """
    leaders = [one.leader for one in schedule]
    simulation = Simulation(
        n,
        seed,
        timing=TIMING,
        conditions=Conditions(delay_ms=(1, 1)),
        twins=(TWIN,),
        schedule=leaders,
    )
    passed: set[tuple[int, int, int]] = set()

    def cut(node: Node, to: Node, message: Message) -> bool:
        view = _view_of(message)
        if not 0 < view <= len(schedule):
            return False
        half = schedule[view - 1].half
        if (half >> node.number & 1) == (half >> to.number & 1):
            return False
        if not isinstance(message, Timeout):
            return True
        sent = (node.number, to.number, view)
        again = sent in passed
        passed.add(sent)
        return not again

    simulation.cut = cut
    simulation.require_commits(2, 100 * TIMING.base_timeout_ms)
    require_nobody_wronged(simulation)
    return simulation


def _view_of(message: Message) -> int:
    match message:
        case Vote(header=header):
            return header.view
        case Proposal(block=block):
            return block.view
        case ObservationMessage(observed=observed):
            return observed.view
        case Timeout(view=view):
            return view
        case _:
            return 0

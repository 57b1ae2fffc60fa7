"""The network parted so that no part has a quorum, and healed, again and again."""

import asyncio
from itertools import pairwise
from random import Random

from testnet.faults import Committee, FaultLog, until_back

WHOLE_S = (3.0, 6.0)
PARTED_S = (0.5, 5.0)


async def part_and_heal(
    committee: Committee, members: int, quorum: int, seed: int, log: FaultLog
) -> None:
    """Part the members, until cancelled. What counts as the fault's moment is the healing."""
    chance = Random(f"partitions {seed}")
    while True:
        await asyncio.sleep(chance.uniform(*WHOLE_S))
        parts = parts_below(quorum, members, chance)
        committee.part(parts)
        log.note(f"parted the network: {shown(parts)}")
        await asyncio.sleep(chance.uniform(*PARTED_S))
        committee.part(())
        outage = log.take_away("the network", "healed the network")
        log.give_back(outage, "all can reach each other")
        await until_back(committee, committee.plain)
        log.is_back(outage)


def parts_below(quorum: int, members: int, chance: Random) -> tuple[tuple[int, ...], ...]:
    """Return two or three parts, each too small to go on alone."""
    order = chance.sample(range(members), members)
    count = chance.choice((2, 3)) if members > 3 else 3
    while True:
        cuts = sorted(chance.sample(range(1, members), count - 1))
        bounds = [0, *cuts, members]
        parts = [tuple(sorted(order[i:j])) for i, j in pairwise(bounds)]
        if max(map(len, parts)) < quorum:
            return tuple(parts)


def shown(parts: tuple[tuple[int, ...], ...]) -> str:
    """Return the parts for people."""
    return " | ".join(" ".join(f"node{member}" for member in part) for part in parts)

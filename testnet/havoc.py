"""Members killed, frozen and restarted at random, never more at a time than the network stands."""

import asyncio
from collections.abc import Sequence
from random import Random

from testnet.faults import Committee, FaultLog, until_back

PAUSE_S = (1.0, 4.0)
"""Between a member's return and the next one's fault."""

AWAY_S = (0.2, 6.0)
_KINDS = ("kill", "freeze", "restart")


async def wreak_havoc(
    committee: Committee, members: Sequence[int], at_once: int, seed: int, log: FaultLog
) -> None:
    """Break members, at most so many at a time, until cancelled.

    A member counts as away until it certifies again. The seed decides what happens to whom and for
    how long; the rest is up to how fast they return.
    """
    assert 0 < at_once <= len(members)
    away: set[int] = set()
    async with asyncio.TaskGroup() as group:
        for place in range(at_once):
            chance = Random(f"chaos {seed} {place}")
            group.create_task(_one_after_another(committee, members, away, chance, log))


async def _one_after_another(
    committee: Committee, members: Sequence[int], away: set[int], chance: Random, log: FaultLog
) -> None:
    while True:
        await asyncio.sleep(chance.uniform(*PAUSE_S))
        member = chance.choice([member for member in members if member not in away])
        away.add(member)
        await _break(committee, member, chance.choice(_KINDS), chance.uniform(*AWAY_S), log)
        away.discard(member)


async def _break(
    committee: Committee, member: int, kind: str, away_s: float, log: FaultLog
) -> None:
    name = committee.name(member)
    match kind:
        case "freeze":
            committee.freeze(member)
            outage = log.take_away(name, f"froze {name} for {away_s:.1f} s")
            await asyncio.sleep(away_s)
            committee.thaw(member)
            log.give_back(outage, f"thawed {name}")
        case "kill":
            await committee.kill(member)
            outage = log.take_away(name, f"killed {name} for {away_s:.1f} s")
            await asyncio.sleep(away_s)
            await committee.start(member)
            log.give_back(outage, f"started {name}")
        case _:
            outage = log.take_away(name, f"restarting {name}")
            await committee.stop(member)
            await committee.start(member)
            log.give_back(outage, f"started {name}")
    await until_back(committee, (member,))
    log.is_back(outage)

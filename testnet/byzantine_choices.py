"""What a faulty leader may propose on, and wrong answers: chosen by chance from what it knows.

The coalitions of the simulation and the personas among real nodes choose from the same.
"""

from collections.abc import Sequence
from random import Random

from consensus.messages import QC, TC, BlockResponse, CheckpointResponse, Message, Observed
from testnet.byzantine_knowledge import Knowledge
from testnet.forgeries import overlapping, relabelled, replace, thin

FALSE_WAYS = (
    "below its TC",
    "no TC",
    "another view's TC",
    "a TC said to be of the view before",
    "a QC said to be of the view before",
    "a QC of too few",
    "a TC that counts twice",
    "a TC beside an older QC",
)
"""How a proposal may extend less than its leader is allowed to."""

WRONG_TIMES_MS = (0, 0, 1, -30, 400, -1500, 10**6, -(10**6))
"""How far from the truth a false observation's time is."""


def false_ground(
    random: Random,
    knows: Knowledge,
    way: str,
    view: int,
    known: Sequence[QC],
    weakest: TC | None,
) -> tuple[QC, TC | None]:
    """Extend less than one may, or make the certificates say what nobody signed.

    `known` are certificates below the view, ascending; `weakest` is a TC of the view before.
    """
    newest = known[-1]
    stale = known[max(0, len(known) - 1 - random.randint(1, 4))]
    older = [tc for tc in knows.tcs.values() if tc.view < view - 1][-3:]
    match way:
        case "no TC":
            return stale, None
        case "another view's TC" if older:
            tc = random.choice(older)
            return knows.stalest_qc(tc.groups[-1].high_qc_view, view) or stale, tc
        case "a TC said to be of the view before" if older:
            tc = random.choice(older)
            return stale, replace(tc, view=view - 1)
        case "a QC said to be of the view before" if stale.view > 0:
            return relabelled(stale, view - 1), None
        case "a QC of too few" if newest.view > 0:
            return thin(random, knows.context, knows.signatures, newest), weakest
        case "a TC that counts twice":
            doubled = knows.doubled_tc(view - 1)
            if doubled is not None and random.randrange(3):
                return doubled.high_qc, doubled
            if weakest is not None:
                weakest = overlapping(random, knows.context, knows.signatures, weakest)
            return stale, weakest
        case "a TC beside an older QC" if weakest is not None:
            return stale, replace(weakest, high_qc=stale)
        case _:
            return stale, weakest


def quorum_of_choice(
    random: Random, mine: Sequence[Observed], honest: dict[int, Observed], q: int
) -> list[Observed]:
    """Choose a quorum's observations, one's own among them, the others as they suit."""
    others = [honest[member] for member in sorted(honest)]
    if random.randrange(2):
        others.sort(key=lambda one: one.body, reverse=random.randrange(2) == 0)
    else:
        random.shuffle(others)
    return [*mine, *others[: random.choice((q - len(mine), len(others)))]]


def false_response(random: Random, knows: Knowledge, message: BlockResponse) -> BlockResponse:
    """Answer a request for blocks with none, another one, or with wrong parts."""
    known = [entry[0] for entry in knows.after.values() if entry[0] is not None]
    blocks = list(message.blocks)
    kind = random.randrange(4)
    if kind == 0 or not known:
        return replace(message, blocks=())
    other = random.choice(known)
    if kind == 1 or not blocks:
        return replace(message, blocks=(other,))
    if kind == 2:
        first = replace(blocks[0], justify=knows.context.genesis_qc)
        return replace(message, blocks=(first,))
    return replace(message, blocks=(*blocks, other))


def false_checkpoint(
    random: Random, knows: Knowledge, message: CheckpointResponse, old: CheckpointResponse
) -> list[Message]:
    """Answer a request for a checkpoint with nothing, an old one, or one that does not hold."""
    first, *others = message.descendants
    stale = knows.stalest_qc(message.block.view + 2, 2**62)
    wrong: list[CheckpointResponse | None] = [
        None,
        old,
        replace(message, state=random.randbytes(len(message.state))),
        replace(message, block=replace(message.block, height=message.block.height + 1)),
        replace(message, descendants=(replace(first, state_digest=bytes(32)), *others)),
        replace(message, descendants=(*message.descendants, first)),
        replace(message, qc=stale or knows.context.genesis_qc),
        replace(message, block=replace(message.block, justify=message.qc)),
    ]
    chosen = random.choice(wrong)
    return [] if chosen is None else [chosen]

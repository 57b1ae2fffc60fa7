"""Whatever a handler refuses with `InvalidMessage` leaves no trace, now or later."""

from collections.abc import Callable
from functools import cache
from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from consensus.errors import InvalidMessage
from consensus.messages import (
    BlockResponse,
    Certificate,
    ObservationMessage,
    Proposal,
    Timeout,
    Vote,
)
from testnet.simulation import Simulation, handle
from testnet.stub_signatures import GENESIS_TIME_MS

Bench = Callable[..., Any]


@cache
def recorded(seed: int) -> list[tuple[int, Any]]:
    """Return what member 0 received in a lossy run, in order."""
    received: list[tuple[int, Any]] = []

    class Recording(Simulation):
        def deliver(self, sender: int, to: Any, message: Any) -> None:
            if to.member == 0:
                received.append((sender, message))
            super().deliver(sender, to, message)

    from consensus.committee import Timing
    from testnet.simulation import Conditions

    timing = Timing(round_interval_ms=0, base_timeout_ms=100)
    Recording(4, seed, timing=timing, conditions=Conditions((1, 60), loss=150)).run(1500)
    return received


def spoilt(random: Random, message: Any) -> Any:
    """Return a message with one thing in it changed, not necessarily an invalid one."""
    replace = msgspec.structs.replace
    number = random.choice((0, 1, 2, 5, 1000, 2**63 - 1))
    blob = random.randbytes(32)
    match message:
        case Proposal(block=block):
            changes = [
                {"header": replace(block.header, view=number)},
                {"header": replace(block.header, link=blob)},
                {"header": replace(block.header, observed_at_ms=number)},
                {"height": number},
                {"state_digest": blob},
                {"payload": blob},
                {"justify": replace(block.justify, bitmap=blob)},
                {"justify": replace(block.justify, header=block.header)},
            ]
            if random.randrange(4) == 0 and message.tc is not None:
                return replace(message, tc=replace(message.tc, groups=message.tc.groups[:0]))
            return replace(message, block=replace(block, **random.choice(changes)))
        case Vote():
            return replace(message, header=replace(message.header, view=number))
        case Timeout():
            return replace(
                message,
                **random.choice(
                    (
                        {"view": number},
                        {"high_qc_view": number},
                        {"qc": replace(message.qc, bitmap=blob)},
                    )
                ),
            )
        case Certificate():
            return replace(message, qc=replace(message.qc, bitmap=blob))
        case ObservationMessage(observed=observed):
            change: dict[str, Any] = random.choice(
                ({"body": blob[:3]}, {"member": number % 4}, {"view": number})
            )
            return ObservationMessage(replace(observed, **change))
        case BlockResponse(blocks=(block, *_)):
            return replace(message, blocks=(replace(block, height=number),))
        case _:
            return message


@pytest.mark.parametrize("run", range(3))
@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(seed=st.integers(0, 2**32))
def test_what_is_refused_changes_nothing(bench: Bench, run: int, seed: int) -> None:
    from consensus.committee import Timing

    timing = Timing(round_interval_ms=0, base_timeout_ms=100)
    random = Random(seed)
    b, twin = bench(timing=timing), bench(timing=timing)
    refused = 0
    for number, (sender, message) in enumerate(recorded(run)[:250]):
        now_ms = GENESIS_TIME_MS + 10 * number
        bad = spoilt(random, message)
        culprit = random.choice((sender, sender, random.choice(b.others)))
        before = b.seen() if number % 5 == 0 else None
        try:
            effects = handle(b.core, culprit, bad, now_ms)
        except InvalidMessage:
            refused += 1
            assert before is None or b.seen() == before, bad
        else:
            # It was not refused, so both must see it.
            assert effects == handle(twin.core, culprit, bad, now_ms)
        outcomes = []
        for core in (b.core, twin.core):
            try:
                outcomes.append(handle(core, sender, message, now_ms))
            except InvalidMessage as error:
                outcomes.append([str(error)])  # type: ignore[list-item]
        assert outcomes[0] == outcomes[1]
    assert refused > 10
